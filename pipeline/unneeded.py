"""What lies in a pipeline root and is needed by no model that is kept, and how it goes.

The index of ingested images stays, by which lineage finds what an image was used for.
"""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ml_metadata.errors import StatusError
from ml_metadata.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as mlmd

from components.file_list_example_gen import image_index
from components.metadata.names import PUSHED_DESTINATION
from components.metadata.snapshot import Artifact, Snapshot, read
from components.metadata.store import mark
from components.metadata.stored_run import StoredRun
from pipeline.faults import FULL
from pipeline.root import Root
from pipeline.save_paths import IMPORTED
from pipeline.summary import ROOT
from trainer_module.findings import counted
from trainer_module.finished import CHECKPOINTS

MOST_SHOWN = 20
CURRENT_MODEL = "current_model_id"  # TFX's property of a blessing
ENDED = ("done", "refused")  # states of a run
LEFT_BEHIND = ("failed", "canceled")  # states of a node whose folders nobody reads


@dataclass(frozen=True)
class Removal:
    """A folder to remove, and the artifacts that lie in it: none where a killed node left it."""

    path: Path
    size: int  # bytes
    artifacts: tuple[int, ...] = ()


def removals(root: Root, store: MetadataStore, keep: int) -> list[Removal]:
    """Returns what can be removed from a root, the largest first.

    Args:
      root: whose lock is held.
      store: its metadata, which other roots may share.
      keep: how many of the newest pushed models to keep.
    """
    snapshot = read(store)
    needed = _needed(snapshot, root, keep)
    by_place: dict[Path, list[int]] = {}
    for number, artifact in snapshot.artifacts.items():
        for place in (*_own(artifact, root), *_served(artifact, root)):
            by_place.setdefault(place, []).append(number)
    # A folder may be several artifacts, as an encoder that was imported twice.
    unneeded = {place: found for place, found in by_place.items() if needed.isdisjoint(found)}
    unneeded |= dict.fromkeys(_left_behind(snapshot, root), ())
    found = [Removal(place, _size(place), tuple(ids)) for place, ids in unneeded.items()]
    return sorted((one for one in found if _content(one.path)), key=lambda one: -one.size)


def lines(found: list[Removal], root: Path) -> Iterator[str]:
    """Yields what is to be removed, for a person, and how much that is."""
    shown, rest = found[:MOST_SHOWN], found[MOST_SHOWN:]
    for removal in shown:
        yield f"{removal.size / 1e6:10.1f} MB  {removal.path.relative_to(root)}"
    if rest:
        yield f"{_megabytes(rest)}  in {counted(len(rest), 'more folder')}"
    yield f"{_megabytes(found)}  in all, {counted(len(found), 'folder')}"


def _megabytes(found: list[Removal]) -> str:
    return f"{sum(one.size for one in found) / 1e6:10.1f} MB"


def remove(found: list[Removal], root: Root) -> None:
    """Removes folders, their artifacts marked first: what a kill leaves is found once more.

    Raises:
      OSError: if a folder cannot be removed.
    """
    entered = [removal for removal in found if removal.artifacts]
    for removal in found:
        if not removal.artifacts:
            _empty(removal.path)
    _mark(entered, root)
    for removal in entered:
        _empty(removal.path)


def _mark(entered: list[Removal], root: Root) -> None:
    """Marks artifacts as deleted. Where the disk is full, the store has no room for a mark before
    something is gone: then folder after folder goes first.
    """
    numbers = [number for removal in entered for number in removal.artifacts]
    waiting = iter(entered)
    while numbers:
        store = root.open_store()  # anew: one that had no room holds its transaction open
        try:
            return mark(store, numbers, mlmd.Artifact.DELETED)
        except StatusError as error:
            removal = next(waiting, None) if FULL.search(str(error)) else None
            if removal is None:
                raise
            _empty(removal.path)


def _needed(snapshot: Snapshot, root: Root, keep: int) -> set[int]:
    """Returns the artifacts that the kept runs read or made, and what those were made from; on a
    server also all that runs of other roots read or made.
    """
    needed = _of_others(snapshot, root)
    for run_id in _kept_runs(snapshot, root, keep):
        for number in snapshot.runs[run_id].executions:
            execution = snapshot.executions[number]
            needed.update(item for items in execution.inputs.values() for item in items)
            for ancestor in snapshot.ancestors(execution).values():
                needed.update(item for items in ancestor.outputs.values() for item in items)
    # A model that another was held against is found again by its blessings.
    blessings = {
        number
        for number, item in snapshot.artifacts.items()
        if item.properties.get(CURRENT_MODEL) in needed
    }
    return needed | blessings


def _of_others(snapshot: Snapshot, root: Root) -> set[int]:
    """Returns the artifacts of runs of other roots, which find in the cache what was made here."""
    if not root.server:
        return set()
    own = _own_runs(snapshot, root)
    others = [one for one in snapshot.executions.values() if one.run_id not in own]
    return {
        item
        for execution in others
        for items in (*execution.inputs.values(), *execution.outputs.values())
        for item in items
    }


def _own_runs(snapshot: Snapshot, root: Root) -> set[str]:
    """Returns the runs of a root: those that say so, and of those that do not, as earlier versions
    had it, the ones that made something there.
    """
    made = [item for item in snapshot.artifacts.values() if item.maker in snapshot.executions]
    makers = {snapshot.executions[item.maker].run_id for item in made if _own(item, root)}
    makers.add(root.record().get("run_id", ""))  # it may have made nothing yet
    here = str(root.path.resolve())
    told = {run.id for run in snapshot.runs.values() if run.facts.get(ROOT) == here}
    return told | makers


def _kept_runs(snapshot: Snapshot, root: Root, keep: int) -> set[str]:
    """Returns the runs that pushed the newest models, the newest that finished, and the latest."""
    made = [item for item in snapshot.artifacts.values() if item.maker in snapshot.executions]
    pushed = [snapshot.executions[item.maker].run_id for item in made if _served(item, root)]
    own = _own_runs(snapshot, root)  # other roots may share the store
    runs = [run_id for run_id in snapshot.runs if run_id in own]
    ended = [run_id for run_id in runs if StoredRun(snapshot, run_id).state in ENDED]
    latest = [run_id for run_id in runs if run_id == root.record().get("run_id")] or runs[-1:]
    return {*pushed[-keep:], *ended[-1:], *latest}


def _own(artifact: Artifact, root: Root) -> list[Path]:
    """Returns the folder of an artifact, if it is there and where a run puts one."""
    below = {root.artifacts: 3, root.path / IMPORTED: 1}  # NODE/KEY/EXECUTION, FINGERPRINT
    return [place for folder, depth in below.items() for place in _in(artifact.uri, folder, depth)]


def _served(artifact: Artifact, root: Root) -> list[Path]:
    """Returns the folder that a model was pushed to, if it is there."""
    told = artifact.properties
    return _in(str(told[PUSHED_DESTINATION]), root.serving, 1) if told.get("pushed") else []


def _in(path: str, folder: Path, depth: int) -> list[Path]:
    """Returns the folder of a path, if it is there, so many levels below another, through no link
    that leads out of that.
    """
    place, folder = Path(path).resolve(), folder.resolve()
    inside = path.startswith("/") and place.is_relative_to(folder) and place.is_dir()
    return [place] if inside and len(place.relative_to(folder).parts) == depth else []


def _left_behind(snapshot: Snapshot, root: Root) -> Iterator[Path]:
    """Yields what nodes left that did not end: outputs that no artifact stands for, and
    checkpoints where no run waits to be continued.
    """
    record = root.record()
    waiting = "" if record.get("finished", True) else record["run_id"]
    for execution in snapshot.executions.values():
        lost = execution.state in LEFT_BEHIND and not execution.outputs
        if lost and execution.run_id != waiting:
            yield from root.artifacts.glob(f"{execution.node}/[!.]*/{execution.id}")
    if not waiting:
        yield from root.artifacts.glob(f"*/{CHECKPOINTS}/*")


def _content(folder: Path) -> list[Path]:
    """Returns what goes of a folder: all but the index of ingested images."""
    return [path for path in folder.iterdir() if path.name != image_index.FOLDER]


def _size(folder: Path) -> int:
    files = [path for part in _content(folder) for path in (part, *part.rglob("*"))]
    return sum(os.lstat(path).st_size for path in files)


def _empty(folder: Path) -> None:
    """Removes what goes of a folder, and the folder itself where nothing stays."""
    for path in _content(folder) if folder.is_dir() else ():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
