"""Stands in for a cluster of Kubeflow Pipelines: runs the containers of a compiled pipeline as
processes, one after another, each told what the cluster would tell it and no more.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def run_tasks(spec, folder):
    """Runs every task of a pipeline, in an order that keeps their dependencies.

    Args:
      spec: the pipeline, as plain values.
      folder: of the artifacts: TASK/EXECUTION/OUTPUT.

    Returns:
      Task -> output -> the artifact, as the cluster hands it to other tasks.
    """
    made, waiting = {}, dict(spec["root"]["dag"]["tasks"])
    while waiting:
        ready = [name for name, task in waiting.items() if not _missing(task, made)]
        for name in ready:
            made[name] = _run(spec, name, waiting.pop(name), made, folder / name / "0")
    return made


def _missing(task, made):
    return set(task.get("dependentTasks", ())) - made.keys()


def _run(spec, name, task, made, folder):
    component = spec["components"][task["componentRef"]["name"]]
    container = spec["deploymentSpec"]["executors"][component["executorLabel"]]["container"]
    told = _told(component, task, made, folder)
    arguments = [one.replace("{{$}}", json.dumps(told)) for one in container["args"]]
    python, *command = container["command"]
    assert python == "python"
    folder.mkdir(parents=True)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
    environment.pop("SIMCLR_METADATA", None)
    environment |= {one["name"]: one["value"] for one in container.get("env", ())}
    ended = subprocess.run(
        [sys.executable, *command, *arguments],
        cwd=folder, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert ended.returncode == 0, f"{name}: {ended.stderr[-2000:]}"
    answer = json.loads(Path(told["outputs"]["outputFile"]).read_text()).get("artifacts", {})
    given = told["outputs"]["artifacts"]
    return {key: given[key]["artifacts"][0] | answer[key]["artifacts"][0] for key in given}


def _told(component, task, made, folder):
    """Returns what stands for `{{$}}` in a container's arguments."""
    inputs = task.get("inputs", {})
    sources = {key: one["taskOutputArtifact"] for key, one in inputs.get("artifacts", {}).items()}
    outputs = component.get("outputDefinitions", {}).get("artifacts", {})
    return {
        "inputs": {
            "parameterValues": {
                key: one["runtimeValue"]["constant"]
                for key, one in inputs.get("parameters", {}).items()
            },
            "artifacts": {
                key: {"artifacts": [made[one["producerTask"]][one["outputArtifactKey"]]]}
                for key, one in sources.items()
            },
        },
        "outputs": {
            "artifacts": {
                key: {"artifacts": [{"name": f"{folder.parent.name}.{key}",
                                     "uri": str(folder / key), "type": one["artifactType"]}]}
                for key, one in outputs.items()
            },
            "outputFile": str(folder / "answer.json"),
        },
    }  # fmt: skip
