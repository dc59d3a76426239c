"""Runs a plan on this machine: LocalDagRunner with a lock, resume, a log file, progress lines and a
verdict.

A run's id is fixed before it starts and kept in run.json: the same id again continues a killed run
where it was, in the same output directories. Everything a run leaves lies in its pipeline root.
"""

import os
import shlex
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from ml_metadata.metadata_store import MetadataStore

from components.file_list_example_gen.list_fingerprint import of_lists
from components.metadata.names import FINETUNER, PRETRAINER, RUN_REPORT, TRAINERS
from components.metadata.snapshot import Snapshot, read
from components.metadata.store import note_run, sweep_interrupted, this_process
from components.metadata.stored_run import GOOD, STOPPED, StoredRun
from components.metadata.url import password_of, without_password
from pipeline import config_file, summary
from pipeline.arguments import BAD_INPUT, DONE, FAILED, REFUSED
from pipeline.chief import with_workers
from pipeline.compiled import compiled_pipeline, enter_store, graph_digest
from pipeline.engines.engine import Engine
from pipeline.faults import fault, led_to
from pipeline.imported import enter_again, remove_others
from pipeline.loading import INTERRUPTED
from pipeline.lock import lock
from pipeline.model_card import leave_card
from pipeline.plan import Plan
from pipeline.pushed import forget_removed
from pipeline.root import PATIENCE, Root, refuse_unfit
from pipeline.save_paths import leave
from pipeline.stopping import asked_to_stop, stoppable, the_stop
from pipeline.terminal import ProgressHandler, libraries_to_log, progress
from trainer_module.errors import InputError
from trainer_module.findings import Finding, as_dicts, merged
from trainer_module.finished import CHECKPOINTS, remove_finished


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
        print(interrupted() if code == INTERRUPTED else message)
    return code


def record_of(plan: Plan, root: Root, run_id: str, flags: list[str]) -> dict:
    """Returns what is kept of a run, so that it can be continued."""
    return {
        "run_id": run_id,
        "flags": [without_password(flag) for flag in flags],
        "folder": os.getcwd(),
        "took_encoder": plan.saved_encoder.is_final,
        "metadata": without_password(root.server),
    }


def run_and_end(
    plan: Plan, root: Root, record: dict, begun: float, nodes: Callable
) -> tuple[int, str]:
    """Does what follows the last node; returns an exit code and what to tell.

    Args:
      plan: of the run.
      root: the pipeline root.
      record: of the run.
      begun: when, by the monotonic clock.
      nodes: runs every node, or sees that they were run; returns the store and the run then.
    """
    ran = guarded(root, nodes)
    code, message = ran.code, ran.message
    if code == DONE:
        ended = guarded(root, partial(_end, plan, root, record, begun, ran.result))
        if ended.code == DONE:
            return ended.result
        code = ended.code
        message = f"{ended.message} Every component is done. {_again(root)}"
    elif code == BAD_INPUT:
        # What mends it makes another run, which finds what is done in the cache.
        guarded(root, partial(root.write_record, **record, finished=True))
    else:
        message += f" {_again(root)}"
    _note_unfinished(plan, root, record["run_id"], ran.findings)
    return code, message


def _end(
    plan: Plan,
    root: Root,
    record: dict,
    begun: float,
    found: tuple[MetadataStore, StoredRun],
) -> tuple[int, str]:
    """Notes how a run ended and leaves its models; returns an exit code and the summary to tell."""
    store, done = found
    result = summary.collect(done, plan, time.monotonic() - begun)
    models = _models_to_leave(plan, done)
    result["saved"] = {node: path if uri else "" for node, (uri, path) in models.items()}
    told = summary.table(result, plan.task) + summary.look_next(result, root.path)
    note_run(store, done.id, summary.outcome(done, result["state"]))
    summary.write(root.path, result)
    leave_card(result, plan, record["flags"])
    for uri, path in models.values():
        leave(uri, path)
    for trainer in TRAINERS:
        remove_finished(root.artifacts / trainer / CHECKPOINTS)
    remove_others(plan.saved_encoder, root.path, store)
    root.write_record(**record, finished=True)
    return (REFUSED if done.blessed is False else DONE), told


def _note_unfinished(plan, root: Root, run_id: str, noticed: Sequence[Finding] = ()) -> None:
    """Notes that a run failed, or was stopped, as far as that can be written: the disk or the store
    may be why.

    What was `noticed` about the data is a part of it.
    """

    def note():
        store = root.open_store() if root.has_metadata else None
        ended = {"state": STOPPED, "stopped_by": the_stop().by} if asked_to_stop() else {}
        if store and ended:
            sweep_interrupted(store, run_id, the_stop().at)
        run = StoredRun(read(store, run_id) if store else Snapshot({}, {}, {}), run_id)
        result = summary.unfinished(run, plan, "failed") | ended
        if noticed:
            result["findings"] = as_dicts(merged(plan.findings, noticed))
        if store:
            note_run(store, run_id, summary.outcome(run, result["state"]) | ended)
        summary.write(root.path, result)

    guarded(root, note)


def _note_in_time(plan, root: Root, run_id: str, told: Callable[[], str]) -> str:
    """Notes the stop of a run whose main thread has not come to it, while that thread may hold the
    store; returns what to tell.
    """
    noting = threading.Thread(target=_note_unfinished, args=(plan, root, run_id), daemon=True)
    if root.record().get("run_id") == run_id:
        noting.start()
        noting.join(PATIENCE)
    return told()


@dataclass(frozen=True)
class Outcome:
    """How a piece of work ended.

    Attributes:
      code: the exit code.
      message: what to tell where that is not 0.
      result: what the work returned, where it is.
      findings: what was noticed about the data, where that is why it is not.
    """

    code: int
    message: str
    result: Any = None
    findings: Sequence[Finding] = ()


def guarded(root: Root, work: Callable) -> Outcome:
    """Does a piece of work, and makes of whatever it raises how it ended."""
    try:
        return Outcome(DONE, "", result=work())
    except InputError as error:
        return Outcome(BAD_INPUT, f"\n{error}", findings=error.findings)
    except KeyboardInterrupt:
        return Outcome(INTERRUPTED, "")
    except Exception as error:  # noqa: BLE001 (a component may raise anything; the log has the traceback)
        print_traceback()
        if asked_to_stop():  # whatever a library made of that
            return Outcome(INTERRUPTED, "")
        if cause := next((one for one in led_to(error) if isinstance(one, InputError)), None):
            return Outcome(BAD_INPUT, f"\n{cause}", findings=cause.findings)
        if told := fault(error, root.path):
            return Outcome(FAILED, f"\n{told}")
        reason = str(error).splitlines()[0] if str(error) else ""
        told = f"\n{type(error).__name__}: {reason}\nThe log has the details."
        return Outcome(FAILED, told)


def print_traceback() -> None:
    """Prints the traceback of the error that is handled, as far as that can be written."""
    with suppress(OSError):  # the disk of the log may be full
        traceback.print_exc()


def _interrupted(root: Root, run_id: str) -> str:
    """Returns what to tell of a run that was asked to stop: how it goes on."""
    begun = root.record().get("run_id") == run_id
    return f"\nInterrupted. {_again(root) if begun else 'The same command starts it again.'}"


def _again(root: Root) -> str:
    place = shlex.quote(str(root.path))
    return f"Continue with: python local_runner.py --resume --pipeline_root={place}"


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
    from pipeline.engines.check import refuse_unfit_workers
    from pipeline.engines.use import use_engine

    use_engine(graph, engine)
    if engine.is_elsewhere:
        refuse_unfit_workers(engine, root.path, list(plan.lists.given().values()))
        print(f"The data nodes run on {engine.name}", flush=True)


def _run_nodes(plan, graph, root: Root, record: dict) -> tuple[MetadataStore, StoredRun]:
    """Runs every node of a compiled pipeline; returns the store, and the run as it is then.

    Raises:
      RuntimeError: unless every node but the report succeeded: TFX's runner passes over a node
        whose inputs could not be resolved.
    """
    enter(plan, graph, root, record, {"process": this_process()})
    _launch(graph, root, record["run_id"])
    return finished(graph, root, record["run_id"])


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
      RuntimeError: as `_run_nodes`.
    """
    store = root.open_store()
    # A node that was killed goes on in its own row, but Resolver and Importer begin another.
    sweep_interrupted(store, run_id)
    done = StoredRun(read(store, run_id), run_id)
    missing = _unfinished(graph, done)
    if missing - {RUN_REPORT}:
        raise RuntimeError(f"these components did not succeed: {', '.join(sorted(missing))}")
    if missing:
        print(
            f"The report could not be made; the log says why. Everything else is done. Try again: "
            f"python -m pipeline.report --pipeline_root={shlex.quote(str(root.path))}"
        )
    return store, done


def _launch(graph, root: Root, run_id: str) -> None:
    """Runs every node of a compiled pipeline that is bound to its run."""
    from tfx.orchestration.local.local_dag_runner import LocalDagRunner

    handler = ProgressHandler(len(graph.nodes), partial(state_of, root, run_id), TRAINERS)
    with progress(handler, hidden=password_of(root.metadata)):
        try:
            LocalDagRunner().run_with_ir(graph)
        except Exception:
            if asked_to_stop() or _unfinished(graph, root.stored_run(run_id)) != {RUN_REPORT}:
                raise
            print_traceback()


def _models_to_leave(plan, done: StoredRun) -> dict[str, tuple[str, str]]:
    """Returns Trainer -> URI of its model, '' where none is to be left, and the user's folder."""
    models = {node: done.artifact(node, "model") for node in TRAINERS}
    # a refused classifier says nothing against its encoder
    good = {
        PRETRAINER: done.blessed is not False or FINETUNER in done.nodes,
        FINETUNER: done.blessed is True,
    }
    paths = plan.choices.save_paths
    wanted = {PRETRAINER: paths.pretrain, FINETUNER: paths.finetune}
    return {
        node: (models[node].uri if models[node] and good[node] and path else "", path)
        for node, path in wanted.items()
    }


def state_of(root: Root, run_id: str, node: str) -> str:
    """Returns the state of a node in a run, 'skipped' where it has none."""
    nodes = root.stored_run(run_id).nodes
    return nodes[node].state if node in nodes else "skipped"


def _unfinished(graph, run: StoredRun) -> set[str]:
    """Returns the nodes of a compiled pipeline that have not succeeded in a run."""
    good = {name for name, node in run.nodes.items() if node.state in GOOD}
    return {node.pipeline_node.node_info.id for node in graph.nodes} - good


def _shown(path: Path) -> str:
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)
