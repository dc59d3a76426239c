"""What the gates said about a model: metrics and reasons for a refusal, from the artifacts of
Evaluator and ModelCheck.
"""

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path

from components.metadata.names import PROBE_FILE
from trainer_module.findings import counted
from trainer_module.intervals import HIGH, LOW

EXAMPLE_COUNT = "example_count"  # TFMA's name of how many images there were
OF_CLASS = "classId:"  # begins TFMA's name of a class
DIFFERENCE = "_diff"  # ends TFMA's name of how far a metric is from the baseline's


def numbers(values: Mapping[str, Mapping]) -> dict[str, float]:
    """Returns those of TFMA's values that are numbers of the model itself, by name.

    Beside each stands its distance from the baseline, where there is one; and what was not
    measured, such as a class that never occurs, is the text 'NaN'.
    """
    own = {name: value for name, value in values.items() if not name.endswith(DIFFERENCE)}
    return measured(
        {name: float(value["doubleValue"]) for name, value in own.items() if "doubleValue" in value}
    )


def measured(metrics: Mapping[str, float]) -> dict[str, float]:
    """Returns the metrics that are numbers, without NaN and infinity, which no table, store or
    browser takes for one.
    """
    return {name: value for name, value in metrics.items() if math.isfinite(value)}


def evaluated_metrics(evaluation_uri: str) -> dict[str, float]:
    """Returns the metrics that a task's evaluation gives a name, over the whole evaluation split;
    the one that gates comes first.

    Without those that are no number.
    """
    import tensorflow_model_analysis as tfma

    result = tfma.load_eval_result(evaluation_uri)
    whole = dict(result.slicing_metrics).get(())  # None if there was no image at all
    found = numbers(whole[""][""]) if whole else {}
    names = dict.fromkeys([*_gated(result), *_named(result)])
    return {name: found[name] for name in names if name in found}


def ends_of_intervals(evaluation_uri: str) -> dict[str, float]:
    """Returns the ends of the intervals that metrics bring themselves, as `mean_iou_low`."""
    import tensorflow_model_analysis as tfma

    whole = dict(tfma.load_eval_result(evaluation_uri).slicing_metrics).get(())
    found = numbers(whole[""][""]) if whole else {}
    return {name: value for name, value in found.items() if name.endswith((LOW, HIGH))}


def metrics_by_class(evaluation_uri: str) -> dict[str, float]:
    """Returns the metric of each class that occurs, by class name or id: that of its images, or, of
    label maps, of its pixels.
    """
    return {name: value for name, value in all_classes(evaluation_uri).items() if value is not None}


def all_classes(evaluation_uri: str) -> dict[str, float | None]:
    """Returns the same of every class that TFMA names, None where there is nothing to measure.

    Numbers in order, then names.
    """
    import tensorflow_model_analysis as tfma

    result, found = tfma.load_eval_result(evaluation_uri), {}
    gated = _gated(result)
    for slice_key, outputs in result.slicing_metrics:
        if slice_key:  # of images: a slice a class
            found[str(slice_key[0][1])] = _first(numbers(outputs[""][""]), gated)
        else:  # of pixels: a sub-key a class, with a metric of its own
            classes = {
                sub_key.removeprefix(OF_CLASS): values
                for sub_key, values in outputs[""].items()
                if sub_key.startswith(OF_CLASS)
            }
            found |= {
                name: _first(of_class := numbers(values), [*gated, *of_class])
                for name, values in classes.items()
            }
    return {name: found[name] for name in sorted(found, key=_numbers_first)}


def held_out_images(evaluation_uri: str) -> dict[str, int]:
    """Returns how many images a model was judged by: '' -> all, and of each class that has a slice,
    by its name; {} where an evaluation does not count them.
    """
    import tensorflow_model_analysis as tfma

    found = {}
    for slice_key, outputs in tfma.load_eval_result(evaluation_uri).slicing_metrics:
        count = numbers(outputs[""][""]).get(EXAMPLE_COUNT) if outputs else None
        if count is not None:
            found[str(slice_key[0][1]) if slice_key else ""] = round(count)
    return found


def _first(values: dict[str, float], names: Iterable[str]) -> float | None:
    return next((values[name] for name in names if name in values), None)


def _numbers_first(name: str) -> tuple[bool, int, str]:
    return (not name.isdigit(), int(name) if name.isdigit() else 0, name)


def _gated(result) -> list[str]:
    """Returns the names of the metrics of an evaluation that have thresholds."""
    return [name for name, metric in _named(result).items() if metric.per_slice_thresholds]


def _named(result) -> dict[str, object]:
    """Returns name -> metric of an evaluation's configuration, of those that are given a name."""
    metrics = [metric for spec in result.config.metrics_specs for metric in spec.metrics]
    named = [(json.loads(f"{{{metric.config}}}").get("name"), metric) for metric in metrics]
    return {name: metric for name, metric in named if name}


def evaluator_refusals(evaluation_uri: str) -> list[str]:
    """Returns which thresholds the model missed, a sentence each."""
    import tensorflow_model_analysis as tfma

    result = tfma.load_validation_result(evaluation_uri)
    refusals = [
        _refusal(failure)
        for item in result.metric_validations_per_slice
        for failure in item.failures
    ]
    return refusals or (
        ["nothing in the evaluation split was judged"] if result.missing_slices else []
    )


def model_check_refusal(blessing_uri: str) -> str:
    """Returns why a fresh process could not use the model."""
    seen = json.loads(Path(blessing_uri, PROBE_FILE).read_text(encoding="utf-8"))
    return (
        "the served model fails: "
        + (seen["error"].strip().splitlines() or ["the process died without a word"])[-1]
    )


def _refusal(failure) -> str:
    threshold = failure.metric_threshold
    name, value = failure.metric_key.name, failure.metric_value.double_value.value
    if not math.isfinite(value):
        return (
            f"{name} is not a number: nothing in the evaluation split counts, or the answers "
            f"are not numbers"
        )
    if name == EXAMPLE_COUNT:
        least = threshold.value_threshold.lower_bound.value
        are = "is" if round(value) == 1 else "are"
        return (
            f"{counted(round(value), 'held out image')} {are} too few to judge a model by, at "
            f"least {least:.0f} are asked for (--set gate.least_eval_images=N for a trial)"
        )
    if threshold.HasField("value_threshold"):
        bounds = threshold.value_threshold
        if bounds.HasField("upper_bound") and value > bounds.upper_bound.value:
            return f"{name} {value:.4f} is above the most accepted, {bounds.upper_bound.value:.4f}"
        return f"{name} {value:.4f} is below the least accepted, {bounds.lower_bound.value:.4f}"
    change = threshold.change_threshold
    accepted = (
        f"{change.relative.value:+.0%}"
        if change.HasField("relative")
        else f"{change.absolute.value:+.4f}"
    )
    return (
        f"{name} changed by {value:+.4f} against the latest blessed model; at the worst "
        f"{accepted} is accepted"
    )
