"""A recipe's own data set is that of its options and source, whatever lies there from before."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.choices import Choices, Dataset
from pipeline.datasets import files
from pipeline.datasets.cifar10 import CLASSES
from pipeline.datasets.of_recipe import lists_of
from trainer_module.errors import InputError

TEN = {"train_images": 10, "eval_images": 10}


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def chosen(name, options=None, recipe="recipe", task="classification"):
    return Choices("name", recipe=recipe, task=task, dataset=Dataset(name, options=options or {}))


def source(folder, mark="", splits=("train", "test")):
    """Makes two images of each class of CIFAR-10, whose bytes, never decoded, tell their source."""
    for split in splits:
        for label in CLASSES:
            for number in range(2):
                place = folder / split / label / f"{number}.png"
                files.write_file(place, f"{mark}{split}{label}{number}".encode())
    return str(folder)


def rows(choices, source=""):
    return len(files.read_list(with_list(choices, source)))


def with_list(choices, source=""):
    return Path(lists_of(read_from(choices, source)).train)


def read_from(choices, source):
    return replace(choices, dataset=replace(choices.dataset, source=source))


def test_other_options_are_obeyed_where_the_data_set_is_drawn():
    few = {"train_images": 8, "eval_images": 8, "image_size": 16}
    assert rows(chosen("shapes", few)) == 8
    assert rows(chosen("shapes", few | {"train_images": 24})) == 24


def test_other_options_are_obeyed_from_the_source_of_before_and_that_is_said(tmp_path, capsys):
    place = source(tmp_path / "cifar")
    assert rows(chosen("cifar10", TEN), place) == 10
    capsys.readouterr()
    assert rows(chosen("cifar10", TEN | {"train_images": 20})) == 20
    assert f"from {place}, as before" in capsys.readouterr().out


def test_the_same_options_write_nothing_with_the_source_or_without(tmp_path, capsys):
    place = source(tmp_path / "cifar")
    rows(chosen("cifar10", TEN), place)
    capsys.readouterr()
    assert rows(chosen("cifar10", TEN), place) == rows(chosen("cifar10", TEN)) == 10
    assert capsys.readouterr().out == ""


def test_a_source_of_before_that_is_gone_is_named(tmp_path):
    place = source(tmp_path / "cifar")
    rows(chosen("cifar10", TEN), place)
    (tmp_path / "cifar").rename(tmp_path / "moved")
    assert rows(chosen("cifar10", TEN)) == 10
    with pytest.raises(InputError, match=f"{place}.*gone.*--source"):
        rows(chosen("cifar10", TEN | {"train_images": 20}))


def test_another_recipe_that_shares_the_folder_gets_its_own_options(tmp_path):
    place = source(tmp_path / "cifar")
    assert rows(chosen("cifar10", TEN, recipe="cifar10"), place) == 10
    assert rows(chosen("cifar10", recipe="cifar10_original")) == 20


def test_the_source_of_another_data_set_is_not_taken(tmp_path):
    rows(chosen("cifar10", TEN), source(tmp_path / "cifar"))
    with pytest.raises(InputError, match="`--source` is missing"):
        rows(chosen("utkface", {"target": "age"}))


def test_a_data_set_that_has_to_be_read_from_somewhere_says_so():
    with pytest.raises(InputError, match=r"`--source` is missing: the data set 'camvid'"):
        lists_of(chosen("camvid"))


def test_a_source_that_is_not_there_harms_nothing(tmp_path):
    rows(chosen("cifar10", TEN), source(tmp_path / "cifar"))
    with pytest.raises(InputError, match="absent"):
        rows(chosen("cifar10", TEN), "absent")
    assert rows(chosen("cifar10", TEN)) == 10


def test_a_rewrite_that_did_not_finish_leaves_no_data_set_that_counts(tmp_path, capsys):
    first, half = source(tmp_path / "a"), source(tmp_path / "b", "other ", splits=("train",))
    image = with_list(chosen("cifar10"), first).parent / "train/airplane/0.png"
    with pytest.raises(InputError, match="The source is no CIFAR-10"):
        lists_of(read_from(chosen("cifar10"), half))
    assert image.read_bytes().startswith(b"other ")
    source(tmp_path / "b", "other ")
    capsys.readouterr()
    assert rows(chosen("cifar10")) == 20
    assert f"from {half}, as before" in capsys.readouterr().out


def test_a_list_that_options_of_before_left_is_not_taken():
    few = {"train_images": 8, "eval_images": 8, "image_size": 16}
    old = with_list(chosen("shapes", few))
    scenes = few | {"regions": 2}
    new = with_list(chosen("shapes", scenes, task="pretrain"))
    assert new.name == "train_segmentation.csv"
    assert old.name == "train.csv" and old.is_file()
    with pytest.raises(InputError, match=r"no list for --task=classification.*train_segmentation"):
        lists_of(chosen("shapes", scenes))


def test_an_image_that_is_added_to_a_folder_is_in_the_lists_of_the_next_run(tmp_path, capsys):
    place = tmp_path / "photos"
    for index in range(40):
        file = place / ("cat", "dog")[index % 2] / f"{index}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"image")

    def listed():
        lists = lists_of(read_from(chosen("folder"), str(place)))
        return sum(len(Path(path).read_text().splitlines()) for path in (lists.train, lists.eval))

    assert listed() == 40
    (place / "cat" / "new.png").write_bytes(b"image")
    capsys.readouterr()
    assert listed() == 41
    assert capsys.readouterr().out == ""


def test_a_list_that_was_removed_is_written_again(tmp_path):
    place = source(tmp_path / "cifar")
    with_list(chosen("cifar10", TEN), place).unlink()
    assert rows(chosen("cifar10", TEN)) == 10


def test_a_record_of_before_lists_were_named_in_it_counts(tmp_path, capsys):
    place = source(tmp_path / "cifar")
    record = with_list(chosen("cifar10", TEN), place).parent / ".written"
    record.write_text(json.dumps(["cifar10", TEN, place]))
    capsys.readouterr()
    assert rows(chosen("cifar10", TEN)) == 10
    assert capsys.readouterr().out == ""


def test_a_source_beside_lists_of_ones_own_is_not_passed_over():
    with pytest.raises(ValueError, match=r"no meaning beside lists.*Received: source='photos'"):
        Choices(dataset=Dataset(source="photos"))


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        (Dataset("shape"), "Received: 'shape'. Did you mean 'shapes'?"),
        (Dataset("files"), "Received: 'files'. There are camvid, cifar10"),
        (Dataset("shapes", options={"train_image": 8}), "Did you mean 'train_images'?"),
        (Dataset("shapes", options={"train_images": "8"}), "of type int. Received: '8'"),
        (Dataset("shapes", options={"train_images": True}), "of type int. Received: True"),
        (Dataset("elpv", options={"seed": 1}), "No option 'seed' of the data set 'elpv'"),
    ],
)
def test_a_data_set_or_an_option_that_there_is_not_is_refused(dataset, message):
    with pytest.raises(InputError) as refused:
        lists_of(Choices(dataset=dataset))
    assert message in str(refused.value)
    assert not Path("data").exists()
