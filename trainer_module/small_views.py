"""Views that begin small ("progressive resizing"): over the first epochs a view has two thirds of
its side, and a step costs about half (docs/training-speed.md; its accuracy was not measured).

Views of h x w pixels; epochs are counted from 0.
"""

import dataclasses

import keras

from trainer_module.settings import Pretraining

SIDE = 2 / 3  # of a small view, as a share of a view's, before it is rounded
MULTIPLE = 8  # pixels; three stages halve a side


def small_size(view_size: tuple[int, int]) -> tuple[int, int]:
    """Returns h and w of small views in pixels; a side that has no smaller one stays what it is."""
    sides = (round(SIDE * side / MULTIPLE) * MULTIPLE for side in view_size)
    return tuple(
        min(full, max(MULTIPLE, side)) for full, side in zip(view_size, sides, strict=True)
    )


def growth_epoch(settings: Pretraining) -> int:
    """Returns the first epoch of views that have their whole size; 0 where all have. The last epoch
    has, however few there are.
    """
    return min(round(settings.small_views * settings.epochs), max(0, settings.epochs - 1))


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
