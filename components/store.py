"""Questions to ML Metadata, read-only and light: imports nothing heavier than ml_metadata."""

from dataclasses import dataclass, field

from ml_metadata.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as mlmd

RUN_CONTEXT, NODE_CONTEXT = "pipeline_run", "node"
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


def open_store(path: str, read_only: bool = True) -> MetadataStore:
    """Opens a SQLite metadata file; `read_only` is safe while a run goes on."""
    mode = mlmd.SqliteMetadataSourceConfig.READONLY if read_only else mlmd.SqliteMetadataSourceConfig.READWRITE_OPENCREATE
    return MetadataStore(mlmd.ConnectionConfig(sqlite=mlmd.SqliteMetadataSourceConfig(filename_uri=path, connection_mode=mode)))


def run_ids(store: MetadataStore) -> list[str]:
    """Returns the ids of all runs, oldest first."""
    contexts = store.get_contexts_by_type(RUN_CONTEXT)
    return [context.name for context in sorted(contexts, key=lambda context: context.create_time_since_epoch)]


def node_runs(store: MetadataStore, run_id: str) -> list[NodeRun]:
    """Returns what each node of a run did, in the order of execution."""
    context = store.get_context_by_type_and_name(RUN_CONTEXT, run_id)
    if context is None:
        return []
    executions = sorted(store.get_executions_by_context(context.id), key=lambda execution: execution.id)
    return [_node_run(store, execution) for execution in executions]


def node_name(store: MetadataStore, execution: mlmd.Execution) -> str:
    """Returns the id of the node that an execution belongs to."""
    nodes = [context.name for context in store.get_contexts_by_execution(execution.id) if context.type == NODE_CONTEXT]
    return nodes[0].rpartition(".")[2] if nodes else execution.type


def properties(item: mlmd.Artifact | mlmd.Execution) -> dict[str, int | float | str]:
    """Returns the properties of an artifact or execution, both kinds, as plain values."""
    found = {}
    for values in (item.properties, item.custom_properties):
        for name, value in values.items():
            kind = value.WhichOneof("value")
            if kind in ("int_value", "double_value", "string_value", "bool_value"):
                found[name] = getattr(value, kind)
    return found


def _node_run(store: MetadataStore, execution: mlmd.Execution) -> NodeRun:
    milliseconds = execution.last_update_time_since_epoch - execution.create_time_since_epoch
    state = STATES.get(execution.last_known_state, "unknown")
    return NodeRun(node_name(store, execution), state, milliseconds / 1e3, execution.id, output_artifacts(store, execution.id))


def output_artifacts(store: MetadataStore, execution_id: int) -> dict[str, list[mlmd.Artifact]]:
    """Returns an execution's outputs by key, from its events."""
    return _artifacts(store, execution_id, (mlmd.Event.OUTPUT, mlmd.Event.DECLARED_OUTPUT))


def input_artifacts(store: MetadataStore, execution_id: int) -> dict[str, list[mlmd.Artifact]]:
    """Returns an execution's inputs by key, from its events."""
    return _artifacts(store, execution_id, (mlmd.Event.INPUT, mlmd.Event.DECLARED_INPUT))


def _artifacts(store: MetadataStore, execution_id: int, kinds: tuple) -> dict[str, list[mlmd.Artifact]]:
    events = [event for event in store.get_events_by_execution_ids([execution_id]) if event.type in kinds]
    artifacts = {artifact.id: artifact for artifact in store.get_artifacts_by_id([event.artifact_id for event in events])}
    found: dict[str, list[mlmd.Artifact]] = {}
    for event in events:
        keys = [step.key for step in event.path.steps if step.WhichOneof("value") == "key"]
        found.setdefault(keys[0] if keys else "", []).append(artifacts[event.artifact_id])
    return found


def sweep_interrupted(store: MetadataStore) -> int:
    """Marks executions that a killed run left RUNNING as canceled, and returns how many there were.

    Nothing else runs in this store: the caller holds the lock of the pipeline root.
    """
    stale = [
        execution for execution in store.get_executions() if execution.last_known_state in (mlmd.Execution.NEW, mlmd.Execution.RUNNING)
    ]
    for execution in stale:
        execution.last_known_state = mlmd.Execution.CANCELED
    if stale:
        store.put_executions(stale)
    return len(stale)
