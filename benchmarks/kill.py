"""Whether a run that is killed ends as if it had not been: `nice python benchmarks/kill.py --folder
F` kills a small run at random moments and continues it with `--resume`.

A case is one run through the real command line: killed, continued, killed again, up to
`--in_a_row` times, then continued to its end and held against an unbroken run. The data are
ingested once; each case begins with a copy of that pipeline root. SIGKILL goes to the whole process
group, as if the machine lost its power, SIGINT too, as from a terminal, SIGTERM to the process
alone. Most moments are drawn from the time of an unbroken run between the start of its Pretrainer
and its end, one of six from before; each is waited for from the line on the terminal that came
before it there, since a machine is not always as fast. Finished cases are kept in F/cases.json, so
that a call that is broken off or that `--minutes` ends goes on with the next one. Prints one JSON
line last.

Do not edit the code while it runs: `--resume` wants the very same, so give it a copy.
"""

import argparse
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import ml_metadata.proto.metadata_store_pb2 as mlmd
import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from components.environment import hardware, versions  # noqa: E402
from components.metadata.store import open_store  # noqa: E402
from pipeline.arguments import BAD_INPUT, DONE, REFUSED  # noqa: E402
from pipeline.loading import EXIT_INTERRUPTED  # noqa: E402
from pipeline.summary import SUMMARY_FILE  # noqa: E402

SETTINGS = {
    "pretraining.batch_size": 16,
    "pretraining.projection_hidden": 16,
    "pretraining.projection_dim": 8,
    "pretraining.precision": "float32",
    "pretraining.checkpoint_every_minutes": 0.005,  # within epochs too
    "pretraining.monitor_every_epochs": 4,
    "gate.max_metric_drop": 1.0,
}
RUN = [
    "--train_file_path=images/train.csv", "--val_file_path=images/eval.csv", "--pipeline_root=root",
    "--input_size=16 16", "--width=0.125",
    *(part for name, value in SETTINGS.items() for part in ("--set", f"{name}={value}")),
]  # fmt: skip
RESUME = ["--resume", "--pipeline_root=root"]
EPOCHS = 16
PRETRAINER = 7  # its place among the nodes
# One thread adds in one order, so that unbroken runs agree.
ENVIRONMENT = {
    **{"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1", "OMP_NUM_THREADS": "1"}
}
LEFT = ("encoder", "model")  # at the save paths
PATIENCE = 900  # seconds for a process to end by itself
MOST_GAP = 1e-5
MOST_SECONDS_TO_STOP = 5
STALE = (mlmd.Execution.NEW, mlmd.Execution.RUNNING)


@dataclass
class Process:
    """A command line on its way, in a process group of its own, and what it has said."""

    popen: subprocess.Popen
    begun: float
    lines: list[tuple[float, str]]  # seconds since the process began

    def said(self, word: str) -> bool:
        """Tells whether a line with this word has come."""
        return any(word in line for _, line in self.lines)

    def last(self) -> str:
        """Returns the last line that says something."""
        return next((line for _, line in reversed(self.lines) if line.strip()), "")


def start(folder: Path, *flags: str) -> Process:
    """Starts local_runner.py in a folder."""
    popen = subprocess.Popen(
        [sys.executable, str(ROOT / "local_runner.py"), *flags],
        cwd=folder,
        env=os.environ | ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    process = Process(popen, time.monotonic(), [])

    def read():
        for line in popen.stdout:
            process.lines.append((round(time.monotonic() - process.begun, 2), line.rstrip()))

    threading.Thread(target=read, daemon=True).start()
    return process


def ended(process: Process, patience: float = PATIENCE) -> int:
    """Waits for the end of a process and of its lines; returns the exit code."""
    try:
        code = process.popen.wait(patience)
    except subprocess.TimeoutExpired:
        os.killpg(process.popen.pid, signal.SIGKILL)
        code = process.popen.wait()
    time.sleep(0.3)
    return code


def alive(group: int) -> bool:
    """Tells whether a process of a group is left."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def outcome(folder: Path) -> dict:
    """Returns what a finished run amounts to: history of pretraining, metrics, and what is left
    over in ML Metadata.
    """
    root = folder / "root"
    summary = json.loads((root / SUMMARY_FILE).read_text(encoding="utf-8"))
    store = open_store(str(root / "metadata.sqlite"))
    rows = [row for row in store.get_executions() if row.last_known_state in STALE]
    live = [item for item in store.get_artifacts() if item.state == mlmd.Artifact.LIVE]
    context = store.get_context_by_type_and_name("pipeline_run", summary["run_id"])
    nodes = store.get_executions_by_context(context.id)
    events = store.get_events_by_execution_ids([node.id for node in nodes])
    made = [item.artifact_id for item in events if item.type == mlmd.Event.OUTPUT]
    runs = [
        Path(item.uri, "history.json")
        for item in store.get_artifacts_by_id(made)
        if "/Pretrainer/model_run/" in item.uri
    ]
    histories = [json.loads(file.read_text(encoding="utf-8"))["history"] for file in runs]
    return {
        "state": summary["state"],
        "metrics": summary["metrics"],
        "history": histories[-1],
        "finished": json.loads((root / "run.json").read_text(encoding="utf-8"))["finished"],
        "running": len(rows),
        "gone": [item.uri for item in live if not Path(item.uri).exists()],
        "left": [
            name for name in ("encoder", "model") if (folder / name / "assets.extra").is_dir()
        ],
    }


def gap(one: dict, other: dict) -> float:
    """Returns the greatest difference between histories and metrics; inf where they are not of one
    kind.
    """
    gaps = [0.0]
    for kind in ("history", "metrics"):
        first, second = ({k: v if isinstance(v, list) else [v] for k, v in run[kind].items()}
                         for run in (one, other))  # fmt: skip
        if {k: len(v) for k, v in first.items()} != {k: len(v) for k, v in second.items()}:
            return float("inf")
        for name, values in first.items():
            for here, there in zip(values, second[name], strict=True):
                if (here is None) != (there is None):
                    return float("inf")
                gaps.append(abs(here - there) if here is not None else 0.0)
    return max(gaps)


def faults(told: dict, reference: dict) -> list[str]:
    """Returns what a continued run has that an unbroken one has not, in words."""
    found = []
    if gap(told, reference) > MOST_GAP:
        found.append(f"gap {gap(told, reference)}")
    if told["running"]:
        found.append(f"{told['running']} rows are still running")
    if told["gone"]:
        found.append(f"live artifacts are not on disk: {told['gone']}")
    for name in ("finished", "left", "state"):
        if told[name] != reference[name]:
            found.append(f"{name}: {told[name]} instead of {reference[name]}")
    return found


def prepare(folder: Path) -> dict:
    """Writes the images, ingests them, runs twice without a break; returns what that took and
    showed.
    """
    file = folder / "unbroken.json"
    if file.exists():
        return json.loads(file.read_text(encoding="utf-8"))
    write_images(folder / "images")
    clear(folder, "prepared")
    first = start(folder, *RUN, "--pretrain_epochs=1")
    require(ended(first) in (DONE, REFUSED), first)
    shutil.copytree(folder / "root", folder / "prepared")
    unbroken = []
    for _ in range(2):
        begin(folder)
        run = start(folder, *flags())
        require(ended(run) in (DONE, REFUSED), run)
        pretrainer = next(at for at, line in run.lines if "Pretrainer" in line)
        timeline = [(at, place(line)) for at, line in run.lines if place(line)]
        timing = {"to_pretrainer": pretrainer, "whole": run.lines[-1][0], "timeline": timeline}
        unbroken.append(outcome(folder) | timing | {"code": run.popen.returncode})
    told = {"reference": unbroken[0], "gap": gap(*unbroken), "whole": unbroken[1]["whole"]}
    told["at_the_last_step"] = last_step(folder, unbroken[0])
    file.write_text(json.dumps(told, indent=1), encoding="utf-8")
    return told


def write_images(folder: Path) -> None:
    """Writes images that are a bit brighter or darker, so that some are told apart and some not."""
    chance = np.random.default_rng(0)
    for split, count in (("train", 96), ("eval", 32)):
        (folder / split).mkdir(parents=True, exist_ok=True)
        rows = []
        for index in range(count):
            light = (110, 146)[index % 2] + chance.normal(0, 20)
            pixels = chance.normal(light, 40, (16, 16, 3)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / split / f"{index}.png")
            rows.append(f"{split}/{index}.png,{('dark', 'bright')[index % 2]}\n")
        (folder / f"{split}.csv").write_text("".join(rows), encoding="utf-8")


def last_step(folder: Path, reference: dict) -> list[str]:
    """Returns the faults of a run that was killed when all was done but the note that it is
    finished: too short a moment to hit by chance.
    """
    record = folder / "root" / "run.json"
    values = json.loads(record.read_text(encoding="utf-8")) | {"finished": False}
    record.write_text(json.dumps(values), encoding="utf-8")
    process = start(folder, *RESUME)
    if ended(process) != reference["code"]:
        return [f"exit code {process.popen.returncode}: {process.last()}"]
    return faults(outcome(folder), reference)


def flags() -> list[str]:
    """Returns the command line of a case."""
    return [
        *RUN,
        f"--pretrain_epochs={EPOCHS}",
        f"--pretrain_save_path={LEFT[0]}",
        f"--finetune_save_path={LEFT[1]}",
    ]


def begin(folder: Path) -> None:
    """Puts the ingested root in place, and nothing at the save paths."""
    clear(folder, "root", *LEFT)
    shutil.copytree(folder / "prepared", folder / "root")


def clear(folder: Path, *names: str) -> None:
    """Removes folders of the benchmark's own."""
    for name in names:
        shutil.rmtree(folder / name, ignore_errors=True)


def require(good: bool, process: Process) -> None:
    """Raises with what a process said unless all is well."""
    if not good:
        raise RuntimeError("\n".join(line for _, line in process.lines))


def run_case(folder: Path, number: int, kind: str, in_a_row: int, options: dict) -> dict:
    """Runs one case; returns its kills, its gap and its faults.

    Args:
        folder: of the benchmark.
        number: of the case, the seed of its moments.
        kind: 'SIGKILL', 'SIGTERM' or 'SIGINT'.
        in_a_row: most signals before the run may end.
        options: `unbroken` as `prepare` returns it, `seed`.
    """
    chance = random.Random(f"{options['seed']} {kind} {number}")
    reference = options["unbroken"]["reference"]
    begin(folder)
    kills, found, command = [], [], flags()
    for moment in moments(chance, in_a_row, reference):
        process = start(folder, *command)
        kill = strike(process, kind, moment, reference)
        if kill is None and not nothing_to_resume(process):
            break  # it ended by itself before the moment came
        if kill is None:
            command = flags()
            continue
        kills.append(kill)
        found += [f"{kind} at {kill['moment']} s: {fault}" for fault in kill.pop("faults")]
        command = RESUME
    else:
        process = start(folder, *command)
        ended(process)
    if nothing_to_resume(process):
        process = start(folder, *flags())
        ended(process)
    case = {"number": number, "seed": options["seed"], "kills": kills}
    if process.popen.returncode != reference["code"]:
        found.append(f"exit code {process.popen.returncode}: {process.last()}")
        return case | {"gap": None, "faults": found}
    told = outcome(folder)
    found += faults(told, reference)
    return case | {"gap": gap(told, reference), "faults": found}


def place(line: str) -> float:
    """Returns how far a run is that prints this line, in nodes; 0 for a line that says nothing of
    it.
    """
    if node := re.match(r"\[ *(\d+)/\d+\] \S+ +(\S+)", line):
        return int(node[1]) - (0.9 if node[2] == "..." else 0)
    epoch = re.match(r"Epoch (\d+)/(\d+)", line)
    return PRETRAINER - 0.9 + 0.8 * int(epoch[1]) / int(epoch[2]) if epoch else 0


def moments(chance: random.Random, count: int, reference: dict) -> list[float]:
    """Returns seconds of the unbroken run: spread evenly behind the start of its Pretrainer and
    rising, since a continued run goes on where it was, but one of six from before.
    """
    begun, ends = reference["to_pretrainer"], reference["whole"]
    rising = sorted(chance.uniform(begun, ends) for _ in range(count))
    return [chance.uniform(0, begun) if chance.random() < 1 / 6 else moment for moment in rising]


def nothing_to_resume(process: Process) -> bool:
    """Tells whether a process found no run to continue: it had not begun, or had ended."""
    refused = process.popen.returncode == BAD_INPUT
    return refused and process.said("no interrupted run")


def strike(process: Process, kind: str, moment: float, reference: dict) -> dict | None:
    """Sends a signal at a moment of the unbroken run; returns what was hit and how it ended, or
    None where the process ended before.
    """
    before = [mark for mark in reference["timeline"] if mark[0] <= moment]
    since, reached = before[-1] if moment >= reference["to_pretrainer"] else (0, 0)
    while max([0, *(place(line) for _, line in process.lines)]) < reached:
        if process.popen.poll() is not None:
            return None
        time.sleep(0.05)
    try:
        process.popen.wait(moment - since)
        return None
    except subprocess.TimeoutExpired:
        pass
    moment, hit = round(time.monotonic() - process.begun, 2), process.last()
    kill = {"moment": moment, "after": hit.partition(", log")[0].split("  ")[0], "faults": []}
    number = signal.Signals[kind]
    sent = time.monotonic()
    (os.kill if number == signal.SIGTERM else os.killpg)(process.popen.pid, number)
    if number == signal.SIGKILL:
        process.popen.wait()
        return kill
    code = ended(process, 60)
    kill["seconds"] = round(time.monotonic() - sent - 0.3, 2)
    return kill | {"code": code, "told": process.last(), "faults": stop_faults(process, kill, code)}


def stop_faults(process: Process, kill: dict, code: int) -> list[str]:
    """Returns what is wrong with how a process stopped that was asked to."""
    found = []
    if kill["seconds"] > MOST_SECONDS_TO_STOP:
        found.append(f"took {kill['seconds']} s")
    if code != EXIT_INTERRUPTED:
        found.append(f"exit code {code}")
    if "Interrupted." not in process.last() or process.said("Traceback"):
        found.append(f"told {process.last()!r}")
    if alive(process.popen.pid):
        found.append("a child process is left")
        os.killpg(process.popen.pid, signal.SIGKILL)
    return found


def main() -> None:
    """Runs the cases that are not there yet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--stops", type=int, default=5, help="by SIGTERM, and as many by SIGINT")
    parser.add_argument("--in_a_row", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=1e9, help="after which no case begins")
    options = parser.parse_args()
    # A shell may have started this in the background, where SIGINT is ignored, by children too.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    until = time.monotonic() + 60 * options.minutes
    folder = options.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    unbroken = prepare(folder)
    file = folder / "cases.json"
    done = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    asked = {"SIGTERM": options.stops, "SIGINT": options.stops, "SIGKILL": options.kills}
    wanted = {kind: number for kind, number in asked.items() if number}
    given = {"unbroken": unbroken, "seed": options.seed}
    while time.monotonic() < until:
        sent = {kind: sum(len(item["kills"]) for item in done.get(kind, [])) for kind in wanted}
        # In turn, so that a call that is broken off has seen something of each.
        kind = min(wanted, key=lambda kind: sent[kind] / wanted[kind])
        if (missing := wanted[kind] - sent[kind]) <= 0:
            break
        cases = done.setdefault(kind, [])
        in_a_row = min(options.in_a_row, missing)
        cases.append(run_case(folder, len(cases), kind, in_a_row, given))
        print(kind, json.dumps(cases[-1]), flush=True)
        file.write_text(json.dumps(done, indent=1), encoding="utf-8")
    print(json.dumps(result(done, unbroken, options)))


def result(done: dict, unbroken: dict, options: argparse.Namespace) -> dict:
    """Returns all of it as one JSON value."""
    cases = [item for items in done.values() for item in items]
    gaps = [item["gap"] for item in cases if item["gap"] is not None]
    seconds = {
        kind: max((kill["seconds"] for item in done.get(kind, []) for kill in item["kills"]),
                  default=None)
        for kind in ("SIGTERM", "SIGINT")
    }  # fmt: skip
    return {
        "signals": {kind: sum(len(item["kills"]) for item in done[kind]) for kind in done},
        "cases": {kind: len(done[kind]) for kind in done},
        "faults": unbroken["at_the_last_step"]
        + [text for item in cases for text in item["faults"]],
        "greatest_gap": max(gaps, default=None),
        "gap_of_two_unbroken_runs": unbroken["gap"],
        "slowest_stop_seconds": seconds,
        "unbroken_seconds": unbroken["whole"],
        "kills": {
            kind: [
                {
                    "seed": f"{item['seed']} {kind} {item['number']}",
                    "seconds": [kill["moment"] for kill in item["kills"]],
                    "after": [kill["after"] for kill in item["kills"]],
                }
                for item in items
            ]
            for kind, items in done.items()
        },
        "settings": {**SETTINGS, "epochs": EPOCHS, "environment": ENVIRONMENT, "flags": RUN},
        "versions": versions(),
        "hardware": hardware(),
    }


if __name__ == "__main__":
    main()
