"""No skew: what a pushed model answers for a file is what its Keras model says of the example that
training reads, for every task and every odd file.
"""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft
import tensorflow_transform.beam as tft_beam
from strangers.odd_images import READ
from tensorflow_transform.tf_metadata import dataset_metadata, metadata_io, schema_utils
from test_decoding import NOT_SERVED

from trainer_module import preprocessing
from trainer_module.decoding import prepared
from trainer_module.decoding_graph import REFUSED
from trainer_module.export import ServedModel, save_served_model
from trainer_module.normalize import normalize
from trainer_module.resnet import build_encoder
from trainer_module.segmentation.label_map import encode_label_map, read_label_map
from trainer_module.settings import Encoder
from trainer_module.stored_images import unpack_images
from trainer_module.tasks.classification import Classification
from trainer_module.tasks.registry import task_to_json
from trainer_module.tasks.regression import Regression
from trainer_module.tasks.segmentation import Segmentation
from trainer_module.tasks.unlabelled import Unlabelled

pytestmark = pytest.mark.tfx
SIZE = (16, 16)  # pixels
CLOSE = 1e-4
NAMES = list(READ)
TASKS = {
    "pretrain": (Unlabelled(), None),
    "classification": (Classification(2, ("cat", "dog")), tf.string),
    "regression": (Regression(), tf.float32),
    "segmentation": (Segmentation(3), tf.string),
}


@dataclasses.dataclass(frozen=True)
class Exported:
    """A pushed model, and what its Keras model says of the transformed examples."""

    task: object
    signatures: dict
    outputs: np.ndarray  # [N, ...], in the order of NAMES
    statistics: dict


def target_of(task, number, stored):
    if task.name == "segmentation":
        ids = np.arange(stored.height * stored.width).reshape(stored.height, stored.width) % 3
        return encode_label_map(ids.astype(np.uint8))
    return float(number) if task.name == "regression" else (b"cat", b"dog")[number % 2]


def small_encoder():
    """Quicker to save than a ResNet."""
    images = keras.Input((*SIZE, 3))
    features = keras.layers.Conv2D(8, 3, strides=2, activation="relu")(images)
    return keras.Model(images, keras.layers.GlobalAveragePooling2D()(features))


@pytest.fixture(scope="module", params=TASKS)
def exported(request, tmp_path_factory):
    task, kind = TASKS[request.param]
    folder = tmp_path_factory.mktemp(request.param)
    rows, spec = [], {"image": tf.io.FixedLenFeature([1], tf.string)}
    spec["image_id"] = tf.io.FixedLenFeature([1], tf.int64)
    if kind:
        spec[task.target] = tf.io.FixedLenFeature([1], kind)
    for number, name in enumerate(NAMES):
        stored = prepared(READ[name])
        row = {"image": np.array([stored.encoded], object), "image_id": np.array([number])}
        if kind:
            dtype = np.float32 if kind == tf.float32 else object
            row[task.target] = np.array([target_of(task, number, stored)], dtype)
        rows.append(row)
    config = {"image_size": list(SIZE), "task": task_to_json(task)}
    metadata = dataset_metadata.DatasetMetadata(schema_utils.schema_from_feature_spec(spec))
    with tft_beam.Context(temp_dir=str(folder / "temporary")):
        (data, _), learned = (rows, metadata) | tft_beam.AnalyzeAndTransformDataset(
            lambda inputs: preprocessing.preprocessing_fn(inputs, config)
        )
        _ = learned | tft_beam.WriteTransformFn(str(folder / "transform"))
    metadata_io.write_metadata(metadata, str(folder / "transform" / "metadata"))
    data.sort(key=lambda row: int(np.ravel(row["image_id"])[0]))
    encoder = (
        build_encoder(Encoder(width=0.25), SIZE) if task.name == "segmentation" else small_encoder()
    )
    model = task.head(encoder, "linear") if kind else encoder
    statistics = {name: np.squeeze(data[0][name]) for name in task.statistics}
    answer = lambda outputs, encoded: (  # noqa: E731
        task.served(outputs, encoded, statistics) if kind else {"features": outputs}
    )
    judged = (task.target, task.judged) if kind else None
    transform = tft.TFTransformOutput(str(folder / "transform"))
    served = ServedModel(model, transform, answer, judged)
    save_served_model(served, str(folder / "pushed"), encoder, task)
    images = unpack_images(tf.constant([row["image"] for row in data]), *SIZE)
    inputs = normalize(images, data[0]["channel_mean"], data[0]["channel_std"])
    return Exported(
        task,
        tf.saved_model.load(str(folder / "pushed")).signatures,
        model(inputs, training=False).numpy(),
        statistics,
    )


def said(exported, name):
    """Returns what the Keras model says of the example of a file, as the task serves it."""
    outputs = tf.constant(exported.outputs[[NAMES.index(name)]])
    if not exported.task.has_target:
        return {"features": outputs.numpy()}
    stored = tf.constant([prepared(READ[name]).encoded])
    served = exported.task.served(outputs, stored, exported.statistics)
    return {name: value.numpy() for name, value in served.items()}


def difference(answer, said_so):
    """Returns the largest difference of numbers, and the share of other pixels of label maps."""
    worst = 0.0
    for name, value in answer.items():
        if value.dtype == object and name == "label_map_png":
            pairs = zip(value, said_so[name], strict=True)
            maps = [[read_label_map(png) for png in pair] for pair in pairs]
            worst = max(worst, *(np.mean(first != second) for first, second in maps))
        elif value.dtype == object:
            worst = max(worst, float(np.mean(value != said_so[name])))
        else:
            worst = max(worst, float(np.abs(value - said_so[name].astype(value.dtype)).max()))
    return worst


def asked(exported, content):
    served = exported.signatures["from_images"](image_bytes=tf.constant([content]))
    return {name: value.numpy() for name, value in served.items()}


def test_the_pushed_model_answers_for_raw_files_as_its_keras_model_for_the_examples(exported):
    names = [name for name in NAMES if name not in NOT_SERVED]
    differences = {
        name: difference(asked(exported, READ[name]), said(exported, name)) for name in names
    }
    assert {name: worst for name, worst in differences.items() if worst >= CLOSE} == {}


def test_the_tools_get_that_answer_for_what_it_refuses(exported):
    differences = {
        name: difference(asked(exported, prepared(READ[name]).encoded), said(exported, name))
        for name in sorted(NOT_SERVED)
    }
    assert {name: worst for name, worst in differences.items() if worst >= CLOSE} == {}


def test_the_labels_are_told_without_decoding_a_picture(exported):
    if not exported.task.has_target:
        return
    stored = prepared(READ["plain.png"])
    target = target_of(exported.task, 1, stored)
    kind = {"float_list": tf.train.FloatList(value=[target])} if type(target) is float else {}
    kind = kind or {"bytes_list": tf.train.BytesList(value=[target])}
    features = tf.train.Features(feature={exported.task.target: tf.train.Feature(**kind)})
    example = tf.train.Example(features=features).SerializeToString()
    told = exported.signatures["transform_labels"](examples=tf.constant([example]))
    wanted = {"classification": 1, "regression": 1.0, "segmentation": target}
    assert np.ravel(next(iter(told.values())).numpy())[0] == wanted[exported.task.name]


def refusal(exported, content):
    """Returns why the pushed model refuses a file. Once in thousands of calls TensorFlow says in
    place of it that it cancelled what ran beside.
    """
    for _ in range(5):
        try:
            asked(exported, content)
        except tf.errors.InvalidArgumentError as error:
            return error.message
        except tf.errors.CancelledError:
            continue
    return ""


def test_the_pushed_model_refuses_a_raw_file_that_it_would_decode_wrongly(exported):
    for name in sorted(NOT_SERVED):
        assert REFUSED in refusal(exported, READ[name])
