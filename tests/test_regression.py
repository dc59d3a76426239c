"""Regression: a number an image, standardised for learning, in the units of the list for everyone
else.
"""

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline import evaluate, predict
from pipeline.choices import Gate
from trainer_module.errors import InputError
from trainer_module.settings import Target
from trainer_module.tasks.registry import task_from_json, task_to_json
from trainer_module.tasks.regression import Regression

ROOT = Path(__file__).resolve().parent.parent
LEARNED = {"number_mean": np.float32(40.0), "number_std": np.float32(20.0)}


def task(*targets):
    return Regression.from_targets(targets or ("1", "2"), Target())


@pytest.mark.parametrize(
    ("target", "problem"),
    [
        ("3", ""),
        ("-2.5e3", ""),
        ("", "no number: a row of this task is `path,number`"),
        ("old", "'old' is not a number"),
        ("1_000", "'1_000' is not a number"),
        ("nan", "number nan is not finite"),
        ("-inf", "number -inf is not finite"),
        ("1e15", ""),
        (
            "1e300",
            "number 1e300 does not fit 32 bits: at most 1e+15 is taken, so use a larger unit",
        ),
        (
            "1e400",
            "number 1e400 does not fit 32 bits: at most 1e+15 is taken, so use a larger unit",
        ),
        (
            "-1e38",
            "number -1e38 squared does not fit 32 bits: at most 1e+15 is taken, so use a larger "
            "unit",
        ),
    ],
)
def test_a_number_is_finite_and_nothing_else(target, problem):
    assert task().problem(target) == problem


@pytest.mark.parametrize(
    ("numbers", "told"),
    [
        (range(10), ""),
        ([0.1 + year for year in range(1990, 2020)], ""),
        ([1e8 + number for number in range(10)], "rounded to 32 bits by up to 6, and their stand"),
        ([1e-9, 2e-9], "standard deviation is 5e-10, and less than 1e-06 is not brought to 1"),
    ],
)
def test_numbers_that_32_bits_hardly_tell_apart_are_warned_of(numbers, told):
    found = task().noticed_in_rows([str(number) for number in numbers])
    assert [told in one.told for one in found] == ([True] if told else [])


def test_lists_without_numbers_or_with_one_number_alone_are_refused():
    with pytest.raises(
        InputError, match="The training list has no numbers: a row of this task is `path,number`"
    ):
        task("", "")
    with pytest.raises(
        InputError, match=r"All rows of the training list have the same number.* Received: 7"
    ):
        task("7", "7.0")


def test_it_travels_as_json():
    assert task_from_json(task_to_json(task())) == task()


def test_the_best_constant_answer_is_the_median():
    targets = ["1", "2", "100"]
    errors = [
        statistics.fmean(abs(float(target) - answer) for target in targets)
        for answer in np.linspace(0, 101, 1011)
    ]
    assert (
        task().constant_score(targets)
        == pytest.approx(min(errors), abs=0.01)
        == pytest.approx(33.0)
    )


def test_the_gate_asks_for_less_error_than_a_constant_answer():
    assert Gate().beating(33.0, higher_is_better=False).limit(higher_is_better=False) == 33.0
    assert (
        Gate(max_error=5.0).beating(33.0, higher_is_better=False).limit(higher_is_better=False)
        == 5.0
    )


def test_the_error_is_in_units_of_the_list():
    metric = task().metrics(LEARNED)[0]
    metric.update_state(np.array([0.5, -1.0], "float32"), np.array([[1.0], [-1.5]], "float32"))
    assert float(metric.result()) == pytest.approx(10.0)  # half a deviation of 20 each


def test_the_answer_is_in_units_of_the_list():
    answer = task().served(np.array([[0.0], [-1.5]], "float32"), None, LEARNED)
    assert answer["number"].tolist() == [40.0, 10.0]


def test_a_view_is_the_image_or_its_mirror_image():
    import keras

    images = np.random.default_rng(0).integers(0, 256, (20, 6, 8, 3), dtype=np.uint8)
    views, targets = task().views(
        images, np.arange(20.0), keras.random.SeedGenerator(0), task().mild
    )
    straight = [
        np.allclose(view, image / 255, atol=1e-5)
        for view, image in zip(np.asarray(views), images, strict=True)
    ]
    mirrored = [
        np.allclose(view, image[:, ::-1] / 255, atol=1e-5)
        for view, image in zip(np.asarray(views), images, strict=True)
    ]
    assert (
        all(one != other for one, other in zip(straight, mirrored, strict=True))
        and any(straight)
        and any(mirrored)
    )
    assert np.array_equal(targets, np.arange(20.0))


def test_a_linear_head_is_fitted_by_ridge_regression():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(200, 10)) * np.arange(1, 11) + 5
    numbers = features @ rng.normal(size=10) + 3 + 0.01 * rng.normal(size=200)
    kernel, bias = task().fitted_linear(features.astype("float32"), numbers)
    assert kernel.shape == (10, 1) and bias.shape == (1,)
    np.testing.assert_allclose((features @ kernel + bias)[:, 0], numbers, atol=0.05)


# Through the command line.


@pytest.fixture(scope="module")
def discs(tmp_path_factory):
    """Bright discs on a dark ground, and how large they are, in units of a list: 100 and 10 a pixel
    of their radius.
    """
    folder, rng = tmp_path_factory.mktemp("discs"), np.random.default_rng(0)
    for split, count in (("train", 64), ("eval", 24)):
        rows = []
        for index in range(count):
            radius, (y, x) = rng.uniform(2, 7), rng.uniform(6, 10, 2)
            rows_of, columns = np.mgrid[:16, :16]
            inside = (rows_of - y) ** 2 + (columns - x) ** 2 < radius**2
            pixels = rng.integers(0, 60, (16, 16, 3)) + 150 * inside[..., None]
            file = folder / split / f"{index}.png"
            file.parent.mkdir(exist_ok=True)
            Image.fromarray(pixels.astype(np.uint8)).save(file)
            rows.append(f"{split}/{index}.png,{100 + 10 * radius:.3f}")
        (folder / f"{split}.csv").write_text("\n".join(rows))
    return folder


def run(folder, *flags):
    lists = [f"--train_file_path={folder}/train.csv", f"--val_file_path={folder}/eval.csv"]
    command = [
        sys.executable,
        "local_runner.py",
        "--task=regression",
        *lists,
        f"--pipeline_root={folder}/root",
        "--input_size=16 16",
        *flags,
    ]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "tests")}
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )


def test_rows_that_are_no_numbers_are_named_before_anything_runs(discs, tmp_path):
    text = (discs / "eval.csv").read_text().splitlines()
    (tmp_path / "eval.csv").write_text(
        "\n".join([f"{discs}/eval/0.png,tall", f"{discs}/eval/1.png,nan", f"{discs}/eval/2.png"])
    )
    (tmp_path / "train.csv").write_text(
        "\n".join(f"{discs}/{line.replace('eval', 'train')}" for line in text)
    )
    result = run(tmp_path)
    assert result.returncode == 2
    for told in (
        "eval.csv:1: ",
        "'tall' is not a number",
        "eval.csv:2: ",
        "number nan is not finite",
        "eval.csv:3: ",
        "no number",
    ):
        assert told in result.stderr


@pytest.mark.end_to_end
def test_sizes_of_discs_are_learned_judged_gated_and_served(discs, capfd):
    small = [
        "--width=0.5",
        "--set",
        "encoder.builder=small_encoder.build",
        "--pretrain_epochs=1",
        "--set",
        "pretraining.batch_size=16",
        "--set",
        "pretraining.projection_hidden=16",
    ]
    result = run(
        discs,
        *small,
        "--freeze=False",
        "--head=mlp",
        "--num_epochs=20",
        "--batch_size=16",
        "--learning_rate=0.003",
    )
    assert result.returncode == 0, result.stdout + result.stderr
    told = json.loads((discs / "root" / "summary.json").read_text())
    numbers = [float(line.split(",")[1]) for line in (discs / "eval.csv").read_text().splitlines()]
    constant = task().constant_score([str(number) for number in numbers])
    assert told["metrics"]["mean_absolute_error"] < 0.7 * constant
    assert set(told["metrics"]) - set(told["intervals"]) == {"mean_squared_error"}
    assert told["configuration"]["gate"]["max_error"] == pytest.approx(constant, rel=1e-3)
    images = [f"{discs}/eval/{index}.png" for index in range(24)]
    capfd.readouterr()
    assert predict.main([f"{discs}/root", *images]) == 0
    served = [float(line.split()[1]) for line in capfd.readouterr().out.splitlines()]
    error = np.mean(np.abs(np.subtract(served, numbers)))
    # What is served is what was judged; of numbers over 100 one digit behind the point is printed.
    assert error == pytest.approx(told["metrics"]["mean_absolute_error"], abs=0.05)
    assert evaluate.main([f"{discs}/root", f"{discs}/eval.csv", "--json"]) == 0
    answer = capfd.readouterr()
    score = json.loads(answer.out)
    assert "training list" not in answer.err
    assert score[""]["mean_absolute_error"] == pytest.approx(
        told["metrics"]["mean_absolute_error"], rel=1e-5
    )
    rows = (discs / "train.csv").read_text().splitlines(keepends=True)
    (discs / "mixed.csv").write_text("".join([*rows[:5], *(discs / "eval.csv").open()]))
    assert evaluate.main([f"{discs}/root", f"{discs}/mixed.csv"]) == 0
    assert "5 of 29 images are in the training list of this model" in capfd.readouterr().err
