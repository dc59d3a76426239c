"""What pretraining brought, or an encoder that came from elsewhere: how much better a model is than
another one on the same held-out images, how sure that is, and the words for it.

The comparison is paired: image by image, so that what is hard about an image counts on both sides
and the interval is as narrow as the images allow.

M held-out images, K numbers that an image adds to a metric.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from trainer_module.findings import counted
from trainer_module.intervals import SHARES, Interval, Z, of_few, of_share
from trainer_module.origin import PRETRAINING, is_brought
from trainer_module.thumbnails import SIDE
from trainer_module.to_try import Seen, what_to_try

BETTER, CHANCE, WORSE, NOT_KNOWN = "better", "within chance", "worse", "not known"
RESAMPLES, RESAMPLED_AT_ONCE = 1000, 50
LEAST_RESAMPLED = 2  # images: of one, nothing is known of how it differs from others
OVER_UNTRAINED, OVER_SCRATCH = "the untrained encoder", "training from scratch"
OVER_RANDOM = "random weights"  # what the untrained encoder is where others were brought
OVER_PIXELS = f"a linear model of {SIDE} x {SIDE} pixels"
# Points of a share, parts of another number: where the interval of a gain within chance leaves more
# open, the images are too few to say that there is none.
MUCH = 0.05


@dataclass(frozen=True)
class Gain:
    """How a number differs from that of another model.

    Attributes:
      metric: name of the number.
      over: name of the other one.
      against: whose that is, for a person.
      difference: the first minus the other.
      interval: of the difference, 95 %; None where the task does not tell image by image.
      images: that both were measured on.
      higher_is_better: which way the metric points.
      of: whose the first number is, for a person (origin.py).
    """

    metric: str
    over: str
    against: str
    difference: float
    interval: Interval | None
    images: int
    higher_is_better: bool = True
    of: str = PRETRAINING

    @property
    def verdict(self) -> str:
        """BETTER or WORSE where the whole interval is, else CHANCE; NOT_KNOWN where one of the
        numbers is not finite.

        Without an interval by the difference alone; that of one image is within chance.
        """
        if not all(map(math.isfinite, (self.difference, *(self.interval or ())))):
            return NOT_KNOWN
        if self.interval is None and self.images == 1:
            return CHANCE
        low, high = self.interval or (self.difference, self.difference)
        low, high = (low, high) if self.higher_is_better else (-high, -low)
        return BETTER if low > 0 else WORSE if high < 0 else CHANCE


@dataclass(frozen=True)
class Judged:
    """A model on held-out images: the task's metric, and what each image adds to it, [M, K], or
    None (`Task.contributions`).
    """

    score: float
    contributions: np.ndarray | None


def gain_of(
    names: tuple[str, str],
    against: str,
    judged: tuple[Judged, Judged],
    metric_of: Callable[[np.ndarray, int], np.ndarray],
    higher_is_better: bool = True,
) -> Gain:
    """Returns how much better the first of two models is.

    Args:
      names: of the two numbers.
      against: whose the second is.
      judged: both on the same images.
      metric_of: sums of contributions [..., K] and a number of images -> the metric [...].
      higher_is_better: which way it points.
    """
    first, second = (one.contributions for one in judged)
    images = 0 if first is None else len(first)
    interval = paired_interval(first, second, metric_of) if images else None
    difference = judged[0].score - judged[1].score
    return Gain(*names, against, difference, interval, images, higher_is_better)


def paired_interval(first: np.ndarray, second: np.ndarray, metric_of: Callable) -> Interval | None:
    """Returns the 95 % interval of the difference of a metric of two models; None where one image
    is all there is, and its share is not what is measured.

    Args:
      first: what each image adds, float [M, K].
      second: likewise of the other model, for the same images.
      metric_of: as above.
    """
    if _are_shares(first) and _are_shares(second):
        return of_paired_shares(first[:, 0], second[:, 0])
    images = len(first)  # the same ones for both
    if images < LEAST_RESAMPLED:
        return None
    return of_resampled(
        lambda times: metric_of(times @ first, images) - metric_of(times @ second, images), images
    )


def own_interval(contributions: np.ndarray, metric_of: Callable) -> Interval | None:
    """Returns the 95 % interval of the metric of one model; None where one image is all there is,
    and its share is not what is measured.

    Args:
      contributions: what each image adds, float [M, K].
      metric_of: as above.
    """
    images = len(contributions)
    if _are_shares(contributions):
        return of_share(float(contributions.mean()), images)
    if images < LEAST_RESAMPLED:
        return None
    return of_resampled(lambda times: metric_of(times @ contributions, images), images)


def _are_shares(contributions: np.ndarray) -> bool:
    """Tells whether an image is right or wrong and nothing else, of [M, K]."""
    return contributions.shape[1] == 1 and bool(np.isin(contributions, (0, 1)).all())


def of_paired_shares(first: np.ndarray, second: np.ndarray) -> Interval:
    """Returns the interval of the difference of two shares of the same images.

    Only images on which the two disagree tell anything (McNemar 1947); the interval is that of
    Bonett and Price (2012, doi:10.3102/1076998611411915), Wald's after one more image that each
    side alone gets right, which covers as it should for few images and few disagreements, too.

    Args:
      first: whether each image was answered right, 0 or 1 [M].
      second: likewise.
    """
    images = len(first) + 2
    won = (np.sum(first > second) + 1) / images
    lost = (np.sum(second > first) + 1) / images
    half = Z * math.sqrt((won + lost - (won - lost) ** 2) / images)
    return max(-1.0, float(won - lost - half)), min(1.0, float(won - lost + half))


def of_resampled(score_of: Callable[[np.ndarray], np.ndarray], images: int) -> Interval:
    """Returns the middle 95 % of a score on images drawn anew (Efron 1979, the bootstrap), widened
    by what so few images hide of their spread (Hesterberg 2015, doi:10.1080/00031305.2015.1089789).

    Args:
      score_of: how often each image is in, [R, M] -> scores [R].
      images: M, at least LEAST_RESAMPLED.
    """
    chance = np.random.default_rng(0)
    each, scores = np.full(images, 1 / images), []
    for _ in range(RESAMPLES // RESAMPLED_AT_ONCE):
        scores.append(score_of(chance.multinomial(images, each, RESAMPLED_AT_ONCE)))
    scores = np.concatenate(scores)
    scores = scores[np.isfinite(scores)]  # images of which none says anything have no score
    if not len(scores):
        return math.nan, math.nan
    ends = np.quantile(scores, (0.025, 0.975))
    score = score_of(np.ones((1, images), int))[0]
    low, high = score + of_few(images) * (ends - score)
    return float(low), float(high)


def with_origin(gain: Gain, of: str) -> Gain:
    """Returns a gain as that of what made the encoder (origin.py): over random weights, where these
    are not what pretraining began with.
    """
    against = OVER_RANDOM if is_brought(of) and gain.against == OVER_UNTRAINED else gain.against
    return dataclasses.replace(gain, against=against, of=of)


def is_open(gain: Gain, score: float) -> bool:
    """Returns whether the images are too few to tell of a gain that they show: it is within chance,
    and may be more than MUCH.

    Args:
      gain: the gain.
      score: the other number, which MUCH is a part of where the metric is no share.
    """
    sign = 1 if gain.higher_is_better else -1
    if gain.verdict != CHANCE or sign * gain.difference <= 0:
        return False
    if gain.interval is None:
        return True
    much = MUCH if gain.metric.endswith(SHARES) else MUCH * abs(score)
    return max(sign * end for end in gain.interval) > much


def words(gain: Gain) -> str:
    """Returns a gain for a person, as in '+2.0 points [-0.5, +4.5] over the untrained encoder,
    within chance', or 'behind the untrained encoder by 10.0 points [1.0, 20.0]'; before it whose it
    is, where not of pretraining alone.
    """
    return f"{gain.of}: {compared(gain)}" if is_brought(gain.of) else compared(gain)


def compared(gain: Gain) -> str:
    """Returns these words without whose the gain is."""
    if gain.verdict == NOT_KNOWN:
        return f"nothing that can be told over {gain.against}: a score is not finite"
    behind = gain.difference < 0 if gain.higher_is_better else gain.difference > 0
    by, against = _difference(gain, behind), gain.against
    told = f"behind {against} by {by}" if behind else f"{by} over {against}"
    less = "" if gain.higher_is_better else " (less is better)"
    return told + less + (", within chance" if gain.verdict == CHANCE else "")


def _difference(gain: Gain, behind: bool) -> str:
    """Returns a difference and its interval, as '+2.0 points [-0.5, +4.5]'; of one that is behind
    how far it is.
    """
    values = [gain.difference, *(gain.interval or ())]
    if behind and gain.difference < 0:
        values = [-gain.difference, *(-end for end in reversed(values[1:]))]
    points = gain.metric.endswith(SHARES)
    form = ("" if behind else "+") + (".1f" if points else ".4g")
    difference, *ends = [format(100 * value if points else value, form) for value in values]
    return difference + (" points" if points else "") + (f" [{', '.join(ends)}]" if ends else "")


def advice(gains: list[Gain], metrics: Mapping[str, float], settings: Mapping[str, Any]) -> str:
    """Returns what to say where pretraining, or an encoder that was brought, is not better than
    random weights beyond chance, or pixels without an encoder are ahead; else ''.

    Args:
      gains: of a run.
      metrics: its numbers by name.
      settings: its settings (to_try.py).
    """
    behind = [
        one
        for one in gains
        if (one.against in (OVER_UNTRAINED, OVER_RANDOM) and one.verdict in (CHANCE, WORSE))
        or (one.against == OVER_PIXELS and one.verdict == WORSE)
    ]
    if not behind:
        return ""
    first, are_ahead = behind[0], behind[-1].against == OVER_PIXELS
    score = metrics.get(first.over, math.nan)
    few = is_open(first, score)
    told = f"{first.of} did not do better than {first.against}"
    if few:
        images = counted(first.images, "held-out image")
        told = f"{images} cannot tell whether {first.of} did better than {first.against}"
    share = score if first.metric.endswith(SHARES) else math.nan
    rows = what_to_try(settings, share, Seen(first.of, few, are_ahead))
    return f"{told[:1].upper()}{told[1:]}: {compared(first)}.\n{rows}"


def as_dict(gain: Gain) -> dict[str, Any]:
    """Returns a gain as JSON-able values, its words and verdict with it; JSON has no number that is
    not finite.
    """
    values = dataclasses.asdict(gain)
    if gain.verdict == NOT_KNOWN:
        values |= {"difference": None, "interval": None}
    return {**values, "verdict": gain.verdict, "told": words(gain)}


def from_dict(values: Mapping[str, Any]) -> Gain:
    """Returns the gain that `as_dict` wrote."""
    names = [field.name for field in dataclasses.fields(Gain)]
    # those that were written before encoders were told apart have no `of`
    fields = {name: values[name] for name in names if name in values}
    interval = values["interval"] and tuple(values["interval"])
    difference = math.nan if fields["difference"] is None else fields["difference"]
    return Gain(**{**fields, "difference": difference, "interval": interval})
