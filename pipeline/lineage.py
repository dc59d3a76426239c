"""Where did this model come from: `python -m pipeline.lineage [--pipeline_root DIR] [MODEL] [--json]`.

Without MODEL: the runs and what each node did in them. With a MODEL (a pushed folder, its version number, an artifact id,
or `latest`): the tree of executions and artifacts from that model back to the list files, with parameters and
fingerprints. Reads ML Metadata alone, so it answers at once and is safe while a run goes on.
"""

import argparse
import json
import sys
from pathlib import Path

from ml_metadata.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as mlmd

from components.store import NodeRun, input_artifacts, node_name, node_runs, open_store, properties, run_ids

PUSHED_MODEL = "PushedModel"
HIDDEN = ("tfx_version", "name", "state", "producer_component", "pipeline_name", "component_id", "is_external", "checksum_md5")
LONGEST_VALUE = 100  # characters of a parameter in the tree; --json has it whole


def find_model(store: MetadataStore, wanted: str) -> mlmd.Artifact:
    """Returns the artifact that a pushed path, a version, an artifact id or `latest` means.

    Raises:
      ValueError: if there is no such model.
    """
    pushed = [item for item in store.get_artifacts_by_type(PUSHED_MODEL) if properties(item).get("pushed")]
    if wanted == "latest":
        matching = sorted(pushed, key=lambda item: item.id)[-1:]
    else:
        path = str(Path(wanted).resolve())
        matching = [item for item in pushed if path in (item.uri, properties(item).get("pushed_destination"))]
        matching = matching or [item for item in pushed if properties(item).get("pushed_version") == wanted]
        matching = matching or (store.get_artifacts_by_id([int(wanted)]) if wanted.isdigit() else [])
    if not matching:
        known = ", ".join(str(properties(item).get("pushed_version")) for item in pushed) or "none"
        raise ValueError(f"No model {wanted!r} in this store. Pushed versions: {known}")
    return matching[0]


def ancestry(store: MetadataStore, artifact: mlmd.Artifact, seen: set[int] | None = None) -> dict:
    """Returns the tree behind an artifact as plain values.

    Args:
      store: the metadata store.
      artifact: where to start.
      seen: ids of executions already told; they are named again, but not told twice.

    Returns:
      {'artifact': ..., 'made_by': {'node', 'parameters', 'inputs': [trees]}}.
    """
    seen = set() if seen is None else seen
    tree = {"id": artifact.id, "type": artifact.type, "uri": artifact.uri, "properties": properties(artifact)}
    makers = [event.execution_id for event in store.get_events_by_artifact_ids([artifact.id]) if event.type == mlmd.Event.OUTPUT]
    if not makers:
        return tree
    first = min(makers)  # later ones are cached runs that point at the same artifact
    execution = store.get_executions_by_id([first])[0]
    tree["made_by"] = {"execution": first, "node": node_name(store, execution)}
    if first not in seen:
        seen.add(first)
        tree["made_by"]["parameters"] = properties(execution)
        inputs = [item for items in input_artifacts(store, first).values() for item in items]
        tree["made_by"]["inputs"] = [ancestry(store, item, seen) for item in inputs]
    return tree


def tree_lines(tree: dict, indent: str = "") -> list[str]:
    """Returns the tree as lines for a person."""
    lines = [f"{indent}{tree['type']} #{tree['id']}  {tree['uri']}"]
    lines += [f"{indent}  | {name} = {_short(value)}" for name, value in tree["properties"].items() if name not in HIDDEN]
    if maker := tree.get("made_by"):
        told = "" if "parameters" in maker else "  (told above)"
        lines.append(f"{indent}  made by {maker['node']} (execution {maker['execution']}){told}")
        lines += [f"{indent}    . {name} = {_short(value)}" for name, value in maker.get("parameters", {}).items() if name not in HIDDEN]
        for child in maker.get("inputs", []):
            lines += tree_lines(child, indent + "    ")
    return lines


def _short(value) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= LONGEST_VALUE else text[: LONGEST_VALUE - 3] + "..."


def runs_table(runs: dict[str, list[NodeRun]]) -> list[str]:
    """Returns a line a run: id, state, seconds, which nodes ran and how many were cached."""
    lines = []
    for run_id, nodes in runs.items():
        worst = next((node.state for node in nodes if node.state not in ("done", "cached")), "done")
        ran = [node.node for node in nodes if node.state == "done"]
        cached = sum(node.state == "cached" for node in nodes)
        lines.append(f"{run_id}  {worst:<8} {sum(node.seconds for node in nodes):8.1f} s  {cached} cached; ran: {', '.join(ran) or 'none'}")
    return lines


def main(arguments: list[str]) -> int:
    """Runs one command line and returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m pipeline.lineage", description=__doc__, allow_abbrev=False)
    parser.add_argument("model", nargs="?", help="pushed folder, version, artifact id or `latest`; without it the runs are listed")
    parser.add_argument("--pipeline_root", type=Path, default=Path("runs/demo"))
    parser.add_argument("--json", action="store_true")
    flags = parser.parse_args(arguments)
    metadata = flags.pipeline_root / "metadata.sqlite"
    if not metadata.is_file():
        print(f"pipeline.lineage: {metadata}: no such file; name the run's folder with --pipeline_root", file=sys.stderr)
        return 2
    store = open_store(str(metadata))
    try:
        result, lines = _answer(store, flags.model)
    except ValueError as error:
        print(f"pipeline.lineage: {error}", file=sys.stderr)
        return 2
    print(json.dumps(result, indent=1) if flags.json else "\n".join(lines))
    return 0


def _answer(store: MetadataStore, model: str | None):
    if model:
        tree = ancestry(store, find_model(store, model))
        return tree, tree_lines(tree)
    runs = {run_id: node_runs(store, run_id) for run_id in run_ids(store)}
    plain = {
        run_id: [{"node": node.node, "state": node.state, "seconds": node.seconds} for node in nodes] for run_id, nodes in runs.items()
    }
    return plain, runs_table(runs)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
