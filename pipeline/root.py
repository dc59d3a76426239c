"""The folder of a pipeline: what lies in it, and whether a run can go on there.

What is asked of it once it is held (lock.py), before a run writes anything: it is where its
artifacts were made, its metadata store is the one that numbered them, and the clock has not gone
back behind its models.
"""

import os
import shlex
import sqlite3
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from ml_metadata.metadata_store import MetadataStore

from components.metadata.names import ARTIFACTS, RUN_FILE, SERVING
from components.metadata.snapshot import read
from components.metadata.store import artifacts_that_count, last_execution_id, open_store
from components.metadata.stored_run import StoredRun
from components.metadata.url import SQLITE_FILE
from pipeline.faults import fault
from trainer_module.errors import InputError
from trainer_module.finished import CHECKPOINTS
from trainer_module.whole_files import read_json, write_json

PATIENCE = 3.0  # seconds for another program to let go of the store
PRIVATE = 0o600  # the store and the logs tell paths, names of images and flags


@dataclass(frozen=True)
class Root:
    """The folder of a pipeline: artifacts, metadata, pushed models, logs, and the record of the
    latest run.

    `server` is a mysql://... URL, or '' for metadata in a SQLite file of the folder.
    """

    path: Path
    server: str = ""

    @property
    def metadata(self) -> str:
        """Where ML Metadata's store lies, as `open_store` takes it."""
        return self.server or str(self.path / SQLITE_FILE)

    @property
    def has_metadata(self) -> bool:
        """Tells whether there can be something in the store."""
        return bool(self.server) or Path(self.metadata).exists()

    def open_store(self) -> MetadataStore:
        """Opens the store to write into it; a new file is for its owner alone."""
        if not self.server:
            os.close(os.open(self.metadata, os.O_RDWR | os.O_CREAT, PRIVATE))
        return open_store(self.metadata, read_only=False)

    def stored_run(self, run_id: str) -> StoredRun:
        """Reads a run of the store as it is now."""
        return StoredRun(read(open_store(self.metadata), run_id), run_id)

    @property
    def artifacts(self) -> Path:
        """What the nodes made: NODE/KEY/EXECUTION."""
        return self.path / ARTIFACTS

    @property
    def serving(self) -> Path:
        """Pushed models, one numbered folder each."""
        return self.path / SERVING

    @property
    def run_file(self) -> Path:
        """The record of the latest run: id, flags, digest of the graph, whether it finished."""
        return self.path / RUN_FILE

    def record(self) -> dict:
        """Returns the record of the latest run; an empty one where there is none, or a damaged
        one.
        """
        return read_json(self.run_file)

    @property
    def waits(self) -> bool:
        """Whether its latest run was begun and did not finish."""
        return not self.record().get("finished", True)

    def write_record(self, **values) -> None:
        """Replaces the record in one step, so that a kill leaves the old or the new one."""
        write_json(self.run_file, values)


def refuse_unfit(root: Root) -> None:
    """Refuses a root in which a run would lose or overwrite something; the caller holds its lock.

    Raises:
      InputError: naming what is wrong and the fix.
    """
    if not root.server and root.has_metadata:
        _refuse_held(root.metadata)
        os.chmod(root.metadata, PRIVATE)
    try:
        store = root.open_store()
    except (InputError, OSError) as error:
        raise InputError(fault(error, root.path) or str(error)) from error
    refuse_moved(root, store)
    _refuse_strange_numbers(root, store)
    _refuse_early_clock(root)


def _refuse_held(file: str) -> None:
    """Refuses a SQLite file that cannot be written now; ML Metadata would try for 40 s."""
    with closing(sqlite3.connect(file, timeout=PATIENCE, isolation_level=None)) as database:
        try:
            database.execute("BEGIN IMMEDIATE")
            database.execute("ROLLBACK")
        except sqlite3.OperationalError as error:
            raise InputError(
                f"The metadata store {file} must be there to be written, and not be held by "
                f"another program. Received: {error}. Fix: close that program, then start again"
            ) from error
        except sqlite3.DatabaseError as error:
            raise InputError(
                f"The metadata store {file} is damaged: {error}. Fix: put a copy of it back, or "
                f"begin in another --pipeline_root"
            ) from error


def refuse_moved(root: Root, store: MetadataStore) -> None:
    """Refuses a root whose artifacts were made at another place that is gone: the store names them
    by their absolute paths, and a run would neither find nor replace them.

    Raises:
      InputError: naming both places.
    """
    for place in sorted(_places_of_artifacts(root, store)):
        if not place.exists():
            link = f"ln -s {shlex.quote(str(root.path))} {shlex.quote(str(place))}"
            raise InputError(
                f"The pipeline root {root.path} was {place} when its artifacts were made; the "
                f"metadata store names them there. Fix: move it back, or leave a link there: "
                f"{link} ; or begin in another --pipeline_root"
            )
        if place.resolve() != root.path.resolve():
            print(f"Note: artifacts of earlier runs of {root.path} lie in {place} and are used")


def _places_of_artifacts(root: Root, store: MetadataStore) -> set[Path]:
    """Returns the pipeline roots below which the store says that this one's artifacts lie."""
    if root.server:  # other roots may share it
        run_id = root.record().get("run_id", "")
        uris = [item.uri for item in read(store, run_id).artifacts.values()] if run_id else []
    else:
        uris = [item.uri for item in artifacts_that_count(store)]
    return {root_of_artifact(uri) for uri in uris} - {None}


def root_of_artifact(uri: str) -> Path | None:
    """Returns the pipeline root that an artifact was made in: ROOT/artifacts/NODE/KEY/EXECUTION;
    None of one that was made elsewhere.
    """
    above = Path(uri).parents
    is_ours = uri.startswith("/") and len(above) > 3 and above[2].name == ARTIFACTS
    return above[3] if is_ours else None


def _refuse_strange_numbers(root: Root, store: MetadataStore) -> None:
    """Refuses a store that is younger than the artifacts: their folders are named by its numbers,
    which would be given out again.
    """
    last = last_execution_id(store)
    found = root.artifacts.glob("*/*/*")
    folders = [path for path in found if path.name.isdecimal() and path.parent.name != CHECKPOINTS]
    highest = max(folders, key=lambda path: int(path.name), default=None)
    if highest and int(highest.name) > last:
        raise InputError(
            f"The metadata store of {root.path} must know all that lies in {ARTIFACTS}/: it ends "
            f"with execution {last}, and a run would write into folders of earlier ones. Received: "
            f"{highest.relative_to(root.path)}. Was {SQLITE_FILE} deleted? Fix: put it back, or "
            f"move {ARTIFACTS}/ away, or begin in another --pipeline_root"
        )


def _refuse_early_clock(root: Root) -> None:
    """Refuses a clock behind the newest pushed model: versions are seconds, and a server would go
    on with the older one.
    """
    versions = [path for path in root.serving.glob("*") if path.name.isdecimal()]
    newest = max(versions, key=lambda path: int(path.name), default=None)
    if newest and int(newest.name) > time.time():
        raise InputError(
            f"The clock must not stand before the newest pushed model: the next one would count "
            f"as older. Received: {time.ctime()}, and {newest}. Fix: set the clock, or move that "
            f"model away, or begin in another --pipeline_root"
        )


def interrupted_root(given: Path | None, runs: Path) -> Root:
    """Returns the root to continue: the one given, or the latest below `runs` that did not finish.

    Raises:
      InputError: if there is none, naming where it was looked for.
    """
    waiting = [root for root in ([Root(given)] if given else _latest_first(runs)) if root.waits]
    if not waiting:
        place = f"in {given.resolve()}" if given else f"in any folder of {runs.resolve()}"
        other = "the --pipeline_root of that run" if given else "--pipeline_root of one elsewhere"
        raise InputError(
            f"`--resume`: no interrupted run was found {place}. Fix: {other}, or a new run without "
            f"--resume"
        )
    return Root(waiting[0].path.resolve())


def _latest_first(runs: Path) -> list[Root]:
    roots = [Root(file.parent) for file in runs.glob(f"*/{RUN_FILE}")]
    return sorted(roots, key=lambda root: root.run_file.stat().st_mtime, reverse=True)
