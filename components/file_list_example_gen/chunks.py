"""Rows in chunks: the images of a chunk are read, decoded, counted and written as one file.

Workers take whole chunks, so that an engine moves a few names and sums, and no image passes through
it. A chunk that is read again, since its worker died, writes the same file again. No Beam here.
"""

import os
import shutil
import uuid
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import tensorflow as tf

from components.file_list_example_gen.held_out import is_held_out
from components.file_list_example_gen.reading import (
    example_of,
    index_record,
    read_counted,
)
from components.file_list_example_gen.rows import Problem, Row, parse_rows
from components.file_list_example_gen.tally import Tally
from trainer_module.tasks.task import Task

ROWS = 2048  # of a chunk: enough that moving it costs nothing, few enough for many workers
UNFINISHED = "unfinished"  # folder beside the splits, of files that are being written
SAMPLE = 64  # records whose size tells whether to compress
WORTH_IT = 0.9  # of their size: images are compressed already, but for the bare ones


@dataclass(frozen=True)
class Chunk:
    """Some rows of a list that become one file of a split.

    Attributes:
      split: of the examples.
      number: of the chunk in its split, from 0.
      of: how many the split has.
      rows: in the order in which they are written.
      malformed: rows of the list that are none; they travel with its first chunk.
    """

    split: str
    number: int
    of: int
    rows: list[Row]
    malformed: list[Problem] = field(default_factory=list)


@dataclass
class Account:
    """What came out of some chunks of a list.

    Attributes:
      tally: the sums.
      problems: the rows that could not be used.
      records: of the index, by split.
    """

    tally: Tally = field(default_factory=Tally)
    problems: list[Problem] = field(default_factory=list)
    records: dict[str, list[bytes]] = field(default_factory=dict)

    def merge(self, other: "Account") -> "Account":
        """Adds another account to this one, and returns it."""
        self.tally.merge(other.tally)
        self.problems += other.problems
        for split, records in other.records.items():
            self.records.setdefault(split, []).extend(records)
        return self


def chunks_of(list_path: str, splits: Sequence[str]) -> Iterator[Chunk]:
    """Yields the rows of a list in chunks, at least one a split.

    They are ordered by the images' ids, which are hashes, so that each file is a mixture of the
    whole list however a person ordered it, and the same in every run.

    Args:
      list_path: where the list lies.
      splits: of the examples that it becomes: one, or `train` and `eval` by a hash of the names.
    """
    rows, malformed = parse_rows(list_path)
    ordered = sorted(rows, key=lambda row: (row.image_id, row.line))
    for split in splits:
        own = ordered
        if len(splits) > 1:
            own = [row for row in ordered if is_held_out(row.image_id) == (split == "eval")]
        count = max(1, -(-len(own) // ROWS))
        for number in range(count):
            part = own[number * ROWS : (number + 1) * ROWS]
            yield Chunk(split, number, count, part, malformed)
            malformed = []


def read_chunk(chunk: Chunk, task: Task, labelled: bool, folder: str) -> Account:
    """Reads the images of a chunk and writes their examples.

    Args:
      chunk: of rows.
      task: what their targets mean.
      labelled: whether they are of a list with targets.
      folder: of the Examples artifact.

    Returns:
      What came out; the file is `folder`/Split-NAME/data_tfrecord-NUMBER-of-COUNT.gz.
    """
    account, index = Account(problems=[*chunk.malformed]), []
    good = read_counted(chunk.rows, task, labelled, account.tally, account.problems)

    def records() -> Iterator[bytes]:
        for made in good:
            example = example_of(made.fields)
            index.append(index_record(example))
            yield example.SerializeToString()

    _write(records(), _file(chunk, folder), Path(folder, UNFINISHED))
    account.records[chunk.split] = [b"".join(index)]
    return account


def remove_chunks(folder: str, splits: Sequence[str]) -> None:
    """Removes what was half written, and the files of some splits."""
    for name in (UNFINISHED, *(f"Split-{split}" for split in splits)):
        shutil.rmtree(Path(folder, name), ignore_errors=True)


def _file(chunk: Chunk, folder: str) -> Path:
    name = f"data_tfrecord-{chunk.number:05d}-of-{chunk.of:05d}.gz"  # as TFX's ExampleGens do
    return Path(folder, f"Split-{chunk.split}", name)


def _write(records: Iterator[bytes], file: Path, unfinished: Path) -> None:
    """Writes a file that is there whole or not at all, whoever writes it at the same time."""
    for place in (file.parent, unfinished):
        place.mkdir(parents=True, exist_ok=True)
    own = unfinished / f"{file.name}.{uuid.uuid4().hex}"
    first = list(islice(records, SAMPLE))
    options = tf.io.TFRecordOptions("GZIP", compression_level=compression_level(b"".join(first)))
    with tf.io.TFRecordWriter(str(own), options) as writer:
        for record in first:
            writer.write(record)
        for record in records:
            writer.write(record)
    os.replace(own, file)


def compression_level(sample: bytes) -> int:
    """Returns how much to compress what begins like this: 1, or 0 where it would gain nothing."""
    return int(len(zlib.compress(sample, 1)) < WORTH_IT * len(sample))
