"""Runs a plan on this machine: LocalDagRunner with a lock, resume, a log file, progress lines and a
verdict.

A run's id is fixed before it starts and kept in run.json: the same id again continues a killed run
where it was, in the same output directories. Everything a run leaves lies in its pipeline root.
What a run does before its nodes and behind them stands in stages.py and ending.py.
"""

import os
import threading
import time
from collections.abc import Callable
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from ml_metadata.metadata_store import MetadataStore

from components.metadata.names import RUN_REPORT, TRAINERS
from components.metadata.store import this_process
from components.metadata.stored_run import StoredRun
from components.metadata.url import password_of
from pipeline.arguments import DONE
from pipeline.chief import with_workers
from pipeline.compiled import compiled_pipeline
from pipeline.ending import guarded, how_to_continue, note_unfinished, print_traceback, run_and_end
from pipeline.engines.engine import Engine
from pipeline.loading import EXIT_INTERRUPTED, TOLD_INTERRUPTED
from pipeline.lock import lock
from pipeline.plan import Plan
from pipeline.root import PATIENCE, Root, refuse_unfit
from pipeline.stages import enter, finished, prepare, record_of, state_of, unfinished_nodes
from pipeline.stopping import asked_to_stop, stoppable
from pipeline.terminal import ProgressHandler, libraries_to_log, progress


def run(plan: Plan, root: Root, flags: list[str], **options: Any) -> int:
    """Holds a pipeline root, and does there what `run_held` does, with its arguments.

    Raises:
      InputError: if another run holds the root, or it is unfit for a run.
    """
    with lock(root.path):
        refuse_unfit(root)
        return run_held(plan, root, flags, **options)


def run_held(
    plan: Plan,
    root: Root,
    flags: list[str],
    resume: bool = False,
    create: Callable | None = None,
    engine: Engine = Engine(),  # noqa: B008 (a frozen value)
) -> int:
    """Runs the pipeline of a plan and prints the verdict.

    Args:
      plan: of the run.
      root: the pipeline root; the caller holds its lock, and has refused an unfit one.
      flags: the command line, kept for `--resume`.
      resume: continue the interrupted run of this root.
      create: builds the pipeline of a plan and folders, instead of the functions of
        pipeline/pipeline.py.
      engine: that the data nodes run on.

    Returns:
      The exit code: 0 done, 2 bad input, 3 model refused, 130 stopped, 1 anything else.
    """
    begun, moment = time.monotonic(), datetime.now().isoformat(timespec="milliseconds")
    run_id = root.record()["run_id"] if resume else moment
    log_path = root.path / "logs" / f"{run_id.replace(':', '-')}.log"
    log_path.parent.mkdir(exist_ok=True)
    print(f"{plan.name}: run {run_id}, log {_shown(log_path)}", flush=True)
    interrupted = partial(_interrupted, root, run_id)
    last_word = partial(_note_in_time, plan, root, run_id, interrupted)
    log_of_libraries = libraries_to_log(str(log_path))
    with with_workers(root, plan.pretraining.minutes), log_of_libraries, stoppable(last_word):
        compiled = partial(compiled_pipeline, plan, root, create)
        record = record_of(plan, root, run_id, flags)
        prepared = guarded(root, partial(prepare, compiled, plan, root, record, resume, engine))
        code, message = prepared.code, prepared.message
        if code == DONE:
            graph, record = prepared.result
            nodes = partial(_run_nodes, plan, graph, root, record)
            code, message = run_and_end(plan, root, record, begun, nodes)
        print(interrupted() if code == EXIT_INTERRUPTED else message)
    return code


def _run_nodes(plan, graph, root: Root, record: dict) -> tuple[MetadataStore, StoredRun]:
    """Runs every node of a compiled pipeline; returns the store, and the run as it is then.

    Raises:
      RuntimeError: as `finished`.
    """
    enter(plan, graph, root, record, {"process": this_process()})
    _launch(graph, root, record["run_id"])
    return finished(graph, root, record["run_id"])


def _launch(graph, root: Root, run_id: str) -> None:
    """Runs every node of a compiled pipeline that is bound to its run."""
    from tfx.orchestration.local.local_dag_runner import LocalDagRunner

    handler = ProgressHandler(len(graph.nodes), partial(state_of, root, run_id), TRAINERS)
    with progress(handler, hidden=password_of(root.metadata)):
        try:
            LocalDagRunner().run_with_ir(graph)
        except Exception:
            if asked_to_stop() or unfinished_nodes(graph, root.stored_run(run_id)) != {RUN_REPORT}:
                raise
            print_traceback()


def _note_in_time(plan, root: Root, run_id: str, told: Callable[[], str]) -> str:
    """Notes the stop of a run whose main thread has not come to it, while that thread may hold the
    store; returns what to tell.
    """
    noting = threading.Thread(target=note_unfinished, args=(plan, root, run_id), daemon=True)
    if root.record().get("run_id") == run_id:
        noting.start()
        noting.join(PATIENCE)
    return told()


def _interrupted(root: Root, run_id: str) -> str:
    """Returns what to tell of a run that was asked to stop: how it goes on."""
    begun = root.record().get("run_id") == run_id
    way = how_to_continue(root) if begun else "The same command starts it again."
    return f"\n{TOLD_INTERRUPTED} {way}"


def _shown(path: Path) -> str:
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)
