"""How a learner comes to views of another size: those that begin small grow (small_views.py).

Views of h x w pixels; epochs are counted from 0.
"""

import dataclasses

import keras

from trainer_module.settings import Pretraining
from trainer_module.small_views import growth_epoch, small_size


def set_view_size(learner: keras.Model, size: tuple[int, int]) -> None:
    """Lets the next step of a compiled learner see views of this size."""
    if learner.views.size != size:
        learner.views = dataclasses.replace(learner.views, size=size)
        learner.make_train_function(force=True)  # the compiled one has the former size built in


class Growth(keras.callbacks.Callback):
    """Begins with small views, and ends with whole ones."""

    def __init__(self, settings: Pretraining, view_size: tuple[int, int]):
        """Takes the settings of the run and h, w in pixels."""
        super().__init__()
        self._grows_at, self._whole = growth_epoch(settings), tuple(view_size)

    def on_epoch_begin(self, epoch, logs=None):
        """Chooses the size that the epoch has, wherever a run begins."""
        whole = epoch >= self._grows_at
        set_view_size(self.model, self._whole if whole else small_size(self._whole))
