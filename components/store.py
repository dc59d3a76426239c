"""Questions to ML Metadata, and the little we add to what TFX writes.

Imports nothing heavier than ml_metadata.
"""

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field

from ml_metadata.errors import StatusError
from ml_metadata.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as mlmd

from components.metadata_url import (
    PASSWORD_VARIABLE,
    is_mysql,
    parse_mysql,
    password_of,
    without_password,
)
from trainer_module.errors import InputError

PIPELINE_CONTEXT, RUN_CONTEXT, NODE_CONTEXT = "pipeline", "pipeline_run", "node"
INPUTS = (mlmd.Event.INPUT, mlmd.Event.DECLARED_INPUT)
OUTPUTS = (mlmd.Event.OUTPUT, mlmd.Event.DECLARED_OUTPUT)
STATES = {
    mlmd.Execution.NEW: "new",
    mlmd.Execution.RUNNING: "running",
    mlmd.Execution.COMPLETE: "done",
    mlmd.Execution.CACHED: "cached",
    mlmd.Execution.FAILED: "failed",
    mlmd.Execution.CANCELED: "canceled",
}


@dataclass(frozen=True)
class NodeRun:
    """One node of one run: its state in words, and the artifacts it put out, by key."""

    node: str
    state: str
    seconds: float
    execution_id: int
    outputs: dict[str, list[mlmd.Artifact]] = field(default_factory=dict)


def open_store(metadata: str, read_only: bool = True) -> MetadataStore:
    """Opens the store at `metadata`, a SQLite file or mysql://....

    `read_only` is safe while a run goes on.

    Raises:
      InputError: if it cannot be opened.
    """
    try:
        return MetadataStore(connection(metadata, read_only))
    except (RuntimeError, StatusError) as error:
        reason = str(error).partition(" query:")[0].rstrip(": ")
        hint = f". {_mysql_hint(metadata)}" if is_mysql(metadata) else ""
        raise InputError(
            f"{without_password(metadata)}: the metadata store cannot be opened: {reason}{hint}"
        ) from error


def _mysql_hint(metadata: str) -> str:
    if not password_of(metadata):
        return f"No password was given; the environment variable {PASSWORD_VARIABLE} can hold it"
    return (
        "Is the server up, and are user, password and database right? docs/lineage.md tells how "
        "to start one"
    )


def connection(metadata: str, read_only: bool = False) -> mlmd.ConnectionConfig:
    """Returns ML Metadata's description of the store at `metadata`.

    See components/metadata_url.py for what that can be.

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


def run_ids(store: MetadataStore) -> list[str]:
    """Returns the ids of all runs, oldest first."""
    contexts = store.get_contexts_by_type(RUN_CONTEXT)
    return [
        context.name
        for context in sorted(contexts, key=lambda context: context.create_time_since_epoch)
    ]


def node_runs(store: MetadataStore, run_id: str) -> list[NodeRun]:
    """Returns what each node of a run did, in the order of execution."""
    context = store.get_context_by_type_and_name(RUN_CONTEXT, run_id)
    if context is None:
        return []
    executions = sorted(
        store.get_executions_by_context(context.id), key=lambda execution: execution.id
    )
    outputs = _artifacts(store, [execution.id for execution in executions], OUTPUTS)
    return [_node_run(store, execution, outputs.get(execution.id, {})) for execution in executions]


def _node_run(
    store: MetadataStore, execution: mlmd.Execution, outputs: dict[str, list[mlmd.Artifact]]
) -> NodeRun:
    milliseconds = execution.last_update_time_since_epoch - execution.create_time_since_epoch
    state = STATES.get(execution.last_known_state, "unknown")
    nodes = [
        context.name
        for context in store.get_contexts_by_execution(execution.id)
        if context.type == NODE_CONTEXT
    ]
    name = nodes[0].rpartition(".")[2] if nodes else execution.type
    return NodeRun(name, state, milliseconds / 1e3, execution.id, outputs)


def input_artifacts(store: MetadataStore, execution_id: int) -> dict[str, list[mlmd.Artifact]]:
    """Returns an execution's inputs by key, from its events."""
    return _artifacts(store, [execution_id], INPUTS).get(execution_id, {})


def _artifacts(
    store: MetadataStore, execution_ids: list[int], kinds: tuple
) -> dict[int, dict[str, list[mlmd.Artifact]]]:
    """Returns execution id -> inputs or outputs by key, in two calls."""
    events = (
        [event for event in store.get_events_by_execution_ids(execution_ids) if event.type in kinds]
        if execution_ids
        else []
    )
    artifacts = (
        {
            artifact.id: artifact
            for artifact in store.get_artifacts_by_id([event.artifact_id for event in events])
        }
        if events
        else {}
    )
    found: dict[int, dict[str, list[mlmd.Artifact]]] = {}
    for event in events:
        found.setdefault(event.execution_id, {}).setdefault(event_key(event), []).append(
            artifacts[event.artifact_id]
        )
    return found


def event_key(event: mlmd.Event) -> str:
    """Returns under which name a node read or wrote an artifact."""
    keys = [step.key for step in event.path.steps if step.WhichOneof("value") == "key"]
    return keys[0] if keys else ""


def properties(item: mlmd.Artifact | mlmd.Execution | mlmd.Context) -> dict[str, int | float | str]:
    """Returns the properties of an artifact, execution or context, both kinds, as plain values."""
    found = {}
    for values in (item.properties, item.custom_properties):
        for name, value in values.items():
            kind = value.WhichOneof("value")
            if kind in ("int_value", "double_value", "string_value", "bool_value"):
                found[name] = getattr(value, kind)
    return found


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


def this_process() -> str:
    """Returns `host pid`, by which a later reader can tell whether a run still goes on."""
    return f"{socket.gethostname()} {os.getpid()}"


def sweep_interrupted(store: MetadataStore, run_id: str) -> int:
    """Marks executions that a killed run left RUNNING as canceled, and returns how many there were.

    Nothing else works on that run: the caller holds the lock of its pipeline root. Other roots may
    share the store.
    """
    context = store.get_context_by_type_and_name(RUN_CONTEXT, run_id)
    executions = store.get_executions_by_context(context.id) if context else []
    stale = [
        execution
        for execution in executions
        if execution.last_known_state in (mlmd.Execution.NEW, mlmd.Execution.RUNNING)
    ]
    for execution in stale:
        execution.last_known_state = mlmd.Execution.CANCELED
    if stale:
        store.put_executions(stale)
    return len(stale)
