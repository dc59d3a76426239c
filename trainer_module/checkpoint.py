"""A checkpoint is everything that a run's future depends on: a killed run that finds one ends as if
it had never been killed. A milestone is the encoder alone, after a chosen epoch.

A checkpoint is one file with the weights, the optimizer's state, the state of the random numbers,
the step, and the identity of the run (settings, data, architecture). The last two are kept: a kill
while one is written, or a disk that damages one, costs what was learned since the one before. A
milestone is written before the checkpoint of its epoch, so that a run that is continued behind it
has it.
"""

import json
import os
import struct
import time
import zipfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path

import keras
import numpy as np

from trainer_module.divergence import refuse_nonfinite
from trainer_module.errors import InputError

FILE = "checkpoint.npz"
RECORD = "record"  # the entry of the file that is JSON; all others are variables
METRICS = "metrics/"  # how the entries begin that are no variables of the model or its optimizer
FEW = 3  # differences that a message names
# What NumPy and zipfile raise for a file cut short or with bytes changed; RuntimeError for flags of
# the format that they do not know.
DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    ValueError,
    KeyError,
    OSError,
    EOFError,
    RuntimeError,
    OverflowError,
)


@dataclass
class Progress:
    """How far a run has come.

    Attributes:
        step: batches trained on.
        history: per measured quantity, one value an epoch; None where it was not measured.
        running_metrics: state of Keras' metrics within an epoch, empty between epochs.
    """

    step: int = 0
    history: dict[str, list[float | None]] = field(default_factory=dict)
    running_metrics: list[np.ndarray] = field(default_factory=list)

    def add_epoch(self, logs: dict[str, float]) -> None:
        """Appends the logs of an epoch."""
        done = max((len(values) for values in self.history.values()), default=0)
        for name in {**self.history, **logs}:
            values = self.history.setdefault(name, [None] * done)
            values.append(float(logs[name]) if name in logs else None)


def save(
    model: keras.Model,
    path: Path,
    progress: Progress,
    identity: dict,
    fix: str = "a lower learning rate",
) -> None:
    """Writes a checkpoint and keeps the one before beside it.

    Args:
        model: compiled, with its optimizer built.
        path: of the file.
        progress: how far the run is.
        identity: what a run must have in common with this one to continue it; JSON values.
        fix: what to try where a weight is not a number.

    Raises:
        TrainingDivergedError: if a weight is not a number; the checkpoint before stays.
    """
    if hasattr(model, "jax_state_sync"):
        model.jax_state_sync()  # JAX keeps the weights of a running fit elsewhere
    record = json.dumps({"step": progress.step, "history": progress.history, "identity": identity})
    arrays = {name: variable.numpy() for name, variable in _variables(model).items()}
    refuse_nonfinite(model, arrays.values(), fix, path)
    arrays |= {f"{METRICS}{index}": value for index, value in enumerate(progress.running_metrics)}
    unfinished = _write_arrays(path, {**arrays, RECORD: np.array(record)})
    if path.exists():
        os.replace(path, one_before(path))
    os.replace(unfinished, path)


def _write_arrays(path: Path, arrays: dict[str, np.ndarray]) -> Path:
    """Writes arrays by name beside where they are to be; returns that file, which is on the disk to
    its last byte, so that it can take its place.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".unfinished")
    with open(unfinished, "wb") as file:
        np.savez(file, **arrays)
        file.flush()
        os.fsync(file.fileno())
    return unfinished


def one_before(path: Path) -> Path:
    """Returns where the checkpoint before the last one is kept."""
    return path.with_name(f"{path.stem}.before{path.suffix}")


def load(model: keras.Model, path: Path, identity: dict) -> Progress:
    """Brings a model to where the last whole checkpoint left it; does nothing where there is none.

    A damaged last one is told, and gives its place to the one before.

    Args:
        model: compiled, with its optimizer built, as it was when the checkpoint was written.
        path: of the file.
        identity: of this run.

    Returns:
        How far the run had come; nowhere without a checkpoint.

    Raises:
        InputError: if the checkpoint is that of another run or of other variables, or no whole one
          is left.
    """
    if not (path.exists() or one_before(path).exists()):
        return Progress()
    arrays, record = _last_whole(path)
    _refuse_another_run(path, record["identity"], json.loads(json.dumps(identity)))
    variables = _variables(model)
    _refuse_other_variables(path, arrays, variables)
    for name, variable in variables.items():
        variable.assign(arrays[name])
    indices = range(len(model.metrics_variables))
    running_metrics = [
        arrays[f"{METRICS}{index}"] for index in indices if f"{METRICS}{index}" in arrays
    ]
    return Progress(record["step"], record["history"], running_metrics)


def _last_whole(path: Path) -> tuple[dict[str, np.ndarray], dict]:
    """Returns arrays and record of the last checkpoint, or of the one before where that is damaged
    or gone.
    """
    before = one_before(path)
    try:
        return _read(path)
    except DAMAGED as error:
        if not before.exists():
            raise InputError(
                f"The checkpoint {path} cannot be read ({error}). Fix: remove it to start anew"
            ) from error
        damage = error
    try:
        arrays, record = _read(before)
    except DAMAGED as error:
        raise InputError(
            f"Neither the checkpoint {path} ({damage}) nor the one before, {before.name}, can be "
            f"read "
            f"({error}). Fix: remove both to start anew"
        ) from error
    found = "is damaged" if path.exists() else "is missing"
    print(
        f"The checkpoint {path} {found} ({damage}): continuing from the one before, step "
        f"{record['step']}"
    )
    os.replace(before, path)  # so that the next save does not put the damaged one in its place
    return arrays, record


def _read(path: Path) -> tuple[dict[str, np.ndarray], dict]:
    """Returns arrays and record of a file; reading every entry to its end compares its checksum."""
    with np.load(path) as file:
        arrays = dict(file)
    return arrays, json.loads(str(arrays.pop(RECORD)))


def _variables(model) -> dict[str, keras.Variable]:
    """Returns everything that training changes, by its place: Keras names a layer by how many it
    has made before, which is another number in a run that is continued.
    """
    groups = {
        "model": model.trainable_variables + model.non_trainable_variables,
        "optimizer": model.optimizer.variables,
    }
    return {
        f"{group}/{index}": variable
        for group, members in groups.items()
        for index, variable in enumerate(members)
    }


def _refuse_another_run(path, saved: dict, now: dict) -> None:
    if changed := _changed(_flat(saved), _flat(now)):
        raise InputError(
            f"The checkpoint {path} belongs to another run. It must agree in every setting that "
            f"the result depends on. "
            f"Received: {'; '.join(changed)}. Fix: restore these settings, or remove the "
            f"checkpoint to start anew"
        )


def _refuse_other_variables(path, arrays: dict, variables: dict) -> None:
    saved = {name: one.shape for name, one in arrays.items() if not name.startswith(METRICS)}
    changed = _changed(saved, {name: tuple(one.shape) for name, one in variables.items()})
    if changed:
        raise InputError(
            f"The checkpoint {path} holds other variables. It must hold each that is trained now, "
            f"in its shape. Received: {'; '.join(changed[:FEW])}, {len(changed)} in all. "
            f"Fix: remove it to start anew"
        )


def _changed(saved: dict, now: dict) -> list[str]:
    """Returns where two dicts differ, in words."""
    return [
        f"{name}: {saved.get(name)!r} then, {now.get(name)!r} now"
        for name in {**saved, **now}
        if saved.get(name) != now.get(name)
    ]


def _flat(values: dict, prefix: str = "") -> dict:
    flat = {}
    for name, value in values.items():
        flat |= (
            _flat(value, f"{prefix}{name}.")
            if isinstance(value, dict)
            else {f"{prefix}{name}": value}
        )
    return flat


@dataclass(frozen=True)
class Rhythm:
    """When a run is saved."""

    every_epochs: int
    every_minutes: float


class Checkpoint(keras.callbacks.Callback):
    """Saves a run every few epochs and every few minutes; what has diverged does not take the place
    of a good checkpoint.

    Put it behind callbacks that add to the logs: it records them.
    """

    def __init__(self, path: Path, identity: dict, progress: Progress, rhythm: Rhythm, fix: str):
        """Takes over where the run stands.

        Args:
            path: of the file.
            identity: of the run, see `save`.
            progress: where the run begins; kept up to date.
            rhythm: when to save.
            fix: what to try where training has diverged.
        """
        super().__init__()
        self.path = path
        self.identity = identity
        self.progress = progress
        self.rhythm = rhythm
        self.fix = fix
        self._saved_at = time.monotonic()
        self._batch = -1

    def on_epoch_begin(self, epoch, logs=None):
        """Begins to count batches; gives Keras' metrics back what they held where an epoch was
        interrupted.
        """
        self._batch = -1
        for variable, value in zip(
            self.model.metrics_variables, self.progress.running_metrics, strict=False
        ):
            variable.assign(value)
        self.progress.running_metrics = []

    def on_train_batch_end(self, batch, logs=None):
        """Counts steps; saves when it is time, but leaves the end of an epoch to `on_epoch_end`."""
        self.progress.step += batch - self._batch
        self._batch = batch
        if batch + 1 < self.params["steps"] and self._late():
            self._save_within_epoch()

    def on_epoch_end(self, epoch, logs=None):
        """Records the epoch, saves when it is time by epochs or the clock, and after the last."""
        self.progress.add_epoch(logs)
        done = epoch + 1
        if done % self.rhythm.every_epochs == 0 or done == self.params["epochs"] or self._late():
            self._save()

    def _late(self) -> bool:
        return time.monotonic() - self._saved_at >= 60 * self.rhythm.every_minutes

    def _save_within_epoch(self):
        if hasattr(self.model, "jax_state_sync"):
            self.model.jax_state_sync()
        whole = getattr(self.model, "metrics_of_all", self.model.metrics_variables)
        self.progress.running_metrics = [keras.ops.convert_to_numpy(value) for value in whole]
        self._save()
        self.progress.running_metrics = []

    def _save(self):
        save(self.model, self.path, self.progress, self.identity, self.fix)
        self._saved_at = time.monotonic()


class Follower(Checkpoint):
    """The same where another process saves the run: it counts."""

    def _save_within_epoch(self):
        """Leaves it to the other one."""
        self._saved_at = time.monotonic()

    def _save(self):
        """Leaves it to the other one."""


MILESTONES = "milestones"


def milestone_file(folder: str | Path, epoch: int) -> Path:
    """Returns where the weights of an epoch lie below a folder."""
    return Path(folder, MILESTONES, f"epoch_{epoch:05d}.npz")


class Milestones(keras.callbacks.Callback):
    """Writes the encoder's weights after chosen epochs.

    Put it before the callback that saves the run.
    """

    def __init__(self, folder: str, epochs: tuple[int, ...]):
        """Takes what to keep.

        Args:
            folder: below which the files go.
            epochs: after which, counted from 1.
        """
        super().__init__()
        self.folder = folder
        self.epochs = frozenset(epochs)

    def on_epoch_end(self, epoch, logs=None):
        """Writes the weights, whole or not at all, if this is one of the epochs."""
        if epoch + 1 in self.epochs:
            if hasattr(self.model, "jax_state_sync"):
                self.model.jax_state_sync()  # JAX keeps the weights of a running fit elsewhere
            save_weights(self.model.encoder, milestone_file(self.folder, epoch + 1))


def save_weights(encoder: keras.Model, path: Path) -> None:
    """Writes an encoder's weights, moving statistics included, in their order."""
    weights = {f"arr_{index}": value for index, value in enumerate(encoder.get_weights())}
    os.replace(_write_arrays(path, weights), path)


def load_weights(encoder: keras.Model, path: Path) -> None:
    """Gives an encoder of the same architecture the weights that `save_weights` wrote.

    Raises:
        ValueError: if they are those of another architecture.
    """
    with np.load(path) as file:
        encoder.set_weights([file[f"arr_{index}"] for index in range(len(file.files))])
