"""Reads what Transform wrote: one split as numpy arrays, in an order that does not depend on how
Beam wrote it; in memory where they fit, in a file that the system pages in and out where they do
not.

Either way it is one array, of pixels or of encoded images, so batches are drawn from it in the same
order, and a run on more images than memory holds is shuffled as thoroughly, and resumes as exactly,
as any other.
"""

import dataclasses
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import tensorflow as tf

from trainer_module.encoded_images import EncodedImages, Strings
from trainer_module.errors import InputError
from trainer_module.features import encode
from trainer_module.memory import MOST_OF_MEMORY, available_memory
from trainer_module.preprocessing import CHANNEL_MEAN, CHANNEL_STD, IMAGE, IMAGE_ID
from trainer_module.stored_images import (
    FIRST_BYTES,
    PIXELS,
    are_encoded,
    decoder_of,
    unpack_images,
)
from trainer_module.tasks.task import Task

READ_BATCH = 512  # examples parsed at once


@dataclass(frozen=True)
class Examples:
    """One split.

    Attributes:
      images: uint8 [N, H, W, 3], as an array or encoded.
      targets: [N, ...] as the task has them, or None where there is no target.
      channel_mean: float32 [3] in units of [0, 1] pixels, learned by Transform.
      channel_std: float32 [3], likewise.
      statistics: what Transform learned about the target, name -> array.
      judged_by: N strings, of a task that has `judged_by`, where they were asked for.
    """

    images: np.ndarray | EncodedImages
    targets: np.ndarray | None
    channel_mean: np.ndarray
    channel_std: np.ndarray
    statistics: dict[str, np.ndarray] = field(default_factory=dict)
    judged_by: Strings | None = None

    @property
    def truth(self) -> np.ndarray | Strings:
        """What models are compared by, of each image."""
        return self.targets if self.judged_by is None else self.judged_by

    @property
    def stored_as(self) -> str:
        """How the images lie: 'pixels', 'png' or 'jpeg'."""
        if not isinstance(self.images, EncodedImages):
            return PIXELS
        start = self.images.bounds[0, 0]
        first = self.images.content[start : start + 2].tobytes()
        return next(kind for kind, begins in FIRST_BYTES.items() if begins == first)

    def features(self, encoder) -> np.ndarray:
        """Returns float32 [N, D], each image encoded once, without augmentation."""
        return encode(encoder, self.images, self.channel_mean, self.channel_std)

    def some(self, places: np.ndarray) -> "Examples":
        """Returns some of the examples, in memory or in a file as there is room.

        Args:
          places: which, integers [n].
        """
        targets = None if self.targets is None else _some_of(self.targets, places)
        known = self.judged_by
        judged_by = None if known is None else Strings(known.content, known.bounds[places])
        images = _some_of(self.images, places)
        return dataclasses.replace(self, images=images, targets=targets, judged_by=judged_by)


def read_examples(
    patterns: list[str],
    feature_spec: dict,
    image_size: tuple[int, int],
    task: Task,
    to_judge: bool = False,
) -> Examples:
    """Reads a split of transformed examples, ordered by image id.

    What does not fit into memory lies in a file (`room_for`).

    Args:
      patterns: file patterns of gzipped TFRecords, as a TFX Trainer receives them.
      feature_spec: the transform output's raw feature spec.
      image_size: (H, W) in pixels.
      task: says what of it is the target.
      to_judge: whether models will be compared by them.

    Raises:
      InputError: if the split holds no example.
    """
    records = tf.data.TFRecordDataset(
        _files(patterns), compression_type="GZIP", num_parallel_reads=2
    ).batch(READ_BATCH)
    judged_by = task.judged_by if to_judge else ""
    index = _index(records, feature_spec, *filter(None, [judged_by]))
    if not len(index.ids):
        raise InputError(f"The split at {patterns} holds no images. Received: 0 examples")
    places = np.argsort(np.argsort(index.ids, kind="stable"))  # of the records, by their ids
    encoded = partial(EncodedImages, image_size=image_size, decode=decoder_of(*image_size))
    encoded_room = partial(_RoomOfStrings, encoded, index.lengths[IMAGE])
    images, targets = (encoded_room if index.encoded else _Room)(places), _Room(places)
    truth = _RoomOfStrings(Strings, index.lengths[judged_by], places) if judged_by else None

    def parse(serialized: tf.Tensor) -> dict[str, tf.Tensor]:
        rows = tf.io.parse_example(serialized, feature_spec)
        target = {task.target: task.targets(rows, image_size)} if task.has_target else {}
        packed = tf.reshape(rows[IMAGE], [-1])
        image = packed if index.encoded else unpack_images(packed, *image_size)
        return rows | target | {IMAGE: image}

    for batch in records.map(parse, num_parallel_calls=2).prefetch(2).as_numpy_iterator():
        images.add(batch[IMAGE])
        if task.has_target:
            targets.add(batch[task.target])
        if truth:
            truth.add(batch[judged_by].ravel())
    return Examples(
        images=images.values,
        targets=targets.values,
        channel_mean=batch[CHANNEL_MEAN][0],
        channel_std=batch[CHANNEL_STD][0],
        statistics={name: batch[name][0] for name in task.statistics},
        judged_by=truth.values if truth else None,
    )


def read_split(
    files: list[str], transform, task: Task, image_size: tuple[int, int], to_judge: bool = False
) -> Examples:
    """Reads one split as a Trainer receives it: file patterns, and TFT's transform output."""
    return read_examples(files, transform.transformed_feature_spec(), image_size, task, to_judge)


def _files(patterns: list[str]) -> list[str]:
    return [file for pattern in patterns for file in sorted(tf.io.gfile.glob(pattern))]


@dataclass(frozen=True)
class _Index:
    """What is known of N records before an image is held.

    Attributes:
      ids: int64 [N], of the images.
      lengths: name -> int64 [N], bytes of the images as they are packed, and of other strings.
      encoded: whether the images are files and no pixels.
    """

    ids: np.ndarray
    lengths: dict[str, np.ndarray]
    encoded: bool


def _index(records: tf.data.Dataset, feature_spec: dict, *strings: str) -> _Index:
    """Reads batches of serialized examples once, for what must be known before they are stored.

    Args:
      records: the batches.
      feature_spec: of the examples.
      *strings: names of those whose lengths must be known, beside the images.
    """
    spec = {name: feature_spec[name] for name in (IMAGE_ID, IMAGE, *strings)}
    ids, encoded = [np.empty(0, np.int64)], False
    lengths = {name: [np.empty(0, np.int64)] for name in (IMAGE, *strings)}
    for serialized in records:
        rows = tf.io.parse_example(serialized, spec)
        packed = tf.reshape(rows[IMAGE], [-1])
        ids.append(rows[IMAGE_ID].numpy().ravel())
        encoded = encoded or bool(tf.reduce_any(are_encoded(packed)))
        for name, known in lengths.items():
            known.append(tf.strings.length(tf.reshape(rows[name], [-1])).numpy())
    of_each = {name: np.concatenate(known).astype(np.int64) for name, known in lengths.items()}
    return _Index(np.concatenate(ids), of_each, encoded)


class _Room:
    """Room for N rows that come in another order than they are kept in.

    Attributes:
      values: [N, ...]; None before the first rows are there.
    """

    def __init__(self, places: np.ndarray):
        self._places, self._count, self.values = places, 0, None

    def add(self, rows: np.ndarray) -> None:
        """Stores the next rows at their places."""
        if self.values is None:
            self.values = _room((len(self._places), *rows.shape[1:]), rows.dtype)
        self.values[self._places[self._count : self._count + len(rows)]] = rows
        self._count += len(rows)


class _RoomOfStrings:
    """The same for N strings, whose lengths are known: each is laid behind the one that it follows
    in the order that is kept.

    Attributes:
      values: the strings.
    """

    def __init__(
        self,
        kind: Callable[[np.ndarray, np.ndarray], EncodedImages | Strings],
        lengths: np.ndarray,
        places: np.ndarray,
    ):
        ordered = np.empty_like(lengths)
        ordered[places] = lengths
        ends = np.cumsum(ordered)
        bounds = np.stack([ends - ordered, ends], axis=1)  # [N, 2], as they are kept
        content = _room((int(ends[-1]),), np.dtype(np.uint8))
        self.values = kind(content, bounds)
        self._places, self._count = places, 0

    def add(self, rows: np.ndarray) -> None:
        """Stores the next strings at their places."""
        for row in rows:
            begin, end = self.values.bounds[self._places[self._count]]
            self.values.content[begin:end] = np.frombuffer(row, np.uint8)
            self._count += 1


def _some_of(rows: np.ndarray | EncodedImages, places: np.ndarray) -> np.ndarray | EncodedImages:
    if isinstance(rows, EncodedImages):
        return rows.take(places)
    room = _room((len(places), *rows.shape[1:]), rows.dtype)
    return np.take(rows, places, axis=0, out=room, mode="clip")  # "raise" would fill memory first


def _room(shape: tuple[int, ...], dtype) -> np.ndarray:
    """Returns room for an array, wherever there is some now."""
    folder = tempfile.gettempdir()
    return room_for(shape, dtype, folder, available_memory(), available_disk(folder))


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
