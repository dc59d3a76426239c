"""Some images of a split, always the same ones, and what the models make of them.

A split is read in two passes, one for the ids and one that copies the chosen records, so that
memory holds the sample alone. N images of H x W pixels, D feature dims, P embedding dims.
"""

import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import tensorflow as tf
import tensorflow_transform as tft

from components.file_list_example_gen.rows import parse_rows
from components.metadata.names import EXAMPLE_GEN, FINETUNER, SAVED_MODEL, TRANSFORM
from components.metadata.stored_run import StoredRun
from trainer_module.errors import InputError
from trainer_module.examples import Examples, read_split
from trainer_module.export import load_encoder, load_projection_head
from trainer_module.monitor import thinned
from trainer_module.preprocessing import IMAGE, IMAGE_ID
from trainer_module.tasks.registry import task_from_json

READ_BATCH = 1024  # records looked at together
ASKED_AT_ONCE = 64  # images in one request to the served model


@dataclass(frozen=True)
class Sample:
    """The chosen images of one split, ordered by image id.

    Attributes:
      split: which one.
      total: images in the whole split.
      names: N file names as the lists have them; '' where a list cannot be read any more.
      examples: images uint8 [N, H, W, 3] and targets, as the Trainers read them.
      features: float32 [N, D] of the pretrained encoder.
      embeddings: float32 [N, P] of its projection head; None where pretraining did not keep one.
      records: N serialized tf.Examples as they came in.
      answers: what the served model says of the first images, one dict an image; [] without a
        fine-tuned model.
    """

    split: str
    total: int
    names: list[str]
    examples: Examples
    features: np.ndarray
    embeddings: np.ndarray | None
    records: list[bytes] = field(repr=False)
    answers: list[dict] = field(repr=False)

    @property
    def images(self) -> np.ndarray:
        """The images, uint8 [N, H, W, 3]."""
        return self.examples.images

    @property
    def finite(self) -> bool:
        """Whether all features and embeddings are numbers."""
        vectors = (self.features, self.embeddings)
        return all(np.isfinite(values).all() for values in vectors if values is not None)

    def encoded(self, index: int) -> bytes:
        """Returns the file's bytes of one image."""
        return _raw(self.records[index], IMAGE)

    def raw_targets(self, name: str) -> list:
        """Returns the targets as they came in, a number or bytes an image."""
        return [_raw(record, name) for record in self.records]


def take_sample(run: StoredRun, split: str, most: int, most_asked: int) -> Sample:
    """Reads some images of a split and asks the run's models about them.

    Args:
      run: with at least one Trainer that is done.
      split: 'eval', 'train' or 'pretrain'.
      most: images.
      most_asked: images that the served model is asked about.
    """
    transformed = record_files(run, TRANSFORM, "transformed_examples", split)
    chosen, total = chosen_ids(transformed, most)
    examples = read_chosen(run, transformed, chosen)
    pairs = sorted(
        _with_ids(record_files(run, EXAMPLE_GEN, "examples", split), chosen),
        key=lambda pair: pair[0],
    )
    records, names = [record for _, record in pairs], names_by_id(run)
    pretrained = f"{run.encoder_uri}/{SAVED_MODEL}"
    features, head = (
        examples.features(load_encoder(pretrained, examples.images.shape[1:3])),
        load_projection_head(pretrained),
    )
    return Sample(
        split=split,
        total=total,
        names=[names.get(image_id, "") for image_id, _ in pairs],
        examples=examples,
        features=features,
        embeddings=None if head is None else np.asarray(head.predict(features, verbose=0)),
        records=records,
        answers=ask(f"{run.uri(FINETUNER, 'model')}/{SAVED_MODEL}", records[:most_asked])
        if run.uri(FINETUNER, "model")
        else [],
    )


def record_files(run: StoredRun, node: str, key: str, split: str) -> list[str]:
    """Returns the gzipped TFRecord files of one split."""
    return sorted(tf.io.gfile.glob(f"{run.uri(node, key)}/Split-{split}/*.gz"))


def splits(run: StoredRun) -> list[str]:
    """Returns the names of the splits that are there, raw and transformed; none once they are
    pruned.
    """
    made = ((EXAMPLE_GEN, "examples"), (TRANSFORM, "transformed_examples"))
    raw, transformed = (
        {Path(folder).name for folder in tf.io.gfile.glob(f"{run.folder(*place)}/Split-*")}
        for place in made
    )
    return sorted(name.removeprefix("Split-") for name in raw & transformed)


def read_chosen(run: StoredRun, files: list[str], chosen: np.ndarray) -> Examples:
    """Returns the transformed examples with these ids, ordered by id."""
    transform = tft.TFTransformOutput(run.uri(TRANSFORM, "transform_graph"))
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/chosen.gz"
        with tf.io.TFRecordWriter(path, "GZIP") as writer:
            for _, record in _with_ids(files, chosen):
                writer.write(record)
        settings = run.training_settings
        task = task_from_json(settings["task"])
        return read_split([path], transform, task, tuple(settings["image_size"]))


def some_examples(run: StoredRun, split: str, most: int) -> Examples:
    """Returns at most `most` transformed examples of a split, ordered by id, which is as good as
    shuffled.
    """
    files = record_files(run, TRANSFORM, "transformed_examples", split)
    return read_chosen(run, files, chosen_ids(files, most)[0])


def chosen_ids(files: list[str], most: int) -> tuple[np.ndarray, int]:
    """Returns at most `most` ids of the examples in these files, always the same ones, and how many
    examples there are.
    """
    ids = np.sort(np.concatenate([ids for ids, _ in _batches(files)]))
    return ids[thinned(len(ids), most)], len(ids)


def ask(model_dir: str, records: list[bytes]) -> list[dict]:
    """Returns what the served model answers to each raw example, name -> numpy value."""
    serve = tf.saved_model.load(model_dir).signatures["serving_default"]
    answers = []
    for start in range(0, len(records), ASKED_AT_ONCE):
        asked = records[start : start + ASKED_AT_ONCE]
        told = {name: value.numpy() for name, value in serve(examples=tf.constant(asked)).items()}
        answers += [{name: value[row] for name, value in told.items()} for row in range(len(asked))]
    return answers


def names_by_id(run: StoredRun) -> dict[int, str]:
    """Returns image id -> file name as the list files have it.

    A list that cannot be read any more is left out.
    """
    told = run.nodes[EXAMPLE_GEN].properties
    found = {}
    for split in json.loads(told["input_config"])["splits"]:
        try:
            rows, _ = parse_rows(f"{told['input_base'].rstrip('/')}/{split['pattern']}")
        except InputError:
            continue
        found |= {row.image_id: row.name for row in rows}
    return found


def _batches(files: list[str]) -> Iterator[tuple[np.ndarray, tf.Tensor]]:
    """Yields ids [B] and serialized records [B]."""
    for records in tf.data.TFRecordDataset(files, compression_type="GZIP").batch(READ_BATCH):
        yield (
            tf.io.parse_example(records, {IMAGE_ID: tf.io.FixedLenFeature([], tf.int64)})[
                IMAGE_ID
            ].numpy(),
            records,
        )


def _with_ids(files: list[str], chosen: np.ndarray) -> Iterator[tuple[int, bytes]]:
    """Yields id and serialized record of the chosen examples."""
    for ids, records in _batches(files):
        for index in np.flatnonzero(np.isin(ids, chosen)):
            yield int(ids[index]), records[index].numpy()


def _raw(record: bytes, name: str):
    feature = tf.train.Example.FromString(record).features.feature[name]
    return getattr(feature, feature.WhichOneof("kind")).value[0]
