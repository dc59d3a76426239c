"""The command lines of the original program, values as they stand, with `python local_runner.py` in
place of `python main.py`.

What follows a command only makes it small: a later flag overrides an earlier one. The first, second
and fourth command are run by tests/test_end_to_end.py on lists; here are the third, and the two on
CIFAR-10, on a stand-in with CIFAR's layout.
"""

import json
import os
import shlex
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_weights import narrow, written

import local_runner
from components.file_list_example_gen.held_out import is_held_out
from components.file_list_example_gen.rows import Row
from pipeline import predict
from pipeline.datasets.cifar10 import CLASSES
from pipeline.lineage import __main__ as lineage

pytestmark = pytest.mark.end_to_end

ROOT = Path(__file__).resolve().parent.parent
SMALL = (
    "--width=0.125 --pretrain_epochs=1 --set pretraining.batch_size=16 --set "
    "pretraining.projection_hidden=16 "
    "--set pretraining.projection_dim=8"
)
ONE_LIST = (
    '--input_size="240 240" --train_file_path=images.csv --task=classification '
    "--num_classes=5 --freeze=True"
)
EASY = "--eval_epochs=1,2 --set gate.min_metric=0.2"  # the recipe asks for 80 %
CIFAR10_PRETRAIN = (
    "--task=pretrain --cifar10=True --batch_size=256 --num_epochs=1000 "
    "--temperature=0.1 --strength=0.5 --learning_rate=1.0"
)
CIFAR10_CLASSIFY = (
    "--task=classification --cifar10=True --batch_size=256 --num_classes=10 "
    "--pretrain_save_path=logs/pretrain "
    "--finetune_save_path=logs/finetune --freeze=True"
)


def run(place, command):
    program = [sys.executable, str(ROOT / "local_runner.py"), *shlex.split(command)]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "tests")}
    return subprocess.run(
        program,
        cwd=place,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def summary(place, name):
    return json.loads((place / "runs" / name / "summary.json").read_text())


def exit_code(place, name):
    return {True: 0, False: 3}[summary(place, name)["blessed"]]


def ran(place, name):
    return {node["id"] for node in summary(place, name)["components"] if not node["cached"]}


def write_image(path, rng, brightness):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.clip(rng.normal(brightness, 20, (32, 32, 3)), 0, 255).astype(np.uint8)).save(
        path
    )


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder to work in, with a stand-in of CIFAR-10 in which a class is a brightness."""
    folder, rng = tmp_path_factory.mktemp("original"), np.random.default_rng(0)
    for split, count in (("train", 8), ("test", 2)):
        for label, name in enumerate(CLASSES):
            for index in range(count):
                write_image(folder / "cifar" / split / name / f"{index}.png", rng, 25 * label + 15)
    return folder


def test_one_list_is_split_and_a_model_below_the_threshold_is_refused_loudly_and_not_pushed(place):
    """The held-out images, and no others, have a label that belongs to another brightness."""
    rng, rows, held_out = np.random.default_rng(1), [], 0
    for index in range(40):
        write_image(place / "images" / f"{index}.png", rng, 50 * (index % 5) + 25)
        wrong = is_held_out(Row("images.csv", 1, f"images/{index}.png", "").image_id)
        held_out += wrong
        rows.append(f"images/{index}.png,{(index + 2 * wrong) % 5}")
    (place / "images.csv").write_text("\n".join(rows))
    smaller = f"{SMALL} --set encoder.builder=small_encoder.build"
    result = run(place, f'{ONE_LIST} {smaller} --input_size="32 32" --pipeline_root=runs/one_list')
    assert result.returncode == 3, result.stdout + result.stderr
    told = summary(place, "one_list")
    assert told["configuration"]["finetuning"]["freeze"] is True
    reached, asked = told["metrics"]["accuracy"], told["configuration"]["gate"]["min_metric"]
    assert reached < 0.2 <= asked
    assert "REFUSED" in result.stdout
    assert f"accuracy {reached:.4f} is below the least accepted, {asked:.4f}" in result.stdout
    assert f"{held_out} held out images are too few to judge a model by" in result.stdout
    assert not (place / "runs" / "one_list" / "serving").exists()


def test_cifar10_is_pretrained_and_the_encoder_left_where_it_was_asked_for(place):
    small = (
        f"{SMALL} --source=cifar --pretrain_epochs=2 --batch_size=16 --eval_epochs=1,2 "
        f"--pretrain_save_path=logs/pretrain --encoder_weights={written(place, narrow())}"
    )
    result = run(place, f"{CIFAR10_PRETRAIN} {small}")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "100 tensors; images are normalized with ImageNet's mean" in result.stdout
    assert {"Encoder", "Pretrainer"} <= ran(place, "cifar10_original-pretrain")
    told = json.loads((place / "logs/pretrain/assets.extra/encoder.json").read_text())
    assert (told["encoder"]["width"], told["milestones"]) == (0.125, [1, 2])
    assert str(place / "logs/pretrain") in result.stdout


@pytest.fixture(scope="module")
def classified(place):
    result = run(place, f"{CIFAR10_CLASSIFY} {EASY}")
    assert result.returncode == exit_code(place, "cifar10_original"), result.stdout + result.stderr
    return result, summary(place, "cifar10_original"), ran(place, "cifar10_original")


def test_cifar10_is_classified_on_that_encoder_which_is_not_trained_again(classified):
    _, told, nodes = classified
    assert "Pretrainer" not in nodes and {"Finetuner", "EpochEvaluation"} <= nodes
    assert told["configuration"]["encoder"]["width"] == 0.125
    assert told["metrics"]["accuracy"] > 0.3  # ten levels of brightness; chance is 0.1


def test_the_encoder_has_a_lineage_that_names_its_content(place, classified, capsys):
    root = place / "runs" / "cifar10_original"
    assert lineage.main([f"--pipeline_root={root}", "latest"]) == 0
    fingerprint = classified[1]["configuration"]["saved_encoder"]["fingerprint"]
    assert f"imported/{fingerprint}" in capsys.readouterr().out


def test_the_final_model_is_left_where_it_was_asked_for(place, classified, capsys):
    image = place / "cifar/test/airplane/0.png"
    assert predict.main([str(place / "logs/finetune"), str(image)]) == 0
    assert capsys.readouterr().out.split()[1] in CLASSES


def test_accuracy_is_told_for_every_epoch_asked_for(classified):
    rows = classified[1]["accuracy_by_epoch"]
    assert [row["epoch"] for row in rows] == [0, 1, 2]
    assert all(0 <= row["linear_accuracy"] <= 1 for row in rows)
    assert "Accuracy against epochs" in Path(classified[1]["report"]).read_text()


def test_an_unchanged_encoder_is_cached_and_a_changed_one_runs_again(place, classified):
    again = run(place, f"{CIFAR10_CLASSIFY} {EASY}")
    assert again.returncode == exit_code(place, "cifar10_original")
    assert ran(place, "cifar10_original") <= {"Encoder", "Baseline"}
    with zipfile.ZipFile(place / "logs/pretrain/assets.extra/encoder.keras", "a") as file:
        file.comment = b"another file"
    again = run(place, f"{CIFAR10_CLASSIFY} {EASY}")
    assert again.returncode == exit_code(place, "cifar10_original")
    assert {"Finetuner", "EpochEvaluation"} <= ran(place, "cifar10_original")
    assert not {"FileListExampleGen", "Transform"} & ran(place, "cifar10_original")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--depth=34 --width=0.5", "depth=34, width=0.5 asked for, depth=18, width=0.125 in"),
        ("--pretrain_save_path=cifar", "`--pretrain_save_path` must be a new or empty folder"),
        ("--finetune_save_path=cifar", "`--finetune_save_path` must be a new or empty folder"),
        ("--eval_epochs=2,3", "3 of classification, while"),
        ("--from_scratch", "`--from_scratch` learns the encoder from labels alone"),
    ],
)
def test_bad_input_ends_with_2_before_anything_starts(
    place, classified, flags, message, monkeypatch, capsys
):
    monkeypatch.chdir(place)
    before = ran(place, "cifar10_original"), sorted((place / "runs").rglob("*"))
    assert local_runner.main(shlex.split(f"{CIFAR10_CLASSIFY} {flags}")) == 2
    assert message in capsys.readouterr().err
    assert (ran(place, "cifar10_original"), sorted((place / "runs").rglob("*"))) == before
