"""The contrastive loss, and two numbers that say what it does to the embedding without needing
labels.

B images, two views of each, P dimensions of the embedding.
"""

from keras import ops

EXCLUDED = -1e9  # as a logit: exp() of it is 0 in float32


def nt_xent(first, second, temperature, decoupled=False):
    """Normalized temperature-scaled cross entropy, eq. 1 of Chen et al. 2020 (arXiv:2002.05709).

    Row i of `first` and row i of `second` are the two views of image i; the other 2B - 2 views are
    its negatives.

    Args:
        first: embedding of the first views, [B, P], any float dtype; the loss itself is computed in
          float32.
        second: embedding of the second views, [B, P].
        temperature: greater than 0.
        decoupled: leave the positive pair out of the denominator (DCL, eq. 6 of Yeh et al. 2021,
          arXiv:2110.06848).

    Returns:
        float32 scalar, the mean over all 2B views.
    """
    embedding = l2_normalize(ops.concatenate([first, second], axis=0))  # [2B, P]
    count = ops.shape(first)[0]
    logits = ops.matmul(embedding, ops.transpose(embedding)) / temperature  # [2B, 2B]
    rows = ops.arange(2 * count)
    positives = (
        ops.sum(embedding * ops.roll(embedding, count, axis=0), axis=1) / temperature
    )  # [2B]
    left_out = ops.equal(rows[:, None], rows[None, :])
    if decoupled:
        left_out = ops.logical_or(
            left_out, ops.equal(ops.mod(rows[:, None] + count, 2 * count), rows[None, :])
        )
    return ops.mean(ops.logsumexp(ops.where(left_out, EXCLUDED, logits), axis=1) - positives)


def alignment(first, second):
    """Mean squared distance between the two views of an image, on the unit sphere; 0 is perfect.

    Args:
        first: [B, P].
        second: [B, P].

    Returns:
        float32 scalar in [0, 4]. Wang & Isola 2020 (arXiv:2005.10242), eq. 2 with alpha = 2.
    """
    return ops.mean(ops.sum(ops.square(l2_normalize(first) - l2_normalize(second)), axis=1))


def uniformity(embedding):
    """Log of the mean Gaussian potential between all pairs of rows.

    Lower is more evenly spread, 0 is collapsed.

    Args:
        embedding: [B, P] with B >= 2.

    Returns:
        float32 scalar in [-8, 0]. Wang & Isola 2020 (arXiv:2005.10242), eq. 3 with t = 2.
    """
    unit = l2_normalize(embedding)
    count = ops.shape(unit)[0]
    potentials = ops.exp(
        4.0 * (ops.matmul(unit, ops.transpose(unit)) - 1.0)
    )  # exp(-2 |a - b|^2), since |a - b|^2 = 2 - 2ab
    pairs = ops.cast(count * (count - 1), "float32")
    return ops.log((ops.sum(potentials) - ops.sum(ops.diagonal(potentials))) / pairs)


def l2_normalize(embedding):
    """Scales every row to length 1, in float32: a half-precision epsilon would underflow.

    Args:
        embedding: [B, P], any float dtype.

    Returns:
        float32 [B, P].
    """
    embedding = ops.cast(embedding, "float32")
    return embedding * ops.rsqrt(
        ops.maximum(ops.sum(ops.square(embedding), axis=-1, keepdims=True), 1e-12)
    )
