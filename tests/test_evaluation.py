"""What makes a model good enough: the thresholds of each task's evaluation, held against metrics by
TFMA itself.
"""

import dataclasses

import numpy as np
import pytest
import tfx.components  # noqa: F401 (TensorFlow Model Analysis is whole only after it)

# isort: split
import tensorflow_model_analysis as tfma
from google.protobuf import json_format
from tensorflow_model_analysis.evaluators.metrics_validator import validate_metrics
from tensorflow_model_analysis.metrics import metric_specs, metric_types

from pipeline.choices import Gate
from trainer_module.tasks.classification import Classification
from trainer_module.tasks.regression import Regression
from trainer_module.tasks.segmentation import Segmentation
from trainer_module.tasks.unlabelled import Unlabelled

pytestmark = pytest.mark.tfx

LIMIT, DROP = 0.5, 0.125
TASKS = [Classification(3, ("ant", "bee", "cat")), Regression(), Segmentation(3)]
BETTER = pytest.mark.parametrize("task", [TASKS[0], TASKS[2]], ids=lambda task: task.name)
ALL = pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)


def config(task):
    """Returns the EvalConfig as Evaluator completes it, with a candidate and a baseline."""
    parsed = json_format.ParseDict(task.evaluation(LIMIT, DROP), tfma.EvalConfig())
    return tfma.utils.update_eval_config_with_defaults(
        parsed, has_baseline=True, rubber_stamp=False
    )


def accepted(task, value, change=0.0, slice_key=()):
    """Tells whether a model passes whose metric has this value, and differs by `change` from the
    baseline's.
    """
    completed = config(task)
    names = {spec.is_baseline: spec.name for spec in completed.model_specs}
    key = metric_types.MetricKey(name=task.metric, model_name=names[False])
    base = key._replace(model_name=names[True])
    relative = {
        base: np.array(value - change),
        key: np.array(value),
        key.make_diff_key(): np.array(change),
    }
    return validate_metrics((slice_key, relative), completed).validation_ok


@BETTER
def test_the_metric_must_reach_the_limit(task):
    assert accepted(task, LIMIT)
    assert not accepted(task, LIMIT - 0.01)


@BETTER
def test_it_may_fall_behind_the_baseline_by_no_more_than_the_drop(task):
    assert accepted(task, 0.75, -DROP) and accepted(task, 0.75, 0.2)
    assert not accepted(task, 0.75, -DROP - 0.01)


def test_an_error_must_stay_below_the_limit():
    assert accepted(Regression(), LIMIT)
    assert not accepted(Regression(), LIMIT + 0.01)


def test_an_error_may_grow_by_no_more_than_its_share_of_the_baselines():
    assert accepted(Regression(), 0.45, 0.05) and accepted(Regression(), 0.25, -0.2)
    assert not accepted(Regression(), 0.48, 0.08)


def test_a_single_class_may_fall_below_the_limit():
    assert accepted(TASKS[0], 0.1, slice_key=(("label", "ant"),))


@ALL
def test_tfma_can_make_every_metric(task):
    made = metric_specs.to_computations(config(task).metrics_specs, eval_config=config(task))
    assert made


def described(task):
    """Returns what Evaluator reads of the model and the data, and the names of what it measures."""
    evaluation = task.evaluation(LIMIT, DROP)
    metrics = evaluation["metrics_specs"][0]["metrics"]
    return (
        evaluation["model_specs"],
        evaluation["slicing_specs"],
        [metric["class_name"] for metric in metrics],
    )


def test_classes_are_judged_by_probabilities_against_ids_all_together_and_one_by_one():
    model = {
        "signature_name": "serving_default",
        "prediction_key": "probabilities",
        "label_key": "class_id",
    }
    wanted = [
        "ExampleCount",
        "SparseCategoricalAccuracy",
        "SparseCategoricalCrossentropy",
        "MultiClassConfusionMatrixPlot",
    ]
    assert described(TASKS[0]) == (
        [model | {"preprocessing_function_names": ["transform_labels"]}],
        [{}, {"feature_keys": ["label"]}],
        wanted,
    )


def test_numbers_are_judged_in_units_of_the_list():
    model = {"signature_name": "serving_default", "prediction_key": "number", "label_key": "number"}
    wanted = ["ExampleCount", "MeanAbsoluteError", "MeanSquaredError"]
    assert described(Regression()) == (
        [model | {"preprocessing_function_names": ["transform_labels"]}],
        [{}],
        wanted,
    )


def test_label_maps_are_judged_as_the_png_that_is_served():
    model = {
        "signature_name": "serving_default",
        "preprocessing_function_names": ["transform_labels"],
    }
    assert described(Segmentation(3)) == ([model], [{}], ["MeanIoU"])
    (metric,) = config(Segmentation(3, ignored_class=7)).metrics_specs[0].metrics
    wanted = {"num_classes": 3, "ground_truth_key": "label_map", "prediction_key": "label_map_png"}
    assert json_format.json.loads(f"{{{metric.config}}}") == wanted | {
        "decode_prediction": True,
        "ignored": 7,
        "name": "mean_iou",
    }
    assert metric.module == "components.mean_iou"


def test_the_matrix_of_classes_takes_the_likeliest():
    matrix = TASKS[0].evaluation(LIMIT, DROP)["metrics_specs"][0]["metrics"][-1]
    assert matrix["config"] == '"num_thresholds": 2'


def test_what_is_judged_is_the_id_the_number_of_the_list_and_the_label_map_on_disk():
    assert TASKS[0].judged({"label": "bee"}, {"label": 1}) == {"class_id": 1}
    assert Regression().judged({"number": 30.0}, {"number": 0.5}) == {"number": 30.0}
    judged = Segmentation(3).judged({"label_map": [["a"], ["b"]]}, {"label_map": "packed"})
    assert judged["label_map"].numpy().tolist() == [b"a", b"b"] and list(judged) == ["label_map"]


def test_a_constant_answer_scores_the_share_of_the_largest_class_or_chance():
    assert Classification(4).constant_score(["0", "0", "1", "0"]) == 0.75
    assert Classification(4).constant_score(["0", "1", "2", "3", "0"]) == 0.4
    assert Classification(2).constant_score(["0", "1", "2", "3", "4"]) == 0.5
    assert Classification(2).constant_score(["0", "00", "1", "000"]) == 0.75  # one id, three ways


def test_a_constant_number_is_the_median():
    assert Regression().constant_score(["1", "2", "6"]) == pytest.approx(5 / 3)


def test_a_constant_label_map_has_one_class_right_and_no_task_at_all_scores_nothing():
    assert Segmentation(4).constant_score(["a.png"]) == 0.25
    assert Unlabelled().constant_score(["a"]) == 0.0


@pytest.mark.parametrize(
    ("values", "rule"),
    [
        ({"min_metric": -0.01}, r"`min_metric` must lie in \[0, 1\]. Received: min_metric=-0.01"),
        ({"min_metric": 1.01}, "min_metric=1.01"),
        ({"max_error": -0.01}, "`max_error` must be at least 0. Received: max_error=-0.01"),
        ({"max_metric_drop": -0.01}, "max_metric_drop=-0.01"),
        (
            {"max_metric_drop": 1.01},
            r"`max_metric_drop` must lie in \[0, 1\]. Received: max_metric_drop=1.01",
        ),
    ],
)
def test_a_gate_outside_its_range_is_refused(values, rule):
    with pytest.raises(ValueError, match=rule):
        Gate(**values)


@pytest.mark.parametrize("edge", [0.0, 1.0])
def test_a_gate_at_the_edge_of_its_range_is_accepted(edge):
    assert dataclasses.astuple(Gate(edge, edge, edge, 1)) == (edge, edge, edge, 1)


def test_a_gate_left_alone_asks_for_ten_images_and_to_keep_within_two_hundredths():
    assert dataclasses.astuple(Gate()) == (0.0, 0.0, 0.02, 10)


def test_a_metric_has_a_least_value_and_an_error_a_largest():
    assert (Gate(0.25, 4.0).limit(True), Gate(0.25, 4.0).limit(False)) == (0.25, 4.0)


@pytest.mark.parametrize(
    ("gate", "constant", "higher_is_better", "beating"),
    [
        (Gate(0.5), 0.25, True, Gate(0.5)),
        (Gate(0.5), 0.75, True, Gate(0.75)),
        (Gate(), 4.0, False, Gate(max_error=4.0)),
        (Gate(max_error=2.0), 4.0, False, Gate(max_error=2.0)),
        (Gate(max_error=8.0), 4.0, False, Gate(max_error=4.0)),
    ],
)
def test_a_gate_asks_for_as_much_as_a_constant_answer_scores(
    gate, constant, higher_is_better, beating
):
    assert gate.beating(constant, higher_is_better) == beating
