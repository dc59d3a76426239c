"""Reads what one row names: the image, decoded once to be sure, and what the task makes of the
target.

The same code for ingest (chunks.py), for `python -m pipeline.check` and for
`python -m pipeline.evaluate`; it knows neither TFX nor Beam.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

import tensorflow as tf

from components.file_list_example_gen import image_index
from components.file_list_example_gen.rows import Problem, Row, own_target, read_bytes
from components.file_list_example_gen.tally import Tally
from trainer_module.decoding import prepared
from trainer_module.tasks.task import Task, Value

A_THREAD = 16  # rows that a thread takes at once


@dataclass(frozen=True)
class ReadRow:
    """What a row became.

    Attributes:
      fields: of its tf.Example.
      remarks: keys of decoding.REMARKS, what was odd about the image and how it was taken.
      counts: what the task adds up over the images of a list.
    """

    fields: dict[str, Value]
    remarks: tuple[str, ...]
    counts: Mapping[str, int]


def read_row(row: Row, task: Task, labelled: bool) -> ReadRow | Problem:
    """Returns what a row names, or what is wrong with it.

    Args:
      row: of a list.
      task: what its target means.
      labelled: whether it is of a list with targets.
    """
    with_target = task.has_target and labelled
    if with_target and (reason := task.problem(row.target) or own_target(row, task)):
        return Problem(row.list_path, row.line, row.path, reason)
    try:
        stored = prepared(read_bytes(row.path))
        counts, target = {}, task.placeholder if task.has_target else {}
        if with_target:
            given = read_bytes(row.target_path) if task.target_is_file else row.target
            target = task.example_fields(given, (stored.height, stored.width))
            counts = task.counts(given)
    except (OSError, ValueError) as error:
        return Problem(row.list_path, row.line, row.path, _reason(error))
    own = {
        "image": stored.encoded,
        "image_id": row.image_id,
        "height": stored.height,
        "width": stored.width,
    }
    return ReadRow({**own, **target}, stored.remarks, counts)


def read_counted(
    rows: Iterable[Row], task: Task, labelled: bool, tally: Tally, problems: list[Problem]
) -> Iterator[ReadRow]:
    """Yields what rows name, in their order, read by as many threads as there are processors.

    Args:
      rows: of one list.
      task: what their targets mean.
      labelled: whether the list has targets.
      tally: counts them all.
      problems: takes the bad ones.
    """
    for row, made in in_threads(lambda row: (row, read_row(row, task, labelled)), rows):
        is_bad = isinstance(made, Problem)
        if labelled and task.one_class_an_image:
            (tally.lost if is_bad else tally.kept)[row.target] += 1
        if is_bad:
            problems.append(made)
        else:
            tally.add(row, made.remarks, made.counts)
            yield made


def in_threads(function: Callable, items: Iterable) -> Iterator:
    """Yields what a function makes of items, in order; few answers wait in memory."""
    waiting, threads = iter(items), os.cpu_count()

    def several(some: list) -> list:
        return [function(item) for item in some]

    with ThreadPoolExecutor(threads) as pool:
        while now := list(islice(waiting, threads * A_THREAD)):
            parts = [now[start : start + A_THREAD] for start in range(0, len(now), A_THREAD)]
            for made in pool.map(several, parts):
                yield from made


def example_of(fields: Mapping[str, Value]) -> tf.train.Example:
    """Returns fields as a tf.Example."""
    return tf.train.Example(
        features=tf.train.Features(feature={key: _feature(value) for key, value in fields.items()})
    )


def index_record(example: tf.train.Example) -> bytes:
    """Returns what the index keeps of an example: id, digest of the image, digest of all that is
    target.
    """
    features = example.features.feature
    target = {
        name: features[name].SerializeToString(deterministic=True)
        for name in features
        if name not in image_index.NAMED_ELSEWHERE
    }
    flat = b"".join(name.encode() + value for name, value in sorted(target.items()))
    return image_index.record(
        features["image_id"].int64_list.value[0], features["image"].bytes_list.value[0], flat
    )


def _reason(error: Exception) -> str:
    return (error.strerror or str(error)).lower() if isinstance(error, OSError) else str(error)


def _feature(value: Value) -> tf.train.Feature:
    values = value if isinstance(value, list) else [value]
    if isinstance(values[0], bytes):
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))
    if isinstance(values[0], float):
        return tf.train.Feature(float_list=tf.train.FloatList(value=values))
    return tf.train.Feature(int64_list=tf.train.Int64List(value=values))
