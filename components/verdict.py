"""What the gates said about a model: metrics and reasons for a refusal, from the artifacts of Evaluator and ModelCheck."""

import json
from pathlib import Path

METRICS = ("accuracy", "mean_iou", "mean_absolute_error")  # of the tasks; each run has one


def evaluated_metrics(evaluation_uri: str) -> dict[str, float]:
    """Returns the task's metric over the whole evaluation split, by name."""
    import tensorflow_model_analysis as tfma

    overall = dict(tfma.load_eval_result(evaluation_uri).slicing_metrics)[()]
    values = {name: value["doubleValue"] for name, value in overall[""][""].items() if "doubleValue" in value}
    return {name: values[name] for name in METRICS if name in values}


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
        return f"{name} {value:.4f} is below the least accepted, {threshold.value_threshold.lower_bound.value:.4f}"
    least = threshold.change_threshold.absolute.value
    return f"{name} changed by {value:+.4f} against the latest blessed model; the least accepted is {least:+.4f}"
