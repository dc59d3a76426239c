"""Reads what Transform wrote: one split as numpy arrays, in an order that does not depend on how
Beam wrote it; in memory where they fit, in a file that the system pages in and out where they do
not.

Either way it is one array, so batches are drawn from it in the same order, and a run on more images
than memory holds is shuffled as thoroughly, and resumes as exactly, as any other.
"""

import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import tensorflow as tf

from trainer_module.errors import InputError
from trainer_module.features import encode
from trainer_module.memory import available_memory
from trainer_module.preprocessing import CHANNEL_MEAN, CHANNEL_STD, IMAGE, IMAGE_ID, unpack_images
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


def read_examples(
    patterns: list[str], feature_spec: dict, image_size: tuple[int, int], task: Task
) -> Examples:
    """Reads a split of transformed examples, ordered by image id.

    What does not fit into memory lies in a file (`room_for`).

    Args:
      patterns: file patterns of gzipped TFRecords, as a TFX Trainer receives them.
      feature_spec: the transform output's raw feature spec.
      image_size: (H, W) in pixels.
      task: says what of it is the target.

    Raises:
      InputError: if the split holds no example.
    """
    records = tf.data.TFRecordDataset(
        _files(patterns), compression_type="GZIP", num_parallel_reads=2
    ).batch(READ_BATCH)
    ids = _ids(records, feature_spec)
    if not len(ids):
        raise InputError(f"The split at {patterns} holds no images. Received: 0 examples")
    places = np.argsort(np.argsort(ids, kind="stable"))  # of the records, in the order of their ids

    def parse(serialized: tf.Tensor) -> dict[str, tf.Tensor]:
        rows = tf.io.parse_example(serialized, feature_spec)
        target = {task.target: task.targets(rows, image_size)} if task.has_target else {}
        return rows | target | {IMAGE: unpack_images(tf.reshape(rows[IMAGE], [-1]), *image_size)}

    columns, start = {}, 0
    for batch in records.map(parse, num_parallel_calls=2).prefetch(2).as_numpy_iterator():
        columns = columns or {
            name: _room(len(ids), batch[name]) for name in (IMAGE, task.target) if name
        }
        for name, column in columns.items():
            column[places[start : start + len(batch[name])]] = batch[name]
        start += len(batch[IMAGE])
    return Examples(
        images=columns[IMAGE],
        targets=columns[task.target] if task.has_target else None,
        channel_mean=batch[CHANNEL_MEAN][0],
        channel_std=batch[CHANNEL_STD][0],
        statistics={name: batch[name][0] for name in task.statistics},
    )


def read_split(files: list[str], transform, task: Task, image_size: tuple[int, int]) -> Examples:
    """Reads one split as a Trainer receives it: file patterns, and TFT's transform output."""
    return read_examples(files, transform.transformed_feature_spec(), image_size, task)


def _files(patterns: list[str]) -> list[str]:
    return [file for pattern in patterns for file in sorted(tf.io.gfile.glob(pattern))]


def _ids(records: tf.data.Dataset, feature_spec: dict) -> np.ndarray:
    """Returns the image ids of batches of serialized examples, [N], without holding an image."""
    spec = {IMAGE_ID: feature_spec[IMAGE_ID]}
    ids = [
        tf.io.parse_example(serialized, spec)[IMAGE_ID].numpy().ravel() for serialized in records
    ]
    return np.concatenate(ids) if ids else np.empty(0, np.int64)


def _room(count: int, batch: np.ndarray) -> np.ndarray:
    """Returns room for `count` rows like those of a batch."""
    folder = tempfile.gettempdir()
    return room_for(
        (count, *batch.shape[1:]), batch.dtype, folder, available_memory(), available_disk(folder)
    )


MOST_OF_MEMORY = 0.5  # of what is available; the rest is for the step and for what else runs


def room_for(shape: tuple[int, ...], dtype, folder: str, memory: int, disk: int) -> np.ndarray:
    """Returns an array to write images or label maps into: in memory if it takes at most half of
    what is available, else in a file.

    Args:
        shape: of the array, as in (N, H, W, 3).
        dtype: of its values.
        folder: where the file goes, made where it is missing. It has no name there and its space is
          free again when the process ends.
        memory: bytes available, see trainer_module/memory.py.
        disk: bytes available in `folder`, see `available_disk`.

    Returns:
        An array of that shape, a `numpy.memmap` if it is a file.

    Raises:
        InputError: if there is no room in either.
    """
    needed = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    if needed <= MOST_OF_MEMORY * memory:
        return np.empty(shape, dtype)
    if needed > disk:
        raise InputError(
            f"The images must fit into half of the available memory, or onto the disk. Received: "
            f"an array of {shape}, {needed:,} bytes; "
            f"available: {memory:,} bytes of memory, {disk:,} bytes in {folder}. Fix: fewer or "
            f"smaller images, or TMPDIR on a larger disk"
        )
    Path(folder).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder) as file:
        return np.memmap(file, dtype, "w+", shape=shape)  # keeps the file alive without its name


def available_disk(folder: str) -> int:
    """Returns the bytes free where a folder is, or will be made."""
    path = Path(folder).resolve()
    return shutil.disk_usage(
        next(parent for parent in (path, *path.parents) if parent.exists())
    ).free
