"""Training by several processes on several machines, as seen by the chief: it lays out the work
in a folder that all of them see, waits for the workers, trains beside them, and notices who is
lost.

Every process trains in a child of its own, `python -m trainer_module.trainer_process`: TensorFlow
lets a process join others only before it has computed anything, and a child that waits for a lost
machine can be ended. What comes of it is a finished checkpoint, which the Trainer takes over as it
would take over any other; after a fault it is an unfinished one, from which any number of
processes goes on.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from trainer_module.cluster import (
    BAD_INPUT,
    CLUSTER_VARIABLE,
    ERROR,
    JOB,
    Beat,
    Cluster,
    Watch,
    cluster_of,
    seconds_to_be_lost,
    seconds_to_join,
)
from trainer_module.errors import InputError
from trainer_module.whole_files import read_json, write_json

FOLDER_VARIABLE = "SIMCLR_TOGETHER"  # environment variable: the folder that all machines see
KEPT_VARIABLE = "SIMCLR_CLUSTER"  # environment variable: what TF_CONFIG held
TOGETHER = "together"  # folder of a pipeline root where the machines of a run meet
CHIEF = "chief.json"  # the chief's beat, in that folder
PAUSE = 0.2  # seconds between two looks
SECONDS_TO_ANSWER = 5


class MachineLostError(RuntimeError):
    """A process that others trained with is gone."""


@dataclass(frozen=True)
class Place:
    """Where the processes of a run meet."""

    folder: Path
    cluster: Cluster

    def of_worker(self, rank: int, job: str) -> Path:
        """Returns the file of a worker's beat."""
        return self.folder / job / f"worker-{rank}.json"


_beat: list[Beat] = []  # of the chief, while its run goes on


def meeting_place() -> Place | None:
    """Returns where this run's processes meet, or None of a run on one machine."""
    cluster = cluster_of(os.environ.get(KEPT_VARIABLE, ""))
    return Place(Path(os.environ[FOLDER_VARIABLE]), cluster) if cluster else None


def beating(beat: Beat) -> None:
    """Makes the beat of the chief known to what it does later."""
    _beat[:] = [beat]


def child(folder: Path, cluster_text: str) -> subprocess.Popen:
    """Starts the process that trains, with its own place in the cluster."""
    environment = {**os.environ, CLUSTER_VARIABLE: cluster_text}
    command = [sys.executable, "-m", "trainer_module.trainer_process", str(folder)]
    here = str(Path(__file__).resolve().parent.parent)
    environment["PYTHONPATH"] = os.pathsep.join([here, environment.get("PYTHONPATH", "")])
    return subprocess.Popen(command, env=environment, start_new_session=True)


def end(process: subprocess.Popen) -> None:
    """Ends a child that may be waiting within TensorFlow."""
    if process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def train_together(place: Place, job: dict, lay_out) -> None:
    """Has all processes of a cluster train, and returns when the last checkpoint is written.

    Args:
        place: where they meet.
        job: JSON values that each of them needs.
        lay_out: function that writes the arrays they need into a folder.

    Raises:
        InputError: if a worker does not come or is refused.
        MachineLostError: if one is lost while they train.
    """
    name = f"job-{os.getpid()}-{time.time_ns()}"
    folder = place.folder / name
    for left in place.folder.glob("job-*"):  # by a run that was killed
        shutil.rmtree(left, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        lay_out(folder)
        write_json(folder / JOB, job)
        _beat[0].tell(job=name)
        watches = {
            rank: Watch(place.of_worker(rank, name))
            for rank in range(1, len(place.cluster.addresses))
        }
        _wait(place, watches)
        print(f"{len(watches) + 1} machines train together: {', '.join(place.cluster.addresses)}")
        process = child(folder, os.environ[KEPT_VARIABLE])
        try:
            _watch(place, process, watches, folder)
        except InputError as error:
            _beat[0].tell(refused=str(error))
            raise
        finally:
            end(process)
    finally:
        _beat[0].tell(job="")
        shutil.rmtree(folder, ignore_errors=True)


def _wait(place: Place, watches: dict[int, Watch]) -> None:
    """Waits until every worker has joined."""
    began, missing = time.monotonic(), list(watches)
    while missing:
        missing = [rank for rank in missing if not _has_joined(place, watches, rank)]
        if missing and time.monotonic() - began > seconds_to_join():
            named = ", ".join(
                f"worker {rank} ({place.cluster.addresses[rank]})" for rank in missing
            )
            raise InputError(
                f"All machines of {CLUSTER_VARIABLE} must join within {seconds_to_join():g} s. "
                f"Received: nothing from {named}. Fix: start `python -m pipeline.worker` there, "
                f"with the same --pipeline_root on a shared folder; or name fewer machines"
            )
        time.sleep(PAUSE)


def _has_joined(place: Place, watches: dict[int, Watch], rank: int) -> bool:
    told = watches[rank].look()
    if told.get("state") == "refused":
        raise InputError(f"Worker {rank} ({place.cluster.addresses[rank]}): {told['why']}")
    return told.get("state") == "joined"


def _watch(place, process: subprocess.Popen, watches: dict[int, Watch], folder: Path) -> None:
    """Waits for the chief's child to end well; ends the wait when it cannot."""
    began = time.monotonic()
    while process.poll() is None:
        if gone := _gone(place, watches, seconds_to_be_lost()):
            _refuse_unreachable(place, folder)
            _refuse_bad_input(folder)
            raise MachineLostError(_lost(gone))
        if time.monotonic() - began > seconds_to_join():
            _refuse_unreachable(place, folder, late=True)
        time.sleep(PAUSE)
    if process.returncode:
        _refuse_unreachable(place, folder)
        told = _refuse_bad_input(folder)
        kind = InputError if process.returncode == BAD_INPUT else MachineLostError
        raise kind(told.get("why") or _lost(_who_is_gone(place, watches, process.returncode)))


def _refuse_bad_input(folder: Path) -> dict:
    """Returns what a child left in its last moment, {} for none; raises an InputError if that was
    refused: all are, for one reason, but some only notice that others are gone.
    """
    told = read_json(folder / ERROR)
    if told.get("code") == BAD_INPUT:
        raise InputError(told["why"])
    return told


def _gone(place, watches: dict[int, Watch], patience: float) -> str:
    """Returns which worker failed, or was not heard of for so many seconds; '' if none.

    Raises:
        InputError: if what failed was refused.
    """
    for rank, watch in watches.items():
        told, address = watch.look(), place.cluster.addresses[rank]
        if told.get("state") == "failed" and told.get("code") == BAD_INPUT:
            raise InputError(f"Worker {rank} ({address}): {told['why']}")
        if told.get("state") == "failed":
            return f"worker {rank} ({address}) failed: {told['why']}"
        if watch.still_for > patience:
            return f"worker {rank} ({address}) was not heard of for {watch.still_for:.0f} s"
    return ""


def _who_is_gone(place, watches: dict[int, Watch], code: int) -> str:
    """Returns why the chief's child may have ended: TensorFlow is told of a lost machine before a
    beat is missed.
    """
    began = time.monotonic()
    while time.monotonic() - began < seconds_to_be_lost():
        if gone := _gone(place, watches, seconds_to_be_lost() / 2):
            return gone
        time.sleep(PAUSE)
    return f"the chief's process ended with {code}"


def _lost(what: str) -> str:
    return (
        f"Machines that train together must all stay. Received: {what}. The last checkpoint is "
        f"kept: start the machines again, also in another number, to go on from there"
    )


def _refuse_unreachable(place: Place, folder: Path, late: bool = False) -> None:
    """Refuses addresses that do not answer, where the processes have not found each other.

    Args:
        place: names them.
        folder: of the training; who has found the others has left a mark there.
        late: that they should have by now, so that nobody listening is no answer either.
    """
    there = {int(path.name.partition("-")[2]) for path in folder.glob("connected-*")}
    addresses = place.cluster.addresses
    if len(there) == len(addresses):
        return
    silent = [one for one in addresses if not _answers(one, late)]
    if late and not silent:
        silent = [one for rank, one in enumerate(addresses) if rank not in there]
    if silent:
        raise InputError(
            f"The addresses of {CLUSTER_VARIABLE} must reach each other within "
            f"{seconds_to_join():g} s. Received: no answer from {', '.join(silent)}. Fix: the "
            f"address, its port, or what lies between"
        )


def _answers(address: str, listening: bool) -> bool:
    """Tells whether there is a machine at an address, and where that is asked for a listener."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=SECONDS_TO_ANSWER).close()
    except ConnectionRefusedError:
        return not listening
    except (OSError, ValueError):
        return False
    return True
