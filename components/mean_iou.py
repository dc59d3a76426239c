"""Mean intersection over union for TFMA, which has none: derived from its confusion matrix of class
ids in two images.

Of a class, IoU = true positives / (true positives + false positives + false negatives), counted
over the pixels of all images; pixels whose true class is ignored count for nothing. The mean is
over the classes that occur, in truth or in predictions.
"""

from collections.abc import Mapping, Sequence

from tensorflow_model_analysis.metrics import metric_types, metric_util
from tensorflow_model_analysis.metrics.semantic_segmentation_confusion_matrix_metrics import (
    SemanticSegmentationConfusionMatrix,
)

NAME, CLASS_NAME = "mean_iou", "iou"


class MeanIoU(metric_types.Metric):
    """`mean_iou`, fit for thresholds, and beside it `iou` of every class, under the class id.

    An EvalConfig names it by class and module. It must leave `label_key` and `prediction_key` of
    the model unset, and the model must have at least two outputs: else labels and predictions are
    no dicts, which TFMA's image preprocessor wants. It takes no weighted examples.
    """

    def __init__(
        self,
        num_classes: int,
        ground_truth_key: str,
        prediction_key: str,
        ignored: int = 255,
        decode_prediction: bool = False,
        name: str = NAME,
    ):
        """Describes the metric; all arguments are JSON values.

        Args:
          num_classes: C.
          ground_truth_key: label or feature that holds the label map, bytes of an 8-bit grey PNG.
          prediction_key: output of the model that holds class ids, [H, W], of the label map's size.
          decode_prediction: whether the output is the PNG of class ids instead.
          ignored: true class id of pixels that count for nothing; -1 for none.
          name: of the mean.
        """
        super().__init__(
            metric_util.merge_per_key_computations(_computations),
            name=name,
            num_classes=num_classes,
            ground_truth_key=ground_truth_key,
            prediction_key=prediction_key,
            ignored=ignored,
            decode_prediction=decode_prediction,
        )


def _computations(
    num_classes: int, prediction_key: str, ignored: int, name: str, model_name: str, **settings
) -> metric_types.MetricComputations:
    """Returns the confusion matrices of all classes and what is derived from them.

    TFMA passes more than is needed.
    """
    matrix = SemanticSegmentationConfusionMatrix(
        class_ids=list(range(num_classes)),
        ground_truth_key=settings["ground_truth_key"],
        prediction_key=prediction_key,
        decode_prediction=settings["decode_prediction"],
        ignore_ground_truth_id=ignored,
        name=f"_{name}_confusion_matrix",
    )
    computations = matrix.computations(model_names=[model_name])
    matrix_key = computations[-1].keys[-1]
    mean_key = metric_types.MetricKey(name=name, model_name=model_name)
    class_keys = [
        metric_types.MetricKey(
            name=CLASS_NAME, model_name=model_name, sub_key=metric_types.SubKey(class_id=class_id)
        )
        for class_id in range(num_classes)
    ]

    def result(metrics: Mapping) -> dict:
        matrices = [metrics[matrix_key._replace(sub_key=key.sub_key)] for key in class_keys]
        of_classes = [iou(matrix.tp, matrix.fp, matrix.fn) for matrix in matrices]
        return {mean_key: mean_iou(of_classes)} | dict(zip(class_keys, of_classes, strict=True))

    return [
        *computations,
        metric_types.DerivedMetricComputation(keys=[mean_key, *class_keys], result=result),
    ]


def iou(true_positives: int, false_positives: int, false_negatives: int) -> float:
    """Returns the intersection over union of one class from counts of pixels.

    NaN for a class that does not occur.
    """
    union = true_positives + false_positives + false_negatives
    return float(true_positives / union) if union else float("nan")


def mean_iou(of_classes: Sequence[float]) -> float:
    """Returns the mean over the classes that occur.

    NaN, which no threshold lets pass, if none does.
    """
    occurring = [value for value in of_classes if value == value]  # NaN is not equal to itself
    return sum(occurring) / len(occurring) if occurring else float("nan")


metric_types.register_metric(MeanIoU)
