"""Regression: one number an image, such as an age. See task.py for what each part is for.

Transform learns the numbers' mean and deviation; a head learns standardised numbers, people and the
Evaluator see the units of the list.

B images, D feature dims.
"""

import math
import statistics as stdlib_statistics
from collections.abc import Sequence
from dataclasses import dataclass

from trainer_module.errors import InputError
from trainer_module.findings import REFUSED, WARNING, Finding
from trainer_module.intervals import Interval, of_mean_error
from trainer_module.settings import Augmentation, Finetuning, Target
from trainer_module.tasks.labels import one_answer, refuse_files
from trainer_module.tasks.task import Task, Value

FLOAT32 = 3.4e38  # the largest that tf.Examples hold
LARGEST = 1e15  # whose squares 32 bits add up for 10^8 images
ROUNDED = 2.0**-24  # share of a number by which 32 bits may round it
MOST_ROUNDED = 0.01  # of the numbers' standard deviation
LEAST_STD = 1e-6  # in units of the target
COMMA = "; a point parts the decimals, nothing the thousands"
MEAN, STD = "number_mean", "number_std"
# What a number survives: a crop changes sizes, positions and counts, which it may well be.
FLIPS = Augmentation(crop_probability=0.0, jitter_probability=0.0, colour_drop_probability=0.0)


@dataclass(frozen=True)
class Regression(Task):
    """The task; the training list fixes nothing that Transform does not learn."""

    name = "regression"
    mild = FLIPS
    metric = "mean_absolute_error"
    higher_is_better = False
    target = "number"
    fits_linear = True
    statistics = (MEAN, STD)

    @classmethod
    def from_targets(cls, targets: Sequence[str], settings: Target) -> "Regression":
        """Checks that there is something to learn.

        Raises:
          InputError: if no row has a number, or all have the same.
        """
        del settings
        refuse_files([target for target in targets if target], cls.name)
        given = {float(target) for target in targets if target and not _problem(target)}
        if not any(targets):
            raise InputError(
                "The training list has no numbers: a row of this task is `path,number`. Without "
                "numbers: --task=pretrain"
            )
        if len(given) == 1 and not any(_problem(target) for target in targets):
            raise InputError(_same(given.pop()))
        return cls()

    def problem(self, target: str) -> str:
        """Returns what is wrong with a row's number, or '' if nothing is."""
        return _problem(target)

    def noticed_in_rows(self, targets: Sequence[str]) -> list[Finding]:
        """Refuses numbers that all are one, where rows with others are skipped; warns of numbers
        that differ by less than 32 bits can tell apart.
        """
        numbers = [float(target) for target in targets]
        if len(set(numbers)) == 1:
            return [Finding(REFUSED, "one number", _same(numbers[0]))]
        largest, mean = max(map(abs, numbers)), stdlib_statistics.fmean(numbers)
        std = math.sqrt(stdlib_statistics.fmean((number - mean) ** 2 for number in numbers))
        told = fix = ""
        if largest * ROUNDED > MOST_ROUNDED * std:
            told = f"Numbers of up to {largest:g} are rounded to 32 bits by up to "
            told += f"{largest * ROUNDED:.2g}, and their standard deviation is {std:.2g}"
            fix = "subtract the same number from all, so that they lie about 0"
        elif std < LEAST_STD:
            told = f"The numbers' standard deviation is {std:.2g}, and less than {LEAST_STD:g} is "
            told += "not brought to 1"
            fix = "take a smaller unit, so that the numbers are larger"
        return [Finding(WARNING, "numbers too alike", told, len(numbers), fix=fix)] if told else []

    def noticed_in_held_out(self, targets: Sequence[str]) -> list[Finding]:
        """Returns a warning if one number alone is held out."""
        known = {float(target) for target in targets}
        answer = f"the number {float(targets[0]):g}"
        return one_answer("number", answer, len(targets)) if len(known) == 1 else []

    def constant_score(self, targets: Sequence[str]) -> float:
        """Returns the mean absolute error of always answering the median, the best constant there
        is.
        """
        numbers = [float(target) for target in targets]
        median = stdlib_statistics.median(numbers)
        return stdlib_statistics.fmean(abs(number - median) for number in numbers)

    def example_fields(self, target: str | bytes, image_size: tuple[int, int]) -> dict[str, Value]:
        """Returns the number as a float."""
        del image_size
        return {"number": float(target)}

    @property
    def placeholder(self) -> dict[str, Value]:
        """Zero."""
        return {"number": 0.0}

    def transform(self, inputs: dict, image_size: tuple[int, int]) -> dict:
        """Standardises the number, float32 [B] or [B, 1], and learns its mean and deviation over
        the training split.
        """
        del image_size
        if "number" not in inputs:
            return {}
        import tensorflow as tf
        import tensorflow_transform as tft

        number = tf.reshape(inputs["number"], [-1])
        mean, std = tft.mean(number), tf.maximum(tf.sqrt(tft.var(number)), LEAST_STD)
        spread = lambda value: tf.fill(tf.shape(number), tf.cast(value, tf.float32))  # noqa: E731
        return {"number": (number - mean) / std, MEAN: spread(mean), STD: spread(std)}

    def targets(self, rows: dict, image_size: tuple[int, int]):
        """Returns the standardised number, float32 [B]; Transform may hand it on as [B, 1]."""
        del image_size
        import tensorflow as tf

        return tf.reshape(rows["number"], [-1])

    def head(self, encoder, kind: str):
        """Returns a model from normalized images to standardised numbers [B, 1]."""
        from trainer_module.heads import attach_head

        return attach_head(encoder, 1, kind)

    def fitted_linear(self, features, targets) -> list:
        """Returns kernel [D, 1] and bias [1] of ridge regression."""
        from trainer_module.linear_eval import fit_ridge

        return list(fit_ridge(features, targets))

    def loss(self, statistics: dict, settings: Finetuning):
        """Returns Huber's loss of standardised numbers: squared up to one deviation, absolute
        beyond, so that outliers do not rule.
        """
        del statistics, settings
        import keras

        return keras.losses.Huber(delta=1.0)

    def metrics(self, statistics: dict) -> list:
        """Returns the mean absolute error in units of the list."""
        import keras
        from keras import ops

        std = float(statistics[STD])

        def absolute_error(targets, outputs):
            return ops.abs(ops.reshape(targets, [-1]) - ops.reshape(outputs, [-1])) * std

        return [keras.metrics.MeanMetricWrapper(absolute_error, name="mean_absolute_error")]

    def contributions(self, targets, outputs, statistics: dict):
        """Returns the absolute error of every image in units of the list, float [B, 1]."""
        errors = abs(targets.reshape(-1) - outputs.reshape(-1))
        return (errors * float(statistics[STD]))[:, None]

    def interval(self, contributions) -> Interval | None:
        """Returns that of the mean of absolute errors [M, 1] by their own deviation, as of the
        final model's; None of one.
        """
        errors = contributions[:, 0].astype("float64")
        if len(errors) == 1:
            return None
        return of_mean_error(float(errors.mean()), float((errors**2).mean()), len(errors))

    def served(self, outputs, encoded, statistics: dict) -> dict:
        """Returns the number in units of the list, float32 [B]."""
        del encoded
        return {"number": outputs[:, 0] * float(statistics[STD]) + float(statistics[MEAN])}

    def judged(self, raw: dict, transformed: dict) -> dict:
        """Returns the number of the list, not the standardised one, float32 [B, 1]."""
        del transformed
        return {"number": raw["number"]}

    def evaluation(self, limit: float, max_drop: float) -> dict:
        """Returns TFMA's EvalConfig as a dict: mean absolute error with thresholds, below which it
        must stay, and the squared one.
        """
        threshold = {
            "value_threshold": {"upper_bound": limit},
            "change_threshold": {"direction": "LOWER_IS_BETTER", "relative": max_drop},
        }
        overall = [{"slicing_specs": [{}], "threshold": threshold}]
        return {
            "model_specs": [
                {
                    "signature_name": "serving_default",
                    "prediction_key": "number",
                    "label_key": "number",
                    "preprocessing_function_names": ["transform_labels"],
                }
            ],
            "slicing_specs": [{}],
            "metrics_specs": [
                {
                    "metrics": [
                        {"class_name": "ExampleCount"},
                        {
                            "class_name": "MeanAbsoluteError",
                            "config": '"name": "mean_absolute_error"',
                            "per_slice_thresholds": overall,
                        },
                        {
                            "class_name": "MeanSquaredError",
                            "config": '"name": "mean_squared_error"',
                        },
                    ]
                }
            ],
        }

    def shown(self, value: float) -> str:
        """Returns the error in units of the list."""
        return f"{value:.4g}"

    def line(self, answer: dict) -> str:
        """Returns the number."""
        return f"{answer['number']:.4g}"


def _same(number: float) -> str:
    return (
        f"All rows of the training list have the same number, so there is nothing to learn. "
        f"Received: {number:g}"
    )


def _problem(target: str) -> str:
    if not target:
        return "no number: a row of this task is `path,number`"
    try:
        number = float(target)
    except ValueError:
        return f"{target!r} is not a number{COMMA if ',' in target else ''}"
    if "_" in target:  # which Python reads over
        return f"{target!r} is not a number"
    if math.isnan(number) or (math.isinf(number) and "inf" in target.lower()):
        return f"number {target} is not finite"
    bits = "does not fit 32 bits" if abs(number) > FLOAT32 else "squared does not fit 32 bits"
    large = f"number {target} {bits}: at most {LARGEST:g} is taken, so use a larger unit"
    return large if abs(number) > LARGEST else ""
