"""VICReg: views of an image agree, every dimension varies, no two say the same.

No negatives (Bardes et al. 2022, arXiv:2105.04906).

B images, two views of each, P dimensions of the embedding.
"""

from keras import ops

VARIANCE_EPSILON = 1e-4  # of the paper's algorithm 1
TARGET_DEVIATION = 1.0  # gamma of eq. 1


def vicreg(first, second, invariance=25.0, variance=25.0, covariance=1.0):
    """Returns the loss of eq. 6, with the squared distance as a mean over dimensions too, as the
    authors' algorithm 1 and code have it.

    Embeddings are not scaled to length 1: their size is what the variance term holds.

    Args:
        first: embedding of the first views, [B, P], any float dtype; the loss itself is computed in
          float32.
        second: embedding of the second views, [B, P].
        invariance: weight of the distance between the two views of an image.
        variance: weight of what the deviation of a dimension lacks to 1.
        covariance: weight of the squared covariances between dimensions.

    Returns:
        float32 scalar.
    """
    first, second = ops.cast(first, "float32"), ops.cast(second, "float32")
    distance = ops.mean(ops.square(first - second))
    lacking = variance_lacking(first) + variance_lacking(second)
    shared = covariance_shared(first) + covariance_shared(second)
    return invariance * distance + variance * lacking + covariance * shared


def variance_lacking(embedding):
    """Returns the mean over dimensions of what their deviation lacks to 1, eq. 1.

    Float32 scalar in [0, 1].

    Args:
        embedding: float32 [B, P] with B >= 2.
    """
    deviation = ops.sqrt(ops.diagonal(_covariance(embedding)) + VARIANCE_EPSILON)  # [P]
    return ops.mean(ops.relu(TARGET_DEVIATION - deviation))


def covariance_shared(embedding):
    """Returns the sum of squared covariances between different dimensions, divided by P, eq. 4.

    Float32 scalar.

    Args:
        embedding: float32 [B, P] with B >= 2.
    """
    covariance = _covariance(embedding)
    squared = ops.square(covariance)
    return (ops.sum(squared) - ops.sum(ops.diagonal(squared))) / embedding.shape[1]


def _covariance(embedding):
    """Returns the covariance matrix over the batch, [P, P], eq. 3."""
    centred = embedding - ops.mean(embedding, axis=0)
    degrees = ops.cast(ops.shape(embedding)[0] - 1, "float32")
    return ops.matmul(ops.transpose(centred), centred) / degrees
