"""The benchmarks run, at a size that says nothing about speed."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent


def last_line(script, *arguments):
    """Returns the JSON that a benchmark prints last."""
    command = [sys.executable, f"benchmarks/{script}", *map(str, arguments)]
    finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr[-2000:]
    return json.loads(finished.stdout.splitlines()[-1])


def test_the_training_step_is_measured_beside_that_of_stock_keras():
    measured = last_line(
        "train_step.py", "--width", 0.0625, "--image_size", 16, "--batch_size", 4, "--steps", 1
    )
    stock = measured["rivals"]["stock"]
    assert stock["ratio"] == pytest.approx(
        measured["images_per_second"] / stock["images_per_second"], rel=0.01
    )
    assert len(measured["seconds"]) == len(stock["seconds"]) == 1


@pytest.fixture
def pieces(tmp_path):
    """Returns a folder with thirty tiny images to train on, in two files, and ten to judge on."""
    rng = np.random.default_rng(0)
    for name, count in (("train0", 16), ("train1", 14), ("eval0", 10)):
        images = rng.integers(0, 256, (count, 16, 16, 3), dtype=np.uint8)
        np.savez(tmp_path / f"{name}.npz", images=images, labels=np.arange(count) % 2)
    return tmp_path


def test_a_cifar10_run_goes_on_over_calls(pieces):
    options = [
        "--pieces",
        pieces,
        "--folder",
        pieces / "run",
        "--width",
        0.0625,
        "--epochs",
        2,
        "--batch_size",
        10,
        "--copies",
        1,
    ]
    stopped = last_line("gpu_cifar10.py", *options, "--minutes", 1e-4)
    finished = last_line("gpu_cifar10.py", *options)
    assert not stopped["finished"] and finished["finished"]
    assert (finished["epochs_done"], finished["epochs_of_this_call"]) == (
        2,
        2 - stopped["epochs_done"],
    )
    assert 0 <= finished["knn_accuracy"] <= 1 and 0 <= finished["linear_accuracy"] <= 1


def test_a_trial_on_faces_is_judged_once(tmp_path):
    faces, rng = tmp_path / "faces", np.random.default_rng(0)
    faces.mkdir()
    for number in range(40):
        pixels = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(faces / f"{2 * number}_{number % 2}_{number % 5}_{number}.jpg")
    trial = "encoder.width=0.0625 image_size=16 view_size=16 encoder.grid=2 pretraining.epochs=1"
    trial += " pretraining.batch_size=8 eval_epochs=1"
    scores = last_line(
        "faces.py", faces, tmp_path / "said.jsonl", "--trial", trial, "--trial", trial
    )
    assert (tmp_path / "said.jsonl").read_text().splitlines() == [json.dumps(scores)]
    assert all(0 <= scores[f"{name}_linear"] <= 1 for name in ("gender", "race", "age_group"))
