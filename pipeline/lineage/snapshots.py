"""The store of a pipeline root, wherever that is now, read once for all questions."""

import os
import time
from pathlib import Path

from ml_metadata.errors import StatusError

from components.metadata.names import RUN_FILE
from components.metadata.snapshot import Snapshot, read
from components.metadata.store import open_store
from components.metadata.url import SQLITE_FILE, without_password
from pipeline.lineage.at_home import at_home
from pipeline.terminal import libraries_to_log
from trainer_module.errors import InputError
from trainer_module.whole_files import read_json

ATTEMPTS, PAUSE = 5, 0.1  # a run writes for milliseconds; seconds, doubled each time


def snapshot_of(root: Path) -> Snapshot:
    """Reads the store of a pipeline root, which may have been moved.

    Raises:
      InputError: if there is none, or it cannot be read.
    """
    return at_home(snapshot_at(metadata_of(root)), root)


def snapshot_at(metadata: str) -> Snapshot:
    """Reads the store that lies there, again if a run is just writing to it.

    Raises:
      InputError: if it cannot be read.
    """
    for attempt in range(ATTEMPTS):
        try:
            with libraries_to_log(os.devnull):  # ML Metadata prints what its exceptions say
                return read(open_store(metadata))
        except StatusError as error:
            failure = error
            time.sleep(PAUSE * 2**attempt)
    raise InputError(f"{without_password(metadata)}: cannot be read: {failure}") from failure


def metadata_of(root: Path) -> str:
    """Returns where the metadata of a pipeline root lies: on the server that its latest run used,
    or in the root.

    Raises:
      InputError: if there is none.
    """
    server = read_json(root / RUN_FILE).get("metadata", "")
    file = root / SQLITE_FILE
    if server or file.is_file():
        return server or str(file)
    others = [str(found.parent) for found in sorted(root.parent.glob(f"*/{SQLITE_FILE}"))]
    hint = f"There are {', '.join(others)}" if others else "Name the folder of a run"
    raise InputError(f"{root}: no pipeline root, it has no {SQLITE_FILE}. {hint}: --pipeline_root")
