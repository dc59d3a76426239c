"""Runs a plan on this machine: LocalDagRunner with a lock, resume, a log file, progress lines and a
verdict.

A run's id is fixed before it starts and kept in run.json: the same id again continues a killed run
where it was, in the same output directories. Everything a run leaves lies in its pipeline root.
"""

import fcntl
import gc
import hashlib
import json
import os
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path

from ml_metadata.metadata_store import MetadataStore

from components.metadata.names import FINETUNER, METADATA_VARIABLE, PRETRAINER, RUN_REPORT, TRAINERS
from components.metadata.snapshot import Snapshot, read
from components.metadata.store import (
    connection,
    note_run,
    open_store,
    sweep_interrupted,
    this_process,
)
from components.metadata.stored_run import GOOD, StoredRun
from components.metadata.url import password_of, without_password
from pipeline import config_file, summary
from pipeline.arguments import BAD_INPUT, DONE, FAILED, REFUSED
from pipeline.imported import bring_in, enter_again, remove_others
from pipeline.plan import Plan
from pipeline.save_paths import leave
from pipeline.stopping import asked_to_stop, stoppable
from pipeline.terminal import ProgressHandler, libraries_to_log, progress
from trainer_module.errors import InputError
from trainer_module.findings import Finding, as_dicts, merged
from trainer_module.finished import CHECKPOINTS, remove_finished

# What libraries read when they are imported; what a person has set stays.
ENVIRONMENT = {
    "TF_CPP_MIN_LOG_LEVEL": "2",
    # off by default without AVX-512, where it halves the time of a training step all the same
    "TF_ENABLE_ONEDNN_OPTS": "1",
    "SIMCLR_BEAM_ARGS": "",
}


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
        return self.server or str(self.path / "metadata.sqlite")

    @property
    def has_metadata(self) -> bool:
        """Tells whether there can be something in the store."""
        return bool(self.server) or Path(self.metadata).exists()

    def open_store(self) -> MetadataStore:
        """Opens the store to write into it."""
        return open_store(self.metadata, read_only=False)

    def stored_run(self, run_id: str) -> StoredRun:
        """Reads a run of the store as it is now."""
        return StoredRun(read(open_store(self.metadata), run_id), run_id)

    @property
    def serving(self) -> Path:
        """Pushed models, one numbered folder each."""
        return self.path / "serving"

    @property
    def run_file(self) -> Path:
        """The record of the latest run: id, flags, digest of the graph, whether it finished."""
        return self.path / "run.json"

    def record(self) -> dict:
        """Returns the record of the latest run, or an empty one."""
        return (
            json.loads(self.run_file.read_text(encoding="utf-8")) if self.run_file.exists() else {}
        )

    def write_record(self, **values) -> None:
        """Replaces the record in one step, so that a kill leaves the old or the new one."""
        draft = self.run_file.with_suffix(".draft")
        draft.write_text(json.dumps(values, indent=1), encoding="utf-8")
        draft.replace(self.run_file)


@contextmanager
def lock(root: Root) -> Iterator[None]:
    """Holds the pipeline root for this process.

    Raises:
      InputError: if another run holds it, or it is no folder that can be written to.
    """
    try:
        root.path.mkdir(parents=True, exist_ok=True)
        held = open(root.path / ".lock", "w", encoding="utf-8")  # noqa: SIM115 (closed below)
    except OSError as error:
        raise InputError(
            f"`--pipeline_root` must be a folder that can be written to. Received: {root.path}, "
            f"{error.strerror}. Fix: another folder"
        ) from error
    with held as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(
                f"Another run is going on in {root.path}; wait for it, or give another "
                f"--pipeline_root"
            ) from error
        yield


def run(
    plan: Plan,
    root: Root,
    flags: list[str],
    resume: bool = False,
    create: Callable | None = None,
) -> int:
    """Runs the pipeline of a plan and prints the verdict.

    Args:
      plan: of the run.
      root: the pipeline root.
      flags: the command line, kept for `--resume`.
      resume: continue the interrupted run of this root.
      create: builds the pipeline of a plan and folders, instead of the functions of
        pipeline/pipeline.py.

    Returns:
      The exit code: 0 done, 2 bad input, 3 model refused, 1 anything else.
    """
    with lock(root):
        started = datetime.now()
        run_id = root.record()["run_id"] if resume else started.isoformat(timespec="milliseconds")
        log_path = root.path / "logs" / f"{run_id.replace(':', '-')}.log"
        log_path.parent.mkdir(exist_ok=True)
        print(f"{plan.name}: run {run_id}, log {_shown(log_path)}", flush=True)
        interrupted = partial(_interrupted, root, run_id)
        with libraries_to_log(str(log_path)), stoppable(interrupted):
            compiled = partial(_compiled, plan, root, create)
            record = {
                "run_id": run_id,
                "flags": _without_password(flags, root),
                "folder": os.getcwd(),
                "took_encoder": bool(plan.saved_encoder.path),
                "metadata": without_password(root.server),
            }
            prepare = partial(_prepare, compiled, plan, root, record, resume)
            code, message, prepared = _guarded(prepare)
            if code == DONE:
                code, message = _run_and_end(plan, root, prepared, started)
            elif not resume:  # a run that was not continued keeps its state
                _note_failure(plan, root, run_id)
            print(interrupted() if code == FAILED and asked_to_stop() else message)
        return code


def _run_and_end(plan, root: Root, prepared, started: datetime) -> tuple[int, str]:
    """Runs every node and what follows the last; returns an exit code and what to tell."""
    graph, record = prepared
    code, message, found = _guarded(partial(_run_nodes, plan, graph, root, record))
    if code == DONE:
        code, message, ended = _guarded(partial(_end, plan, root, record, started, found))
        if code == DONE:
            return ended
        message += f" Every component is done. {_again(root)}"
    _note_failure(plan, root, record["run_id"], getattr(found, "findings", ()))
    return code, message


def _end(
    plan: Plan,
    root: Root,
    record: dict,
    started: datetime,
    found: tuple[MetadataStore, StoredRun],
) -> tuple[int, str]:
    """Notes how a run ended and leaves its models; returns an exit code and the summary to tell."""
    store, done = found
    result = summary.collect(done, plan, (datetime.now() - started).total_seconds())
    models = _models_to_leave(plan, done)
    result["saved"] = {node: path if uri else "" for node, (uri, path) in models.items()}
    told = summary.table(result, plan.task) + summary.look_next(result, root.path)
    note_run(store, done.id, summary.outcome(done, result["state"]))
    summary.write(root.path, result)
    for uri, path in models.values():
        leave(uri, path)
    remove_finished(root.path / "artifacts" / PRETRAINER / CHECKPOINTS)
    remove_others(plan.saved_encoder, root.path, store)
    root.write_record(**record, finished=True)
    return (REFUSED if done.blessed is False else DONE), told


def _note_failure(plan, root: Root, run_id: str, noticed: Sequence[Finding] = ()) -> None:
    """Notes that a run failed, as far as that can be written: the disk or the store may be why.

    What was `noticed` about the data is a part of it.
    """

    def note():
        store = root.open_store() if root.has_metadata else None
        run = StoredRun(read(store, run_id) if store else Snapshot({}, {}, {}), run_id)
        result = summary.unfinished(run, plan, "failed")
        if noticed:
            result["findings"] = as_dicts(merged(plan.findings, noticed))
        if store:
            note_run(store, run_id, summary.outcome(run, result["state"]))
        summary.write(root.path, result)

    _guarded(note)


def _guarded(work: Callable) -> tuple[int, str, object]:
    """Returns an exit code, what to tell when it is not 0, and what the work returned; of bad
    input, the error.
    """
    try:
        return DONE, "", work()
    except InputError as error:
        return BAD_INPUT, f"\n{error}", error
    except KeyboardInterrupt:
        return FAILED, "", None
    except Exception as error:  # noqa: BLE001 (a component may raise anything; the log has the traceback)
        import traceback

        traceback.print_exc()
        if cause := _input_error(error):
            return BAD_INPUT, f"\n{cause}", cause
        reason = str(error).splitlines()[0] if str(error) else ""
        return FAILED, f"\n{type(error).__name__}: {reason}\nThe log has the details.", None


def _interrupted(root: Root, run_id: str) -> str:
    """Returns what to tell of a run that was asked to stop: how it goes on."""
    begun = root.record().get("run_id") == run_id
    return f"\nInterrupted. {_again(root) if begun else 'The same command starts it again.'}"


def _again(root: Root) -> str:
    place = shlex.quote(str(root.path))
    return f"Continue with: python local_runner.py --resume --pipeline_root={place}"


def _input_error(error: BaseException | None) -> InputError | None:
    """Returns the InputError that an exception was raised from, if there is one."""
    while error is not None:
        if isinstance(error, InputError):
            return error
        error = error.__cause__ or error.__context__
    return None


def _prepare(compiled, plan: Plan, root: Root, record: dict, resume: bool) -> tuple:
    """Returns a compiled pipeline and the run's record; writes it, and the file of the run's
    settings, unless a resume is refused.
    """
    graph = compiled()
    record = record | {"graph": graph_digest(graph)}
    previous = root.record()
    if resume and previous["graph"] != record["graph"]:
        raise InputError(
            f"The interrupted run {record['run_id']} had other settings, lists or code; start a "
            f"new run without --resume"
        )
    if previous and not resume and root.has_metadata:
        sweep_interrupted(root.open_store(), previous["run_id"])
    config_file.leave(plan.choices, root.path)
    root.write_record(**record, finished=False)
    return graph, record


def _run_nodes(plan, graph, root: Root, record: dict) -> tuple[MetadataStore, StoredRun]:
    """Runs every node of a compiled pipeline; returns the store, and the run as it is then.

    Raises:
      RuntimeError: unless every node but the report succeeded: TFX's runner passes over a node
        whose inputs could not be resolved.
    """
    facts = summary.facts(plan, record["flags"]) | {
        "state": "running",
        "process": this_process(),
    }
    if plan.saved_encoder.path:
        enter_again(plan.saved_encoder, root.path, root.open_store())
    _launch(graph, root, record["run_id"], facts)
    store = root.open_store()
    # A node that was killed goes on in its own row, but Resolver and Importer begin another.
    sweep_interrupted(store, record["run_id"])
    done = StoredRun(read(store, record["run_id"]), record["run_id"])
    missing = _unfinished(graph, done)
    if missing - {RUN_REPORT}:
        raise RuntimeError(f"these components did not succeed: {', '.join(sorted(missing))}")
    if missing:
        print(
            f"The report could not be made; the log says why. Everything else is done. Try again: "
            f"python -m pipeline.report --pipeline_root={shlex.quote(str(root.path))}"
        )
    return store, done


def _compiled(plan, root: Root, create: Callable | None):
    """Returns the pipeline as TFX's intermediate representation, without a run id and without its
    metadata store.
    """
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    # TFX hands sys.argv to absl when Beam starts; our flags are not absl's.
    sys.argv = sys.argv[:1]
    with _imports_without_collection():
        from tfx.dsl.compiler import compiler

        from pipeline.pipeline import Folders, graph_of

    _use_gpu_sparingly()
    imported = bring_in(plan.saved_encoder, root.path)
    folders = Folders(str(root.path / "artifacts"), str(root.serving), imported)
    return compiler.Compiler().compile((create or graph_of(plan))(plan, folders))


def _launch(graph, root: Root, run_id: str, facts: dict[str, str]) -> None:
    """Runs every node of a compiled pipeline under `run_id`.

    The store knows `facts` of the run before its first node.
    """
    from tfx.orchestration.local.local_dag_runner import LocalDagRunner
    from tfx.orchestration.metadata import Metadata
    from tfx.orchestration.portable.mlmd.context_lib import prepare_contexts
    from tfx.orchestration.portable.runtime_parameter_utils import substitute_runtime_parameter

    substitute_runtime_parameter(graph, {"pipeline-run-id": run_id})
    use_metadata(graph, root.metadata)
    os.environ[METADATA_VARIABLE] = root.metadata
    with Metadata(connection(root.metadata)) as handle:
        prepare_contexts(handle, graph.nodes[0].pipeline_node.contexts)
        note_run(handle.store, run_id, facts)
    handler = ProgressHandler(len(graph.nodes), partial(_state, root, run_id), TRAINERS)
    with progress(handler, hidden=password_of(root.metadata)):
        try:
            LocalDagRunner().run_with_ir(graph)
        except Exception:
            if asked_to_stop() or _unfinished(graph, root.stored_run(run_id)) != {RUN_REPORT}:
                raise
            import traceback

            traceback.print_exc()


def _without_password(flags: list[str], root: Root) -> list[str]:
    return [
        flag.replace(root.server, without_password(root.server)) if root.server else flag
        for flag in flags
    ]


def use_metadata(graph, metadata: str) -> None:
    """Puts the connection to the store into a compiled pipeline.

    Its digest, made before, knows no password.
    """
    from tfx.proto.orchestration.pipeline_pb2 import IntermediateDeploymentConfig

    deployment = IntermediateDeploymentConfig()
    graph.deployment_config.Unpack(deployment)
    deployment.metadata_connection_config.Pack(connection(metadata))
    graph.deployment_config.Pack(deployment)


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


def graph_digest(graph) -> str:
    """Returns a digest of a compiled pipeline that is the same in every process: maps inside an Any
    have no order in bytes.
    """
    from google.protobuf import json_format

    return hashlib.sha256(json_format.MessageToJson(graph, sort_keys=True).encode()).hexdigest()[
        :16
    ]


def _state(root: Root, run_id: str, node: str) -> str:
    nodes = root.stored_run(run_id).nodes
    return nodes[node].state if node in nodes else "skipped"


def _unfinished(graph, run: StoredRun) -> set[str]:
    """Returns the nodes of a compiled pipeline that have not succeeded in a run."""
    good = {name for name, node in run.nodes.items() if node.state in GOOD}
    return {node.pipeline_node.node_info.id for node in graph.nodes} - good


def _use_gpu_sparingly() -> None:
    """Lets TensorFlow take GPU memory as it needs it: several components share this process and the
    card.
    """
    import tensorflow as tf

    for gpu in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(gpu, True)


@contextmanager
def _imports_without_collection() -> Iterator[None]:
    """Holds back the garbage collector: it finds nothing in what imports build, and takes a fifth
    of their time.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def _shown(path: Path) -> str:
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)


def unfinished_roots(folder: Path) -> list[Root]:
    """Returns the roots below `folder` whose latest run did not finish, the latest first."""
    roots = [Root(file.parent) for file in folder.glob("*/run.json")]
    waiting = [root for root in roots if not root.record().get("finished", True)]
    return sorted(waiting, key=lambda root: root.run_file.stat().st_mtime, reverse=True)
