"""Several machines as the cluster names them, and how their processes know that the others live.

The addresses come from TF_CONFIG, as Kubernetes' training operator and SLURM scripts set it: the
chief and the workers, each at HOST:PORT. Beside these, all machines see one folder, the pipeline
root. There every process writes a small file again and again, its beat; whose file no longer
changes is lost. Clocks are not compared. Standard library alone.
"""

import contextlib
import json
import math
import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from trainer_module.errors import InputError, require
from trainer_module.whole_files import read_json, write_json

CLUSTER_VARIABLE = "TF_CONFIG"
ROLES = ("chief", "worker")
# Files of a training, in a folder that all machines see.
JOB, ERROR = "job.json", "error.json"
IMAGES, BOUNDS, WATCHED, START = "images.npy", "bounds.npy", "watched", "start.npz"
TARGETS, STATISTICS, ENCODER = "targets.npy", "statistics.npz", "encoder.keras"
PRETRAINING, FINETUNING = "pretraining", "finetuning"  # kinds of training
BAD_INPUT = 2  # exit code of a process whose work was refused; `code` in its beat and in ERROR
SECONDS_OF_A_BEAT = 1.0
EXAMPLE = (
    '{"cluster": {"chief": ["a:2222"], "worker": ["b:2222"]}, '
    '"task": {"type": "worker", "index": 0}}'
)


def seconds_to_join() -> float:
    """Returns how long a process waits for another one to come.

    Raises:
      InputError: if the person's number is none.
    """
    return _seconds("SIMCLR_JOIN_SECONDS", "300")


def seconds_to_be_lost() -> float:
    """Returns for how long a beat may stand still; folders on a network may show it late.

    Raises:
      InputError: if the person's number is none.
    """
    return _seconds("SIMCLR_LOST_SECONDS", "60")


def _seconds(name: str, usual: str) -> float:
    text = os.environ.get(name, usual)
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    require(0 < seconds < math.inf, f"`{name}` must be seconds, more than 0", **{name: text})
    return seconds


@dataclass(frozen=True)
class Cluster:
    """The processes that train together."""

    addresses: tuple[str, ...]  # HOST:PORT, the chief's first
    rank: int  # of this process; 0 is the chief


def cluster_of(text: str) -> Cluster | None:
    """Returns the cluster that a TF_CONFIG names, or None where it names one process at most.

    Raises:
      InputError: if it cannot be understood, or how long to wait for others is no number.
    """
    if not text.strip():
        return None
    try:
        told = json.loads(text)
        addresses = {role: list(told["cluster"].get(role, [])) for role in ROLES}
        task, index = told["task"]["type"], int(told["task"]["index"])
        others = set(told["cluster"]) - set(ROLES)
        rank = index + (len(addresses["chief"]) if task == "worker" else 0)
        known = task in ROLES and 0 <= index < len(addresses[task]) and not others
    except (ValueError, TypeError, KeyError, AttributeError):
        known = False
    if not known or len(addresses["chief"]) > 1:
        raise InputError(
            f"`{CLUSTER_VARIABLE}` must name one chief, workers and this process' place among "
            f"them. Received: {text}. Fix: as in {EXAMPLE}; or unset {CLUSTER_VARIABLE} to train "
            f"on one machine"
        )
    everyone = (*addresses["chief"], *addresses["worker"])
    if len(everyone) < 2:
        return None
    for seconds in (seconds_to_join, seconds_to_be_lost):
        seconds()  # a wrong one is told before any work
    return Cluster(everyone, rank)


class Beat:
    """Writes a file again and again while its block runs, with values that may change."""

    def __init__(self, path: Path, **values):
        """Takes the file and what stands in it besides the count."""
        self._path, self._values, self._count = path, values, 0
        self._lock, self._left = threading.Lock(), threading.Event()

    def tell(self, **values) -> None:
        """Changes what stands in the file, at once."""
        with self._lock:
            self._values |= values
            self._count += 1
            values = {**self._values, "beat": [os.getpid(), self._count]}
            write_json(self._path, values, durable=False)  # the next one follows in a second

    def __enter__(self):
        """Begins."""
        self.tell()
        threading.Thread(target=self._go_on, daemon=True).start()
        return self

    def __exit__(self, *_):
        """Ends; the file stays as it is."""
        self._left.set()

    def _go_on(self) -> None:
        while not self._left.wait(SECONDS_OF_A_BEAT):
            # a folder on a network may refuse one beat; many are missed by those who watch
            with contextlib.suppress(OSError):
                self.tell()


class Watch:
    """Follows the beat of another process."""

    def __init__(self, path: Path):
        """Takes the file, which need not be there yet."""
        self._path, self._values, self._since = path, {}, time.monotonic()
        self._values = self._read()
        self.came = False  # whether it has changed since

    def look(self) -> dict:
        """Returns what stands in the file, or stood there when it could last be read."""
        values = self._read()
        if values and values.get("beat") != self._values.get("beat"):
            self._values, self._since, self.came = values, time.monotonic(), True
        return self._values

    def _read(self) -> dict:
        """Returns what the file holds: a folder on a network may refuse one look."""
        return read_json(self._path, tell=False)

    @property
    def still_for(self) -> float:
        """Seconds since it last changed, or since the watch began."""
        return time.monotonic() - self._since
