"""UTKFace's lists come from file names alone.

Stand-ins with the same naming, quirks of the real data set included.
"""

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from pipeline.datasets import files, utkface
from trainer_module.errors import InputError

REPOSITORY = Path(__file__).parents[1]
# Three files of the real data set lack their race, one has an empty field.
BAD = (
    "39_1_20170116174525125.jpg.chip.jpg",
    "53__0_20170116184028385.jpg",
    "9_2_0_20170110.jpg",
    "140_0_0_20170110.jpg",
    "me.jpg",
)


def write_faces(folder, names):
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        Image.new("RGB", (8, 8), (number % 256, 120, 90)).save(folder / name, format="JPEG")
    return folder


def names(count=60):
    endings = (".jpg", ".jpg.chip.jpg")
    return [
        f"{number % 117}_{number % 2}_{number % 5}_2017010917{number:06d}{endings[number % 3 == 0]}"
        for number in range(count)
    ]


@pytest.fixture
def faces(tmp_path):
    return write_faces(tmp_path / "faces", names())


def rows_of(lists):
    return {
        Path(path).name: target
        for listed in lists.values()
        for path, target in files.read_list(listed)
    }


def test_a_name_says_age_gender_and_race():
    face = utkface.parse_name("26_1_2_20170116174525125.jpg.chip.jpg")
    assert [face.target(name) for name in utkface.TARGETS] == ["female", "asian", "20-39", "26"]


@pytest.mark.parametrize(
    ("age", "group"),
    [(0, "0-12"), (12, "0-12"), (13, "13-19"), (59, "40-59"), (60, "60+"), (116, "60+")],
)
def test_every_age_has_its_group(age, group):
    assert utkface.Face(age, 0, 0).target("age_group") == group


@pytest.mark.parametrize("target", utkface.TARGETS)
def test_every_face_is_in_one_list_and_the_split_does_not_hang_on_the_target(
    faces, tmp_path, target
):
    lists = utkface.write(tmp_path / target, faces, target)
    held_out = {Path(path).name for path, _ in files.read_list(lists["eval"])}
    assert rows_of(lists) == {name: utkface.parse_name(name).target(target) for name in names()}
    assert held_out == {name for name in names() if files.stable_fraction(name) < 0.2}


def test_bad_names_are_all_told(faces, tmp_path):
    write_faces(faces, BAD)
    with pytest.raises(InputError) as refused:
        utkface.write(tmp_path / "lists", faces)
    assert all(name in str(refused.value) for name in BAD)
    assert "gender must be an integer from 0 to 1, received '2'" in str(refused.value)
    assert not (tmp_path / "lists").exists()


def test_skip_leaves_bad_names_out_and_says_so(faces, tmp_path, capsys):
    write_faces(faces, BAD)
    lists = utkface.write(tmp_path / "lists", faces, "race", on_bad_row="skip")
    assert set(rows_of(lists)) == set(names())
    assert f"{len(BAD)} bad file names beside 60 good ones, left out" in capsys.readouterr().out


def test_a_folder_without_faces_is_refused(tmp_path):
    write_faces(tmp_path / "cats", ["tom.jpg"])
    with pytest.raises(InputError, match="1 image, none named so"):
        utkface.write(tmp_path / "lists", tmp_path / "cats", on_bad_row="skip")


@pytest.mark.parametrize(
    ("target", "shown"),
    [("gender", "--task=classification --num_classes=2"), ("age", "--task=regression")],
)
def test_the_command_line_says_which_command_comes_next(faces, tmp_path, target, shown):
    command = [
        sys.executable,
        "-m",
        "pipeline.datasets",
        "utkface",
        f"--source={faces}",
        f"--output_dir={tmp_path / 'out'}",
    ]
    result = subprocess.run(
        [*command, f"--target={target}"], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert shown in result.stdout
