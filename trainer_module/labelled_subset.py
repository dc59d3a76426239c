"""The images whose labels count where few shall do.

N images.
"""

import numpy as np


def labelled_subset(labels, fraction: float, seed: int) -> np.ndarray:
    """Chooses the images whose labels count.

    What a smaller fraction chooses, a larger one of the same seed chooses too.

    Args:
        labels: class ids, integers [N]; of any other kind of target, [N, ...], images are chosen
          regardless of it.
        fraction: of the images of each class, in (0, 1]; rounded, and at least one.
        seed: which images.

    Returns:
        Their places, integers in rising order.
    """
    labels = np.asarray(labels)
    classes = (
        labels if labels.ndim == 1 and labels.dtype.kind in "iu" else np.zeros(len(labels), int)
    )
    chosen = []
    for label in np.unique(classes):
        places = np.flatnonzero(classes == label)
        order = np.random.default_rng([seed, int(label)]).permutation(places)
        chosen.append(order[: max(1, round(fraction * len(places)))])
    return np.sort(np.concatenate(chosen))
