"""Views that begin small ("progressive resizing"): over the first epochs a view has two thirds of
its side, and a step costs about half (docs/training-speed.md; its accuracy was not measured).

Views of h x w pixels; epochs are counted from 0. Standard library alone; growth.py makes them grow.
"""

from trainer_module.errors import require
from trainer_module.resnets import LEAST_SIDE
from trainer_module.settings import Encoder, Pretraining

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


def require_small_fit(encoder: Encoder, view_size: tuple[int, int], small_views: float) -> None:
    """Refuses views that begin too small for an encoder whose stem is decided.

    Raises:
        InputError: naming `small_views`.
    """
    least, small = LEAST_SIDE[encoder.stem], small_size(view_size)
    rule = (
        f"`pretraining.small_views` begins with views of {small[0]} x {small[1]} pixels, and the "
        f"{encoder.stem} stem needs at least {least}. Fix: small_views=0, or a larger --crop_size"
    )
    require(not small_views or min(small) >= least, rule, small_views=small_views)
