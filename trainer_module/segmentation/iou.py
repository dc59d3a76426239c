"""Intersection over union from counted pixels, the same for training, its gains and the Evaluator.

Of a class, IoU = right pixels / (pixels of the class + pixels taken for it - right pixels).

C classes.
"""

import numpy as np


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
