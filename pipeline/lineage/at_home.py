"""A pipeline root that was moved or copied since: the store names artifacts by the absolute paths
at which they were made, and here they are taken from where the root is now.
"""

from dataclasses import replace
from pathlib import Path

from components.metadata.names import PUSHED_DESTINATION
from components.metadata.snapshot import Artifact, Snapshot
from pipeline.root import root_of_artifact


def at_home(snapshot: Snapshot, root: Path) -> Snapshot:
    """Returns a snapshot whose artifacts are those that lie in a pipeline root, where they do.

    Args:
      snapshot: of the store.
      root: the folder that holds the store.
    """
    here = root.resolve()
    made_in = {root_of_artifact(item.uri) for item in snapshot.artifacts.values()}
    places = made_in - {None, here}
    if not places:
        return snapshot
    found = {number: _moved(item, places, here) for number, item in snapshot.artifacts.items()}
    return replace(snapshot, artifacts=found)


def _moved(item: Artifact, places: set[Path], here: Path) -> Artifact:
    properties = dict(item.properties)
    if destination := properties.get(PUSHED_DESTINATION):
        properties[PUSHED_DESTINATION] = _path_now(str(destination), places, here)
    return replace(item, uri=_path_now(item.uri, places, here), properties=properties)


def _path_now(path: str, places: set[Path], here: Path) -> str:
    for place in places:
        if Path(path).is_relative_to(place):
            now = here / Path(path).relative_to(place)
            return str(now) if now.exists() else path
    return path
