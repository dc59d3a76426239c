"""Mean intersection over union for TFMA, which has none, with its 95 % interval.

Of a class, IoU = right pixels / (pixels of the class + pixels taken for it - right pixels), counted
over the pixels of all images; pixels whose true class is ignored count for nothing. The mean is
over the classes that occur, in truth or in predictions. What each image adds is kept, for the
interval: 1,000 resamplings of the images.

M images of C classes.
"""

from collections.abc import Mapping

import apache_beam as beam
import numpy as np
from tensorflow_model_analysis.metrics import metric_types, metric_util, preprocessors

from trainer_module.intervals import HIGH, LOW
from trainer_module.segmentation.iou import interval, iou, mean_iou, pixels_of

NAME, CLASS_NAME = "mean_iou", "iou"


class MeanIoU(metric_types.Metric):
    """`mean_iou`, fit for thresholds, the ends of its interval as `mean_iou_low` and
    `mean_iou_high`, and `iou` of every class, under the class id.

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
    """Returns the pixels of all images and what is derived from them.

    TFMA passes more than is needed.
    """

    def key_of(name: str, class_id: int | None = None) -> metric_types.MetricKey:
        sub_key = None if class_id is None else metric_types.SubKey(class_id=class_id)
        return metric_types.MetricKey(name=name, model_name=model_name, sub_key=sub_key)

    pixels = key_of(f"_{name}_pixels")
    decoded = preprocessors.DecodeImagePreprocessor(
        ground_truth_key=settings["ground_truth_key"],
        prediction_key=prediction_key,
        decode_ground_truth=True,
        decode_prediction=settings["decode_prediction"],
        name=pixels.name,
        model_name=model_name,
    )
    counted = metric_types.MetricComputation(
        keys=[pixels],
        preprocessors=[decoded],
        combiner=_Pixels(pixels, num_classes, ignored),
    )
    class_keys = [key_of(CLASS_NAME, class_id) for class_id in range(num_classes)]
    keys = [key_of(name), key_of(f"{name}{LOW}"), key_of(f"{name}{HIGH}")]

    def result(metrics: Mapping) -> dict:
        rows = metrics[pixels]  # [M, 3, C]
        scores = mean_iou(rows.sum(axis=0)), *interval(rows), *iou(rows.sum(axis=0))
        return dict(zip([*keys, *class_keys], map(float, scores), strict=True))

    return [
        counted,
        metric_types.DerivedMetricComputation(keys=[*keys, *class_keys], result=result),
    ]


class _Pixels(beam.CombineFn):
    """Collects what each image adds, int64 [M, 3, C]: pixels that are right, of the class, taken
    for it.
    """

    def __init__(self, key: metric_types.MetricKey, num_classes: int, ignored: int):
        self._key, self._num_classes, self._ignored = key, num_classes, ignored

    def create_accumulator(self) -> list[np.ndarray]:
        return []

    def add_input(self, accumulator: list, element: metric_types.StandardMetricInputs) -> list:
        truth, answer = (
            np.asarray(ids).astype(np.int64)
            for ids in (element.get_labels(), element.get_predictions())
        )
        if truth.ndim != 2 or truth.shape != answer.shape:
            raise ValueError(
                f"A label map and its answer must be [H, W]. Received: {truth.shape}, "
                f"{answer.shape}"
            )
        accumulator.append(pixels_of(truth, answer, self._num_classes, self._ignored))
        return accumulator

    def merge_accumulators(self, accumulators) -> list:
        return [row for rows in accumulators for row in rows]

    def extract_output(self, accumulator: list) -> dict:
        return {self._key: np.array(accumulator).reshape(-1, 3, self._num_classes)}


metric_types.register_metric(MeanIoU)
