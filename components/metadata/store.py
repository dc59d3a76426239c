"""Opens ML Metadata's store, and writes the little we add to what TFX writes.

What it holds is read by snapshot.py. Imports nothing heavier than ml_metadata.
"""

import math
import os
import socket
from collections.abc import Iterable, Mapping
from pathlib import Path

from ml_metadata.errors import StatusError
from ml_metadata.metadata_store import ListOptions, MetadataStore, OrderByField
from ml_metadata.proto import metadata_store_pb2 as mlmd

from components.metadata.url import (
    PASSWORD_VARIABLE,
    is_mysql,
    parse_mysql,
    password_of,
    without_password,
)
from trainer_module.errors import InputError

RUN_CONTEXT = "pipeline_run"  # TFX's name of the context that stands for a run


def open_store(metadata: str, read_only: bool = True) -> MetadataStore:
    """Opens the store at `metadata`, a SQLite file or mysql://....

    `read_only` is safe while a run goes on.

    Raises:
      InputError: if it cannot be opened.
    """
    try:
        return MetadataStore(connection(metadata, read_only))
    except (RuntimeError, StatusError) as error:
        told = str(error).removeprefix("Error when executing query: ")
        reason = told.partition(" query:")[0].rstrip(": ")
        flag, hint = (
            ("`--metadata`: ", f". {_mysql_hint(metadata)}") if is_mysql(metadata) else ("", "")
        )
        raise InputError(
            f"{flag}{without_password(metadata)}: the metadata store cannot be opened: "
            f"{reason}{hint}"
        ) from error


def _mysql_hint(metadata: str) -> str:
    absent = f" (none was given; the environment variable {PASSWORD_VARIABLE} can hold it)"
    password = f"password{'' if password_of(metadata) else absent}"
    return (
        f"Is the server up, and are user, {password} and database right? docs/lineage.md tells how "
        f"to start one"
    )


def connection(metadata: str, read_only: bool = False) -> mlmd.ConnectionConfig:
    """Returns ML Metadata's description of the store at `metadata`.

    See components/metadata/url.py for what that can be.

    Raises:
      InputError: if it is a malformed URL.
    """
    if is_mysql(metadata):
        server = parse_mysql(metadata)
        address = (
            {"socket": server.socket}
            if server.socket
            else {"host": server.host, "port": server.port}
        )
        access = {"user": server.user, "password": server.password, "skip_db_creation": read_only}
        return mlmd.ConnectionConfig(
            mysql=mlmd.MySQLDatabaseConfig(database=server.database, **address, **access)
        )
    mode = (
        mlmd.SqliteMetadataSourceConfig.READONLY
        if read_only
        else mlmd.SqliteMetadataSourceConfig.READWRITE_OPENCREATE
    )
    return mlmd.ConnectionConfig(
        sqlite=mlmd.SqliteMetadataSourceConfig(filename_uri=metadata, connection_mode=mode)
    )


def note_run(store: MetadataStore, run_id: str, facts: Mapping[str, str | int | float]) -> None:
    """Records facts of a run beside its executions; they are no part of any cache key.

    The metrics of a node are facts too, `metric.NODE.NAME`: written onto its execution they would
    change its times, onto its artifacts they would change the cache keys of what reads them.
    """
    context = store.get_context_by_type_and_name(RUN_CONTEXT, run_id)
    if context is None:  # the run ended before it began
        return
    for name, value in facts.items():
        kind = {str: "string_value", int: "int_value", float: "double_value"}[type(value)]
        setattr(context.custom_properties[name], kind, value)
    store.put_contexts([context])


def artifacts_that_count(store: MetadataStore, kind: str = "") -> list[mlmd.Artifact]:
    """Returns the artifacts that are not marked as deleted: all, or those of one type."""
    found = store.get_artifacts_by_type(kind) if kind else store.get_artifacts()
    return [artifact for artifact in found if artifact.state != mlmd.Artifact.DELETED]


def artifacts_at(store: MetadataStore, uri: str) -> list[int]:
    """Returns the ids of all artifacts that lie or lay at a URI."""
    return [artifact.id for artifact in store.get_artifacts_by_uri(uri)]


def mark(store: MetadataStore, numbers: Iterable[int], state: mlmd.Artifact.State) -> None:
    """Gives artifacts a state. Those that are DELETED are taken from the cache no more, and lineage
    still names them; those that have the state are left alone: a new time of change is a new cache
    key.
    """
    numbers = [*numbers]
    found = store.get_artifacts_by_id(numbers) if numbers else []
    changed = [artifact for artifact in found if artifact.state != state]
    for artifact in changed:
        artifact.state = state
    if changed:
        store.put_artifacts(changed)


def last_execution_id(store: MetadataStore) -> int:
    """Returns the highest number that the store has given to an execution, 0 where there is
    none.
    """
    newest = ListOptions(limit=1, order_by=OrderByField.ID, is_asc=False)
    return max((execution.id for execution in store.get_executions(newest)), default=0)


def this_process() -> str:
    """Returns `host pid`, by which `is_alive` can tell later whether a run still goes on."""
    return f"{socket.gethostname()} {os.getpid()}"


def is_alive(process: str) -> bool:
    """Tells whether `host pid` still runs.

    What goes on at another host cannot be seen from here and is believed.
    """
    host, _, number = process.rpartition(" ")
    if host != socket.gethostname():
        return True
    try:
        os.kill(int(number), 0)  # signal 0 only asks
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # someone else's
    return not _is_zombie(int(number))


def _is_zombie(number: int) -> bool:
    """Tells whether a process has ended and only waits for its parent to ask how."""
    try:
        told = Path(f"/proc/{number}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return told.rpartition(")")[2].split()[0] == "Z"  # behind the name, which may hold anything


def sweep_interrupted(store: MetadataStore, run_id: str = "", stopped_at: float = math.inf) -> int:
    """Marks executions that a killed run left RUNNING as canceled, and returns how many there were.

    Args:
      store: nothing else works on that run, the caller holds the lock of its pipeline root.
      run_id: of the run; '' for all, where no other root shares the store.
      stopped_at: when the run was asked to stop, in seconds since 1970. What failed later did so
        for that.
    """
    context = run_id and store.get_context_by_type_and_name(RUN_CONTEXT, run_id)
    of_run = store.get_executions_by_context(context.id) if context else []
    executions = of_run if run_id else store.get_executions()
    stale = [
        execution
        for execution in executions
        if execution.last_known_state in (mlmd.Execution.NEW, mlmd.Execution.RUNNING)
        or (
            execution.last_known_state == mlmd.Execution.FAILED
            and execution.last_update_time_since_epoch >= 1e3 * stopped_at
        )
    ]
    for execution in stale:
        execution.last_known_state = mlmd.Execution.CANCELED
    if stale:
        store.put_executions(stale)
    return len(stale)


def reopen(store: MetadataStore, run_id: str) -> None:
    """Marks executions of a run that failed or were stopped as RUNNING: TFX goes on in their rows
    when the run is continued, and leaves their state until they end.
    """
    context = store.get_context_by_type_and_name(RUN_CONTEXT, run_id)
    ended = [
        execution
        for execution in store.get_executions_by_context(context.id)
        if execution.last_known_state in (mlmd.Execution.FAILED, mlmd.Execution.CANCELED)
    ]
    for execution in ended:
        execution.last_known_state = mlmd.Execution.RUNNING
    if ended:
        store.put_executions(ended)
