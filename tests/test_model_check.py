import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from components.model_check import component
from components.model_check import probe as asking
from components.model_check.probe import REPORT, probe

pytestmark = pytest.mark.tfx


@pytest.fixture
def python(tmp_path, monkeypatch):
    """Returns a function that puts a shell script in the place of the interpreter, so that a probe
    ends at once, and as it is told to.
    """

    def ends(script):
        path = tmp_path / "python"
        path.write_bytes(b"#!/bin/sh\n" + script.encode("latin-1"))
        path.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(path))

    return ends


def test_the_probe_finds_the_project_but_no_gpu_in_the_environment_of_the_run(python, monkeypatch):
    monkeypatch.setenv("OF_THE_RUN", "kept")
    python(f"""echo '{REPORT}["'$PYTHONPATH'", "'$CUDA_VISIBLE_DEVICES'", "'$OF_THE_RUN'"]'""")
    project = str(Path(__file__).resolve().parent.parent)
    assert component.run_probe("model", "sample", 60) == [project, "-1", "kept"]


def test_of_a_process_that_fails_the_end_of_its_complaint_is_kept(python):
    python("""printf '%03000d the end' 0 >&2; exit 1""")
    error = component.run_probe("model", "sample", 60)["error"]
    assert (len(error), error[-9:]) == (2000, "0 the end")


def test_bytes_that_are_no_text_are_replaced_in_complaint_and_report(python):
    python(f"""echo '\xff'; echo '{REPORT}{{}}'""")
    assert component.run_probe("model", "sample", 60) == {}
    python("""printf '\xff' >&2; exit 1""")
    assert component.run_probe("model", "sample", 60) == {"error": "\N{REPLACEMENT CHARACTER}"}


@pytest.mark.parametrize("number", [2, 9, 15])
def test_a_process_that_something_ends_says_nothing_of_the_model(python, number):
    python(f"kill -{number} $$")
    with pytest.raises(RuntimeError, match=r"ended by SIG.*is not judged yet"):
        component.run_probe("model", "sample", 60)


def test_a_model_that_brings_its_process_down_is_refused(python):
    python("kill -11 $$")
    assert component.run_probe("model", "sample", 60) == {"error": ""}


def test_the_time_that_a_model_is_given_is_told_where_it_has_passed(python):
    python("exec sleep 60")
    assert component.run_probe("model", "sample", 0.5) == {"error": "no answer within 0.5 s"}


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
    """Returns the folder of twelve records."""
    folder = tmp_path / "Split-eval"
    folder.mkdir()
    with tf.io.TFRecordWriter(
        str(folder / "data-00000.gz"), tf.io.TFRecordOptions(compression_type="GZIP")
    ) as writer:
        for index in range(12):
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


class Counting(Answering):
    """A model that leaves an empty file for every request."""

    def __init__(self, folder):
        super().__init__(1.0)
        self.folder = str(folder)

    def answer(self, image_bytes, factor):
        # Another at every request; random numbers may be seeded, alike in each signature.
        moment = tf.as_string(tf.timestamp(), precision=9)
        written = tf.io.write_file(tf.strings.join([self.folder, moment], "/"), "")
        with tf.control_dependencies([written]):
            return super().answer(image_bytes, factor)


def test_the_time_of_a_request_is_the_median_of_ten(save, split, tmp_path, monkeypatch):
    component.write_sample(str(split), str(tmp_path / "sample"), 12)
    model, moments = (
        save(Counting(tmp_path / "asked")),
        itertools.accumulate(itertools.repeat(1.2344e-3)),
    )
    monkeypatch.setattr(asking.time, "perf_counter", lambda: next(moments))
    report = probe(model, str(tmp_path / "sample"))
    monkeypatch.undo()
    assert (report["requests"], report["milliseconds"]) == (12, 1.23)
    of_all = 2  # one request of all examples to each of the two signatures
    assert len([path for path in (tmp_path / "asked").rglob("*") if path.is_file()]) == 10 + of_all


class Hanging(Answering):
    """A model that never answers."""

    def answer(self, image_bytes, factor):
        endless = tf.while_loop(
            lambda count: count >= 0, lambda count: count * 0, [tf.size(image_bytes)]
        )
        return {"score": tf.cast(endless[0], tf.float32) * tf.ones(tf.shape(image_bytes))}


def test_the_process_ends_with_the_one_that_asked(save, sample):
    command = [sys.executable, "-m", component.PROBE, save(Hanging(1.0)), sample]
    root = Path(__file__).resolve().parent.parent
    asked = subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE)
    try:
        asked.stdin.close()  # as the end of the process that holds it does
        assert asked.wait(60) == 1
    finally:
        asked.kill()


def test_a_report_is_found_among_what_a_model_prints():
    lines = ["loading", f"{REPORT}{{}}", f'{REPORT}{{"requests": 3}}', "goodbye"]
    assert component._report(lines) == {"requests": 3}


def test_a_process_that_ends_well_but_says_nothing_is_refused():
    assert component._report([]) == {"error": "the process ended without a report"}


def test_a_model_that_answers_nan_is_refused(save, sample):
    with pytest.raises(ValueError, match="`score` is not finite"):
        probe(save(Answering(np.nan)), sample)


def test_signatures_that_disagree_are_refused(save, sample):
    with pytest.raises(ValueError, match="differs from serving_default"):
        probe(save(Answering(1.0, 1.001)), sample)


def test_signatures_that_agree_but_for_rounding_are_not(save, sample):
    assert probe(save(Answering(1.0, 1.000001)), sample)["requests"] == 3


def test_an_answer_that_is_no_number_is_not_held_against_anything(save, sample):
    class Naming(Answering):
        def answer(self, image_bytes, factor):
            return super().answer(image_bytes, factor) | {"name": image_bytes}

    assert probe(save(Naming(1.0)), sample)["outputs"] == {"score": [3], "name": [3]}


def test_the_sample_holds_no_more_than_was_asked_for(sample):
    assert sum(1 for _ in tf.data.TFRecordDataset(sample)) == 3


def test_of_a_sound_model_nothing_is_told_but_the_report(save, sample):
    # with oneDNN TensorFlow says so on CPUs with AVX-512, which no setting hides
    quiet = os.environ | {"CUDA_VISIBLE_DEVICES": "-1", "TF_ENABLE_ONEDNN_OPTS": "0"}
    quiet.pop("TF_CPP_MIN_LOG_LEVEL", None)
    command = [sys.executable, "-m", component.PROBE, save(Answering(2.0)), sample]
    ended = subprocess.run(command, cwd=component.ROOT, env=quiet, capture_output=True, text=True)
    assert (ended.stderr, ended.stdout.splitlines()[:-1]) == ("", [])
    assert json.loads(ended.stdout.removeprefix(REPORT))["requests"] == 3
