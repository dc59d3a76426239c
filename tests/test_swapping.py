"""Encoder and pretraining loss are swapped by one setting each.

The pipeline takes another ExampleGen by one argument.
"""

import dataclasses
import inspect
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from trainer_module import dotted
from trainer_module.loss import BY_NAME, nt_xent, pretraining_loss, vicreg
from trainer_module.pretrain import Images, Places, pretrain
from trainer_module.settings import LOSSES, Augmentation, Encoder, Pretraining

TINY = Pretraining(
    epochs=1, batch_size=8, projection_hidden=8, projection_dim=8, precision="float32"
)
HERE = __name__


def squared_distance(first, second):
    """A loss of our own: the one line of BYOL's that needs no second network."""
    return keras.ops.mean(keras.ops.square(first - second))


def patches_encoder(settings, image_size, dtype="float32", seed=0):
    """An encoder of our own: the mean of a linear map of 4 x 4 patches."""
    images = keras.Input((*image_size, 3), name="images")
    initializer = keras.initializers.GlorotUniform(seed=seed)
    patches = keras.layers.Conv2D(
        round(64 * settings.width),
        4,
        4,
        kernel_initializer=initializer,
        dtype=dtype,
        name="patches",
    )(images)
    return keras.Model(
        images,
        keras.layers.GlobalAveragePooling2D(dtype="float32", name="features")(patches),
        name="patches_encoder",
    )


@pytest.fixture
def embeddings():
    rng = np.random.default_rng(0)
    return rng.normal(size=(6, 4)).astype("float32"), rng.normal(size=(6, 4)).astype("float32")


def pretrained(tmp_path, encoder=Encoder(width=0.125), settings=TINY):  # noqa: B008 (frozen)
    images = np.random.default_rng(0).integers(0, 256, (16, 16, 16, 3), dtype=np.uint8)
    data = Images(images, np.full(3, 0.5), np.full(3, 0.25), (16, 16))
    return pretrain(
        data,
        encoder,
        Augmentation(),
        settings,
        Places(str(tmp_path / "checkpoints"), str(tmp_path / "logs")),
    )


def test_every_loss_has_a_name_that_settings_know():
    assert set(LOSSES) == set(BY_NAME)


def test_a_name_is_its_loss(embeddings):
    def loss(name):
        return float(pretraining_loss(name, temperature=0.3)(*embeddings))

    assert loss("nt_xent") == pytest.approx(float(nt_xent(*embeddings, 0.3)))
    assert loss("dcl") == pytest.approx(float(nt_xent(*embeddings, 0.3, decoupled=True)))
    assert loss("vicreg") == pytest.approx(float(vicreg(*embeddings)))
    assert loss(f"{HERE}.squared_distance") == pytest.approx(float(squared_distance(*embeddings)))


def test_pretraining_goes_down_another_loss(tmp_path):
    *_, report = pretrained(
        tmp_path,
        settings=dataclasses.replace(
            TINY, loss="vicreg", epochs=30, optimizer="adamw", learning_rate=0.1
        ),
    )
    losses = report["history"]["loss"]
    assert np.mean(losses[-5:]) < np.mean(losses[:5]) - 1


def test_pretraining_trains_another_encoder_with_a_loss_of_our_own(tmp_path):
    settings = Encoder(width=0.125, builder=f"{HERE}.patches_encoder")
    encoder = pretrained(
        tmp_path, settings, dataclasses.replace(TINY, loss=f"{HERE}.squared_distance")
    )[0]
    assert encoder.name == "patches_encoder" and encoder.output_shape == (None, 8)
    assert not np.array_equal(
        encoder.get_weights()[0], patches_encoder(settings, (16, 16)).get_weights()[0]
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda: Pretraining(loss="barlow"), r"`loss` must be one of .*'vicreg'\), or a dotted "
                                             r"path. Received: loss='barlow'"),
        (lambda: Pretraining(loss="nowhere.loss"), r"`loss` must be the dotted path of a function, "
                                                   r"but there is no module 'nowhere'"),
        (lambda: Encoder(builder="trainer_module.resnet.build"), "`builder` .*, but resnet.py "
                                                                 "defines no function 'build'"),
        (lambda: Encoder(builder="build_encoder"), "`builder` must be the dotted path of a "
                                                   "function, but 'build_encoder' has no dot"),
    ],
)  # fmt: skip
def test_what_names_no_function_is_refused_at_once(change, message):
    with pytest.raises(ValueError, match=message):
        change()


def test_the_digest_of_a_dotted_path_sees_its_file_edited(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "my_loss.py").write_text("def loss(first, second):\n    return 0.0\n")
    before = dotted.digest("my_loss.loss")
    (tmp_path / "my_loss.py").write_text("def loss(first, second):\n    return 1.0\n")
    assert dotted.problem("my_loss.loss") == "" and dotted.digest("my_loss.loss") != before


# All three at once, through the whole pipeline.

PAGE = (Path(__file__).resolve().parent.parent / "docs" / "swapping.md").read_text(encoding="utf-8")
SIZES = "image_size=(64, 64), view_size=(64, 64))"
SECONDS = """image_size=(16, 16), view_size=(16, 16),
    encoder=Encoder(width=0.25, builder="mine.patches_encoder"),
    pretraining=Pretraining(epochs=1, batch_size=16, projection_hidden=16, projection_dim=8,
        loss="mine.squared_distance"))"""


def script_of_the_page():
    """The last block of docs/swapping.md, with settings that take seconds, and an encoder and a
    loss of one's own.
    """
    script = re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)[-1]
    assert script.count(SIZES) == 1
    return "from trainer_module.settings import Encoder, Pretraining\n" + script.replace(
        SIZES, SECONDS
    )


@pytest.fixture
def records(tmp_path):
    """A folder with TFRecords of bright and dark images, and a module with an encoder and a loss of
    one's own.
    """
    tf = pytest.importorskip("tensorflow")
    rng, options = np.random.default_rng(0), tf.io.TFRecordOptions(compression_type="GZIP")
    (tmp_path / "records").mkdir()
    for split, count in (("train", 32), ("eval", 16)):
        with tf.io.TFRecordWriter(
            str(tmp_path / "records" / f"{split}-0.tfrecord.gz"), options
        ) as writer:
            for index in range(count):
                image = tf.io.encode_png(
                    rng.integers(
                        128 * (index % 2), 128 * (index % 2 + 1), (16, 16, 3), dtype=np.uint8
                    )
                ).numpy()
                feature = {
                    "image": tf.train.Feature(bytes_list=tf.train.BytesList(value=[image])),
                    "image_id": tf.train.Feature(int64_list=tf.train.Int64List(value=[index])),
                    "label": tf.train.Feature(int64_list=tf.train.Int64List(value=[index % 2])),
                }
                writer.write(
                    tf.train.Example(
                        features=tf.train.Features(feature=feature)
                    ).SerializeToString()
                )
    functions = "\n\n".join(
        inspect.getsource(function) for function in (squared_distance, patches_encoder)
    )
    (tmp_path / "mine.py").write_text(f"import keras\n\n{functions}")
    (tmp_path / "run.py").write_text(script_of_the_page())
    return tmp_path


@pytest.mark.end_to_end
def test_a_run_reads_tfrecords_with_an_encoder_and_a_loss_of_ones_own(records):
    environment = os.environ | {"PYTHONPATH": f"{Path(__file__).resolve().parent.parent}:{records}"}
    result = subprocess.run(
        [sys.executable, "run.py"],
        cwd=records,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    summary = json.loads((records / "runs" / "records" / "summary.json").read_text())
    assert summary["components"][0]["id"] == "ImportExampleGen"
    assert summary["metrics"]["accuracy"] == 1.0
    encoder = keras.models.load_model(
        Path(summary["pushed_model"], "assets.extra", "encoder.keras")
    )
    assert encoder.name == "patches_encoder"
