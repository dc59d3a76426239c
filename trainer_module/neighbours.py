"""Nearest neighbours among many features by cosine similarity, exact, in blocks that fit into
memory.

N images, D feature dims, K neighbours of each.
"""

import numpy as np

from trainer_module.findings import counted
from trainer_module.metric_names import NEIGHBOURS

# Similarities at once, of as many rows as that are with all others: with the places of their order
# 12 bytes each, 200 MB, however many images there are.
AT_ONCE = 2**24


def nearest(features: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the nearest other images of each image.

    Args:
      features: float [N, D]; a row of zeros is similar to nothing.
      count: K, from 1 to N - 1.

    Returns:
      int64 [N, K], the row numbers of the neighbours, the most similar first, and float32 [N, K],
      their cosine similarities in [-1, 1]. Of rows that are equally similar any may be among the K;
      the earlier of those that are stands first.

    Raises:
      ValueError: if K is out of range.
    """
    if not 1 <= count < len(features):
        raise ValueError(
            f"`count` must be from 1 to the number of images minus 1. Received: count={count}, "
            f"{counted(len(features), 'image')}"
        )
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    # [N, D]
    unit = np.asarray(features / np.maximum(lengths, np.finfo(np.float32).tiny), np.float32)
    rows, similarities = [], []
    some = max(1, AT_ONCE // len(unit))
    for start in range(0, len(unit), some):
        block = unit[start : start + some] @ unit.T  # [some, N]
        own = np.arange(len(block))
        block[own, start + own] = -np.inf  # nobody is its own neighbour
        # [some, K], by row number
        best = np.sort(np.argpartition(block, -count, axis=1)[:, -count:], axis=1)
        values = np.take_along_axis(block, best, axis=1)
        order = np.argsort(-values, axis=1, kind="stable")
        rows.append(np.take_along_axis(best, order, axis=1))
        similarities.append(np.take_along_axis(values, order, axis=1))
    return np.concatenate(rows), np.clip(np.concatenate(similarities), -1, 1)


def knn_accuracy(
    train_features, train_labels, eval_features, eval_labels, neighbours: int = NEIGHBOURS
) -> float:
    """Accuracy of the majority among the nearest neighbours, as `knn_right` has it."""
    columns = train_features, train_labels, eval_features, eval_labels
    return float(np.mean(knn_right(*columns, neighbours)))


def knn_right(
    train_features, train_labels, eval_features, eval_labels, neighbours: int = NEIGHBOURS
) -> np.ndarray:
    """Tells for which images the majority among the nearest neighbours by cosine similarity is
    right.

    A tie goes to the smaller label.

    Args:
        train_features: float [N, D].
        train_labels: integers [N], not negative.
        eval_features: float [M, D].
        eval_labels: integers [M].
        neighbours: at most N of them vote.

    Returns:
        Whether the neighbours name the label of each held-out image, bool [M].
    """
    from sklearn.neighbors import KNeighborsClassifier  # a second to import

    # Among rows of length 1 the nearest are the most similar, and scikit-learn finds those faster.
    voters = KNeighborsClassifier(min(neighbours, len(train_features)), algorithm="brute")
    voters.fit(unit_rows(train_features), train_labels)
    return voters.predict(unit_rows(eval_features)) == np.asarray(eval_labels)


def unit_rows(features) -> np.ndarray:
    """Returns float32 [N, D], every row of length 1; zeros stay."""
    features = np.asarray(features, np.float32)
    return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
