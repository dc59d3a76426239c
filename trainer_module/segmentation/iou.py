"""Intersection over union from counted pixels, the same for training, its gains and the Evaluator.

Of a class, IoU = right pixels / (pixels of the class + pixels taken for it - right pixels).

M images of C classes.
"""

import numpy as np

from trainer_module.gains import LEAST_RESAMPLED, of_resampled
from trainer_module.intervals import Interval


def pixels_of(truth, answer, num_classes: int, ignored: int) -> np.ndarray:
    """Returns what an image adds, int64 [3, C].

    Args:
      truth: class ids [H, W]; those that are no class and not ignored count for no class.
      answer: likewise.
      num_classes: C.
      ignored: true class id of pixels that count for nothing. One of the C is no class itself: to
        answer it is wrong, and no pixel is taken for it.
    """
    counted = truth != ignored
    truth, answer = truth[counted], answer[counted]
    return np.stack(
        [
            np.bincount(
                ids[(ids >= 0) & (ids < num_classes) & (ids != ignored)], minlength=num_classes
            )
            for ids in (truth[truth == answer], truth, answer)
        ]
    )


def iou(pixels) -> np.ndarray:
    """Returns the intersection over union of each class, [..., C]; NaN for one that does not occur.

    Args:
      pixels: sums of what images add, [..., 3, C].
    """
    right, of_class, taken_for_it = np.moveaxis(np.asarray(pixels, float), -2, 0)
    union = of_class + taken_for_it - right
    return np.divide(right, union, out=np.full(union.shape, np.nan), where=union > 0)


def mean_iou(pixels) -> np.ndarray:
    """Returns the mean [...] over the classes that occur; NaN, which no threshold lets pass, if
    none does.

    Args:
      pixels: sums of what images add, [..., 3, C].
    """
    of_classes = iou(pixels)
    occurs = ~np.isnan(of_classes)
    counts = occurs.sum(axis=-1)
    sums = np.where(occurs, of_classes, 0).sum(axis=-1)
    return np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)


def interval(rows: np.ndarray) -> Interval:
    """Returns the 95 % interval of the mean IoU of images that add so much, [M, 3, C]; NaN where
    there is nothing to measure, or one image alone.
    """
    if not rows.any() or len(rows) < LEAST_RESAMPLED:
        return float("nan"), float("nan")
    # in an order that no runner decides, so that the interval is the same with all of them
    rows = np.array(sorted(rows, key=lambda row: row.tobytes()))
    flat, shape = rows.reshape(len(rows), -1), rows.shape[1:]
    ends = of_resampled(lambda times: mean_iou((times @ flat).reshape(-1, *shape)), len(flat))
    low, high = np.clip(ends, 0.0, 1.0)
    return float(low), float(high)
