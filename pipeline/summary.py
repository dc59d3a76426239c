"""What a run amounted to: `summary.json` for programs, a table for people.

Read from ML Metadata and the artifacts.
"""

import json
import os
import shlex
import sys
from pathlib import Path

from ml_metadata.metadata_store import MetadataStore

from components.environment import git_commit, hardware, versions
from components.epoch_evaluation import show
from components.file_list_example_gen.same_images import copies
from components.report.place import FILE as REPORT_FILE
from components.report.place import REPORT
from components.snapshot import flatten
from components.store import NodeRun, node_runs, properties
from components.verdict import (
    evaluated_metrics,
    evaluator_refusals,
    measured,
    metrics_by_class,
    model_check_refusal,
)
from pipeline.plan import Plan, to_dict
from trainer_module.tasks.task import Task

FILE = "summary.json"
MOST_CLASSES_TOLD = 20  # on the terminal; summary.json has all
MOST_COPIES_TOLD = 5  # likewise
EPOCHS_FILE = "accuracy_by_epoch.json"  # see components/epoch_evaluation/component.py
LEFT = {
    "Pretrainer": "encoder",
    "Finetuner": "model",
}  # at the folders of `--pretrain_save_path` and `--finetune_save_path`
# the Finetuner's own comparison, see trainer_module/finetune_run_fn.py
EVALUATION_FILE = "linear_evaluation.json"


def collect(store: MetadataStore, plan: Plan, run_id: str, seconds: float) -> dict:
    """Returns the summary of a finished run.

    Args:
      store: its metadata.
      plan: of the run.
      run_id: of the run.
      seconds: wall time.
    """
    nodes = {node.node: node for node in node_runs(store, run_id)}
    blessed = _blessed(nodes)
    return {
        **unfinished(store, plan, run_id, "refused" if blessed is False else "done"),
        "seconds": round(seconds, 1),
        "metric": plan.task.metric,  # the one that gates
        "metrics": {
            name: value
            for metrics in _metrics_by_node(nodes).values()
            for name, value in metrics.items()
        },
        "metrics_by_class": _metrics_by_class(nodes),
        "blessed": blessed,
        "pushed_model": _pushed(nodes),
        "accuracy_by_epoch": _accuracy_by_epoch(nodes),
        "refused_because": _refusals(nodes),
        "held_out_copies": held_out_copies(nodes, plan),
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
        **libraries,
    }


def outcome(store: MetadataStore, run_id: str, state: str) -> dict[str, str | float]:
    """Returns what ML Metadata keeps of a run from its end: how it ended, and each node's metrics
    as `metric.NODE.NAME`.
    """
    nodes = {node.node: node for node in node_runs(store, run_id)}
    measured = _metrics_by_node(nodes) if state in ("done", "refused") else {}
    metrics = {
        f"metric.{node}.{name}": float(value)
        for node, values in measured.items()
        for name, value in values.items()
    }
    return {"state": state, **metrics}


def unfinished(store: MetadataStore | None, plan: Plan, run_id: str, state: str) -> dict:
    """Returns the part of a summary that every run has, even one that failed."""
    nodes = node_runs(store, run_id) if store else []
    return {
        "run_id": run_id,
        "state": state,
        "components": [
            {
                "id": node.node,
                "state": node.state,
                "seconds": round(node.seconds, 1),
                "cached": node.state == "cached",
            }
            for node in nodes
        ],
        "configuration": to_dict(plan),
        "versions": versions(),
        "code_fingerprints": _fingerprints(store, nodes),
        "git_commit": git_commit(),
        "hardware": hardware(),
        "report": _report({node.node: node for node in nodes}),
    }


def _fingerprints(store: MetadataStore | None, nodes: list[NodeRun]) -> dict[str, str]:
    """Returns node -> digest of the code that its answer was made by, of those that have one."""
    executions = store.get_executions_by_id([node.execution_id for node in nodes]) if nodes else []
    parameters = {execution.id: flatten(properties(execution)) for execution in executions}
    digests = {node.node: parameters[node.execution_id].get("fingerprint", "") for node in nodes}
    return {name: digest for name, digest in digests.items() if digest}


def write(root: Path, summary: dict) -> None:
    """Writes summary.json."""
    (root / FILE).write_text(json.dumps(summary, indent=1), encoding="utf-8")


def table(summary: dict, task: Task) -> str:
    """Returns the summary as a small table for the terminal."""
    shown = {
        name: task.shown(value) if name.endswith(task.metric) else f"{100 * value:.2f} %"
        for name, value in summary["metrics"].items()
    }
    decimals = max((len(value) for value in shown.values()), default=0)
    rows = [(name.replace("_", " "), f"{value:>{decimals}}") for name, value in shown.items()]
    by_class = summary["metrics_by_class"]
    if 0 < len(by_class) <= MOST_CLASSES_TOLD:
        rows.append(
            (
                "by class",
                ", ".join(f"{name} {task.shown(value)}" for name, value in by_class.items()),
            )
        )
    verdict = {True: "blessed", False: "REFUSED", None: "nothing to bless"}[summary["blessed"]]
    rows.append(("verdict", verdict))
    rows += [("because", reason) for reason in summary["refused_because"]]
    rows += copies_told(summary["held_out_copies"])
    rows.append(("pushed model", summary["pushed_model"] or "none"))
    rows += [(f"{LEFT[node]} left in", path) for node, path in summary["saved"].items() if path]
    rows.append(("time", f"{summary['seconds']:.1f} s"))
    width = max(len(name) for name, _ in rows)
    epochs = ["", show.table(summary["accuracy_by_epoch"])] if summary["accuracy_by_epoch"] else []
    return "\n".join(["", *(f"  {name:<{width}}  {value}" for name, value in rows), *epochs])


def held_out_copies(
    nodes: dict[str, NodeRun],
    plan: Plan,
) -> list[dict[str, str]]:
    """Returns the rows of held out images that are trained on by another name, and of those."""
    uri = _uri(nodes, "FileListExampleGen", "examples")
    found = copies(uri, plan.lists.given()) if uri else []
    return [{"held_out": held_out, "trained_on": trained_on} for held_out, trained_on in found]


def copies_told(found: list[dict[str, str]]) -> list[tuple[str, str]]:
    """Returns lines of the table: the first of what `held_out_copies` found, and a count."""
    line = "{held_out} is held out, and trained on as {trained_on}"
    lines = [("copy", line.format_map(copy)) for copy in found[:MOST_COPIES_TOLD]]
    more = len(found) - len(lines)
    return [*lines, ("copies", f"{more} more, all in {FILE}")] if more else lines


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


def _uri(nodes: dict[str, NodeRun], node: str, key: str) -> str:
    artifacts = nodes[node].outputs.get(key, []) if node in nodes else []
    return artifacts[0].uri if artifacts else ""


def _flag(nodes: dict[str, NodeRun], node: str, key: str, name: str) -> int | None:
    artifacts = nodes[node].outputs.get(key, []) if node in nodes else []
    return (
        artifacts[0].custom_properties[name].int_value
        if artifacts and name in artifacts[0].custom_properties
        else None
    )


def _report(nodes: dict[str, NodeRun]) -> str | None:
    """Returns the run's page, or None where it was not made."""
    path = Path(_uri(nodes, "RunReport", REPORT) or "/nonexistent", REPORT_FILE)
    return str(path) if path.exists() else None


def _blessed(nodes: dict[str, NodeRun]) -> bool | None:
    verdicts = [
        _flag(nodes, "Evaluator", "blessing", "blessed"),
        _flag(nodes, "ModelCheck", "blessing", "blessed"),
    ]
    if "Evaluator" not in nodes:
        return None if verdicts[1] else False
    return all(verdicts)


def _pushed(nodes: dict[str, NodeRun]) -> str:
    artifacts = nodes["Pusher"].outputs.get("pushed_model", []) if "Pusher" in nodes else []
    if not artifacts or not artifacts[0].custom_properties["pushed"].int_value:
        return ""
    return artifacts[0].custom_properties["pushed_destination"].string_value


def _metrics_by_class(nodes: dict[str, NodeRun]) -> dict[str, float]:
    uri = _uri(nodes, "Evaluator", "evaluation")
    return metrics_by_class(uri) if uri else {}


def _metrics_by_node(nodes: dict[str, NodeRun]) -> dict[str, dict[str, float]]:
    metrics = {}
    if uri := _uri(nodes, "Evaluator", "evaluation"):
        metrics["Evaluator"] = evaluated_metrics(uri)
    for node in ("Pretrainer", "Finetuner"):
        file = Path(_uri(nodes, node, "model_run") or "/nonexistent", EVALUATION_FILE)
        if file.exists():
            metrics[node] = measured(json.loads(file.read_text(encoding="utf-8"))["metrics"])
    return metrics


def _accuracy_by_epoch(nodes: dict[str, NodeRun]) -> list[dict]:
    """Returns the rows of components/epoch_evaluation, [] where it did not run."""
    file = Path(_uri(nodes, "EpochEvaluation", "evaluation") or "/nonexistent", EPOCHS_FILE)
    return json.loads(file.read_text(encoding="utf-8"))["rows"] if file.exists() else []


def _refusals(nodes: dict[str, NodeRun]) -> list[str]:
    reasons = []
    if _flag(nodes, "Evaluator", "blessing", "blessed") == 0:
        reasons += evaluator_refusals(_uri(nodes, "Evaluator", "evaluation"))
    if _flag(nodes, "ModelCheck", "blessing", "blessed") == 0:
        reasons.append(model_check_refusal(_uri(nodes, "ModelCheck", "blessing")))
    return reasons
