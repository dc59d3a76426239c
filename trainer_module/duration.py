"""How long pretraining takes on this machine: measured by a few of its own steps, told while there
is time to stop it, and how many epochs fit into a person's minutes.

A rate that falls along a cosine must know its last step before its first, so epochs are chosen
before training, once: a run that is continued keeps them.
"""

import dataclasses
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import keras

from trainer_module.batches import EpochBatches
from trainer_module.findings import counted
from trainer_module.monitor import Monitor
from trainer_module.settings import Pretraining
from trainer_module.whole_files import read_json, write_json

STEPS_MEASURED = 5
WORTH_TELLING = 20  # seconds
CHOSEN = "epochs.json"  # beside the checkpoints
WARMUP_SHARE = 0.1  # of the epochs, at most


def epochs_that_fit(
    seconds: float, epoch_seconds: float, watch_seconds: float, every_epochs: int
) -> int:
    """Returns how many epochs fit, at least one.

    Args:
        seconds: there are, what has been spent already left out.
        epoch_seconds: that an epoch takes.
        watch_seconds: that a look at what the features are good for takes.
        every_epochs: how often that is; also once early and once at the end.
    """
    left = seconds - 2 * watch_seconds
    return max(1, int(left / (epoch_seconds + watch_seconds / every_epochs)))


def step_seconds(learner: keras.Model, batches) -> tuple[float, float]:
    """Trains a few steps; returns the seconds of the first one, which compiles, and of another.

    Args:
        learner: compiled; it is of no use any more after this.
        batches: whose item `index` is what `train_on_batch` takes.
    """
    taken = []
    for index in range(1 + STEPS_MEASURED):
        started = time.monotonic()
        learner.train_on_batch(*batches[index])
        taken.append(time.monotonic() - started)
    return taken[0], statistics.median(taken[1:])


def of_minutes(
    settings: Pretraining,
    images,
    build: Callable[[], keras.Model],
    monitor: Monitor,
    folder: str,
    started: float,
) -> Pretraining:
    """Returns settings with as many epochs as fit into their minutes; of a run that is continued,
    with as many as were chosen then.

    Args:
        settings: of the run.
        images: uint8 [N, H, W, 3] to train on.
        build: makes a compiled learner, which is thrown away.
        monitor: how the features are looked at; it has measured the untrained ones afterwards.
        folder: of the checkpoints, where the choice is kept.
        started: by `time.monotonic`, when the minutes began.
    """
    path, batches = Path(folder, CHOSEN), EpochBatches(images, settings.batch_size, settings.seed)
    chosen = read_json(path)
    if not chosen:  # or damaged, as by a full disk
        trial = build()
        compiling, step = step_seconds(trial, batches)
        monitor.set_model(trial)
        before = time.monotonic()
        monitor.look()
        watch = time.monotonic() - before
        left = 60 * settings.minutes - (time.monotonic() - started) - compiling
        epoch = step * batches.steps_per_epoch
        epochs = epochs_that_fit(left, epoch, watch, settings.monitor_every_epochs)
        chosen = {"epochs": epochs, "step_seconds": step}
        write_json(path, chosen)
    epochs, seconds = chosen["epochs"], chosen["step_seconds"]
    epoch = seconds * batches.steps_per_epoch
    print(of_choice(settings.minutes, epochs, seconds, epoch), flush=True)
    warmup = min(settings.warmup_epochs, WARMUP_SHARE * epochs)
    return dataclasses.replace(settings, epochs=epochs, warmup_epochs=warmup)


def of_choice(minutes: float, epochs: int, step_seconds: float, epoch_seconds: float) -> str:
    """Returns how many epochs were chosen for a person's minutes, in words."""
    unit = "minute" if minutes == 1 else "minutes"
    line = f"{minutes:g} {unit}: {counted(epochs, 'epoch')}, at {step_seconds:.3g} s a step"
    if epoch_seconds <= 60 * minutes:
        return line
    return f"{line}; it takes about {told(epoch_seconds)}, and one is the least"


class Estimate(keras.callbacks.Callback):
    """Tells once, after a few steps, how long all epochs that are left take."""

    def __init__(self, steps_per_epoch: int, epochs: int):
        """Takes the number of steps of an epoch, and of the epochs of the run."""
        super().__init__()
        self._steps_per_epoch, self._epochs = steps_per_epoch, epochs
        self._epoch, self._last, self._told = 0, None, False
        self._seconds, self._steps = 0.0, 0

    def on_epoch_begin(self, epoch, logs=None):
        """Begins anew: what lies between two epochs is no step."""
        self._epoch, self._last = epoch, None

    def on_train_batch_end(self, batch, logs=None):
        """Measures from one step's end to the next; the first one compiles."""
        if self._told:
            return
        now = time.monotonic()
        if self._last is not None:
            self._seconds += now - self._last[0]
            self._steps += batch - self._last[1]
        self._last = now, batch
        if self._steps >= STEPS_MEASURED:
            self._tell(self._seconds / self._steps, batch)

    def _tell(self, seconds: float, batch: int) -> None:
        self._told = True
        epochs = self._epochs - self._epoch
        # this one may be the rest of an epoch that was interrupted (epoch_loop.py)
        steps = self.params["steps"] - batch - 1 + (epochs - 1) * self._steps_per_epoch
        left = seconds * steps
        if left < WORTH_TELLING:
            return
        print(
            f"About {told(left)} left for {counted(epochs, 'epoch')} of "
            f"{counted(self._steps_per_epoch, 'step')}, {seconds:.3g} s each",
            flush=True,
        )


def told(seconds: float) -> str:
    """Returns a time for a person, as in '7 minutes'."""
    for unit, length in (("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return counted(round(seconds), "second")
