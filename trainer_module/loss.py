"""What pretraining minimises: NT-Xent and its decoupled kin, VICReg, or anyone's by dotted path.

Beside them, two numbers that say what a loss does to the embedding without needing labels.

B images, two views of each, P dimensions of the embedding.
"""

from collections.abc import Callable
from functools import partial

from keras import ops

from trainer_module import dotted

EXCLUDED = -1e9  # as a logit: exp() of it is 0 in float32


def nt_xent(first, second, temperature, decoupled=False):
    """Normalized temperature-scaled cross entropy, eq. 1 of Chen et al. 2020 (arXiv:2002.05709).

    With s(i, k) the cosine of the embeddings of views i and k, p(i) the other view of i's image and
    t the temperature, view i pays

        -log(exp(s(i, p(i)) / t) / sum over k != i of exp(s(i, k) / t)).

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
    logits = ops.matmul(embedding, ops.transpose(embedding)) / temperature  # [2B, 2B], s(i, k) / t
    # The other view of row i is row i + B, or i - B: the embedding turned by half its length.
    # [2B]
    positives = ops.sum(embedding * ops.roll(embedding, count, axis=0), axis=1) / temperature
    rows = ops.arange(2 * count)
    left_out = ops.equal(rows[:, None], rows[None, :])  # a view is no negative of its own
    if decoupled:
        partners = ops.mod(rows[:, None] + count, 2 * count)
        left_out = ops.logical_or(left_out, ops.equal(partners, rows[None, :]))
    # -log(e^a / sum e^b) = logsumexp(b) - a, which does not overflow at a low temperature.
    totals = ops.logsumexp(ops.where(left_out, EXCLUDED, logits), axis=1)  # [2B]
    return ops.mean(totals - positives)


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
    # exp(-2 |a - b|^2), since |a - b|^2 = 2 - 2ab
    potentials = ops.exp(4.0 * (ops.matmul(unit, ops.transpose(unit)) - 1.0))
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


VARIANCE_EPSILON = 1e-4  # of algorithm 1 of the VICReg paper
TARGET_DEVIATION = 1.0  # gamma of its eq. 1


def vicreg(first, second, invariance=25.0, variance=25.0, covariance=1.0):
    """VICReg: views of an image agree, every dimension varies, no two say the same; no negatives.

    Eq. 6 of Bardes et al. 2022 (arXiv:2105.04906), with the squared distance as a mean over
    dimensions too, as their algorithm 1 and code have it.

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


BY_NAME: dict[str, Callable[[float], Callable]] = {  # of a temperature
    "nt_xent": lambda temperature: partial(nt_xent, temperature=temperature),
    "dcl": lambda temperature: partial(nt_xent, temperature=temperature, decoupled=True),
    "vicreg": lambda _: vicreg,
}


def pretraining_loss(name: str, temperature: float) -> Callable:
    """Returns a loss, a function of the embeddings of first and second views, [B, P] each.

    Args:
        name: one of BY_NAME, or the dotted path of anyone's.
        temperature: of those of BY_NAME that have one.
    """
    return BY_NAME[name](temperature) if name in BY_NAME else dotted.function(name)
