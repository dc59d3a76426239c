"""The same image twice, however its path is spelled: told or refused before a run begins."""

import pytest

import local_runner
from components.file_list_example_gen import image_index
from components.file_list_example_gen.rows import read_bytes, read_rows
from components.file_list_example_gen.same_images import copied
from pipeline.data_check import checked_rows
from pipeline.flags import build_parser, choices_of
from pipeline.plan import as_chosen
from pipeline.summary import held_out_copies
from trainer_module.errors import InputError
from trainer_module.findings import NOTE, REFUSED, WARNING
from trainer_module.tasks.classification import Classification


def choose(*flags):
    return choices_of(build_parser().parse_args(flags))


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
        choices = choose(*paths, *flags)
        return {one.kind: one for one in checked_rows(choices, choices.lists).findings}

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
    first, told, _ = str(refused.value).splitlines()
    assert first == "1 bad row:"
    assert "val.csv:2: " in told and "train.csv:3" in told


def test_a_leak_ends_with_exit_code_2(check, tmp_path, monkeypatch, capsys):
    check(train=f"{OTHERS}train/0.png,cat\n", val="train/1.png,dog\n")
    (tmp_path / "val.csv").write_text("link.png,dog\n")
    monkeypatch.chdir(tmp_path)
    code = local_runner.main(["--train_file_path=train.csv", "--val_file_path=val.csv"])
    assert (code, (tmp_path / "runs").exists()) == (2, False)
    assert "stands in the training list too" in capsys.readouterr().err


def test_images_of_the_evaluation_list_that_are_pretrained_on_are_counted(check):
    val = "train/0.png,cat\ntrain/1.png,dog\n"
    found = check(train=OTHERS, val=val, pretrain="link.png\ntrain/4.png\n./train/1.png\n")
    assert "2 images of the evaluation list are pretrained on" in found["pretrained on"].told


def test_other_images_of_the_same_name_are_other_images(check):
    found = check(train=OTHERS + "train/0.png,cat\n", val="maps/0.png,cat\nmaps/1.png,dog\n")
    assert set(found) == {"few held out images"}


@pytest.mark.parametrize("split", ["train", "val"])
def test_a_row_twice_with_one_target_is_told(split, check):
    lists = {"train": OTHERS, "val": "train/0.png,cat\ntrain/1.png,dog\n"}
    lists[split] += f"{lists[split].splitlines()[0]}\n./{lists[split].splitlines()[0]}\n"
    found = check(**lists)["repeated rows"]
    assert f"{split}.csv 2 rows repeat an image" in found.told
    assert [f"{split}.csv:{line}: " in found.examples[0] for line in (3, 1)] == [True, True]


@pytest.mark.parametrize("spelled", SPELLINGS)
@pytest.mark.parametrize("split", ["train", "val"])
def test_a_row_twice_with_two_targets_is_refused_with_both_rows(split, spelled, check):
    lists = {"train": "train/4.png,cat\ntrain/5.png,dog\n", "val": OTHERS}
    lists[split] += f"train/0.png,cat\n{spelled},dog\n"
    with pytest.raises(InputError) as refused:
        check(**lists)
    first, told, _ = str(refused.value).splitlines()
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
def test_two_targets_are_compared_as_ingest_reads_them(task, same, different, check):
    flags, val = (f"--task={task}", "--num_classes=2"), f"train/0.png,{same[0]}\n"
    other = f"train/2.png,{different[1]}\n"
    train = f"train/1.png,{same[0]}\ntrain/1.png,{same[1]}\n{other}"
    assert "1 row repeats" in check(*flags, train=train, val=val)["repeated rows"].told
    with pytest.raises(InputError, match=r"1 bad row:\n.*train.csv:2: "):
        check(*flags, train=f"train/1.png,{different[0]}\ntrain/1.png,{different[1]}\n", val=val)


def test_targets_that_nobody_reads_may_differ(check):
    pretrain = "train/4.png,cat\ntrain/4.png,dog\n"
    for found in (
        check("--task=pretrain", train=f"{OTHERS}train/2.png,dog\n"),
        check(train=OTHERS, val="train/0.png,cat\n", pretrain=pretrain),
    ):
        assert "1 row repeats an image" in found["repeated rows"].told


def test_two_names_of_an_image_are_refused_where_names_say_what_is_held_out(check):
    more = "".join(f"train/{index}.png,cat\n" for index in (0, 1, 4, 5))
    found = check(train=f"{OTHERS}{more}train/2.png,cat\n")
    assert "1 row repeats" in found["repeated rows"].told
    with pytest.raises(InputError, match=r"1 bad row:\n.*train.csv:3: .*train.csv:1"):
        check(train=f"{OTHERS}./train/2.png,cat\n")


@pytest.mark.parametrize("same", ["train.csv", "same.csv", "folder/train.csv"])
def test_a_pretraining_list_that_is_the_training_list_is_stored_once(same, tmp_path):
    (tmp_path / "folder").symlink_to(tmp_path)
    (tmp_path / "same.csv").symlink_to(tmp_path / "train.csv")
    named = {"train": "train.csv", "val": "val.csv", "pretrain": same}
    flags = [f"--{split}_file_path={tmp_path / name}" for split, name in named.items()]
    assert list(choose(*flags).lists.given()) == ["train", "eval"]


def test_a_link_to_a_list_from_another_folder_names_other_images(tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "list.csv").symlink_to(tmp_path / "train.csv")
    named = {"train": "train.csv", "val": "val.csv", "pretrain": "other/list.csv"}
    flags = [f"--{split}_file_path={tmp_path / name}" for split, name in named.items()]
    assert list(choose(*flags).lists.given()) == ["train", "eval", "pretrain"]


def test_evaluation_and_pretraining_lists_that_are_one_are_refused(tmp_path):
    (tmp_path / "folder").symlink_to(tmp_path)
    (tmp_path / "same.csv").symlink_to(tmp_path / "val.csv")
    named = {"train": "train.csv", "val": "folder/val.csv", "pretrain": "same.csv"}
    with pytest.raises(ValueError, match="name the same list"):
        choose(*[f"--{split}_file_path={tmp_path / name}" for split, name in named.items()])


@pytest.fixture
def example_gen(tmp_path, image_list):
    """Returns a function that indexes lists as ingest does and hands on ExampleGen's node."""
    image_list("train", 6)
    (tmp_path / "copy.png").write_bytes((tmp_path / "train" / "3.png").read_bytes())

    def ingested(**splits):
        for split, rows in splits.items():
            records = [image_index.record(row.image_id, read_bytes(row.path), b"") for row in rows]
            image_index.write(records, str(tmp_path), split)
        return str(tmp_path)

    return ingested


def planned(*flags):
    return as_chosen(choose(*flags), Classification(2))


def two_lists(tmp_path, train, val):
    (tmp_path / "train.csv").write_text(train)
    (tmp_path / "val.csv").write_text(val)
    paths = str(tmp_path / "train.csv"), str(tmp_path / "val.csv")
    plan = planned(f"--train_file_path={paths[0]}", f"--val_file_path={paths[1]}")
    return plan, {"train": read_rows(paths[0]), "eval": read_rows(paths[1])}


def test_a_held_out_picture_that_is_trained_on_by_another_name_is_told(tmp_path, example_gen):
    lists = two_lists(tmp_path, OTHERS, "train/0.png,cat\ncopy.png,dog\ntrain/1.png,dog\n")
    found = held_out_copies(example_gen(**lists[1]), lists[0])
    held_out, trained_on = tmp_path / "copy.png", tmp_path / "train" / "3.png"
    assert found == [
        {
            "held_out": f"{tmp_path}/val.csv:2: {held_out}",
            "trained_on": f"{tmp_path}/train.csv:2: {trained_on}",
        }
    ]


def test_a_copy_is_told_where_one_list_is_split(tmp_path, example_gen):
    (tmp_path / "list.csv").write_text(f"{OTHERS}copy.png,dog\n")
    rows = read_rows(str(tmp_path / "list.csv"))
    nodes = example_gen(train=rows[:2], eval=rows[2:])
    (copy,) = held_out_copies(nodes, planned(f"--train_file_path={tmp_path}/list.csv"))
    assert [told.rpartition(": ")[0] for told in copy.values()] == [
        f"{tmp_path}/list.csv:3",
        f"{tmp_path}/list.csv:2",
    ]


def test_a_copy_is_told_even_when_its_list_is_gone(tmp_path, example_gen):
    plan, rows = two_lists(tmp_path, OTHERS, "copy.png,dog\n")
    nodes = example_gen(**rows)
    (tmp_path / "val.csv").unlink()
    (copy,) = held_out_copies(nodes, plan)
    assert copy["held_out"] == f"image {rows['eval'][0].image_id}"


@pytest.mark.parametrize("splits", [("train", "eval"), ("train",), ()])
def test_pictures_that_differ_are_no_copies(splits, tmp_path, example_gen):
    plan, rows = two_lists(tmp_path, OTHERS, "train/0.png,cat\n")
    nodes = example_gen(**{split: rows[split] for split in splits})
    assert held_out_copies(nodes, plan) == []


def test_copies_are_a_warning_and_refused_where_no_image_is_held_out_besides(tmp_path, example_gen):
    _, rows = two_lists(tmp_path, OTHERS, "train/0.png,cat\ncopy.png,dog\n")
    lists = {"train": str(tmp_path / "train.csv"), "eval": str(tmp_path / "val.csv")}
    for held_out, severity in ((rows["eval"], WARNING), (rows["eval"][1:], REFUSED)):
        indexes = image_index.read(example_gen(train=rows["train"], eval=held_out))
        (found,) = copied(indexes, lists)
        assert (found.severity, found.count) == (severity, 1)
        assert "val.csv:2: " in found.examples[0] and "train.csv:2: " in found.examples[0]


def test_copies_in_one_list_are_told_and_those_with_two_targets_a_warning(tmp_path):
    (tmp_path / "train.csv").write_text("a.png,cat\nb.png,dog\nc.png,cat\n")
    rows = read_rows(str(tmp_path / "train.csv"))
    records = [image_index.record(row.image_id, b"same", row.target.encode()) for row in rows]
    found, copy = copied({"train": image_index.Index(b"".join(sorted(records)))},
                      {"train": str(tmp_path / "train.csv")})  # fmt: skip
    assert (found.severity, found.kind) == (WARNING, "copies with two targets")
    assert (copy.severity, copy.kind, copy.count) == (NOTE, "copies", 1)
    assert f"{tmp_path}/train.csv:1: " in copy.examples[0] and "c.png" in copy.examples[0]
