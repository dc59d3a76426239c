"""What a run amounted to: `summary.json` for programs, a table for people.

Read from ML Metadata and the artifacts.
"""

import os
import shlex
import sys
from pathlib import Path

from components.accuracy_by_epoch.table import table as epochs_table
from components.environment import git_commit, hardware, versions
from components.file_list_example_gen import image_index
from components.file_list_example_gen.noticed import FINDINGS_FILE
from components.file_list_example_gen.same_images import copies
from components.metadata.names import EXAMPLE_GEN, FINETUNER, PRETRAINER
from components.metadata.snapshot import METRIC
from components.metadata.stored_run import StoredRun
from pipeline.choices import Gate
from pipeline.plan import Plan, threshold_from, to_dict
from trainer_module.findings import Finding, as_dicts, from_dicts, merged
from trainer_module.findings import table as told_of_data
from trainer_module.gains import Gain, advice, from_dict, words
from trainer_module.intervals import told
from trainer_module.origin import is_brought
from trainer_module.tasks.task import Task
from trainer_module.whole_files import write_json

SUMMARY_FILE = "summary.json"
MOST_CLASSES_TOLD = 20  # on the terminal; summary.json has all
ROOT = "pipeline_root"  # of the facts: roots may share a store
# at the folders of `--pretrain_save_path` and `--finetune_save_path`
LEFT = {PRETRAINER: "encoder", FINETUNER: "model"}


def collect(run: StoredRun, plan: Plan, seconds: float) -> dict:
    """Returns the summary of a finished run.

    Args:
      run: of which every node is done.
      plan: of the run.
      seconds: wall time.
    """
    examples = run.uri(EXAMPLE_GEN, "examples")
    return {
        **unfinished(run, plan, "refused" if run.blessed is False else "done"),
        "seconds": round(seconds, 1),
        "metric": plan.task.metric,  # the one that gates
        "metrics": run.metrics,
        "intervals": run.intervals,  # 95 %
        "gains": run.gains,  # what pretraining or a brought encoder is worth
        "labels": run.labels,  # that fine-tuning learned from
        "eval_images": run.held_out_images.get("", 0),
        "metrics_by_class": run.metrics_by_class,
        "intervals_by_class": run.intervals_by_class,
        "blessed": run.blessed,
        "threshold_from": threshold_from(plan),
        "pushed_model": run.pushed,
        "accuracy_by_epoch": run.accuracy_by_epoch,
        "refused_because": run.refusals,
        "held_out_copies": held_out_copies(examples, plan) if examples else [],
    }


def facts(plan: Plan, flags: list[str]) -> dict[str, str]:
    """Returns what ML Metadata keeps of a run from its start: what it ran, on what."""
    libraries = {f"version.{name}": version for name, version in versions().items()}
    command = shlex.join(["python", "local_runner.py", *flags])
    return {
        "git_commit": git_commit(),
        "recipe": plan.choices.recipe,
        "hardware": hardware(),
        "command": command,
        ROOT: str(plan.choices.root.resolve()),
        **libraries,
    }


def outcome(run: StoredRun, state: str) -> dict[str, str | float]:
    """Returns what ML Metadata keeps of a run from its end: how it ended, and each node's metrics
    as `metric.NODE.NAME`.
    """
    measured = run.metrics_by_node if state in ("done", "refused") else {}
    metrics = {
        f"{METRIC}.{node}.{name}": float(value)
        for node, values in measured.items()
        for name, value in values.items()
    }
    return {"state": state, **metrics}


def unfinished(run: StoredRun, plan: Plan, state: str) -> dict:
    """Returns the part of a summary that every run has, even one that failed."""
    return {
        "run_id": run.id,
        "state": state,
        "components": [
            {
                "id": node.node,
                "state": node.state,
                "seconds": round(node.seconds, 1),
                "cached": node.state == "cached",
            }
            for node in run.executions
        ],
        "configuration": to_dict(plan),
        "versions": versions(),
        "code_fingerprints": run.fingerprints,
        "git_commit": git_commit(),
        "hardware": hardware(),
        "report": run.report,
        "findings": as_dicts(findings(run, plan)),
    }


def findings(run: StoredRun, plan: Plan) -> tuple[Finding, ...]:
    """Returns what was noticed about the data: before the run, and by ingest once it is done."""
    ingest = run.json_file(EXAMPLE_GEN, "examples", FINDINGS_FILE).get("findings", [])
    return merged(plan.findings, from_dicts(ingest))


def write(root: Path, summary: dict) -> None:
    """Writes summary.json, whole or not at all."""
    write_json(root / SUMMARY_FILE, summary)


def table(summary: dict, task: Task) -> str:
    """Returns the summary as a small table for the terminal."""
    rows = _metric_rows(summary, task) + _class_rows(summary, task)
    gains = [from_dict(gain) for gain in summary["gains"]]
    rows += [(_with(gain), words(gain)) for gain in gains]
    rows.append(("verdict", verdict(summary, task)))
    rows += [("because", reason) for reason in summary["refused_because"]]
    rows.append(("pushed model", summary["pushed_model"] or "none"))
    rows += [(f"{LEFT[node]} left in", path) for node, path in summary["saved"].items() if path]
    rows.append(("time", f"{summary['seconds']:.1f} s"))
    width = max(len(name) for name, _ in rows)
    by_epoch = summary["accuracy_by_epoch"]
    epochs = ["", epochs_table(by_epoch)] if by_epoch else []
    noticed = told_of_data(from_dicts(summary["findings"]))
    noticed = [noticed, ""] if noticed else []
    rows = [f"  {name:<{width}}  {value}" for name, value in rows]
    behind = advice(gains, summary["metrics"], summary["configuration"])
    return "\n".join(["", *noticed, *rows, *epochs, *(["", behind] if behind else [])])


def _with(gain: Gain) -> str:
    """Returns what a gain is that of, as short as the name of a row."""
    return "with this encoder" if is_brought(gain.of) else "with pretraining"


def verdict(summary: dict, task: Task) -> str:
    """Returns what the gates said, and what was asked of the metric, by whom."""
    said = {True: "blessed", False: "REFUSED", None: "nothing to bless"}[summary["blessed"]]
    if summary["blessed"] is None or not task.has_target:
        return said
    gate = Gate(**summary["configuration"]["gate"])
    bound = f"at {'least' if task.higher_is_better else 'most'}"
    limit = task.shown(gate.limit(task.higher_is_better))
    return f"{said}; {bound} {limit} was asked for, by {summary['threshold_from']}"


def _metric_rows(summary: dict, task: Task) -> list[tuple[str, str]]:
    shown = {name: task.told(name, value) for name, value in summary["metrics"].items()}
    decimals = max((len(value) for value in shown.values()), default=0)
    intervals = {
        name: told(interval, summary["eval_images"], percent=shown[name].endswith("%"))
        for name, interval in summary["intervals"].items()
    }
    return [
        (name.replace("_", " "), f"{value:>{decimals}}  {intervals.get(name, '')}".rstrip())
        for name, value in shown.items()
    ]


def _class_rows(summary: dict, task: Task) -> list[tuple[str, str]]:
    by_class, intervals = summary["metrics_by_class"], summary["intervals_by_class"]
    if not 0 < len(by_class) <= MOST_CLASSES_TOLD:
        return []
    ends = {name: f" ({100 * low:.0f} to {100 * high:.0f})"
            for name, (low, high) in intervals.items()}  # fmt: skip
    shown = (f"{name} {task.shown(value)}{ends.get(name, '')}" for name, value in by_class.items())
    return [("by class", ", ".join(shown))]


def held_out_copies(examples: str, plan: Plan) -> list[dict[str, str]]:
    """Returns the rows of held out images that are trained on by another name, and of those.

    Args:
      examples: where FileListExampleGen left them.
      plan: of the run.
    """
    found = copies(image_index.read(examples), plan.lists.given())
    return [{"held_out": held_out, "trained_on": trained_on} for held_out, trained_on in found]


def look_next(summary: dict, root: Path) -> str:
    """Returns what a person may look at after a run: the report as a link, and the command that
    tells the lineage.
    """
    python, root_here = (os.path.relpath(path) for path in (sys.executable, root))
    python = "python" if python.startswith("..") else python
    lineage = f"{python} -m pipeline.lineage --pipeline_root {shlex.quote(root_here)}"
    report = Path(summary["report"]).as_uri() if summary["report"] else "none"
    model = " latest" if summary["pushed_model"] else ""
    return f"\n\n  Look at it:       {report}\n  Where it is from: {lineage}{model}"
