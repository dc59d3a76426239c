"""What each container of Kubeflow and Vertex runs: TFX's own program for one node, with artifacts
under paths of the container.

Our nodes open their files by name. An orchestrator names artifacts by the URI of an object store,
and shows each under a path of the container, too: Vertex by mounts, Kubeflow by copying what a node
reads before it and what it wrote after it. Here URIs become these paths, and paths URIs again in
what is answered. Beside examples and logs of training the node's parameters are left, of which the
report tells: no container gets at the store.
"""

import json
import os
import runpy
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from components.metadata.names import PARAMETERS_FILE
from pipeline.orchestrators.names import CHECKPOINTS_VARIABLE
from trainer_module.finished import CHECKPOINTS, remove_finished

PROGRAM = "tfx.orchestration.kubeflow.v2.container.kubeflow_v2_run_executor"
MOUNTS = {"gs://": "/gcs/", "s3://": "/s3/", "minio://": "/minio/"}
ARGUMENT = "--json_serialized_invocation_args"  # of TFX's program
MODEL_RUN = "model_run"
TOLD_OF = ("examples", MODEL_RUN)  # outputs beside which parameters are left


def main(arguments: list[str]) -> None:
    """Runs the node that the orchestrator's arguments describe."""
    place = arguments.index(ARGUMENT) + 1
    told = json.loads(arguments[place])
    for artifact in _artifacts(told, "inputs", "outputs"):
        artifact["uri"] = local(artifact["uri"])
        artifact["name"] = artifact.get("name") or artifact["uri"]  # which TFX makes an id of
    told["outputs"]["outputFile"] = local(told["outputs"]["outputFile"])
    for artifact in _artifacts(told, "outputs"):
        Path(artifact["uri"]).mkdir(parents=True, exist_ok=True)
    if kept := os.environ.get(CHECKPOINTS_VARIABLE):
        keep_checkpoints(told, Path(kept))
    arguments[place] = json.dumps(told)
    _run(arguments)
    _leave_parameters(told)
    _answer(Path(told["outputs"]["outputFile"]))


def local(uri: str) -> str:
    """Returns the path of the container under which an object of a store is shown."""
    return _begun_anew(uri, MOUNTS.items())


def remote(path: str) -> str:
    """Returns the URI of what is shown under a path of the container."""
    return _begun_anew(path, ((mount, scheme) for scheme, mount in MOUNTS.items()))


def _begun_anew(text: str, beginnings: Iterable[tuple[str, str]]) -> str:
    for old, new in beginnings:
        if text.startswith(old):
            return new + text.removeprefix(old)
    return text


def _artifacts(told: dict, *sides: str) -> Iterator[dict]:
    for side in sides:
        for named in told.get(side, {}).get("artifacts", {}).values():
            yield from named.get("artifacts", [])


def _run(arguments: list[str]) -> None:
    """Runs TFX's program, which knows the types of TFX alone."""
    from pipeline.compiled import load_libraries

    load_libraries()
    from tfx.orchestration.kubeflow.v2 import compiler_utils
    from tfx.utils.name_utils import get_full_name

    from components.report.component import HtmlReport

    compiler_utils.TITLE_TO_CLASS_PATH[HtmlReport.TYPE_NAME] = get_full_name(HtmlReport)
    sys.argv = [sys.argv[0], *arguments]
    try:
        runpy.run_module(PROGRAM, run_name="__main__")
    except SystemExit as ended:  # absl's way to end, also a good one
        if ended.code:
            raise


def keep_checkpoints(told: dict, folder: Path) -> None:
    """Has checkpoints, which a Trainer leaves beside its outputs, lie in a folder that outlives
    the container: the node that is tried again goes on from them.

    A node that trains nothing comes after those that did, or before, and removes what is finished.
    """
    folder.mkdir(parents=True, exist_ok=True)
    trained = told["outputs"].get("artifacts", {}).get(MODEL_RUN, {}).get("artifacts", [])
    if not trained:
        remove_finished(folder)
    for artifact in trained:
        beside = Path(artifact["uri"]).parents[1] / CHECKPOINTS
        if not beside.is_symlink():
            beside.symlink_to(folder, target_is_directory=True)


def _leave_parameters(told: dict) -> None:
    parameters = told.get("inputs", {}).get("parameterValues", {})
    for key in TOLD_OF:
        for artifact in told["outputs"].get("artifacts", {}).get(key, {}).get("artifacts", []):
            Path(artifact["uri"], PARAMETERS_FILE).write_text(
                json.dumps(parameters), encoding="utf-8"
            )


def _answer(file: Path) -> None:
    """Has TFX's answer name artifacts by their URIs."""
    answer = json.loads(file.read_text(encoding="utf-8"))
    for artifact in _artifacts({"outputs": answer}, "outputs"):
        artifact["uri"] = remote(artifact["uri"])
    file.write_text(json.dumps(answer), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
