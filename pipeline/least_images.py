"""A model that was judged by a handful of images is refused, whatever its score."""

from typing import Any


def with_least_images(evaluation: dict[str, Any], least: int) -> dict[str, Any]:
    """Returns a task's evaluation that refuses a model on fewer than `least` images, too."""
    enough = {"value_threshold": {"lower_bound": least}}
    count = {
        "class_name": "ExampleCount",
        "per_slice_thresholds": [{"slicing_specs": [{}], "threshold": enough}],
    }
    specs = [
        {**spec, "metrics": [one for one in spec["metrics"] if one["class_name"] != "ExampleCount"]}
        for spec in evaluation["metrics_specs"]
    ]
    return {**evaluation, "metrics_specs": [*specs, {"metrics": [count]}]}
