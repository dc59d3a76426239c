"""The metric that gates segmentation is the one a few lines of numpy compute, through TFMA's own
evaluation.
"""

import json
import math

import numpy as np
import pytest
import tensorflow as tf
import tfx.components  # noqa: F401 (TensorFlow Model Analysis is whole only after it)

# isort: split
import tensorflow_model_analysis as tfma
from apache_beam.options.pipeline_options import PipelineOptions
from google.protobuf import json_format

from trainer_module.segmentation.iou import interval, iou, mean_iou, pixels_of
from trainer_module.segmentation.label_map import encode_label_map

pytestmark = pytest.mark.tfx

IGNORED = 255
SIZE = (6, 9)  # pixels
LOW = {
    "value_threshold": {"lower_bound": 0.1},
    "change_threshold": {"direction": "HIGHER_IS_BETTER", "absolute": -0.02},
}


def slow_iou(truths, predictions, num_classes):
    """IoU of every class, pixel by pixel; None where the class does not occur."""
    intersection, union = np.zeros(num_classes), np.zeros(num_classes)
    for truth, predicted in zip(truths.ravel(), predictions.ravel(), strict=True):
        if truth == IGNORED:
            continue
        for class_id in range(num_classes):
            intersection[class_id] += truth == class_id and predicted == class_id
            union[class_id] += truth == class_id or predicted == class_id
    return [
        float(both / either) if either else None
        for both, either in zip(intersection, union, strict=True)
    ]


def masks(num_classes, count=7, size=SIZE, share_ignored=0.2, seed=0):
    rng = np.random.default_rng(seed)
    truths = rng.integers(0, num_classes, (count, *size), dtype=np.uint8)
    predictions = np.where(
        rng.random(truths.shape) < 0.6, truths, rng.integers(0, num_classes, truths.shape)
    ).astype(np.uint8)
    truths[rng.random(truths.shape) < share_ignored] = IGNORED
    return truths, predictions


class Parrot(tf.Module):
    """A served model that answers the class ids its examples hold under a name, and passes on their
    label maps.
    """

    def __init__(self, answer):
        super().__init__()
        self.answer = answer

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def serving_default(self, examples):
        rows = tf.io.parse_example(examples, {self.answer: tf.io.FixedLenFeature(SIZE, tf.int64)})
        return {"class_ids": rows[self.answer], "certainty": tf.ones(tf.shape(examples))}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def transform_labels(self, examples):
        return tf.io.parse_example(examples, {"label_map": tf.io.FixedLenFeature([], tf.string)})


def example(truth, **answers):
    label_map = tf.train.Feature(bytes_list=tf.train.BytesList(value=[encode_label_map(truth)]))
    features = {
        name: tf.train.Feature(int64_list=tf.train.Int64List(value=ids.ravel()))
        for name, ids in answers.items()
    }
    return tf.train.Example(
        features=tf.train.Features(feature=features | {"label_map": label_map})
    ).SerializeToString()


def evaluation_config(num_classes, threshold):
    settings = {
        "num_classes": num_classes,
        "ground_truth_key": "label_map",
        "prediction_key": "class_ids",
    }
    metric = {
        "class_name": "MeanIoU",
        "module": "components.mean_iou",
        "config": json.dumps(settings),
        "threshold": threshold,
    }
    model = {
        "signature_name": "serving_default",
        "preprocessing_function_names": ["transform_labels"],
    }
    models = [model | {"name": "candidate"}, model | {"name": "baseline", "is_baseline": True}]
    config = {
        "model_specs": models,
        "slicing_specs": [{}],
        "metrics_specs": [{"metrics": [metric]}],
    }
    return json_format.ParseDict(config, tfma.EvalConfig())


@pytest.fixture(scope="module")
def analyze(tmp_path_factory):
    """Returns a function that evaluates masks as Evaluator does: metrics of the candidate, and
    whether the thresholds hold.
    """
    folder = tmp_path_factory.mktemp("analysis")
    for name in ("candidate", "baseline"):
        model = Parrot(name)
        signatures = {
            "serving_default": model.serving_default,
            "transform_labels": model.transform_labels,
        }
        tf.saved_model.save(model, str(folder / name), signatures=signatures)

    def run(truths, candidate, baseline, num_classes, threshold=LOW):
        data, output = str(folder / "examples"), str(folder / str(len(list(folder.iterdir()))))
        with tf.io.TFRecordWriter(data) as writer:
            for truth, answer, other in zip(truths, candidate, baseline, strict=True):
                writer.write(example(truth, candidate=answer, baseline=other))
        config = evaluation_config(num_classes, threshold)
        specs = config.model_specs
        models = [
            tfma.default_eval_shared_model(
                str(folder / spec.name), model_name=spec.name, eval_config=config
            )
            for spec in specs
        ]
        options = PipelineOptions(["--runner=FnApiRunner"])
        tfma.run_model_analysis(
            models, config, data_location=data, output_path=output, pipeline_options=options
        )
        metrics = tfma.load_eval_result(output, model_name="candidate").slicing_metrics[0][1][""]
        return metrics, tfma.load_validation_result(output).validation_ok

    return run


def values(metrics):
    """Returns mean IoU and a list of IoU by class from TFMA's nested dict."""
    of_class = {key: float(found["iou"]["doubleValue"]) for key, found in metrics.items() if key}
    return float(metrics[""]["mean_iou"]["doubleValue"]), [
        of_class[f"classId:{index}"] for index in range(len(of_class))
    ]


def test_it_is_that_of_a_slow_loop_over_pixels_of_which_some_are_ignored(analyze):
    truths, predictions = masks(4)
    # class 4 does not occur
    metrics, accepted = analyze(truths, predictions, predictions, num_classes=5)
    expected = slow_iou(truths, predictions, 4)
    mean, of_classes = values(metrics)
    assert of_classes[:4] == pytest.approx(expected) and math.isnan(of_classes[4])
    assert mean == pytest.approx(np.mean(expected))
    assert accepted


def test_a_mean_below_the_threshold_is_refused(analyze):
    truths, predictions = masks(4)
    mean = np.mean(slow_iou(truths, predictions, 4))
    _, accepted = analyze(
        truths, predictions, predictions, 4, {"value_threshold": {"lower_bound": mean + 0.001}}
    )
    assert not accepted


def test_a_mean_that_falls_behind_the_baseline_is_refused(analyze):
    truths, predictions = masks(4)
    better = np.where(np.arange(9) < 6, np.minimum(truths, 3), predictions).astype(np.uint8)
    drop = np.mean(slow_iou(truths, better, 4)) - np.mean(slow_iou(truths, predictions, 4))
    metrics, accepted = analyze(truths, predictions, better, 4)
    assert metrics[""]["mean_iou_diff"]["doubleValue"] == pytest.approx(-drop) and drop > 0.02
    assert not accepted


def test_a_class_that_does_not_occur_has_no_iou_and_is_left_out_of_the_mean():
    right, of_class, taken_for_it = [2, 0, 1], [3, 0, 2], [3, 0, 3]
    pixels = np.array([right, of_class, taken_for_it])
    np.testing.assert_array_equal(iou(pixels), [0.5, math.nan, 0.25])
    assert mean_iou(pixels) == 0.375
    assert math.isnan(mean_iou(0 * pixels))


def test_no_pixel_is_taken_for_an_ignored_class():
    truth = np.array([[0] * 5 + [1] * 20 + [2] * 10])
    pixels = pixels_of(truth, np.where(np.arange(35) == 34, 0, truth), 3, ignored=0)
    np.testing.assert_array_equal(iou(pixels), [math.nan, 1.0, 0.9])
    assert mean_iou(pixels) == 0.95


def test_its_interval_covers_the_mean_of_many_images_about_as_often_as_it_says():
    truths, predictions = masks(4, count=4_000, size=(2, 3))
    rows = np.stack(
        [pixels_of(*pair, 4, IGNORED) for pair in zip(truths, predictions, strict=True)]
    )
    of_all, samples = mean_iou(rows.sum(axis=0)), rows.reshape(80, 50, 3, 4)
    covered = [low < of_all < high for low, high in map(interval, samples)]
    assert 0.85 < np.mean(covered) <= 1.0


def test_images_whose_pixels_are_all_ignored_leave_an_interval_of_the_others():
    truths, predictions = masks(4, count=4, size=(2, 3))
    truths[0][:] = IGNORED
    pairs = zip(truths, predictions, strict=True)
    low, high = interval(np.stack([pixels_of(*pair, 4, IGNORED) for pair in pairs]))
    assert 0 <= low < high <= 1 and (low, high) != (0, 1)


def test_the_interval_stands_beside_the_mean(analyze):
    truths, predictions = masks(4, count=30)
    metrics, _ = analyze(truths, predictions, predictions, 4)
    whole = {name: float(metrics[""][name]["doubleValue"]) for name in
             ("mean_iou_low", "mean_iou", "mean_iou_high")}  # fmt: skip
    low, mean, high = whole.values()
    assert low < mean < high
    rows = [pixels_of(*pair, 4, IGNORED) for pair in zip(truths, predictions, strict=True)]
    assert (low, high) == pytest.approx(interval(np.stack(rows)), abs=0.02)
