"""Which model a tool asks: a SavedModel, the newest of a folder of versions, or the newest that was
pushed in a pipeline root, where it tells what became of the newest run if that pushed none.

Nothing heavy is imported before something is to be told.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path

from components.metadata.names import RUN_FILE, SAVED_MODEL, SERVING
from trainer_module.errors import InputError
from trainer_module.saved_encoder import EXTRAS, TASK_FILE
from trainer_module.tasks.registry import task_from_json
from trainer_module.tasks.task import Task
from trainer_module.tasks.unlabelled import Unlabelled
from trainer_module.whole_files import read_json

WHOLE_COPY = "Fix: a whole copy of the folder, or another model"


def asked_model(path: Path) -> Path:
    """Returns the SavedModel folder that `path` means; tells on stderr where the newest run of a
    pipeline root was refused, failed, or has not ended, so that an older model answers.

    Raises:
      ValueError: if there is none; of a pipeline root with the reason.
    """
    root = path.parent if path.name == SERVING else path
    run = _newest_run(root)
    try:
        found = newest_model(path)
    except ValueError as error:
        if not run:
            raise
        raise ValueError(
            f"{path}: no model was pushed; the newest run {_came_to(run)}{_of_the_run(root, run)}"
        ) from error
    if run.get("state", "done") != "done":
        print(
            f"Note: the newest run {_came_to(run)}. The model that answers is version "
            f"{found.name}{_by_run(found)}{_of_the_run(root, run)}",
            file=sys.stderr,
        )
    return found


def newest_model(path: Path) -> Path:
    """Returns the SavedModel folder that `path` means.

    Raises:
      ValueError: if there is none.
    """
    candidates = [path, *_versions(path), *_versions(path / SERVING)]
    found = [candidate for candidate in candidates if (candidate / "saved_model.pb").is_file()]
    if not found:
        raise ValueError(
            f"{path}: no model here; expected a SavedModel, a folder of versions, or a pipeline "
            f"root with a pushed model"
        )
    return found[0]


def refuse_within(model_dir: Path, output: Path) -> None:
    """Refuses a file or folder to write that would lie in the folder of a model: what was pushed
    stays as it was judged.

    Raises:
      InputError: naming both.
    """
    folder, place = model_dir.resolve(), output.absolute()
    place = place.parent.resolve() / place.name
    if place.is_relative_to(folder):
        raise InputError(
            f"`--output` must lie outside the folder of the model, {folder}. Received: {place}. "
            f"Fix: --output in another folder"
        )


def task_of(model_dir: Path) -> Task:
    """Returns the task that a model answers: none where it does not tell, as an encoder.

    Raises:
      InputError: naming the file, if that tells no task.
    """
    file = model_dir / EXTRAS / TASK_FILE
    if not file.is_file():
        return Unlabelled()
    try:
        return task_from_json(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{file}: cannot be used: {error}. {WHOLE_COPY}") from error


def loaded(model_dir: Path, signature: str) -> Callable:
    """Loads a SavedModel and returns one of its signatures, from `image_bytes` to named tensors.

    Raises:
      InputError: naming the folder, if it cannot be loaded or has no such signature.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow as tf

    try:
        signatures = tf.saved_model.load(str(model_dir)).signatures
    except (OSError, ValueError, tf.errors.OpError) as error:
        reason = str(error).partition("\n")[0]
        raise InputError(
            f"{model_dir}: the model cannot be loaded: {reason}. {WHOLE_COPY}"
        ) from error
    if signature not in signatures:
        raise InputError(
            f"{model_dir}: the model serves no `{signature}`, it was made by an older version, or "
            f"by another program; train it again"
        )
    return signatures[signature]


def model_of(model_dir: Path) -> tuple | None:
    """Returns a Snapshot of the pipeline root that a SavedModel lies in, and the Model that it is;
    None where it lies in no root, or the store does not know it.
    """
    from pipeline.lineage.models import find_model

    root = _root_around(model_dir)
    if root is None:
        return None
    try:
        snapshot = _snapshot(root)
        return snapshot, find_model(snapshot, str(_place(model_dir)))
    except ValueError:
        return None


def name_of(model_dir: Path) -> str:
    """Returns a name for a SavedModel: that of its pipeline root and its number, as
    demo-1795601621; outside a root that of its folder.
    """
    root = _root_around(model_dir)
    name = _place(model_dir).name
    return f"{root.name}-{name}" if root else name


def _root_around(model_dir: Path) -> Path | None:
    folders = model_dir.resolve().parents
    return next((folder for folder in folders if (folder / RUN_FILE).is_file()), None)


def _place(model_dir: Path) -> Path:
    """Returns the folder by which the store names a SavedModel."""
    place = model_dir.resolve()
    return place.parent if place.name == SAVED_MODEL else place


def _versions(folder: Path) -> list[Path]:
    names = (
        [child for child in folder.iterdir() if child.name.isdecimal()] if folder.is_dir() else []
    )
    return sorted(names, key=lambda child: int(child.name), reverse=True)


def _newest_run(root: Path) -> dict:
    """Returns id, state and `refused_because` of a root's newest run; {} where there is no root."""
    from pipeline.summary import SUMMARY_FILE

    record, told = read_json(root / RUN_FILE), read_json(root / SUMMARY_FILE)
    if not record.get("run_id"):
        return {}
    if told.get("run_id") != record["run_id"]:  # it has left no word, as one that goes on
        told = {"state": "unfinished"}
    return {"refused_because": []} | told | {"run_id": record["run_id"]}


def _came_to(run: dict) -> str:
    """Returns what to tell of a run: its id, and how it ended."""
    state = run["state"]
    why = "; ".join(run["refused_because"])
    ends = {
        "refused": f"was refused: {why}" if why else "was refused",
        "stopped": f"was stopped by {run.get('stopped_by')}",
        "failed": "failed",
        "unfinished": "has not ended",
    }
    return f"{run['run_id']} {ends.get(state, 'pushed none')}"


def _by_run(model_dir: Path) -> str:
    """Returns how a pushed model was judged, and which run made it."""
    from components.metadata.names import EVALUATOR
    from pipeline.lineage.models import judgement

    if not (known := model_of(model_dir)):
        return ""
    snapshot, model = known
    said = judgement(snapshot, model).blessed
    word = "blessed" if EVALUATOR in said and all(said.values()) else "judged by no metric"
    return f", {word}, of run {model.maker.run_id}"


def _of_the_run(root: Path, run: dict) -> str:
    """Returns the sentence that names the model of a run that was refused, '' of any other."""
    from components.metadata.names import TRAINERS
    from components.metadata.stored_run import StoredRun

    if run["state"] != "refused":
        return ""
    try:
        stored = StoredRun(_snapshot(root), run["run_id"])
    except InputError:
        return ""
    models = [newest for node in TRAINERS for newest in _saved(stored.uri(node, "model"))]
    return f"\nTo ask the refused model all the same, name it: {models[-1]}" if models else ""


def _saved(uri: str) -> list[Path]:
    folder = Path(uri, SAVED_MODEL)
    return [folder] if uri and folder.is_dir() else []


def _snapshot(root: Path):
    from pipeline.lineage.snapshots import snapshot_of

    return snapshot_of(root)
