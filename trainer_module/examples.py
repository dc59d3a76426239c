"""Reads what Transform wrote: one split as numpy arrays, in an order that does not depend on how Beam wrote it."""

from dataclasses import dataclass, field

import numpy as np
import tensorflow as tf

from trainer_module.errors import InputError
from trainer_module.features import encode
from trainer_module.preprocessing import CHANNEL_MEAN, CHANNEL_STD, IMAGE, IMAGE_ID, unpack_images
from trainer_module.tasks.registry import task_from_json
from trainer_module.tasks.task import Task

READ_BATCH = 512  # examples parsed at once


@dataclass(frozen=True)
class Examples:
    """One split in memory.

    Attributes:
      images: uint8 [N, H, W, 3].
      targets: [N, ...] as the task has them, or None where there is no target.
      channel_mean: float32 [3] in units of [0, 1] pixels, learned by Transform.
      channel_std: float32 [3], likewise.
      statistics: what Transform learned about the target, name -> array.
    """

    images: np.ndarray
    targets: np.ndarray | None
    channel_mean: np.ndarray
    channel_std: np.ndarray
    statistics: dict[str, np.ndarray] = field(default_factory=dict)

    def features(self, encoder) -> np.ndarray:
        """Returns float32 [N, D], each image encoded once, without augmentation."""
        return encode(encoder, self.images, self.channel_mean, self.channel_std)


def read_examples(patterns: list[str], feature_spec: dict, image_size: tuple[int, int], task: Task) -> Examples:
    """Reads a split of transformed examples into memory, ordered by image id.

    Args:
      patterns: file patterns of gzipped TFRecords, as a TFX Trainer receives them.
      feature_spec: the transform output's raw feature spec.
      image_size: (H, W) in pixels.
      task: says what of it is the target.

    Raises:
      InputError: if the split holds no example.
    """
    files = [file for pattern in patterns for file in sorted(tf.io.gfile.glob(pattern))]
    dataset = tf.data.TFRecordDataset(files, compression_type="GZIP", num_parallel_reads=2).batch(READ_BATCH)

    def parse(serialized: tf.Tensor) -> dict[str, tf.Tensor]:
        rows = tf.io.parse_example(serialized, feature_spec)
        target = {task.target: task.targets(rows, image_size)} if task.has_target else {}
        return rows | target | {IMAGE: unpack_images(tf.reshape(rows[IMAGE], [-1]), *image_size)}

    batches = list(dataset.map(parse, num_parallel_calls=2).prefetch(2).as_numpy_iterator())
    if not batches:
        raise InputError(f"The split at {patterns} holds no images. Received: 0 examples")
    order = np.argsort(_column(batches, IMAGE_ID).ravel(), kind="stable")
    return Examples(
        images=_column(batches, IMAGE)[order],
        targets=_column(batches, task.target)[order] if task.has_target else None,
        channel_mean=batches[0][CHANNEL_MEAN][0],
        channel_std=batches[0][CHANNEL_STD][0],
        statistics={name: batches[0][name][0] for name in task.statistics},
    )


def read_split(files: list[str], transform, settings: dict) -> Examples:
    """Reads one split as a Trainer receives it: file patterns, TFT's transform output, and the node's custom_config."""
    task = task_from_json(settings["task"])
    return read_examples(files, transform.transformed_feature_spec(), tuple(settings["image_size"]), task)


def _column(batches: list[dict[str, np.ndarray]], name: str) -> np.ndarray:
    return np.concatenate([batch[name] for batch in batches])
