"""One task of a run that an orchestrator leads: `python -m pipeline.orchestrators.step begin`, then
each node by its name, then `end`.

Together they are one run of local_runner.py, in the same pipeline root and store: the same cache,
lineage, summary and exit codes. `begin` compiles the graph anew, with the lists and the code as
they are then, and keeps it in the pipeline root, where each node finds it.
"""

import argparse
import hashlib
import os
import sys
import time
from functools import partial
from pathlib import Path

from pipeline.arguments import BAD_INPUT, DONE, FAILED
from pipeline.engines.engine import IN_PROCESS, Engine, engine_asked_for, worker_environment
from pipeline.flags import build_parser, choices_of
from pipeline.orchestrators.names import BEGIN, END, GRAPH
from pipeline.stopping import run_tool
from trainer_module.errors import InputError


def main(arguments: list[str]) -> int:
    """Runs one command line and returns its exit code: 0 done, 2 bad input, 3 model refused, 1
    anything else.
    """
    parser = argparse.ArgumentParser(
        prog="python -m pipeline.orchestrators.step",
        description=__doc__,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("step", help=f"{BEGIN}, a node's name, or {END}")
    parser.add_argument("--config", metavar="FILE", required=True, help="settings of the run")
    parser.add_argument("--run_id", required=True, help="the orchestrator's")
    parser.add_argument("--beam_runner", default=IN_PROCESS, help="as of local_runner.py")
    flags = parser.parse_args(arguments)
    try:
        engine = engine_asked_for(flags.beam_runner)
        choices = choices_of(build_parser().parse_args([f"--config={flags.config}"]))
        from pipeline.root import Root

        root = Root(choices.root.resolve(), choices.metadata)
        flags.run_id = run_id_of(flags.run_id, root.path)
        if flags.step == BEGIN:
            return _begin(choices, root, flags, engine)
        if flags.step == END:
            return _end(choices, root, flags.run_id)
        return _run_node(flags.step, root, flags.run_id, engine)
    except ValueError as error:
        print(f"{flags.step}: {error}", file=sys.stderr)
        return BAD_INPUT


def run_id_of(told: str, root: Path) -> str:
    """Returns the id of a run: an orchestrator gives all DAGs of one schedule the same, and roots
    may share a store.
    """
    return f"{told}.{hashlib.sha256(str(root).encode()).hexdigest()[:6]}"


def _begin(choices, root, flags: argparse.Namespace, engine: Engine) -> int:
    """Checks all input, compiles the graph, and enters the run into the store; tried again, it
    goes on with the run that it began.
    """
    from pipeline.compiled import compiled_pipeline
    from pipeline.lock import lock
    from pipeline.plan import make_plan
    from pipeline.resumed import plan_again
    from pipeline.root import refuse_unfit
    from pipeline.stages import enter, prepare, record_of
    from trainer_module.whole_files import write_bytes

    with lock(root.path):
        refuse_unfit(root)
        record = root.record()
        again = record.get("run_id") == flags.run_id
        plan = plan_again(choices, record, root.path) if again else make_plan(choices)
        record = record_of(plan, root, flags.run_id, [f"--config={flags.config}"])
        compiled = partial(compiled_pipeline, plan, root, None)
        graph, record = prepare(compiled, plan, root, record, again, engine)
        write_bytes(root.path / GRAPH, graph.SerializeToString(deterministic=True))
        enter(plan, graph, root, record, {})
    print(f"{plan.name}: run {flags.run_id} of {len(graph.nodes)} nodes in {root.path}")
    return DONE


def _run_node(node: str, root, run_id: str, engine: Engine) -> int:
    """Runs one node as LocalDagRunner does, which passes over all others."""
    from components.metadata.stored_run import GOOD
    from components.metadata.url import password_of
    from pipeline.compiled import bind, load_libraries
    from pipeline.ending import guarded
    from pipeline.lock import lock
    from pipeline.stages import state_of
    from pipeline.terminal import ProgressHandler, progress

    with lock(root.path, shared=True):
        graph = _graph_of(root, run_id)
        load_libraries()
        from tfx.orchestration.local.local_dag_runner import LocalDagRunner

        nodes = {one.pipeline_node.node_info.id: one.pipeline_node for one in graph.nodes}
        if node not in nodes:
            raise InputError(f"There is no node {node!r} in this run; compile the DAG again")
        for name in nodes.keys() - {node}:
            nodes[name].execution_options.skip.SetInParent()
        bind(graph, root, run_id)
        if engine.is_elsewhere:  # the graph has its flags since the run began
            os.environ.update(worker_environment())
        handler = ProgressHandler(1, partial(state_of, root, run_id), ())
        with progress(handler, hidden=password_of(root.metadata)):
            ran = guarded(root, partial(LocalDagRunner().run_with_ir, graph))
        print(ran.message, flush=True)
        return ran.code or (DONE if state_of(root, run_id, node) in GOOD else FAILED)


def _end(choices, root, run_id: str) -> int:
    """Says how the run ended, leaves its models, and writes summary.json."""
    from pipeline.ending import run_and_end
    from pipeline.lock import lock
    from pipeline.resumed import plan_again
    from pipeline.stages import finished

    with lock(root.path):
        graph, record = _graph_of(root, run_id), root.record()
        plan = plan_again(choices, record, root.path)
        begun = time.monotonic() - (time.time() - root.stored_run(run_id).started)
        del record["finished"]
        nodes = partial(finished, graph, root, run_id)
        code, told = run_and_end(plan, root, record, begun, nodes)
    print(told, flush=True)
    return code


def _graph_of(root, run_id: str):
    """Returns the compiled pipeline of a run that goes on.

    Raises:
      InputError: if the root's latest run is another one.
    """
    from tfx.proto.orchestration.pipeline_pb2 import Pipeline

    file, latest = Path(root.path, GRAPH), root.record().get("run_id", "")
    if latest != run_id or not file.is_file():
        raise InputError(
            f"The latest run in {root.path} must be {run_id}. Received: {latest or 'none'}. Fix: "
            f"begin a new one, and nothing else in this pipeline root meanwhile"
        )
    return Pipeline.FromString(file.read_bytes())


if __name__ == "__main__":
    run_tool(main)
