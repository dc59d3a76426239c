"""What a run amounted to: `summary.json` for programs, a table for people. Read from ML Metadata and the artifacts."""

import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

from pipeline.config import Configuration, to_dict
from pipeline.fingerprint import code_fingerprint
from pipeline.store import NodeRun, node_runs, open_store

FILE = "summary.json"
EVALUATION_FILE = "linear_evaluation.json"  # the Finetuner's own comparison, see trainer_module/finetune_run_fn.py
LIBRARIES = ("tfx", "tensorflow", "keras", "apache-beam", "tensorflow-transform", "tensorflow-model-analysis", "ml-metadata")

CODE = {
    "FileListExampleGen": "components.file_list_example_gen.executor",
    "Transform": "trainer_module.preprocessing",
    "Pretrainer": "trainer_module.pretrain_run_fn",
    "Finetuner": "trainer_module.finetune_run_fn",
}


def collect(root: Path, configuration: Configuration, run_id: str, seconds: float) -> dict:
    """Returns the summary of a finished run.

    Args:
      root: pipeline root.
      configuration: of the run.
      run_id: of the run.
      seconds: wall time.
    """
    nodes = {node.node: node for node in node_runs(open_store(str(root / "metadata.sqlite")), run_id)}
    blessed = _blessed(nodes)
    return {
        **unfinished(root, configuration, run_id, "refused" if blessed is False else "done"),
        "seconds": round(seconds, 1),
        "metrics": _metrics(nodes),
        "blessed": blessed,
        "pushed_model": _pushed(nodes),
        "refused_because": _refusals(nodes),
    }


def unfinished(root: Path, configuration: Configuration, run_id: str, state: str) -> dict:
    """Returns the part of a summary that every run has, even one that failed."""
    metadata = root / "metadata.sqlite"
    nodes = node_runs(open_store(str(metadata)), run_id) if metadata.exists() else []
    return {
        "run_id": run_id,
        "state": state,
        "components": [
            {"id": node.node, "state": node.state, "seconds": round(node.seconds, 1), "cached": node.state == "cached"} for node in nodes
        ],
        "configuration": to_dict(configuration),
        "versions": {library: importlib.metadata.version(library) for library in LIBRARIES},
        "code_fingerprints": {node: code_fingerprint(module) for node, module in CODE.items()},
        "git_commit": git_commit(),
        "hardware": hardware(),
        "report": None,  # no HTML report is made yet
    }


def write(root: Path, summary: dict) -> None:
    """Writes summary.json."""
    (root / FILE).write_text(json.dumps(summary, indent=1), encoding="utf-8")


def table(summary: dict) -> str:
    """Returns the summary as a small table for the terminal."""
    metrics = summary["metrics"]
    rows = [(name.replace("_", " "), f"{100 * value:6.2f} %") for name, value in metrics.items() if isinstance(value, float)]
    verdict = {True: "blessed", False: "REFUSED", None: "nothing to bless"}[summary["blessed"]]
    rows.append(("verdict", verdict))
    rows += [("because", reason) for reason in summary["refused_because"]]
    rows.append(("pushed model", summary["pushed_model"] or "none"))
    rows.append(("time", f"{summary['seconds']:.1f} s"))
    width = max(len(name) for name, _ in rows)
    return "\n".join(["", *(f"  {name:<{width}}  {value}" for name, value in rows)])


def hardware() -> str:
    """Returns the processor's name, the number of cores, and the names of the GPUs that TensorFlow has seen."""
    names = [line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    gpus = []
    if "tensorflow" in sys.modules:
        config = sys.modules["tensorflow"].config
        gpus = [config.experimental.get_device_details(gpu).get("device_name", "GPU") for gpu in config.list_physical_devices("GPU")]
    return ", ".join([f"{names[0] if names else platform.processor()}, {os.cpu_count()} cores", *gpus])


def _lines(path: str) -> list[str]:
    return Path(path).read_text(encoding="utf-8").splitlines() if Path(path).exists() else []


def git_commit() -> str:
    """Returns the commit of the project's working tree, with `+` if it has changes, or '' outside a repository."""
    folder = Path(__file__).resolve().parent

    def git(*arguments: str) -> str:
        try:
            return subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True).stdout.strip()
        except (OSError, subprocess.CalledProcessError):
            return ""

    commit = git("rev-parse", "--short=12", "HEAD")
    return commit + "+" if commit and git("status", "--porcelain", "--untracked-files=no") else commit


def _uri(nodes: dict[str, NodeRun], node: str, key: str) -> str:
    artifacts = nodes[node].outputs.get(key, []) if node in nodes else []
    return artifacts[0].uri if artifacts else ""


def _flag(nodes: dict[str, NodeRun], node: str, key: str, name: str) -> int | None:
    artifacts = nodes[node].outputs.get(key, []) if node in nodes else []
    return artifacts[0].custom_properties[name].int_value if artifacts and name in artifacts[0].custom_properties else None


def _blessed(nodes: dict[str, NodeRun]) -> bool | None:
    verdicts = [_flag(nodes, "Evaluator", "blessing", "blessed"), _flag(nodes, "ModelCheck", "blessing", "blessed")]
    if "Evaluator" not in nodes:
        return None if verdicts[1] else False
    return all(verdicts)


def _pushed(nodes: dict[str, NodeRun]) -> str:
    artifacts = nodes["Pusher"].outputs.get("pushed_model", []) if "Pusher" in nodes else []
    if not artifacts or not artifacts[0].custom_properties["pushed"].int_value:
        return ""
    return artifacts[0].custom_properties["pushed_destination"].string_value


def _metrics(nodes: dict[str, NodeRun]) -> dict:
    metrics = {}
    if uri := _uri(nodes, "Evaluator", "evaluation"):
        import tensorflow_model_analysis as tfma

        overall = dict(tfma.load_eval_result(uri).slicing_metrics)[()]
        values = {name: value["doubleValue"] for name, value in overall[""][""].items() if "doubleValue" in value}
        metrics = {name: values[name] for name in ("accuracy", "mean_iou", "mean_absolute_error") if name in values}
    for node in ("Pretrainer", "Finetuner"):
        file = Path(_uri(nodes, node, "model_run") or "/nonexistent", EVALUATION_FILE)
        if file.exists():
            metrics |= json.loads(file.read_text(encoding="utf-8"))["metrics"]
    return metrics


def _refusals(nodes: dict[str, NodeRun]) -> list[str]:
    reasons = []
    if _flag(nodes, "Evaluator", "blessing", "blessed") == 0:
        import tensorflow_model_analysis as tfma

        result = tfma.load_validation_result(_uri(nodes, "Evaluator", "evaluation"))
        for item in result.metric_validations_per_slice:
            reasons += [_refusal(failure) for failure in item.failures]
    if _flag(nodes, "ModelCheck", "blessing", "blessed") == 0:
        report = json.loads(Path(_uri(nodes, "ModelCheck", "blessing"), "report.json").read_text(encoding="utf-8"))
        reasons.append("the served model fails: " + (report["error"].strip().splitlines() or ["the process died without a word"])[-1])
    return reasons


def _refusal(failure) -> str:
    threshold = failure.metric_threshold
    name, value = failure.metric_key.name, failure.metric_value.double_value.value
    if threshold.HasField("value_threshold"):
        return f"{name} {value:.4f} is below the least accepted, {threshold.value_threshold.lower_bound.value:.4f}"
    least = threshold.change_threshold.absolute.value
    return f"{name} changed by {value:+.4f} against the latest blessed model; the least accepted is {least:+.4f}"
