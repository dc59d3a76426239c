"""ModelCheck as a node: what its blessing holds for a model that answers and for a folder without
one.
"""

import json
import sys

import pytest
import tensorflow as tf
from tfx.types.artifact_utils import encode_split_names
from tfx.types.standard_artifacts import Examples, InfraBlessing, Model

from components.model_check.component import ModelCheck
from components.model_check.probe import REPORT

pytestmark = pytest.mark.tfx

IMAGE = {"image": tf.io.FixedLenFeature([], tf.string)}


class Length(tf.Module):
    """A served model that answers how many bytes an image has."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def on_examples(self, examples):
        return self.on_images(tf.io.parse_example(examples, IMAGE)["image"])

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
    def on_images(self, image_bytes):
        return {"length": tf.cast(tf.strings.length(image_bytes), tf.float32)}


@pytest.fixture
def examples(tmp_path):
    for split in ("train", "eval"):
        folder = tmp_path / "examples" / f"Split-{split}"
        folder.mkdir(parents=True)
        with tf.io.TFRecordWriter(str(folder / "data.gz"), "GZIP") as writer:
            for _ in range(20):
                feature = tf.train.Feature(bytes_list=tf.train.BytesList(value=[split.encode()]))
                writer.write(
                    tf.train.Example(
                        features=tf.train.Features(feature={"image": feature})
                    ).SerializeToString()
                )
    artifact = Examples()
    artifact.uri, artifact.split_names = (
        str(tmp_path / "examples"),
        encode_split_names(["train", "eval"]),
    )
    return artifact


def check(tmp_path, examples, module):
    """Returns whether a model is blessed, the report of it, and the names of the files beside it.

    Whatever is said must be said of this model.
    """
    model, blessing = Model(), InfraBlessing()
    model.id = 7
    model.uri, blessing.uri = str(tmp_path / "model"), str(tmp_path / "blessing")
    (tmp_path / "blessing").mkdir()
    if module:
        signatures = {"serving_default": module.on_examples, "from_images": module.on_images}
        tf.saved_model.save(module, str(tmp_path / "model" / "Format-Serving"), signatures)

    ModelCheck.EXECUTOR_SPEC.executor_class().Do(
        {"model": [model], "examples": [examples]}, {"blessing": [blessing]}, {"fingerprint": "x"}
    )
    report = json.loads((tmp_path / "blessing" / "report.json").read_text(encoding="utf-8"))
    names = {path.name for path in (tmp_path / "blessing").iterdir()}
    assert blessing.get_int_custom_property("current_model_id") == model.id
    return blessing.get_int_custom_property("blessed"), report, names


@pytest.fixture
def probe_sees(tmp_path, monkeypatch):
    """Returns a function that has the probe end at once, with a report."""

    def sees(report):
        path = tmp_path / "python"
        path.write_text(f"#!/bin/sh\necho '{REPORT}{json.dumps(report)}'\n")
        path.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(path))

    return sees


@pytest.mark.parametrize(
    ("seen", "blessed", "name"),
    [({"requests": 16}, 1, "INFRA_BLESSED"), ({"error": "é"}, 0, "INFRA_NOT_BLESSED")],
)
def test_what_the_probe_saw_is_kept_and_decides(
    tmp_path, examples, probe_sees, seen, blessed, name
):
    probe_sees(seen)
    files = {"requests.tfrecord", "report.json", name}
    assert check(tmp_path, examples, None) == (blessed, seen, files)


def test_what_the_probe_saw_is_in_the_log(tmp_path, examples, probe_sees, caplog):
    probe_sees({"requests": 16})
    with caplog.at_level("INFO", "absl"):
        check(tmp_path, examples, None)
    assert caplog.messages == ["ModelCheck: {'requests': 16}"]


def test_sixteen_examples_of_the_eval_split_are_sent(tmp_path, examples, probe_sees):
    probe_sees({})
    check(tmp_path, examples, None)
    sent = tf.data.TFRecordDataset(str(tmp_path / "blessing" / "requests.tfrecord"))
    images = [tf.io.parse_single_example(one, IMAGE)["image"].numpy() for one in sent]
    assert images == [b"eval"] * 16


def test_a_model_that_answers_a_fresh_process_is_blessed_wherever_the_run_was_started(
    tmp_path, examples, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    blessed, report, names = check(tmp_path, examples, Length())
    assert blessed == 1
    assert (report["requests"], report["outputs"]) == (16, {"length": [16]})
    assert {"INFRA_BLESSED", "requests.tfrecord"} <= names and "INFRA_NOT_BLESSED" not in names


def test_a_folder_without_a_model_is_not_and_the_report_says_why(tmp_path, examples):
    blessed, report, names = check(tmp_path, examples, None)
    assert blessed == 0 and "model" in report["error"]
    assert "INFRA_NOT_BLESSED" in names and "INFRA_BLESSED" not in names
