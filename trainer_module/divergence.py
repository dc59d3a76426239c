"""Stops a training whose loss or weights are no longer numbers, and says where that was and what to
try.
"""

import math
from pathlib import Path

import keras
import numpy as np

from trainer_module.errors import TrainingDivergedError

STEPS_BETWEEN_CHECKS = 20  # of the loss; reading it makes a GPU wait


class StopDiverged(keras.callbacks.Callback):
    """Stops `fit` once its loss, or at its end a weight, is no longer a number.

    Put it before the callback that saves the run.
    """

    def __init__(self, fix: str, checkpoint: Path | None = None):
        """Takes what to try instead, and the checkpoint to be told of, None where there is none."""
        super().__init__()
        self._fix, self._checkpoint, self._checked_at = fix, checkpoint, -1

    def on_epoch_begin(self, epoch, logs=None):
        """Begins to count batches."""
        self._checked_at = -1

    def on_train_batch_end(self, batch, logs=None):
        """Checks the loss now and then."""
        if batch - self._checked_at >= STEPS_BETWEEN_CHECKS:
            self._checked_at = batch
            self._check(logs)

    def on_epoch_end(self, epoch, logs=None):
        """Checks the loss of the epoch."""
        self._check(logs)

    def on_train_end(self, logs=None):
        """Checks what the last step, whose loss was taken before it, left behind."""
        refuse_nonfinite(self.model, self.model.get_weights(), self._fix, self._checkpoint)

    def _check(self, logs):
        if not math.isfinite(float(logs["loss"])):
            received = f"loss={float(logs['loss'])}"
            raise _diverged(self.model, received, self._fix, self._checkpoint)


def refuse_nonfinite(model: keras.Model, weights, fix: str, checkpoint: Path | None) -> None:
    """Raises a TrainingDivergedError unless all weights of a model are numbers.

    Args:
        model: compiled.
        weights: arrays.
        fix: what to try instead.
        checkpoint: to be told of, None where there is none.
    """
    if not all(np.isfinite(weight).all() for weight in weights):
        raise _diverged(model, "a weight that is not a number", fix, checkpoint)


def _diverged(model, received: str, fix: str, checkpoint: Path | None) -> TrainingDivergedError:
    """Returns the error that says where training broke and what to try."""
    step = int(keras.ops.convert_to_numpy(model.optimizer.iterations))
    rate = float(keras.ops.convert_to_numpy(model.optimizer.learning_rate))
    kept = ""
    if checkpoint:
        kept = (
            f"The last good checkpoint is kept: {checkpoint}. "
            if checkpoint.exists()
            else "No checkpoint had been written yet. "
        )
    return TrainingDivergedError(
        f"Training must stay finite. Received: {received} at step {step}, learning rate "
        f"{rate:.3g}. {kept}Fix: {fix}"
    )
