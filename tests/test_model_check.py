import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from components.model_check import component
from components.model_check.probe import REPORT, probe

pytestmark = pytest.mark.tfx

ENOUGH = 300  # seconds for a sound model to load and answer


class Answering(tf.Module):
    """A model whose answer is `factor` times the mean of the image's bytes as numbers."""

    def __init__(self, factor, second_factor=None):
        super().__init__()
        self.factor = factor
        self.second_factor = factor if second_factor is None else second_factor

    def answer(self, image_bytes, factor):
        return {"score": factor * tf.cast(tf.strings.length(image_bytes), tf.float32)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def on_examples(self, examples):
        images = tf.io.parse_example(examples, {"image": tf.io.FixedLenFeature([], tf.string)})[
            "image"
        ]
        return self.answer(images, self.factor)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
    def on_images(self, image_bytes):
        return self.answer(image_bytes, self.second_factor)


@pytest.fixture
def save(tmp_path):
    def write(module):
        tf.saved_model.save(
            module,
            str(tmp_path / "model"),
            {"serving_default": module.on_examples, "from_images": module.on_images},
        )
        return str(tmp_path / "model")

    return write


@pytest.fixture
def split(tmp_path):
    folder = tmp_path / "Split-eval"
    folder.mkdir()
    with tf.io.TFRecordWriter(
        str(folder / "data-00000.gz"), tf.io.TFRecordOptions(compression_type="GZIP")
    ) as writer:
        for index in range(5):
            feature = tf.train.Feature(bytes_list=tf.train.BytesList(value=[b"x" * (index + 1)]))
            writer.write(
                tf.train.Example(
                    features=tf.train.Features(feature={"image": feature})
                ).SerializeToString()
            )
    return folder


@pytest.fixture
def sample(split, tmp_path):
    component.write_sample(str(split), str(tmp_path / "sample"), 3)
    return str(tmp_path / "sample")


def test_a_sound_model_answers_in_a_fresh_process(save, sample):
    report = component.run_probe(save(Answering(2.0)), sample, ENOUGH)
    assert (report["requests"], report["outputs"]) == (3, {"score": [3]})


class Hanging(Answering):
    """A model that never answers."""

    def answer(self, image_bytes, factor):
        endless = tf.while_loop(
            lambda count: count >= 0, lambda count: count * 0, [tf.size(image_bytes)]
        )
        return {"score": tf.cast(endless[0], tf.float32) * tf.ones(tf.shape(image_bytes))}


def test_a_model_that_hangs_is_refused_and_the_reason_told(save, sample):
    started = time.monotonic()
    assert component.run_probe(save(Hanging(1.0)), sample, 3) == {"error": "no answer within 3 s"}
    assert time.monotonic() - started < 30


def test_a_report_is_found_among_what_a_model_prints():
    lines = ["loading", f'{REPORT}{{"requests": 3}}', "goodbye"]
    assert component._report(lines) == {"requests": 3}


def test_a_process_that_ends_well_but_says_nothing_is_refused():
    assert "error" in component._report([])


def test_a_model_that_answers_nan_is_refused(save, sample):
    with pytest.raises(ValueError, match="`score` is not finite"):
        probe(save(Answering(np.nan)), sample)


def test_signatures_that_disagree_are_refused(save, sample):
    with pytest.raises(ValueError, match="differs from serving_default"):
        probe(save(Answering(1.0, 2.0)), sample)


def test_a_folder_without_a_model_fails_the_probe(tmp_path, sample):
    assert "error" in component.run_probe(str(tmp_path), sample, ENOUGH)


def test_the_sample_holds_no_more_than_was_asked_for(sample):
    assert sum(1 for _ in tf.data.TFRecordDataset(sample)) == 3
    assert Path(sample).exists()
