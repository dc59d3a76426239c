"""Scores of a model on any list: what TFMA returns, in the order of a reader, and bad input told as
everywhere.
"""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.evaluate import main, read_whole, scores, table, without_thresholds
from trainer_module.errors import InputError
from trainer_module.tasks.classification import Classification
from trainer_module.tasks.registry import task_to_json
from trainer_module.tasks.regression import Regression
from trainer_module.tasks.segmentation import Segmentation

ROOT = Path(__file__).resolve().parent.parent
BY_CLASS = {f"classId:{index}": {"iou": {"doubleValue": 0.1 * index}} for index in (1, 10, 2)}
SEGMENTED = [
    (
        (),
        {
            "": {
                "": {"mean_iou": {"doubleValue": 0.5}, "histogram": {"bytesValue": b""}},
                **BY_CLASS,
            }
        },
    )
]
CLASSIFIED = [
    (
        (("label", 1),),
        {"": {"": {"accuracy": {"doubleValue": 0.25}, "loss": {"doubleValue": 2.0}}}},
    ),
    ((), {"": {"": {"accuracy": {"doubleValue": 0.75}}}}),
    ((("label", b"cat"),), {"": {"": {"accuracy": {"doubleValue": 1.0}}}}),
]


def test_a_class_named_by_a_raised_digit_is_a_name_and_no_number():
    found = {"": {"accuracy": 0.5}, "label ²": {"accuracy": 0.5}, "label 3": {"accuracy": 0.5}}
    assert [
        row.split()[1] for row in table(found, Classification(2, ("3", "²"))).splitlines()[1:]
    ] == ["3", "²"]


def test_classes_and_slices_become_named_parts():
    assert scores(SEGMENTED) == {
        "": {"mean_iou": 0.5},
        "class 1": {"iou": pytest.approx(0.1)},
        "class 10": {"iou": 1.0},
        "class 2": {"iou": 0.2},
    }
    assert scores(CLASSIFIED) == {
        "label 1": {"accuracy": 0.25, "loss": 2.0},
        "": {"accuracy": 0.75},
        "label cat": {"accuracy": 1.0},
    }


def test_the_table_begins_with_the_whole_and_counts_as_people_do():
    lines = [line.split() for line in table(scores(SEGMENTED), Segmentation(11)).splitlines()]
    assert [line[0] + line[1] for line in lines] == ["meaniou", "class1", "class2", "class10"]
    assert lines[0][-2:] == ["50.00", "%"] and lines[3][-2:] == ["100.00", "%"]
    assert table(scores(CLASSIFIED), Classification(2)).splitlines()[1].split() == [
        "label",
        "1",
        "25.00",
        "%",
    ]


@pytest.mark.parametrize("task", [Classification(2), Regression(), Segmentation(11)])
def test_images_are_counted_whatever_the_task_so_that_scores_have_intervals(task):
    metrics = [one for spec in without_thresholds(task)["metrics_specs"] for one in spec["metrics"]]
    assert [one["class_name"] for one in metrics].count("ExampleCount") == 1
    assert not any("per_slice_thresholds" in one for one in metrics)


def model_of_cats_and_dogs(folder):
    """A model's folder as far as it is looked at before it is asked."""
    (folder / "assets.extra").mkdir(parents=True)
    text = task_to_json(Classification(2, ("cat", "dog")))
    (folder / "assets.extra" / "task.json").write_text(text)
    (folder / "saved_model.pb").write_bytes(b"")
    return folder


def test_one_image_with_two_targets_is_refused_as_by_a_run(tmp_path, image_list, capsys):
    list_path = image_list("val", 2)
    list_path.write_text("val/0.png,cat\n./val/0.png,dog\n" * 10)
    assert main([str(model_of_cats_and_dogs(tmp_path / "model")), str(list_path)]) == 2
    assert "has the target 'dog' here, but 'cat' in another row" in capsys.readouterr().err


def test_a_damaged_model_is_named_with_what_to_do(tmp_path, image_list, capsys):
    model, list_path = model_of_cats_and_dogs(tmp_path / "model"), str(image_list("val", 4))
    assert main([str(model), list_path]) == 2
    told = capsys.readouterr().err
    assert f"{model}: the model cannot be loaded" in told and "Fix: a whole copy" in told


@pytest.mark.tfx
def test_what_a_run_tells_of_a_list_is_told_of_one_to_evaluate(tmp_path, image_list):
    list_path = image_list("val", 3, labels=("cat",))
    (tmp_path / "val" / "2.png").write_bytes((tmp_path / "val" / "1.png").read_bytes())
    list_path.write_text(list_path.read_text() + list_path.read_text())
    read = read_whole(str(list_path), Classification(2, ("cat", "dog")), tmp_path / "examples")
    told = {finding.kind: finding for finding in read.findings}
    assert told["repeated rows"].count == 3 and told["copies"].count == 1
    assert told["one class held out"].severity == "warning"


@pytest.fixture
def label_map_list(tmp_path):
    """Returns a function that writes three images, their label maps, and the list of them."""

    def write(label_map, **options):
        rows = []
        for number in range(3):
            Image.new("RGB", (6, 4), (number, 0, 0)).save(tmp_path / f"{number}.jpg", **options)
            Image.fromarray(np.asarray(label_map, np.uint8)).save(tmp_path / f"map{number}.png")
            rows.append(f"{number}.jpg,map{number}.png\n")
        (tmp_path / "maps.csv").write_text("".join(rows))
        return str(tmp_path / "maps.csv")

    return write


def test_label_maps_that_no_run_is_judged_by_are_refused(label_map_list, tmp_path):
    path = label_map_list(np.full((4, 6), 255))
    with pytest.raises(InputError, match="No pixel of the evaluation label maps counts: 100 %"):
        read_whole(path, Segmentation(2), tmp_path / "examples")


def test_what_a_run_tells_of_label_maps_and_pictures_is_told_of_those_to_evaluate(
    label_map_list, tmp_path
):
    exif = Image.Exif()
    exif[0x0112] = 3
    path = label_map_list([[0, 255] * 3] * 4, exif=exif)
    read = read_whole(path, Segmentation(2), tmp_path / "examples")
    told = {finding.kind: finding for finding in read.findings}
    assert "always answering class 0 is right" in told["pixels by class"].told
    assert told["turned"].count == 3


def test_a_folder_without_a_model_ends_with_exit_code_2(tmp_path):
    command = [sys.executable, "-m", "pipeline.evaluate", str(tmp_path), "list.csv"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 2 and f"{tmp_path}: no model here" in result.stderr
