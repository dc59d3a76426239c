"""The stages of a run around its nodes, whoever runs these: this process (runner.py) or an
orchestrator's tasks (orchestrators/step.py).

Before: what is kept of it, its graph compiled and fit to go on, its entry into the store. Behind
the last node: whether all are done.
"""

import os
import shlex
from dataclasses import asdict

from ml_metadata.metadata_store import MetadataStore

from components.file_list_example_gen.list_fingerprint import of_lists
from components.metadata.names import RUN_REPORT
from components.metadata.snapshot import read
from components.metadata.store import sweep_interrupted
from components.metadata.stored_run import GOOD, StoredRun
from components.metadata.url import without_password
from pipeline import config_file, summary
from pipeline.compiled import enter_store, graph_digest
from pipeline.engines.engine import Engine
from pipeline.imported import enter_again
from pipeline.plan import Plan
from pipeline.pushed import forget_removed
from pipeline.root import Root
from trainer_module.errors import InputError


def record_of(plan: Plan, root: Root, run_id: str, flags: list[str]) -> dict:
    """Returns what is kept of a run, so that it can be continued."""
    return {
        "run_id": run_id,
        "flags": [without_password(flag) for flag in flags],
        "folder": os.getcwd(),
        "took_encoder": plan.saved_encoder.replaces_pretraining,
        "encoder": asdict(plan.saved_encoder),
        "metadata": without_password(root.server),
    }


def prepare(compiled, plan: Plan, root: Root, record: dict, resume: bool, engine: Engine) -> tuple:
    """Returns a compiled pipeline and the run's record; writes it, and the file of the run's
    settings, unless a resume is refused.
    """
    graph = compiled()
    may_skip = plan.choices.on_bad_row == "skip"
    rows = of_lists(plan.lists.given(), plan.task.target_is_file, may_skip)
    record = record | {"graph": graph_digest(graph), "rows": rows}
    previous = root.record()
    if resume and previous["graph"] != record["graph"]:
        raise InputError(
            f"The interrupted run {record['run_id']} had other settings, lists or code; start a "
            f"new run without --resume"
        )
    if resume and previous.get("rows", rows) != rows:
        raise InputError(
            f"Lists or images have changed since the run {record['run_id']} began, which has read "
            f"them; start a new run without --resume: it takes from the cache what still holds"
        )
    _take(engine, graph, plan, root)
    if not resume and (previous or not root.server):
        # A damaged record names no run; but no other root shares a SQLite file.
        sweep_interrupted(root.open_store(), previous["run_id"] if root.server else "")
    config_file.leave(plan.choices, root.path)
    root.write_record(**record, finished=False)
    return graph, record


def _take(engine: Engine, graph, plan: Plan, root: Root) -> None:
    """Has a compiled pipeline use an engine, once its workers were asked whether they are fit."""
    from pipeline.engines.check import refuse_unfit_workers, refuse_unread_flags
    from pipeline.engines.use import use_engine

    refuse_unread_flags(engine)
    use_engine(graph, engine)
    if engine.is_elsewhere:
        refuse_unfit_workers(engine, root.path, list(plan.lists.given().values()))
        print(f"The data nodes run on {engine.name}", flush=True)


def enter(plan: Plan, graph, root: Root, record: dict, facts: dict[str, str]) -> None:
    """Binds a compiled pipeline to its run, of which the store knows the facts from then on, more
    `facts` among them.
    """
    store = root.open_store()
    forget_removed(root, store)
    if plan.saved_encoder.path:
        enter_again(plan.saved_encoder, root.path, store)
    told = summary.facts(plan, record["flags"]) | {"state": "running"} | facts
    enter_store(graph, root, record["run_id"], told)


def finished(graph, root: Root, run_id: str) -> tuple[MetadataStore, StoredRun]:
    """Returns the store, and a run of which every node was run.

    Raises:
      RuntimeError: unless every node but the report succeeded: TFX's runner passes over a node
        whose inputs could not be resolved.
    """
    store = root.open_store()
    # A node that was killed goes on in its own row, but Resolver and Importer begin another.
    sweep_interrupted(store, run_id)
    done = StoredRun(read(store, run_id), run_id)
    missing = unfinished_nodes(graph, done)
    if missing - {RUN_REPORT}:
        raise RuntimeError(f"these components did not succeed: {', '.join(sorted(missing))}")
    if missing:
        print(
            f"The report could not be made; the log says why. Everything else is done. Try again: "
            f"python -m pipeline.report --pipeline_root={shlex.quote(str(root.path))}"
        )
    return store, done


def state_of(root: Root, run_id: str, node: str) -> str:
    """Returns the state of a node in a run, 'skipped' where it has none."""
    nodes = root.stored_run(run_id).nodes
    return nodes[node].state if node in nodes else "skipped"


def unfinished_nodes(graph, run: StoredRun) -> set[str]:
    """Returns the nodes of a compiled pipeline that have not succeeded in a run."""
    good = {name for name, node in run.nodes.items() if node.state in GOOD}
    return {node.pipeline_node.node_info.id for node in graph.nodes} - good
