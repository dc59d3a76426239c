"""The page that shows how to add a task: its code is cut out, registered and run, so that it cannot
rot.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
PLACE = "trainer_module/tasks/multilabel.py"
PAGE = (ROOT / "docs" / "new-task.md").read_text(encoding="utf-8")
SOURCES = ("components", "pipeline", "trainer_module", "local_runner.py")
COLOURS = ("red", "green", "blue")


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


def with_added_lines(text, diff):
    """Inserts the lines of a diff that begin with + behind the unchanged line above them."""
    above = None
    for line in diff.splitlines():
        if line.startswith("+"):
            assert text.count(f"{above}\n") == 1, f"registry.py has not one line {above!r}"
            text = text.replace(f"{above}\n", f"{above}\n{line[1:]}\n")
        above = line[1:]
    return text


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of the project in which somebody has done what the page says, and images with one to
    three labels.
    """
    folder = tmp_path_factory.mktemp("project")
    for name in SOURCES:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, folder / name)
    tasks = folder / "trainer_module" / "tasks"
    (tasks / "multilabel.py").write_text("\n".join(blocks("python")), encoding="utf-8")
    (diff,) = blocks("diff")
    registry = tasks / "registry.py"
    registry.write_text(
        with_added_lines(registry.read_text(encoding="utf-8"), diff), encoding="utf-8"
    )
    rng = np.random.default_rng(0)
    for split, count in (("train", 64), ("eval", 24)):
        rows = []
        for index in range(count):
            bits = np.array([int(bit) for bit in f"{index % 7 + 1:03b}"])
            file = folder / "images" / split / f"{index}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray((rng.integers(0, 80, (16, 16, 3)) + 150 * bits).astype(np.uint8)).save(
                file
            )
            rows.append(f"{split}/{index}.png,{';'.join(np.array(COLOURS)[bits == 1])}")
        (folder / "images" / f"{split}.csv").write_text("\n".join(rows))
    return folder


def run(project, *flags):
    lists = [
        "--train_file_path=images/train.csv",
        "--val_file_path=images/eval.csv",
        "--pipeline_root=root",
    ]
    command = [sys.executable, "local_runner.py", "--task=multilabel", *lists, *flags]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "tests")}
    return subprocess.run(
        command, cwd=project, env=environment, capture_output=True, text=True, check=False
    )


def test_the_code_of_the_page_is_formatted_as_ours():
    code = "\n".join(blocks("python"))
    for command in (["format", "--check"], ["check"]):
        result = subprocess.run(
            [sys.executable, "-m", "ruff", *command, f"--stdin-filename={PLACE}", "-"],
            cwd=ROOT, input=code, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert result.returncode == 0, result.stdout + result.stderr


def test_a_row_whose_label_the_training_list_does_not_know_is_named(project):
    (project / "images" / "odd.csv").write_text("eval/0.png,red;purple\neval/1.png\n")
    result = run(project, "--val_file_path=images/odd.csv")
    assert result.returncode == 2
    assert (
        "odd.csv:1: " in result.stderr
        and "label 'purple' does not occur in the training list" in result.stderr
    )
    assert "odd.csv:2: " in result.stderr and "no labels: a row of this task is" in result.stderr


@pytest.mark.end_to_end
def test_the_task_of_the_page_is_trained_judged_gated_and_served(project):
    small = [
        "--input_size=16 16",
        "--width=0.5",
        "--set",
        "encoder.builder=small_encoder.build",
        "--pretrain_epochs=1",
        "--set",
        "pretraining.batch_size=16",
    ]
    result = run(project, *small, "--set", "pretraining.projection_hidden=16")
    assert result.returncode == 0, result.stdout + result.stderr
    told = json.loads((project / "root" / "summary.json").read_text())
    assert told["blessed"] is True
    assert told["configuration"]["gate"]["min_metric"] == pytest.approx(
        0.583, abs=0.03
    )  # four of seven images have each label
    assert told["metrics"]["label_accuracy"] > 0.8
    command = [
        sys.executable,
        "-m",
        "pipeline.predict",
        "root",
        "images/eval/0.png",
        "images/eval/6.png",
    ]
    answers = subprocess.run(
        command, cwd=project, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert all(line.split()[1] in COLOURS for line in answers)
