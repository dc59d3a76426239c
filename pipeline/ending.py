"""How a run ends, whatever came of its nodes: told in a line or a table, noted in the store and in
summary.json, models left where they are wanted.
"""

import shlex
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from ml_metadata.metadata_store import MetadataStore

from components.metadata.names import FINETUNER, PRETRAINER, TRAINERS
from components.metadata.snapshot import Snapshot, read
from components.metadata.store import note_run, sweep_interrupted
from components.metadata.stored_run import STOPPED, StoredRun
from pipeline import summary
from pipeline.arguments import BAD_INPUT, DONE, FAILED, REFUSED
from pipeline.faults import fault, led_to
from pipeline.imported import remove_others
from pipeline.loading import EXIT_INTERRUPTED
from pipeline.model_card import leave_card
from pipeline.plan import Plan
from pipeline.root import Root
from pipeline.save_paths import leave
from pipeline.stopping import asked_to_stop, the_stop
from trainer_module.errors import InputError
from trainer_module.findings import Finding, as_dicts, merged
from trainer_module.finished import CHECKPOINTS, remove_finished


def run_and_end(
    plan: Plan, root: Root, record: dict, begun: float, nodes: Callable
) -> tuple[int, str]:
    """Runs every node and ends the run, as it went; returns an exit code and what to tell.

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
        message = f"{ended.message} Every component is done. {how_to_continue(root)}"
    elif code == BAD_INPUT:
        # What mends it makes another run, which finds what is done in the cache.
        guarded(root, partial(root.write_record, **record, finished=True))
    else:
        message += f" {how_to_continue(root)}"
    note_unfinished(plan, root, record["run_id"], ran.findings)
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


def note_unfinished(plan, root: Root, run_id: str, noticed: Sequence[Finding] = ()) -> None:
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


def how_to_continue(root: Root) -> str:
    """Returns the command that continues the run of a root, as a sentence."""
    place = shlex.quote(str(root.path))
    return f"Continue with: python local_runner.py --resume --pipeline_root={place}"


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
        return Outcome(EXIT_INTERRUPTED, "")
    except Exception as error:  # noqa: BLE001 (a component may raise anything)
        print_traceback()
        if asked_to_stop():  # whatever a library made of that
            return Outcome(EXIT_INTERRUPTED, "")
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
