"""Nearest neighbours among many features by cosine similarity, exact, in blocks that fit into
memory.

N images, D feature dims, K neighbours of each.
"""

import numpy as np

BLOCK = 1024  # rows compared with all others at once: 60,000 images take 250 MB


def nearest(features: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the nearest other images of each image.

    Args:
      features: float [N, D]; a row of zeros is similar to nothing.
      count: K, from 1 to N - 1.

    Returns:
      int64 [N, K], the row numbers of the neighbours, the most similar first (the earlier row where
      two are equally so), and float32 [N, K], their cosine similarities in [-1, 1].

    Raises:
      ValueError: if K is out of range.
    """
    if not 1 <= count < len(features):
        raise ValueError(
            f"`count` must be from 1 to the number of images minus 1. Received: count={count}, "
            f"{len(features)} images"
        )
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    unit = np.asarray(
        features / np.maximum(lengths, np.finfo(np.float32).tiny), np.float32
    )  # [N, D]
    rows, similarities = [], []
    for start in range(0, len(unit), BLOCK):
        block = unit[start : start + BLOCK] @ unit.T  # [BLOCK, N]
        own = np.arange(len(block))
        block[own, start + own] = -np.inf  # nobody is its own neighbour
        best = np.sort(
            np.argpartition(-block, count - 1, axis=1)[:, :count], axis=1
        )  # [BLOCK, K], by row number
        values = np.take_along_axis(block, best, axis=1)
        order = np.argsort(-values, axis=1, kind="stable")
        rows.append(np.take_along_axis(best, order, axis=1))
        similarities.append(np.take_along_axis(values, order, axis=1))
    return np.concatenate(rows), np.clip(np.concatenate(similarities), -1, 1)
