"""Between which values a score lies, as far as a few images can tell: 95 % intervals.

Standard library alone, but for one quantile.
"""

import math

Z = 1.959964  # of a normal distribution, 95 % lie within so many deviations of the mean
# End the names of metrics in [0, 1], which are told in per cent, their differences in points.
SHARES = ("accuracy", "iou", "precision", "recall", "auc")
LOW, HIGH = "_low", "_high"  # end the names of the ends of a metric's interval, beside it
Interval = tuple[float, float]


def of_share(share: float, images: int) -> Interval:
    """Returns the interval of a share of images, such as an accuracy.

    Wilson (1927), which is right for few images and near 0 and 1, too.

    Args:
      share: in [0, 1].
      images: at least one.
    """
    spread = Z * Z / images
    centre = (share + spread / 2) / (1 + spread)
    half = Z * math.sqrt(share * (1 - share) / images + spread / (4 * images)) / (1 + spread)
    return max(0.0, centre - half), min(1.0, centre + half)


def of_mean_error(mean: float, mean_square: float, images: int) -> Interval:
    """Returns the interval of a mean absolute error, by the errors' own deviation.

    Args:
      mean: of the absolute errors.
      mean_square: of their squares.
      images: at least two.
    """
    spread = math.sqrt(max(0.0, mean_square - mean * mean) / images)
    half = Z * of_few(images) * spread
    return max(0.0, mean - half), mean + half


def of_few(images: int) -> float:
    """Returns how much wider an interval is whose deviation was estimated, without Bessel's
    correction, from so many images, at least two: Student's (1908), close to 1 for many.
    """
    from scipy.special import stdtrit  # where it is needed: what tells of scores need not

    return stdtrit(images - 1, 0.975) / Z * math.sqrt(images / (images - 1))


def intervals_of(metrics: dict[str, float], images: int) -> dict[str, Interval]:
    """Returns name -> interval of those metrics that have one: accuracies, a mean absolute error
    beside a mean squared one, and those that bring their own, as a mean IoU does.

    Args:
      metrics: name -> value.
      images: held out, that they were measured on; 0 if that is not known.
    """
    if images < 1:
        return {}
    found = {
        name: of_share(value, images)
        for name, value in metrics.items()
        if name.endswith("accuracy") and 0 <= value <= 1
    }
    if {"mean_absolute_error", "mean_squared_error"} <= metrics.keys() and images > 1:
        errors = metrics["mean_absolute_error"], metrics["mean_squared_error"]
        found["mean_absolute_error"] = of_mean_error(*errors, images)
    ends = {name: (f"{name}{LOW}", f"{name}{HIGH}") for name in metrics}
    own = {name: pair for name, pair in ends.items() if {*pair} <= metrics.keys()}
    return found | {name: (metrics[low], metrics[high]) for name, (low, high) in own.items()}


def told(interval: Interval, images: int, percent: bool) -> str:
    """Returns an interval for a person, as in '(89.5 to 93.0, 1,000 images)'."""
    return f"({ends(interval, percent)}, {images:,} image{'' if images == 1 else 's'})"


def ends(interval: Interval, percent: bool) -> str:
    """Returns the ends of an interval for a person, as in '89.5 to 93.0'."""
    low, high = (f"{100 * end:.1f}" if percent else f"{end:.4g}" for end in interval)
    return f"{low} to {high}"
