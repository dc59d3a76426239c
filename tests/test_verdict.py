"""What TFMA found comes out as numbers: of the candidate alone, and of nothing that was not
measured.
"""

import json
import math
from dataclasses import dataclass, replace

import numpy as np
import pytest
import tensorflow as tf
import tfx.components  # noqa: F401 (TensorFlow Model Analysis is whole only after it)

# isort: split
import tensorflow_model_analysis as tfma
from apache_beam.options.pipeline_options import PipelineOptions
from google.protobuf import json_format
from tensorflow_model_analysis.proto import validation_result_pb2
from tensorflow_model_analysis.utils import config_util
from test_stored_run import run_of

from components.metadata.verdict import (
    evaluated_metrics,
    evaluator_refusals,
    held_out_images,
    metrics_by_class,
    model_check_refusal,
)
from components.report.answers import answers, captions, evaluated_classes
from components.report.sample import Sample
from components.report.scores import models
from pipeline.evaluate import scores, table
from pipeline.flags import build_parser, choices_of
from pipeline.least_images import with_least_images
from pipeline.plan import as_chosen, threshold_from, to_dict
from pipeline.summary import verdict
from trainer_module.examples import Examples
from trainer_module.log_files import EVALUATION_FILE
from trainer_module.segmentation.label_map import encode_label_map
from trainer_module.tasks.classification import Classification
from trainer_module.tasks.regression import Regression
from trainer_module.tasks.segmentation import Segmentation
from trainer_module.tasks.task import Task

pytestmark = pytest.mark.tfx

NEVER = 3  # the class that occurs neither in truth nor in answers
CLASSES = 12  # more than ten, so that an order by letters shows
ROWS = 4  # of a label map; a column a class
LEAST = 4  # images asked for
MODELS = ("candidate", "baseline")
TEXT, NUMBER = tf.io.FixedLenFeature([], tf.string), tf.io.FixedLenFeature([], tf.float32)
ID, SHARES = tf.io.FixedLenFeature([], tf.int64), tf.io.FixedLenFeature([3], tf.float32)
# Of a task: the output of its model, what that is, and the target that it is held against.
ANSWERS = {
    "segmentation": ("label_map_png", TEXT, {"label_map": TEXT}),
    "regression": ("number", NUMBER, {"number": NUMBER}),
    "classification": ("probabilities", SHARES, {"class_id": ID}),
}


@pytest.fixture
def refused(tmp_path):
    """Returns a function that writes what TFMA's validation says, and gives the refusals told."""

    def told(*failures):
        result = {"metric_validations_per_slice": [{"failures": list(failures)}]}
        result = json_format.ParseDict(result, validation_result_pb2.ValidationResult())
        with tf.io.TFRecordWriter(str(tmp_path / "validations.tfrecord")) as writer:
            writer.write(result.SerializeToString())
        return evaluator_refusals(str(tmp_path))

    return told


def failure(value, threshold):
    return {
        "metric_key": {"name": "error"},
        "metric_value": {"double_value": value},
        "metric_threshold": threshold,
    }


def test_a_value_above_the_upper_bound_is_told_with_both(refused):
    bounds = {"value_threshold": {"lower_bound": 0.0, "upper_bound": 0.25}}
    assert refused(failure(0.5, bounds)) == ["error 0.5000 is above the most accepted, 0.2500"]


@pytest.mark.parametrize("upper", [{}, {"upper_bound": 0.75}], ids=["", "between two bounds"])
def test_a_value_below_the_lower_bound_is_told_with_both(refused, upper):
    bounds = {"value_threshold": {"lower_bound": 0.5} | upper}
    assert refused(failure(0.25, bounds)) == ["error 0.2500 is below the least accepted, 0.5000"]


@pytest.mark.parametrize(
    ("accepted", "text"), [({"absolute": -0.02}, "-0.0200"), ({"relative": -0.05}, "-5%")]
)
def test_a_change_for_the_worse_is_told_beside_what_is_accepted(refused, accepted, text):
    change = {"change_threshold": {"direction": "HIGHER_IS_BETTER"} | accepted}
    assert refused(failure(-0.125, change)) == [
        "error changed by -0.1250 against the latest blessed model; at the worst "
        f"{text} is accepted"
    ]


def test_each_missed_threshold_is_told(refused):
    above, below = {"upper_bound": 0.25}, {"lower_bound": 0.75}
    found = refused(*(failure(0.5, {"value_threshold": bound}) for bound in (above, below)))
    assert ["above" in found[0], "below" in found[1]] == [True, True]


def test_a_model_that_missed_nothing_is_refused_for_nothing(refused):
    assert refused() == []


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        ("Traceback: ...\nValueError: no `né`\n\n", "ValueError: no `né`"),
        ("no answer within 3 s", "no answer within 3 s"),
        (" \n", "the process died without a word"),
    ],
)
def test_of_what_model_check_saw_the_last_line_is_told(tmp_path, error, reason):
    report = json.dumps({"error": error}, ensure_ascii=False)
    (tmp_path / "report.json").write_text(report, encoding="utf-8")
    assert model_check_refusal(str(tmp_path)) == f"the served model fails: {reason}"


@pytest.mark.parametrize(
    ("task", "flags", "decided", "told"),
    [
        (Classification(2), [], {}, "blessed; at least 60.00 % was asked for, by the recipe demo"),
        (
            Classification(2),
            ["--set=gate.min_metric=0.7"],
            {},
            "blessed; at least 70.00 % was asked for, by gate.min_metric",
        ),
        (
            Classification(2),
            [],
            {"min_metric": 0.75},
            "blessed; at least 75.00 % was asked for, by a constant answer",
        ),
        (
            Classification(2),
            ["--set=gate.min_metric=0.7"],
            {"min_metric": 0.75},
            "blessed; at least 75.00 % was asked for, by a constant answer, which is more than "
            "gate.min_metric",
        ),
        (
            Regression(),
            ["--task=regression"],
            {"max_error": 3.0},
            "blessed; at most 3 was asked for, by a constant answer",
        ),
    ],
)
def test_a_verdict_tells_what_was_asked_for_and_by_whom(task, flags, decided, told):
    choices = choices_of(build_parser().parse_args(flags))
    plan = as_chosen(choices, task)
    plan = replace(plan, gate=replace(plan.gate, **decided))
    summary = {"blessed": True, "configuration": to_dict(plan)}
    assert verdict(summary | {"threshold_from": threshold_from(plan)}, task) == told


class Parrot(tf.Module):
    """A served model that answers what its examples hold under its name, and passes the true answer
    on.
    """

    def __init__(self, name, task):
        super().__init__()
        self.feature = name
        self.answer, self.kind, self.target = ANSWERS[task.name]

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def serving_default(self, examples):
        rows = tf.io.parse_example(examples, {self.feature: self.kind})
        told = {self.answer: rows[self.feature]}  # TFMA's image preprocessor wants two outputs
        return told | (
            {"certainty": tf.ones(tf.shape(examples))} if self.answer == "label_map_png" else {}
        )

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def transform_labels(self, examples):
        return tf.io.parse_example(examples, self.target)


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    """Returns a function that evaluates as the Evaluator does, and says where the result lies."""

    def run(task, rows, least=1):
        folder = tmp_path_factory.mktemp("evaluated")
        with tf.io.TFRecordWriter(str(folder / "examples")) as writer:
            for row in rows:
                features = tf.train.Features(
                    feature={name: feature_of(value) for name, value in row.items()}
                )
                writer.write(tf.train.Example(features=features).SerializeToString())
        names = [name for name in MODELS if any(name in row for row in rows)] or ["candidate"]
        config = json_format.ParseDict(
            with_least_images(task.evaluation(0.1, 0.02), least), tfma.EvalConfig()
        )
        config = config_util.update_eval_config_with_defaults(
            config, has_baseline=len(names) > 1, rubber_stamp=True
        )
        models = []
        for name, spec in zip(names, config.model_specs, strict=True):
            parrot = Parrot(name, task)
            signatures = {
                key: getattr(parrot, key) for key in ("serving_default", "transform_labels")
            }
            tf.saved_model.save(parrot, str(folder / name), signatures=signatures)
            models.append(
                tfma.default_eval_shared_model(
                    str(folder / name),
                    eval_config=config,
                    model_name=spec.name,
                    rubber_stamp=len(names) == 1,
                )
            )
        tfma.run_model_analysis(
            models if len(models) > 1 else models[0],
            config,
            data_location=str(folder / "examples"),
            output_path=str(folder / "result"),
            pipeline_options=PipelineOptions(["--runner=FnApiRunner"]),
        )
        return str(folder / "result")

    return run


def feature_of(value):
    if isinstance(value, np.ndarray):  # a label map
        return feature_of(encode_label_map(value))
    values = value if isinstance(value, list) else [value]
    if isinstance(values[0], bytes):
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))
    if isinstance(values[0], int):
        return tf.train.Feature(int64_list=tf.train.Int64List(value=values))
    return tf.train.Feature(float_list=tf.train.FloatList(value=values))


@pytest.fixture(scope="module")
def truth():
    """A column a class; class NEVER has given its column to class 0."""
    columns = np.where(np.arange(CLASSES) == NEVER, 0, np.arange(CLASSES))
    return np.tile(columns.astype(np.uint8), (ROWS, 1))


@pytest.fixture(scope="module")
def answer(truth):
    """All right, but a quarter of class 1, which is taken for class 2."""
    answer = truth.copy()
    answer[0, 1] = 2
    return answer


OF_CLASS = {str(index): 1.0 for index in range(CLASSES) if index != NEVER} | {
    "1": 3 / 4,
    "2": 4 / 5,
}


@pytest.fixture(scope="module")
def evaluations(evaluated, truth, answer):
    """Where the same answers are evaluated: alone, of one image fewer than asked for, and beside a
    baseline that never errs.
    """
    row = {"label_map": truth, "candidate": answer}
    task = Segmentation(CLASSES)
    return {
        "alone": evaluated(task, [row] * (LEAST - 1), LEAST),
        "beside a baseline": evaluated(task, [row | {"baseline": truth}] * LEAST, LEAST),
    }


@pytest.mark.parametrize("way", ["alone", "beside a baseline"])
def test_the_iou_of_each_class_is_the_candidates_and_a_class_that_never_occurs_has_none(
    evaluations, way
):
    found = metrics_by_class(evaluations[way])
    assert found == pytest.approx(OF_CLASS)
    assert list(found) == sorted(found, key=int)


@pytest.mark.parametrize("way", ["alone", "beside a baseline"])
def test_the_report_has_one_row_a_class_in_the_order_of_ids(evaluations, way):
    rows = evaluated_classes(evaluations[way])
    assert [row["name"] for row in rows] == [f"class {index}" for index in range(CLASSES)]
    assert [row["value"] for row in rows] == pytest.approx(
        [OF_CLASS.get(str(index)) for index in range(CLASSES)]
    )


@pytest.mark.parametrize("way", ["alone", "beside a baseline"])
def test_the_mean_is_over_the_classes_that_occur(evaluations, way):
    assert evaluated_metrics(evaluations[way]) == pytest.approx(
        {"mean_iou": np.mean(list(OF_CLASS.values()))}
    )


def test_the_scores_of_another_list_are_the_candidates_without_the_distance_from_a_baseline(
    evaluations,
):
    found = scores(
        tfma.load_eval_result(
            evaluations["beside a baseline"], model_name="candidate"
        ).slicing_metrics
    )
    assert found["class 1"] == {"iou": 0.75}
    assert not any(name.endswith("_diff") for metrics in found.values() for name in metrics)


def test_the_scores_of_another_list_leave_out_what_was_not_measured(evaluations):
    found = scores(tfma.load_eval_result(evaluations["alone"]).slicing_metrics)
    assert f"class {NEVER}" not in found and found["class 1"]["iou"] == 0.75
    json.dumps(found, allow_nan=False)


def test_where_no_pixel_counts_the_model_is_refused_and_the_reason_told(evaluated, truth, answer):
    row = {"label_map": np.full_like(truth, 255), "candidate": answer}
    nothing = evaluated(Segmentation(CLASSES), [row])
    assert evaluated_metrics(nothing) == metrics_by_class(nothing) == {}
    assert [row["value"] for row in evaluated_classes(nothing)] == [None] * CLASSES
    assert any("mean_iou is not a number" in reason for reason in evaluator_refusals(nothing))
    found = scores(tfma.load_eval_result(nothing).slicing_metrics)
    assert "mean iou  not measured" in table(found, Segmentation(CLASSES))


@dataclass(frozen=True)
class Grade(Task):
    """A task as docs/new-task.md makes one: a class an image, nothing of what may be left out."""

    name = "classification"  # to the parrot
    metric = "accuracy"
    target = "label"
    one_class_an_image = True

    def evaluation(self, limit, max_drop):
        """Asks for the accuracy alone."""
        settings = Classification(3).evaluation(limit, max_drop)
        metrics = [
            metric
            for metric in settings["metrics_specs"][0]["metrics"]
            if "Accuracy" in metric["class_name"]
        ]
        return settings | {"slicing_specs": [{}], "metrics_specs": [{"metrics": metrics}]}

    def line(self, answer):
        """Says the likeliest."""
        return f"grade {np.argmax(answer['probabilities'])}"


class Confused(Grade):
    """The same with a confusion matrix; it names no class, and serves no class id."""

    def evaluation(self, limit, max_drop):
        """Asks for all that classification does."""
        return Classification(3).evaluation(limit, max_drop) | {"slicing_specs": [{}]}


@dataclass(frozen=True)
class Place:
    """Where the Evaluator of a run left its evaluation."""

    evaluation: str

    def uri(self, node, key):
        """Returns it."""
        del node, key
        return self.evaluation


def sample_of(class_ids, answers_):
    shape = (len(class_ids), 8, 8, 3)
    examples = Examples(np.zeros(shape, np.uint8), np.array(class_ids), np.zeros(3), np.ones(3), {})
    names = [f"{index}.png" for index in range(len(class_ids))]
    return Sample(
        "eval", len(names), names, examples, np.zeros((len(names), 4)), None, [], answers_
    )


def test_a_task_of_classes_that_has_no_names_and_no_confusion_matrix_has_a_report(evaluated):
    rows = [{"class_id": class_id, "candidate": [0.0, 1.0, 0.0]} for class_id in (0, 1, 2)]
    sample = sample_of([0, 1, 2], [{"probabilities": np.array(row["candidate"])} for row in rows])
    assert answers(Place(evaluated(Grade(), rows)), Grade(), sample) is None
    assert captions(Grade(), sample)[2] == ["2.png", "true: class 2", "model: grade 1"]
    told = answers(Place(evaluated(Confused(), rows)), Confused(), sample)
    assert [(row["name"], row["accuracy"]) for row in told["classes"]] == [
        ("class 0", 0),
        ("class 1", 1),
        ("class 2", 0),
    ]
    assert [(pair["true"], pair["said"], pair["pictures"]) for pair in told["pairs"]] == [
        ("class 0", "class 1", []),
        ("class 2", "class 1", []),
    ]


def numbers(*answers, baseline):
    """Returns rows of a regression.

    The truth is 1, 2, and so on, and a baseline is right everywhere but at first.
    """
    rows = [{"number": 1.0 + index, "candidate": answer} for index, answer in enumerate(answers)]
    return [row | ({"baseline": max(2.0, row["number"])} if baseline else {}) for row in rows]


@pytest.mark.parametrize("baseline", [False, True], ids=["alone", "beside a baseline"])
def test_an_error_that_is_no_number_is_left_out_and_the_refusal_says_so(evaluated, baseline):
    place = evaluated(Regression(), numbers(math.nan, math.nan, baseline=baseline))
    assert evaluated_metrics(place) == metrics_by_class(place) == {}
    assert evaluator_refusals(place)[0].startswith("mean_absolute_error is not a number")


@pytest.mark.parametrize("baseline", [False, True], ids=["alone", "beside a baseline"])
def test_the_error_of_a_regression_is_the_candidates(evaluated, baseline):
    place = evaluated(Regression(), numbers(1.0, 2.5, baseline=baseline))
    assert evaluated_metrics(place) == {"mean_absolute_error": 0.25, "mean_squared_error": 0.125}
    assert metrics_by_class(place) == {}


@pytest.fixture(scope="module")
def classified(evaluated):
    """Where three answers are evaluated alone, one fewer than asked for; and four of them beside a
    baseline.
    """
    ten, cat = [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]
    task = Classification(3, ("10", "cat", "emu"))
    rows = [
        {"label": name, "class_id": class_id, "candidate": cat, "baseline": ten}
        for name, class_id in ((b"cat", 1), (b"10", 0), (b"cat", 1), (b"cat", 1))
    ]
    alone = [{name: row[name] for name in row if name != "baseline"} for row in rows[1:]]
    return {
        "alone": evaluated(task, alone, LEAST),
        "beside a baseline": evaluated(task, rows, LEAST),
    }


@pytest.mark.parametrize(("way", "accuracy"), [("alone", 2 / 3), ("beside a baseline", 3 / 4)])
def test_the_accuracy_by_class_is_the_candidates_numbers_first_and_none_without_an_image(
    classified, way, accuracy
):
    assert list(metrics_by_class(classified[way]).items()) == [("10", 0.0), ("cat", 1.0)]
    assert evaluated_metrics(classified[way]) == {"accuracy": pytest.approx(accuracy)}


@pytest.mark.parametrize(
    "task", [Regression(), Classification(3), Segmentation(CLASSES)], ids=lambda task: task.name
)
def test_an_evaluation_of_no_image_has_no_number_and_says_so(evaluated, task):
    place = evaluated(task, [])
    assert evaluated_metrics(place) == metrics_by_class(place) == {}
    assert evaluator_refusals(place) == ["nothing in the evaluation split was judged"]


def test_the_model_that_the_final_one_is_compared_with_has_its_interval_in_summary_and_report(
    evaluations, tmp_path
):
    metrics, ends = {"untrained_mean_iou": 0.5}, {"untrained_mean_iou": (0.4, 0.6)}
    told = json.dumps({"metrics": metrics, "intervals": ends, "gains": []})
    (tmp_path / EVALUATION_FILE).write_text(told, encoding="utf-8")
    run = run_of(
        ("Evaluator", "evaluation", evaluations["beside a baseline"], {}),
        ("Finetuner", "model_run", str(tmp_path), {}),
    )
    assert list(run.intervals) == ["mean_iou", "untrained_mean_iou"]
    assert run.intervals["untrained_mean_iou"] == (0.4, 0.6)
    this, untrained = models(run, Segmentation(CLASSES))
    assert this.served == pytest.approx(np.mean(list(OF_CLASS.values())))
    assert (untrained.served, untrained.intervals) == (0.5, {"served": "40.0 to 60.0"})


@pytest.mark.parametrize(("way", "count"), [("alone", 3), ("beside a baseline", 4)])
def test_a_model_judged_by_fewer_images_than_asked_for_is_refused_with_their_number(
    evaluations, classified, way, count
):
    for place, metric in ((evaluations[way], "mean_iou"), (classified[way], "accuracy")):
        told = [reason for reason in evaluator_refusals(place) if "too few" in reason]
        assert len(told) == (count < LEAST) and all("3 held out images" in one for one in told)
        assert held_out_images(place)[""] == count
        assert list(evaluated_metrics(place)) == [metric]
