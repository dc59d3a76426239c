"""What the gates said about a model: metrics and reasons for a refusal, from the artifacts of Evaluator and ModelCheck."""

import json
import math
from pathlib import Path


def evaluated_metrics(evaluation_uri: str) -> dict[str, float]:
    """Returns the metric that has a threshold, over the whole evaluation split, by name."""
    import tensorflow_model_analysis as tfma

    result = tfma.load_eval_result(evaluation_uri)
    values = dict(result.slicing_metrics)[()][""][""]
    return {name: values[name]["doubleValue"] for name in _gated(result)}


def metrics_by_class(evaluation_uri: str) -> dict[str, float]:
    """Returns the metric of each class that occurs, by class name or id: that of its images, or, of label maps, of its pixels."""
    import tensorflow_model_analysis as tfma

    result, found = tfma.load_eval_result(evaluation_uri), {}
    for slice_key, outputs in result.slicing_metrics:
        if slice_key:  # of images: a slice a class
            found |= {str(slice_key[0][1]): outputs[""][""][name] for name in _gated(result)}
        else:  # of pixels: a sub-key a class
            classes = {sub_key.partition(":")[2]: values for sub_key, values in outputs[""].items() if sub_key.startswith("classId:")}
            found |= {class_id: value for class_id, values in classes.items() for value in values.values()}
    measured = {name: value["doubleValue"] for name, value in found.items() if math.isfinite(value.get("doubleValue", math.nan))}
    return {name: measured[name] for name in sorted(measured, key=_numbers_first)}


def _numbers_first(name: str) -> tuple[bool, int, str]:
    return (not name.isdigit(), int(name) if name.isdigit() else 0, name)


def _gated(result) -> list[str]:
    """Returns the names of the metrics of an evaluation that have thresholds."""
    metrics = [metric for spec in result.config.metrics_specs for metric in spec.metrics]
    return [json.loads(f"{{{metric.config}}}")["name"] for metric in metrics if metric.per_slice_thresholds]


def evaluator_refusals(evaluation_uri: str) -> list[str]:
    """Returns which thresholds the model missed, a sentence each."""
    import tensorflow_model_analysis as tfma

    slices = tfma.load_validation_result(evaluation_uri).metric_validations_per_slice
    return [_refusal(failure) for item in slices for failure in item.failures]


def model_check_refusal(blessing_uri: str) -> str:
    """Returns why a fresh process could not use the model."""
    report = json.loads(Path(blessing_uri, "report.json").read_text(encoding="utf-8"))
    return "the served model fails: " + (report["error"].strip().splitlines() or ["the process died without a word"])[-1]


def _refusal(failure) -> str:
    threshold = failure.metric_threshold
    name, value = failure.metric_key.name, failure.metric_value.double_value.value
    if threshold.HasField("value_threshold"):
        bounds = threshold.value_threshold
        if bounds.HasField("upper_bound") and value > bounds.upper_bound.value:
            return f"{name} {value:.4f} is above the most accepted, {bounds.upper_bound.value:.4f}"
        return f"{name} {value:.4f} is below the least accepted, {bounds.lower_bound.value:.4f}"
    change = threshold.change_threshold
    accepted = f"{change.relative.value:+.0%}" if change.HasField("relative") else f"{change.absolute.value:+.4f}"
    return f"{name} changed by {value:+.4f} against the latest blessed model; at the worst {accepted} is accepted"
