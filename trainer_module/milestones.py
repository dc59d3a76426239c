"""Encoders of chosen epochs, kept along the way: how good the features were at 200, 400, ...
epochs.

They are written before the checkpoint of their epoch, so that a run that is continued behind it has
them.
"""

import os
from pathlib import Path

import keras
import numpy as np

FOLDER = "milestones"


def milestone_file(folder: str | Path, epoch: int) -> Path:
    """Returns where the weights of an epoch lie below a folder."""
    return Path(folder, FOLDER, f"epoch_{epoch:05d}.npz")


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
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".unfinished")
    with open(unfinished, "wb") as file:
        np.savez(file, *encoder.get_weights())
    os.replace(unfinished, path)


def load_weights(encoder: keras.Model, path: Path) -> None:
    """Gives an encoder of the same architecture the weights that `save_weights` wrote.

    Raises:
        ValueError: if they are those of another architecture.
    """
    with np.load(path) as file:
        encoder.set_weights([file[f"arr_{index}"] for index in range(len(file.files))])
