"""A flat map of points of many dimensions (t-SNE), in which near ones stay near.

N points, D dims.
"""

import numpy as np

PERPLEXITY = 30.0  # about how many neighbours each point keeps near
ITERATIONS = 500
PRINCIPAL_DIMS = 50  # t-SNE on these takes half the time and looks the same
LEAST_POINTS = 10


def flat_map(vectors: np.ndarray, seed: int = 0) -> np.ndarray:
    """Lays points out in the plane so that near ones, by direction, stay near (t-SNE, van der
    Maaten & Hinton 2008).

    Args:
      vectors: float [N, D], N at least `LEAST_POINTS`.
      seed: of the randomness in PCA.

    Returns:
      float32 [N, 2].
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    unit = unit_rows(vectors)
    dims = min(PRINCIPAL_DIMS, *unit.shape)
    principal = PCA(dims, random_state=seed).fit_transform(unit)
    perplexity = min(PERPLEXITY, (len(unit) - 1) / 3)
    start = (
        principal[:, :2] / max(float(np.std(principal[:, 0])), 1e-12) * 1e-4
    )  # as sklearn's 'pca'; also for points that all coincide
    tsne = TSNE(perplexity=perplexity, init=start, max_iter=ITERATIONS, random_state=seed, n_jobs=1)
    # On a busy machine the threads of one map wait for each other at every step, ten times as long
    # as they work.
    with threadpool_limits(1, user_api="openmp"):
        return tsne.fit_transform(principal).astype(np.float32)


def unit_rows(vectors: np.ndarray) -> np.ndarray:
    """Returns float32 [N, D], every row of length 1."""
    vectors = np.asarray(vectors, np.float32)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
