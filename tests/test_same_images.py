"""The same image twice, however its path is spelled: told or refused before a run begins."""

import pytest

import local_runner
from trainer_module.errors import InputError


def configure(*flags):
    return local_runner.configure(local_runner.build_parser().parse_args(flags))


@pytest.fixture
def check(tmp_path, image_list):
    """Returns a function that checks lists given as text, beside images in train/ and maps/."""
    image_list("train", 6)
    (tmp_path / "maps").mkdir()
    for name in ("0.png", "1.png"):
        (tmp_path / "maps" / name).write_bytes((tmp_path / "train" / name).read_bytes())
    (tmp_path / "link.png").symlink_to(tmp_path / "train" / "0.png")
    (tmp_path / "linked").symlink_to(tmp_path / "train")

    def run(*flags, **lists):
        for split, text in lists.items():
            (tmp_path / f"{split}.csv").write_text(text.replace("TMP", str(tmp_path)))
        paths = [f"--{split}_file_path={tmp_path / split}.csv" for split in lists]
        return local_runner.check_lists(configure(*paths, *flags))

    return run


SPELLINGS = (
    "train/0.png",
    "./train/0.png",
    "train//0.png",
    "train/../train/0.png",
    "TMP/train/0.png",
    "link.png",
    "linked/0.png",
)
OTHERS = "train/2.png,cat\ntrain/3.png,dog\n"


@pytest.mark.parametrize("spelled", SPELLINGS)
def test_an_image_of_both_lists_is_refused_with_both_rows(spelled, check):
    with pytest.raises(InputError) as refused:
        check(train=f"{OTHERS}train/0.png,cat\n", val=f"train/1.png,dog\n{spelled},cat\n")
    first, told = str(refused.value).splitlines()
    assert first == "1 bad row:"
    assert "val.csv:2: " in told and "train.csv:3" in told


def test_a_leak_ends_with_exit_code_2(check, tmp_path, monkeypatch, capsys):
    check(train=f"{OTHERS}train/0.png,cat\n", val="train/1.png,dog\n")
    (tmp_path / "val.csv").write_text("link.png,dog\n")
    monkeypatch.chdir(tmp_path)
    code = local_runner.main(["--train_file_path=train.csv", "--val_file_path=val.csv"])
    assert (code, (tmp_path / "runs").exists()) == (2, False)
    assert "stands in the training list too" in capsys.readouterr().err


def test_images_of_the_evaluation_list_that_are_pretrained_on_are_counted(check, capsys):
    val = "train/0.png,cat\ntrain/1.png,dog\n"
    check(train=OTHERS, val=val, pretrain="link.png\ntrain/4.png\n./train/1.png\n")
    assert "Note: 2 images of the evaluation list are pretrained on" in capsys.readouterr().out


def test_other_images_of_the_same_name_are_other_images(check, tmp_path, capsys):
    check(train=OTHERS + "train/0.png,cat\n", val="maps/0.png,cat\nmaps/1.png,dog\n")
    assert capsys.readouterr().out == ""


def test_a_row_twice_with_one_target_is_told(check, capsys):
    train = f"{OTHERS}train/2.png,cat\ntrain/2.png,cat\n"
    check(train=train, val="train/0.png,cat\n./train/0.png,cat\n")
    of_training, of_evaluation = capsys.readouterr().out.splitlines()
    assert of_training.startswith("Note: 2 rows of ")
    assert "train.csv:3: " in of_training and "train.csv:1: " in of_training
    assert of_evaluation.startswith("Note: 1 row of ")
    assert "val.csv:2: " in of_evaluation and "val.csv:1: " in of_evaluation


@pytest.mark.parametrize("spelled", SPELLINGS)
@pytest.mark.parametrize("split", ["train", "val"])
def test_a_row_twice_with_two_targets_is_refused_with_both_rows(split, spelled, check):
    lists = {"train": "train/4.png,cat\ntrain/5.png,dog\n", "val": OTHERS}
    lists[split] += f"train/0.png,cat\n{spelled},dog\n"
    with pytest.raises(InputError) as refused:
        check(**lists)
    first, told = str(refused.value).splitlines()
    assert first == "1 bad row:"
    assert f"{split}.csv:4: " in told and f"{split}.csv:3: " in told
    assert "'cat'" in told and "'dog'" in told


@pytest.mark.parametrize(
    ("task", "same", "different"),
    [
        ("classification", ("1", "01"), ("1", "0")),
        ("regression", ("1", "1.0"), ("1", "1.5")),
        ("segmentation", ("maps/0.png", "TMP/maps/0.png"), ("maps/0.png", "maps/1.png")),
    ],
)
def test_two_targets_are_compared_as_ingest_reads_them(task, same, different, check, capsys):
    flags, val = (f"--task={task}", "--num_classes=2"), f"train/0.png,{same[0]}\n"
    other = f"train/2.png,{different[1]}\n"
    check(*flags, train=f"train/1.png,{same[0]}\ntrain/1.png,{same[1]}\n{other}", val=val)
    assert "1 row " in capsys.readouterr().out
    with pytest.raises(InputError, match=r"1 bad row:\n.*train.csv:2: "):
        check(*flags, train=f"train/1.png,{different[0]}\ntrain/1.png,{different[1]}\n", val=val)


def test_targets_that_nobody_reads_may_differ(check, capsys):
    check("--task=pretrain", train=f"{OTHERS}train/2.png,dog\n")
    check(train=OTHERS, val="train/0.png,cat\n", pretrain="train/4.png,cat\ntrain/4.png,dog\n")
    assert [line.split()[1] for line in capsys.readouterr().out.splitlines()] == ["1", "1"]


def test_two_names_of_an_image_are_refused_where_names_say_what_is_held_out(check, capsys):
    check(train=f"{OTHERS}train/2.png,cat\n")
    assert "1 row " in capsys.readouterr().out
    with pytest.raises(InputError, match=r"1 bad row:\n.*train.csv:3: .*train.csv:1"):
        check(train=f"{OTHERS}./train/2.png,cat\n")


@pytest.mark.parametrize("same", ["train.csv", "same.csv", "folder/train.csv"])
def test_a_pretraining_list_that_is_the_training_list_is_stored_once(same, tmp_path):
    (tmp_path / "folder").symlink_to(tmp_path)
    (tmp_path / "same.csv").symlink_to(tmp_path / "train.csv")
    named = {"train": "train.csv", "val": "val.csv", "pretrain": same}
    flags = [f"--{split}_file_path={tmp_path / name}" for split, name in named.items()]
    assert list(configure(*flags).lists.given()) == ["train", "eval"]


def test_a_link_to_a_list_from_another_folder_names_other_images(tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "list.csv").symlink_to(tmp_path / "train.csv")
    named = {"train": "train.csv", "val": "val.csv", "pretrain": "other/list.csv"}
    flags = [f"--{split}_file_path={tmp_path / name}" for split, name in named.items()]
    assert list(configure(*flags).lists.given()) == ["train", "eval", "pretrain"]


def test_evaluation_and_pretraining_lists_that_are_one_are_refused(tmp_path):
    (tmp_path / "folder").symlink_to(tmp_path)
    (tmp_path / "same.csv").symlink_to(tmp_path / "val.csv")
    named = {"train": "train.csv", "val": "folder/val.csv", "pretrain": "same.csv"}
    with pytest.raises(ValueError, match="name the same list"):
        configure(*[f"--{split}_file_path={tmp_path / name}" for split, name in named.items()])
