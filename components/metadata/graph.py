"""The graph of a run or of a model as plain data, to draw it or to hand it on as JSON."""

from components.metadata.names import BASELINE_INPUT
from components.metadata.snapshot import Execution, Snapshot


def run_graph(snapshot: Snapshot, run_id: str) -> dict:
    """Returns the graph of what one run did, cached nodes included; see `graph` for its form.

    Raises:
      ValueError: if there is no such run.
    """
    if run_id not in snapshot.runs:
        raise ValueError(
            f"No run {run_id!r} in this store. There are: {', '.join(snapshot.runs) or 'none'}"
        )
    return graph(
        snapshot, [snapshot.executions[number] for number in snapshot.runs[run_id].executions]
    )


def model_graph(snapshot: Snapshot, model_id: int) -> dict:
    """Returns the graph of everything a model was made from and everything made from it.

    See `graph` for its form.

    Args:
      snapshot: of the store.
      model_id: artifact id of a Model; `models.find_model` knows it.
    """
    maker = snapshot.executions[snapshot.artifacts[model_id].maker]
    return graph(snapshot, [*(snapshot.ancestors(maker) | snapshot.descendants(maker)).values()])


def graph(snapshot: Snapshot, executions: list[Execution]) -> dict:
    """Returns executions and the artifacts between them.

    Args:
      snapshot: of the store.
      executions: which to show.

    Returns:
      `{"nodes": [...], "edges": [...]}`. A node has `id` (text), `kind` ('execution' or 'artifact')
      and `name` (node id, or type of artifact); an execution also has `execution`, `run_id`,
      `state` ('done', 'cached', 'failed', ...), `seconds`, `parameters`, `metrics`; an artifact
      `artifact`, `uri`, `properties`. An edge leads `from` a node `to` a node in the direction of
      the data; `label` is the name of that input or output, `baseline` tells that the target only
      compares with it. Artifacts that nobody here reads are there too.
    """
    nodes, edges, shown = [], [], {}
    for execution in executions:
        nodes.append(_execution_node(execution))
        for ways, inward in ((execution.inputs, True), (execution.outputs, False)):
            for key, numbers in ways.items():
                for number in numbers:
                    shown[number] = snapshot.artifacts[number]
                    ends = (f"artifact:{number}", f"execution:{execution.id}")
                    start, end = ends if inward else ends[::-1]
                    edges.append(
                        {
                            "from": start,
                            "to": end,
                            "label": key,
                            "baseline": inward and key == BASELINE_INPUT,
                        }
                    )
    nodes += [
        {
            "id": f"artifact:{item.id}",
            "kind": "artifact",
            "name": item.type,
            "artifact": item.id,
            "uri": item.uri,
            "properties": item.properties,
        }
        for item in shown.values()
    ]
    return {"nodes": nodes, "edges": edges}


def _execution_node(execution: Execution) -> dict:
    return {
        "id": f"execution:{execution.id}",
        "kind": "execution",
        "name": execution.node,
        "execution": execution.id,
        "run_id": execution.run_id,
        "state": execution.state,
        "started": execution.started,
        "seconds": round(execution.seconds, 3),
        "parameters": execution.parameters,
        "metrics": execution.metrics,
    }
