"""`--images DIR`: a folder is enough."""

import os
import shutil
from pathlib import Path

import pytest

import local_runner
from pipeline import check, compile
from pipeline.config_file import text_of
from pipeline.datasets import files
from pipeline.flags import build_parser, choices_of
from pipeline.lock import lock
from pipeline.plan import make_plan
from trainer_module.errors import InputError


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def write(*names):
    """Writes files below photos/ whose content, never decoded here, is their name."""
    for name in names:
        files.write_file(_place(name), name.encode())


def _place(name):
    return Path("photos") / name


def many(*folders, count=20):
    write(*(f"{folder}/{number}.png" for folder in folders for number in range(count)))


def planned(*flags):
    return make_plan(choices_of(build_parser().parse_args([*flags, "--images=photos"])))


def rows(path):
    with open(path, encoding="utf-8") as file:
        return [line.rsplit("photos/", 1)[1] for line in file.read().splitlines()]


def told(plan):
    return " ".join(f"{one.severity}: {one.told}" for one in plan.findings)


def test_a_folder_a_class_is_classified_by_sorted_names_and_a_fifth_is_held_out():
    many("dog", "cat/tabby", count=40)
    plan = planned()
    assert plan.task.class_names == ("cat", "dog")
    assert "2 classes, ids 0 to 1 in this order: cat, dog" in told(plan)
    train, held_out = rows(plan.lists.train), rows(plan.lists.eval)
    assert len(train) + len(held_out) == 80 and 8 <= len(held_out) <= 24
    assert "cat/tabby/0.png,cat" in {*train, *held_out}


def test_classes_are_quoted_where_they_stand_in_a_line_and_one_holds_a_comma():
    many("dog, big", "cat", "it's #1")
    told_as = """are 3 classes, ids 0 to 2 in this order: "cat", "dog, big", "it's #1\""""
    assert told_as in told(planned())


@pytest.mark.parametrize(
    ("main", "flags"),
    [(local_runner.main, []), (compile.main, ["--for=airflow", "--output=dag.py"])],
    ids=["run", "compile"],
)
def test_the_lists_of_a_run_that_goes_on_stay_those_of_its_images(main, flags, tmp_path, capsys):
    many("dog", "cat")
    place = f"--pipeline_root={tmp_path / 'root'}"
    lists = Path(planned(place).lists.train)
    before = lists.read_bytes()
    shutil.copytree("photos", "others")
    with lock(tmp_path / "root"):
        assert main([place, "--images=others", *flags]) == 2
    assert "Another run is going on" in capsys.readouterr().err
    assert lists.read_bytes() == before


def test_a_pipeline_root_that_is_a_file_is_bad_input(capsys):
    many("dog", "cat")
    Path("file").touch()
    assert local_runner.main(["--images=photos", "--pipeline_root=file"]) == 2
    assert "`--pipeline_root` must be a folder" in capsys.readouterr().err


def test_a_folder_that_is_not_there_leaves_no_pipeline_root(capsys):
    assert local_runner.main(["--images=absent", "--pipeline_root=root"]) == 2
    assert "`--images` must be a folder that is there" in capsys.readouterr().err
    assert not Path("root").exists()


@pytest.mark.parametrize("root", ["photos", "there/photos"])
def test_the_folder_of_images_is_no_pipeline_root_itself(root, capsys):
    many("dog", "cat")
    os.symlink(".", "there")
    assert local_runner.main(["--images=photos", f"--pipeline_root={root}"]) == 2
    assert "`--pipeline_root` must not be the folder of images itself" in capsys.readouterr().err
    assert {path.name for path in Path("photos").iterdir()} == {"dog", "cat"}


def test_the_lists_are_kept_in_the_folder_of_the_run():
    many("dog", "cat")
    plan = planned()
    assert plan.name.startswith("photos-")
    assert plan.lists.train == f"runs/{plan.name}/lists/train.csv"
    assert planned("--pipeline_root=mine").lists.train.endswith("mine/lists/train.csv")


def test_the_same_folder_is_the_same_pipeline_wherever_it_is_named_from(tmp_path):
    many("dog", "cat")
    flags = build_parser().parse_args([f"--images={tmp_path}/photos/../photos"])
    assert choices_of(flags).pipeline_name == planned().name


@pytest.mark.parametrize("held_out", ["val", "valid", "Validation", "test"])
def test_folders_train_and_val_are_the_splits(held_out):
    many("train/cat", "train/dog", f"{held_out}/cat", f"{held_out}/dog")
    plan = planned()
    assert {name.split("/")[0] for name in rows(plan.lists.train)} == {"train"}
    assert {name.split("/")[0] for name in rows(plan.lists.eval)} == {held_out}


def test_pretraining_alone_takes_every_image_below_the_folder():
    many("a/b/c", "d")
    write("loose.jpg", "notes.txt", ".hidden.png", "__MACOSX/._0.png")
    os.symlink(os.path.abspath("photos/d"), "photos/link")
    plan = planned("--task=pretrain")
    assert len(rows(plan.lists.train)) == 61 and not plan.lists.eval
    assert "1 file left out: 1 with .txt" in told(plan)


def test_pretraining_leaves_out_what_lies_in_val_and_says_so():
    many("train", "val")
    plan = planned("--task=pretrain")
    assert {name.split("/")[0] for name in rows(plan.lists.train)} == {"train"}
    assert "20 images in val/ beside train/ count as held out" in told(plan)


def test_images_beside_class_folders_are_left_out_aloud():
    many("dog", "cat")
    write("loose.jpg", "__MACOSX/._0.png")
    assert "warning: photos: 1 file left out: 1 with .jpg" in told(planned()).replace(
        os.getcwd() + "/", ""
    )


def test_a_link_that_leads_nowhere_is_a_missing_image():
    many("dog", "cat")
    os.symlink("moved/away.png", "photos/cat/lost.png")
    with pytest.raises(InputError, match=r"lost\.png: no such image"):
        planned()


def test_a_class_that_nothing_judges_is_told():
    many("train/cat", "train/dog", "train/bird", "val/cat", "val/dog")
    assert "1 class without an image in eval.csv" in told(planned())


BAD = {
    "no image": (("notes.txt",), "holds no image: 1 file in it"),
    "one class": (("cat/1.png", "cat/2.png"), "2 images in all and 1 such folder"),
    "no class": (("1.png", "2.png"), "0 such folders. Images without labels: --task=pretrain"),
    "a folder around": (("all/cat/1.png", "all/dog/1.png"), "Or do you mean '"),
    "splits without classes": (
        ("train/1.png", "val/1.png"),
        "the folders train, val, which are splits and no classes",
    ),
    "a class of val alone": (
        ("train/a/1.png", "train/b/1.png", "val/a/2.png", "val/c/1.png"),
        "has classes that the training folder has not: c",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_folder_of_which_no_list_can_be_made_is_refused(case):
    names, message = BAD[case]
    write(*names)
    with pytest.raises(InputError) as refused:
        planned()
    assert message in str(refused.value)
    assert not list(Path().glob("**/lists"))


def test_a_class_folder_without_rights_is_refused_by_its_name(without_rights, capsys):
    many("dog", "cat")
    os.chmod(_place("cat"), 0)
    with without_rights():
        assert check.main(["--images=photos"]) == 2
        with pytest.raises(InputError, match=r"photos/cat' cannot be read \(permission denied\)"):
            planned()
    assert "photos/cat' cannot be read (permission denied). Fix: " in capsys.readouterr().err


def test_a_file_and_a_folder_that_is_not_there_are_refused():
    with pytest.raises(InputError, match=r"`--images` must be a folder that is there"):
        planned()
    Path("photos").write_bytes(b"an image")
    with pytest.raises(InputError, match=r"A folder of images is wanted.*is a file"):
        planned()


@pytest.mark.parametrize(
    ("flags", "name"),
    [
        (["--images=gs://bucket/pics"], "`--images` must be a folder"),
        (["--cifar10", "--source=gs://bucket/pics"], "`--source` must be a folder or an archive"),
        (["--set", "dataset.source=gs://bucket/pics"], "`--source` must be a folder or an archive"),
    ],
)
@pytest.mark.parametrize("asked", [local_runner.main, check.main])
def test_an_address_in_place_of_a_folder_is_refused_as_it_was_written(asked, flags, name, capsys):
    assert asked(flags) == 2
    told = capsys.readouterr().err
    assert f"{name} of this machine. Received: gs://bucket/pics. Fix: " in told
    assert "--train_file_path" in told


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--train_file_path=t.csv", "leave out --train_file_path"),
        ("--source=x", "leave out --source"),
        ("--cifar10", "leave out --cifar10"),
        ("--set=lists.eval=v.csv", "leave out --set lists.eval"),
        ("--task=segmentation", "A folder tells classes alone"),
        ("--task=regression", "A folder tells classes alone"),
    ],
)
def test_what_contradicts_a_folder_is_refused(flag, message):
    many("dog", "cat")
    with pytest.raises(ValueError, match=message):
        planned(flag)


def test_check_reads_a_folder_and_leaves_nothing(image_list, capsys):
    image_list("train", 24)
    for number in range(24):
        place = _place(f"{'ab'[number % 2]}/{number}.png")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(Path(f"train/{number}.png").read_bytes())
    assert check.main(["--images=photos"]) == 0
    assert "24 images can be used; 1 warning, 1 note" in capsys.readouterr().out
    assert not os.path.exists("runs")


def test_a_run_is_made_again_from_the_file_it_leaves(tmp_path):
    many("dog", "cat")
    plan = planned()
    (tmp_path / "left.yaml").write_text(text_of(plan.choices))
    again = make_plan(choices_of(build_parser().parse_args(["--config=left.yaml"])))
    assert (again.name, again.lists) == (plan.name, plan.lists)


def test_a_list_in_a_store_names_its_pipeline_alike_from_every_folder(tmp_path, monkeypatch):
    def name():
        flags = build_parser().parse_args(["--train_file_path=s3://photos/train.csv"])
        return choices_of(flags).pipeline_name

    here = name()
    monkeypatch.chdir(tmp_path)
    assert name() == here and here.startswith("photos-")
