"""What few labels are worth, with and without pretraining: `python -m pipeline.few_labels --recipe
NAME [flags of local_runner.py]`.

For lists and recipes of classification. Every number is of a run of the whole pipeline, all in one
pipeline root: pretraining is done once, from all images. Each fraction of the labels is used three
times: by a linear head on the frozen encoder, by fine-tuning the pretrained encoder, and by the
same training of the same network from scratch, of own lists without cells. The last two take as
many steps whatever the fraction, to a whole epoch. Beside these stand linear heads on 16 x 16
pixels and on the untrained encoder, which the first run measures.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

from components.metadata.url import without_password
from pipeline.arguments import BAD_INPUT, DONE, FAILED, REFUSED, path_of
from pipeline.flags import build_parser, choices_of
from pipeline.loading import EXIT_INTERRUPTED
from pipeline.setting_types import numbers
from pipeline.stopping import run_tool, stoppable
from trainer_module.errors import InputError
from trainer_module.findings import counted
from trainer_module.metric_names import PIXELS_LINEAR, UNTRAINED_LINEAR
from trainer_module.whole_files import read_json

RUNNER = Path(__file__).resolve().parents[1] / "local_runner.py"
JSON_FILE, TABLE_FILE = "few_labels.json", "few_labels.md"
BEGINS_ANEW = "Interrupted. The same command begins anew, with what is done from the cache."
WAYS = {  # -> flags of local_runner.py
    "linear head, frozen encoder": ["--freeze=True"],
    "fine-tuned": ["--freeze=False"],
    "supervised from scratch": ["--from_scratch"],
}
FIRST = next(iter(WAYS))
# what the first way's run measures beside its own accuracy
BESIDE = {
    "linear, 16 x 16 pixels": f"{PIXELS_LINEAR}accuracy",
    "linear head, untrained encoder": f"{UNTRAINED_LINEAR}accuracy",
}
COLUMNS = (*BESIDE, *WAYS)
PRETRAINING_FLAGS = ("--pretrain_epochs", "--minutes", "--eval_epochs")
OWN_FLAGS = (
    "--freeze",
    "--from_scratch",
    "--label_fraction",
    "--num_epochs",
    "--batch_size",
    "--resume",
    "--task",
)
PRINTS_ALONE = "--print_config"
FREE_GATE = ["--set", "gate.max_metric_drop=1"]  # fewer labels may do worse


def parse(arguments: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """Returns this program's flags, and those that are handed on.

    Raises:
      ValueError: if a flag that is handed on is this program's to choose, or a value breaks a rule.
    """
    parser = argparse.ArgumentParser(
        prog="python -m pipeline.few_labels", description=__doc__, allow_abbrev=False
    )
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "--fractions", default="0.01,0.1,1", help="of the labels, default: %(default)s"
    )
    parser.add_argument(
        "--steps",
        type=int,
        default=2000,
        help="of training where the encoder learns, default: %(default)s",
    )
    parser.add_argument(
        "--batch_size", type=int, default=64, help="images, of that training, default: %(default)s"
    )
    parser.add_argument(
        "--pipeline_root",
        type=path_of,
        default=Path("runs/few_labels"),
        help="default: %(default)s",
    )
    for name in PRETRAINING_FLAGS:
        parser.add_argument(name, help="as of local_runner.py, where there is pretraining")
    flags, others = parser.parse_known_args(arguments)
    clashing = [flag for flag in others if flag.split("=")[0] in OWN_FLAGS]
    if clashing:
        raise InputError(
            f"{', '.join(clashing)}: chosen here, row by row, all of them classification; leave it "
            f"out"
        )
    if PRINTS_ALONE in others:
        raise InputError(f"{PRINTS_ALONE}: runs nothing, and every number is a run's; leave it out")
    if min(flags.steps, flags.batch_size) < 1:
        raise InputError(
            f"`--steps` and `--batch_size` must be at least 1. Received: {flags.steps} and "
            f"{flags.batch_size}"
        )
    count, rule = flags.fractions.count(",") + 1, 'numbers, as in "0.01,0.1,1"'
    flags.fractions = numbers(flags.fractions, count, "--fractions", rule)
    if not all(0 < fraction <= 1 for fraction in flags.fractions):
        raise InputError(
            f"`--fractions` must satisfy 0 < fraction <= 1. Received: {flags.fractions}"
        )
    return flags, others


def main(arguments: list[str]) -> int:
    """Runs everything, writes and prints the table; returns an exit code of local_runner.py."""
    try:
        flags, others = parse(arguments)
        refuse_bad_rows(flags, others)
    except ValueError as error:
        print(f"pipeline.few_labels: {error}", file=sys.stderr)
        return BAD_INPUT
    try:
        with stoppable(lambda: BEGINS_ANEW, grace=4.5):  # the run in progress takes up to 3 s
            return _make_table(flags, others, arguments)
    except KeyboardInterrupt:
        print(BEGINS_ANEW)
        return EXIT_INTERRUPTED
    except InputError as error:
        print(f"pipeline.few_labels: {error}", file=sys.stderr)
        return FAILED


def refuse_bad_rows(flags: argparse.Namespace, others: list[str]) -> None:
    """Refuses what any run of the table would refuse of its flags, which may be hours away.

    Raises:
      ValueError: naming the way, and what the run would have said.
    """
    for fraction in flags.fractions:
        for way in WAYS:
            command = [*command_of(way, fraction, 1, flags), *others, *FREE_GATE]
            try:
                choices_of(build_parser().parse_args(command))
            except ValueError as error:
                raise InputError(f"{error} (as the row {way!r} of the table)") from error


def _make_table(flags: argparse.Namespace, others: list[str], arguments: list[str]) -> int:
    rows, labels = [], 0
    for fraction in sorted(flags.fractions, reverse=True):
        row, intervals = {"label_fraction": fraction}, {}
        for way in WAYS:
            before = _summary(flags.pipeline_root).get("run_id", "")
            code = run(command_of(way, fraction, labels, flags) + others)
            if code not in (DONE, REFUSED):
                return code
            told = summary_of(flags.pipeline_root, before)
            labels = told["labels"]
            named = {way: "accuracy"} | (BESIDE if way == FIRST else {})
            row |= {column: told["metrics"][name] for column, name in named.items()}
            intervals |= {column: told["intervals"][name] for column, name in named.items()}
        rows.append(row | {"labels": labels, "intervals": intervals})
        write(flags.pipeline_root, rows, arguments)
    print(table(rows))
    print(f"Kept in {flags.pipeline_root / TABLE_FILE} and {JSON_FILE} beside it")
    return DONE


def command_of(way: str, fraction: float, labels: int, flags: argparse.Namespace) -> list[str]:
    """Returns the flags of local_runner.py for one number of the table.

    Args:
      way: one of WAYS.
      fraction: of the labels.
      labels: which that is, as the first way, which trains no encoder, has counted them.
      flags: of this program.
    """
    command = [
        *WAYS[way],
        f"--label_fraction={fraction:g}",
        f"--pipeline_root={flags.pipeline_root}",
        "--task=classification",
    ]
    if "--from_scratch" not in command:
        given = {name: getattr(flags, name.removeprefix("--")) for name in PRETRAINING_FLAGS}
        command += [f"{name}={value}" for name, value in given.items() if value]
    if way == FIRST:
        return command
    steps_per_epoch = -(-labels // flags.batch_size)
    epochs = max(1, round(flags.steps / steps_per_epoch))
    return [*command, f"--num_epochs={epochs}", f"--batch_size={flags.batch_size}"]


def run(flags: list[str]) -> int:
    """Runs the pipeline in a process of its own and returns its exit code.

    A refused model still has its accuracy.
    """
    print(f"\n$ python local_runner.py {_told(flags)}", flush=True)
    with subprocess.Popen([sys.executable, str(RUNNER), *flags, *FREE_GATE]) as process:
        try:
            return process.wait()
        except KeyboardInterrupt:
            process.terminate()
            process.wait()
            raise


def table(rows: list[dict]) -> str:
    """Returns the table in Markdown, the fewest labels first, with intervals of 95 %."""
    lines = ["| labels | " + " | ".join(COLUMNS) + " |", "|---" * (1 + len(COLUMNS)) + "|"]
    for row in sorted(rows, key=lambda row: row["label_fraction"]):
        cells = " | ".join(_cell(row[name], *row["intervals"][name]) for name in COLUMNS)
        lines.append(
            f"| {100 * row['label_fraction']:g} % ({counted(row['labels'], 'image')}) | {cells} |"
        )
    return "\n".join(lines) + "\n"


def _cell(accuracy: float, low: float, high: float) -> str:
    return f"{100 * accuracy:.1f} % ({100 * low:.1f} to {100 * high:.1f})"


def write(root: Path, rows: list[dict], arguments: list[str]) -> None:
    """Leaves table and numbers in the pipeline root."""
    result = {"command": f"python -m pipeline.few_labels {_told(arguments)}", "rows": rows}
    (root / JSON_FILE).write_text(json.dumps(result, indent=1), encoding="utf-8")
    (root / TABLE_FILE).write_text(table(rows), encoding="utf-8")


def _told(flags: list[str]) -> str:
    """Returns flags as a line to print and to keep."""
    return " ".join(map(without_password, flags))


def summary_of(root: Path, before: str = "") -> dict:
    """Returns what the latest run came to.

    Args:
      root: the pipeline root.
      before: id of the run whose summary lay there before that one began.

    Raises:
      InputError: if the latest run left none: what lies there is of an earlier one.
    """
    told = _summary(root)
    if told.get("run_id", "") in ("", before):
        raise InputError(
            f"The run left no summary in {root}, so there is no number for the table. Received: "
            f"{told.get('run_id', 'none')!r}. Fix: the command above, alone, tells why"
        )
    return told


def _summary(root: Path) -> dict:
    from pipeline.summary import SUMMARY_FILE

    return read_json(root / SUMMARY_FILE)


if __name__ == "__main__":
    run_tool(main)
