"""Segmentation: a class for every pixel, from a decoder on the encoder's stages, judged by mean
IoU. See task.py for what each part is for.

A row is `image,labelmap`; a label map is an 8-bit PNG, grey or with a palette, whose values are
class ids and whose size is the image's. Training sees both at the size of Transform; the served
model answers at the size each image has on disk, where the Evaluator judges it, and where the
Finetuner compares it with others.

B images of H x W pixels as Transform stores them, C classes.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from trainer_module.errors import InputError
from trainer_module.findings import WARNING, Finding, counted, first
from trainer_module.intervals import Interval
from trainer_module.settings import Augmentation, Finetuning, Target
from trainer_module.tasks.task import Task, Value

MOST_CLASSES = 255  # ids are bytes
NO_CLASS = (
    255  # in the served `class_ids`, beyond an image that is smaller than the largest of its batch
)
SHOWN_CLASSES = 3
# What the decoder learns from: a scene and its mirror image look alike, its top and bottom do not.
VIEWS = Augmentation(
    crop_area=(0.5, 1.0),
    brightness=0.2,
    contrast=0.2,
    saturation=0.2,
    hue=0.02,
    colour_drop_probability=0.0,
)


@dataclass(frozen=True)
class Segmentation(Task):
    """The task, fixed by what the user says: a list of label maps does not tell how many classes
    there are.

    Attributes:
      num_classes: C; class ids lie in [0, C).
      ignored_class: id of the pixels that count for nothing, -1 if there are none.
      values: pixel values in the order of class ids; () where the values are ids.
    """

    num_classes: int
    ignored_class: int = 255
    values: tuple[int, ...] = ()

    name = "segmentation"
    mild = VIEWS
    metric = "mean_iou"
    target = "label_map"
    target_is_file = True
    on_features = False
    statistics = ("class_pixels",)
    judged_by = "whole_label_map"

    @classmethod
    def from_targets(cls, targets: Sequence[str], settings: Target) -> "Segmentation":
        """Takes the number of classes from the settings.

        Raises:
          InputError: if it is missing or too large, or the list has no label maps.
        """
        if not any(targets):
            raise InputError(
                "The training list has no label maps: a row of this task is `path,labelmap`. "
                "Without them: --task=pretrain"
            )
        values, classes = settings.values, settings.num_classes or len(settings.values)
        if not 2 <= classes <= MOST_CLASSES:
            received = settings.num_classes or "none"
            raise InputError(
                f"`--num_classes` must be given for segmentation, from 2 to {MOST_CLASSES}. "
                f"Received: {received}"
            )
        if values and len(values) != classes:
            raise InputError(
                f"`target.values` must name one pixel value a class. Received: "
                f"{len(values)} values, {', '.join(map(str, values))}, for num_classes={classes}. "
                f"Fix: --num_classes={len(values)}, or leave it out"
            )
        if values and 0 <= settings.ignored_class < classes:
            raise InputError(
                f"`target.ignored_class` must be none of the ids from 0 to {classes - 1} that "
                f"`target.values` get. Received: ignored_class={settings.ignored_class}. Fix: "
                f"--set target.ignored_class=255, or -1 if every pixel counts"
            )
        return cls(classes, settings.ignored_class, values)

    def problem(self, target: str) -> str:
        """Returns what is wrong with the second column of a row, or ''."""
        return "" if target else "no label map: a row of this task is `path,labelmap`"

    def constant_score(self, targets: Sequence[str]) -> float:
        """Returns 1 / C, at most which one class everywhere scores where all C classes occur that
        count.

        Of K that occur it may score up to 1 / K; a list of files does not tell how many these are.
        """
        del targets
        return 1 / len(self._counted)

    @property
    def _counted(self) -> list[int]:
        """The class ids that count, in order."""
        return [one for one in range(self.num_classes) if one != self.ignored_class]

    def noticed_in_rows(self, targets: Sequence[str]) -> list[Finding]:
        """Returns a warning where images share a label map, which can be that of one of them."""
        shared = {name: count for name, count in Counter(targets).items() if count > 1}
        if not shared:
            return []
        rows = sum(shared.values())
        told = f"{rows:,} rows share {counted(len(shared), 'label map')}"
        examples = first(f"{name}: {count:,} rows" for name, count in shared.items())
        fix = "a label map of its own for each image"
        return [Finding(WARNING, "shared label maps", told, rows, examples, fix)]

    def example_fields(self, target: str | bytes, image_size: tuple[int, int]) -> dict[str, Value]:
        """Returns the label map as an 8-bit grey PNG.

        Raises:
          ValueError: if it is no label map, has another size than its image, or holds an id that is
            no class.
        """
        from trainer_module.segmentation.label_map import encode_label_map, problem

        label_map = self._ids(target)
        if reason := problem(label_map, image_size, self.num_classes, self.ignored_class):
            raise ValueError(reason)
        return {"label_map": encode_label_map(label_map)}

    def _ids(self, target: str | bytes):
        from trainer_module.segmentation.label_map import (
            read_label_map,
            read_values,
            values_as_ids,
        )

        if not self.values:
            return read_label_map(target)
        return values_as_ids(read_values(target), self.values, self.ignored_class)

    def counts(self, target: str | bytes) -> dict[str, int]:
        """Returns the pixels of each class id, the colours that a palette gives them, and whether
        white may stand for a class.
        """
        from trainer_module.segmentation.label_map import colours_of, grey_bits
        from trainer_module.segmentation.pixels import of_class, of_colour, of_white

        ids = self._ids(target)
        white = {} if self.values else of_white(ids, grey_bits(target))
        return of_class(ids) | of_colour(colours_of(target)) | white

    def noticed_in_images(self, sums: Mapping[str, Mapping[str, int]]) -> list[Finding]:
        """Returns what the label maps of all images lack, or do not agree in."""
        from trainer_module.segmentation.pixels import noticed

        return noticed(sums, self.num_classes, self.ignored_class)

    @property
    def placeholder(self) -> dict[str, Value]:
        """A single pixel."""
        import numpy as np

        from trainer_module.segmentation.label_map import encode_label_map

        return {
            "label_map": encode_label_map(np.full((1, 1), max(self.ignored_class, 0), np.uint8))
        }

    def transform(self, inputs: dict, image_size: tuple[int, int]) -> dict:
        """Resizes label maps to the nearest pixel and counts the pixels of each class.

        Returns:
          `label_map`: serialized uint8 [H, W] as string [B]; `whole_label_map`: string [B], as they
            are on disk; `class_pixels`: float32 [B, C], the same in every row.
        """
        if "label_map" not in inputs:
            return {}
        import tensorflow as tf
        import tensorflow_transform as tft

        def resized(encoded: tf.Tensor) -> tf.Tensor:
            pixels = tf.io.decode_png(encoded, channels=1)
            return tf.ensure_shape(
                tf.image.resize(pixels, image_size, method="nearest")[..., 0], image_size
            )

        encoded = tf.reshape(inputs["label_map"], [-1])
        with tf.device("/CPU:0"):
            label_maps = tf.map_fn(
                resized, encoded, fn_output_signature=tf.TensorSpec(image_size, tf.uint8)
            )  # [B, H, W]
        ids = tf.range(self.num_classes)
        pixels = tf.map_fn(
            lambda class_id: tf.reduce_sum(
                tf.cast(tf.equal(tf.cast(label_maps, tf.int32), class_id), tf.int64), axis=[1, 2]
            ),
            ids,
            fn_output_signature=tf.int64,
        )  # [C, B]
        # [C]
        total = tf.cast(tft.sum(tf.transpose(pixels), reduce_instance_dims=False), tf.float32)
        packed = tf.map_fn(tf.io.serialize_tensor, label_maps, fn_output_signature=tf.string)
        return {
            "label_map": packed,
            self.judged_by: encoded,
            "class_pixels": tf.tile(total[tf.newaxis], [tf.shape(encoded)[0], 1]),
        }

    def targets(self, rows: dict, image_size: tuple[int, int]):
        """Returns class ids, uint8 [B, H, W]."""
        import tensorflow as tf

        def unpack(packed: tf.Tensor) -> tf.Tensor:
            return tf.ensure_shape(tf.io.parse_tensor(packed, tf.uint8), image_size)

        return tf.map_fn(
            unpack,
            tf.reshape(rows["label_map"], [-1]),
            fn_output_signature=tf.TensorSpec(image_size, tf.uint8),
        )

    def head(self, encoder, kind: str):
        """Returns a model from normalized images to logits [B, H, W, C].

        There is one kind of decoder.
        """
        del kind
        from trainer_module.segmentation.decoder import build_decoder

        return build_decoder(encoder, self.num_classes)

    def views(self, images, targets, chance, settings: Augmentation):
        """Returns a crop and flip of every image with the same crop and flip of its label map.

        Light and colours vary a little.
        """
        from trainer_module.segmentation.paired_views import augment_pair

        return augment_pair(images, targets, settings, images.shape[1:3], chance)

    def loss(self, statistics: dict, settings: Finetuning):
        """Returns the loss of logits [B, H, W, C] against class ids [B, H, W]."""
        from trainer_module.segmentation.pixel_loss import PixelLoss, class_weights

        return PixelLoss(
            class_weights(statistics["class_pixels"], settings.class_balance),
            self.ignored_class,
            settings.dice,
        )

    def metrics(self, statistics: dict) -> list:
        """Returns the mean IoU over the classes that occur."""
        del statistics
        import keras

        ignored = self.ignored_class if self.ignored_class >= 0 else None
        return [
            keras.metrics.IoU(
                self.num_classes,
                self._counted,
                name=self.metric,
                ignore_class=ignored,
                sparse_y_pred=False,
            )
        ]

    def contributions(self, targets, outputs, statistics: dict):
        """Returns of every image the pixels of each class that are right, that are of the class,
        and that are taken for it, int64 [B, 3 * C], at the size of its label map on disk.

        Args:
          targets: B label maps as `example_fields` makes them.
          outputs: logits [B, H, W, C].
          statistics: not asked.
        """
        del statistics
        import numpy as np
        import tensorflow as tf

        from trainer_module.segmentation.iou import pixels_of

        rows = []
        with tf.device("/CPU:0"):  # as it is served
            for encoded, logits in zip(targets, outputs, strict=True):
                truth = tf.io.decode_png(encoded, channels=1)[..., 0].numpy()
                answer = _likeliest(logits, truth.shape).numpy()
                rows.append(pixels_of(truth, answer, self.num_classes, self.ignored_class).ravel())
        return np.stack(rows)

    def metric_of(self, sums, images: int):
        """Returns the mean IoU [...] of the classes that occur, from sums [..., 3 * C]; NaN where
        none does.
        """
        del images
        import numpy as np

        from trainer_module.segmentation.iou import mean_iou

        sums = np.asarray(sums)
        return mean_iou(sums.reshape(*sums.shape[:-1], 3, self.num_classes))

    def interval(self, contributions) -> Interval:
        """Returns that of the mean IoU as the Evaluator tells it; NaN where there is nothing to
        measure, or one image alone.
        """
        from trainer_module.segmentation.iou import interval

        return interval(contributions.reshape(-1, 3, self.num_classes))

    def served(self, outputs, encoded, statistics: dict) -> dict:
        """Returns the likeliest class of every pixel at the size each image was sent in.

        Returns:
          `label_map_png`: 8-bit grey PNG of class ids, string [B]; `class_ids`: uint8 [B, H', W']
            with the largest height and width of the
          batch, 255 beyond an image's own.
        """
        del statistics
        import tensorflow as tf

        from trainer_module.decoding_graph import decode_upright

        def size(image: tf.Tensor) -> tf.Tensor:
            return tf.shape(decode_upright(image))[:2]

        def answer(inputs: tuple[tf.Tensor, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
            logits, own = inputs
            ids = _likeliest(logits, own)  # [h, w]
            beyond = largest - own
            return tf.io.encode_png(ids[..., tf.newaxis]), tf.pad(
                ids, [[0, beyond[0]], [0, beyond[1]]], constant_values=NO_CLASS
            )

        with tf.device("/CPU:0"):
            # [B, 2]
            sizes = tf.map_fn(size, encoded, fn_output_signature=tf.TensorSpec([2], tf.int32))
            largest = tf.reduce_max(sizes, axis=0)
            signature = (tf.TensorSpec([], tf.string), tf.TensorSpec([None, None], tf.uint8))
            pictures, class_ids = tf.map_fn(answer, (outputs, sizes), fn_output_signature=signature)
        return {"label_map_png": pictures, "class_ids": class_ids}

    def judged(self, raw: dict, transformed: dict) -> dict:
        """Returns the label maps as they are on disk: the answer has that size, too."""
        del transformed
        import tensorflow as tf

        return {"label_map": tf.reshape(raw["label_map"], [-1])}

    def evaluation(self, limit: float, max_drop: float) -> dict:
        """Returns TFMA's EvalConfig as a dict: mean IoU with thresholds, the IoU of each class
        beside it.
        """
        settings = {
            "num_classes": self.num_classes,
            "ground_truth_key": "label_map",
            "prediction_key": "label_map_png",
        }
        settings |= {"decode_prediction": True, "ignored": self.ignored_class, "name": self.metric}
        threshold = {
            "value_threshold": {"lower_bound": limit},
            "change_threshold": {"direction": "HIGHER_IS_BETTER", "absolute": -max_drop},
        }
        metric = {
            "class_name": "MeanIoU",
            "module": "components.mean_iou",
            "config": json.dumps(settings).strip("{}"),
            "per_slice_thresholds": [{"slicing_specs": [{}], "threshold": threshold}],
        }
        return {
            "model_specs": [
                {
                    "signature_name": "serving_default",
                    "preprocessing_function_names": ["transform_labels"],
                }
            ],
            "slicing_specs": [{}],
            "metrics_specs": [{"metrics": [metric]}],
        }

    def line(self, answer: dict) -> str:
        """Returns the largest classes and their shares of the picture."""
        import numpy as np

        from trainer_module.segmentation.label_map import read_label_map

        ids, counts = np.unique(read_label_map(answer["label_map_png"]), return_counts=True)
        largest = sorted(zip(counts / counts.sum(), ids, strict=True), reverse=True)[:SHOWN_CLASSES]
        return ", ".join(f"class {class_id} {share:.0%}" for share, class_id in largest)

    def unpadded(self, answer: dict) -> dict:
        """Returns the answer with `class_ids` of the image's own size."""
        from trainer_module.segmentation.label_map import read_label_map

        height, width = read_label_map(answer["label_map_png"]).shape
        return answer | {"class_ids": answer["class_ids"][:height, :width]}

    def drawn(self, answer: dict, encoded: bytes) -> dict[str, bytes]:
        """Returns the class ids as a grey PNG of the image's size, and the image with the classes
        laid over it in colours.
        """
        import io

        from PIL import Image

        from trainer_module.decoding import upright_rgb
        from trainer_module.segmentation.label_map import read_label_map
        from trainer_module.segmentation.painting import overlay, palette

        coloured, buffer = (
            overlay(
                upright_rgb(encoded),
                read_label_map(answer["label_map_png"]),
                palette(self.num_classes),
            ),
            io.BytesIO(),
        )
        Image.fromarray(coloured).save(buffer, format="PNG")
        return {"labelmap.png": answer["label_map_png"], "overlay.png": buffer.getvalue()}


def _likeliest(logits, size):
    """Returns the likeliest class of every pixel of an image at a size (h, w), uint8 [h, w], of
    logits [H, W, C].
    """
    import tensorflow as tf

    return tf.cast(tf.argmax(tf.image.resize(logits, size), axis=-1), tf.uint8)
