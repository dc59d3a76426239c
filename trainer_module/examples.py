"""Reads what Transform wrote: one split as numpy arrays, in an order that does not depend on how Beam wrote it."""

from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from trainer_module.errors import InputError
from trainer_module.preprocessing import CHANNEL_MEAN, CHANNEL_STD, IMAGE, IMAGE_ID, unpack_images

READ_BATCH = 512  # examples parsed at once


@dataclass(frozen=True)
class Examples:
    """One split in memory.

    Attributes:
      images: uint8 [N, H, W, 3].
      labels: int64 [N], or None where the split has no labels.
      channel_mean: float32 [3] in units of [0, 1] pixels, learned by Transform.
      channel_std: float32 [3], likewise.
    """

    images: np.ndarray
    labels: np.ndarray | None
    channel_mean: np.ndarray
    channel_std: np.ndarray


def read_examples(patterns: list[str], feature_spec: dict, image_size: tuple[int, int]) -> Examples:
    """Reads a split of transformed examples into memory, ordered by image id.

    Args:
      patterns: file patterns of gzipped TFRecords, as a TFX Trainer receives them.
      feature_spec: the transform output's raw feature spec.
      image_size: (H, W) in pixels.

    Raises:
      InputError: if the split holds no example.
    """
    files = [file for pattern in patterns for file in sorted(tf.io.gfile.glob(pattern))]
    dataset = tf.data.TFRecordDataset(files, compression_type="GZIP", num_parallel_reads=2).batch(READ_BATCH)

    def parse(serialized: tf.Tensor) -> dict[str, tf.Tensor]:
        rows = tf.io.parse_example(serialized, feature_spec)
        return rows | {IMAGE: unpack_images(tf.reshape(rows[IMAGE], [-1]), *image_size)}

    batches = list(dataset.map(parse, num_parallel_calls=2).prefetch(2).as_numpy_iterator())
    if not batches:
        raise InputError(f"The split at {patterns} holds no images. Received: 0 examples")
    order = np.argsort(_column(batches, IMAGE_ID).ravel(), kind="stable")
    return Examples(
        images=_column(batches, IMAGE)[order],
        labels=_column(batches, "label").ravel()[order] if "label" in feature_spec else None,
        channel_mean=batches[0][CHANNEL_MEAN][0],
        channel_std=batches[0][CHANNEL_STD][0],
    )


def read_split(files: list[str], transform, settings: dict) -> Examples:
    """Reads one split as a Trainer receives it: file patterns, TFT's transform output, and the node's custom_config."""
    return read_examples(files, transform.transformed_feature_spec(), tuple(settings["image_size"]))


def _column(batches: list[dict[str, np.ndarray]], name: str) -> np.ndarray:
    return np.concatenate([batch[name] for batch in batches])
