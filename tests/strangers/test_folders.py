"""Folders of images as people keep them: every image becomes a row, or is told."""

import itertools
import os

import pytest
from PIL import Image

from pipeline.datasets import __main__ as command
from pipeline.datasets import files, folder, utkface
from pipeline.flags import build_parser, choices_of
from pipeline.image_files import in_folder
from pipeline.plan import make_plan
from trainer_module.errors import InputError
from trainer_module.findings import to_json
from trainer_module.settings import Target
from trainer_module.tasks.classification import Classification


@pytest.fixture
def photos(tmp_path):
    """Returns a function that writes images, each of its own grey, below photos/."""
    made = []

    def write(*names):
        for name in names:
            path = tmp_path / "photos" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", (16, 16), len(made)).save(path, format="PNG")
            made.append(path)
        return tmp_path / "photos"

    return write


def many(form, count=30):
    return [form.format(n) for n in range(count)]


def listed(tmp_path, source):
    """Returns split -> file name -> label, and findings by kind."""
    lists = folder.write(tmp_path / "lists", source)
    rows = {
        split: {path.rsplit("/", 1)[1]: label for path, label in files.read_list(file)}
        for split, file in lists.items()
    }
    found = files.findings_left(str(lists["train"]))
    return rows, {finding.kind: finding for finding in found}


def test_class_folders_that_are_links_are_followed_and_loops_are_not(tmp_path, photos):
    source = photos(*many("cats/{}.png"), *many("dogs/d{}.png"))
    (source / "dogs").rename(tmp_path / "elsewhere")
    (source / "dogs").symlink_to(tmp_path / "elsewhere")
    (source / "dogs" / "back").symlink_to(source)
    (source / "cats" / "self").symlink_to(source / "cats")
    rows, _ = listed(tmp_path, source)
    images = rows["train"] | rows["eval"]
    assert sum(label == "dogs" for label in images.values()) == 30
    assert sum(map(len, rows.values())) == 60


def test_a_link_that_points_at_itself_leads_nowhere(tmp_path, photos):
    source = photos(*many("cats/{}.png"), *many("dogs/d{}.png"))
    (source / "cats" / "loop").symlink_to("loop")
    rows, found = listed(tmp_path, source)
    assert sum(map(len, rows.values())) == 60
    assert found["files left out"].examples == ("cats/loop",)


def test_a_link_into_a_folder_without_rights_is_refused_by_its_own_name(
    tmp_path, photos, without_rights
):
    source = photos(*many("cats/{}.png"), *many("dogs/d{}.png"))
    (tmp_path / "kept" / "more").mkdir(parents=True)
    (source / "dogs" / "link").symlink_to(tmp_path / "kept" / "more")
    os.chmod(tmp_path / "kept", 0)
    refused = pytest.raises(InputError, match=r"dogs/link' cannot be read \(permission denied\)")
    with without_rights(), refused:
        listed(tmp_path, source)


SYSTEM_FILES = (  # of Synology's and QNAP's thumbnails and bins, Windows', Linux' and macOS'
    "cats/@eaDir/0.png/SYNOPHOTO_THUMB_M.jpg", "cats/.@__thumb/0.jpg", "#recycle/old.png",
    "@Recycle/old.png", "$RECYCLE.BIN/S-1-5-21/$R1.png", "System Volume Information/x.png",
    "lost+found/#12.png", "__MACOSX/cats/0.png",
)  # fmt: skip


def test_what_systems_keep_beside_images_is_passed_over(tmp_path, photos, without_rights, capsys):
    source = photos(*many("cats/{}.png"), *many("dogs/d{}.png"), *SYSTEM_FILES)
    os.chmod(source / "lost+found", 0)
    with without_rights():
        rows, found = listed(tmp_path, source)
        assert len(in_folder(str(source))) == 60
    assert sum(map(len, rows.values())) == 60
    assert set(found) == {"folders as classes"}
    assert "left out" not in capsys.readouterr().err


def test_a_pipeline_root_below_the_folder_is_passed_over(tmp_path, photos):
    of_a_run = ("runs/demo/artifacts/RunReport/report/8/classes.png", "runs/demo/artifacts/a.png")
    source = photos(*many("cats/{}.png"), *many("dogs/d{}.png"), *of_a_run)
    (source / "runs" / "demo" / "run.json").write_text("{}")
    (source / "runs" / "demo" / "summary.json").write_text("{}")
    rows, found = listed(tmp_path, source)
    assert {*rows["train"].values()} == {"cats", "dogs"} and "files left out" not in found
    assert len(files.read_list(folder.write(tmp_path, source, labelled=False)["train"])) == 60
    assert len(in_folder(str(source))) == 60


def test_a_class_folder_with_a_file_run_json_of_its_own_is_a_class(tmp_path, photos):
    source = photos(*many("cats/{}.png"), *many("dogs/d{}.png"))
    (source / "cats" / "run.json").write_text("{}")
    assert {*listed(tmp_path, source)[0]["train"].values()} == {"cats", "dogs"}


@pytest.mark.parametrize(
    ("above", "told"), [(b"caf\xe9", "is not valid UTF-8"), (b"a\nb", "has a line break")]
)
def test_a_folder_below_a_name_that_no_list_can_hold_is_refused(tmp_path, photos, above, told):
    source = photos(*many("cats/{}.png"), *many("dogs/{}.png"))
    source = source.rename(os.fsdecode(os.path.join(os.fsencode(tmp_path), above)))
    with pytest.raises(InputError, match=told):
        folder.write(tmp_path / "lists", source)
    assert not (tmp_path / "lists").exists()
    assert folder.write(source, source)  # beside them its name stands in no row


def test_the_home_folder_is_found_in_flags(tmp_path, photos, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    photos(*many("cats/{}.png"), *many("dogs/{}.png"))
    assert command.main(["folder", "--source=~/photos", "--output_dir=~/lists"]) == 0
    assert (tmp_path / "lists" / "train.csv").is_file()


@pytest.mark.parametrize("ending", ["webp", "tif", "TIFF", "JPG", "ppm", "jp2", "avif", "heic"])
def test_every_ending_of_an_image_counts(tmp_path, photos, ending):
    rows, found = listed(tmp_path, photos(*many("cats/{}.png"), *many(f"dogs/{{}}.{ending}")))
    assert sum(map(len, rows.values())) == 60
    assert set(found) == {"folders as classes"}  # a note of their order


def test_what_is_left_out_is_told_by_ending_in_every_run_on_the_lists(tmp_path, photos, capsys):
    source = photos(*many("cats/{}.png"), *many("dogs/d{}.png"), "cats/.hidden.png", "stray.png")
    (source / "cats" / "notes.txt").write_text("no image")
    (source / "dogs" / "raw.cr2").write_text("no image")
    (source / "empty").mkdir()
    (source / "empty" / "read me").write_text("no image")
    assert command.main(["folder", "--source", str(source), f"--output_dir={tmp_path}/l"]) == 0
    assert "4 files left out: 1 with .txt" in capsys.readouterr().out
    flags = [f"--train_file_path={tmp_path}/l/train.csv", f"--val_file_path={tmp_path}/l/eval.csv"]
    plan = make_plan(choices_of(build_parser().parse_args(flags)))
    found = {finding.kind: finding for finding in plan.findings}
    assert found["files left out"].count == 4 and found["files left out"].severity == "warning"
    assert found["folders without images"].examples == ("empty",)


def test_names_that_are_no_text_are_left_out_and_told_with_escapes(tmp_path, photos):
    source = photos(*many("cats/{}.png"), *many("dogs/d{}.png"))
    for name in (b"caf\xe9.txt", b"a\nb.txt"):
        (source / "cats" / os.fsdecode(name)).touch()
    (source / os.fsdecode(b"b\xe4r")).mkdir()
    _, found = listed(tmp_path, source)
    assert found["files left out"].examples == (r"cats/a\nb.txt", r"cats/caf\udce9.txt")
    assert found["folders without images"].examples == (r"b\udce4r",)
    to_json(found.values()).encode()


def test_what_was_told_of_lists_is_not_told_of_others_in_their_place(tmp_path, photos):
    source = photos(*many("cats/{}.png"), *many("dogs/d{}.png"), "stray.png")
    lists = folder.write(tmp_path / "lists", source)
    assert files.findings_left(str(lists["train"]))
    lists["train"].write_text(lists["train"].read_text() + "\n")
    assert files.findings_left(str(lists["train"])) == ()


@pytest.mark.parametrize("held_out", ["val", "valid", "test", "Validation"])
def test_folders_train_and_val_are_splits_and_no_classes(tmp_path, photos, held_out):
    source = photos(
        *many("train/cats/c{}.png", 4), *many("train/dogs/d{}.png", 4),
        *many(f"{held_out}/cats/vc{{}}.png", 2), *many(f"{held_out}/dogs/vd{{}}.png", 2),
    )  # fmt: skip
    rows, found = listed(tmp_path, source)
    assert set(rows["train"].values()) == {"cats", "dogs"}
    assert sorted(rows["eval"]) == ["vc0.png", "vc1.png", "vd0.png", "vd1.png"]
    assert "train/ becomes train.csv" in found["folders as splits"].told


def test_a_test_folder_beside_train_and_val_is_a_list_of_its_own(tmp_path, photos):
    names = [f"{split}/{label}/{split}{label}.png" for split in ("train", "val", "test")
             for label in ("cats", "dogs")]  # fmt: skip
    rows, _ = listed(tmp_path, photos(*names))
    assert {split: sorted(images) for split, images in rows.items()} == {
        "train": ["traincats.png", "traindogs.png"],
        "eval": ["valcats.png", "valdogs.png"],
        "test": ["testcats.png", "testdogs.png"],
    }


def test_folders_train_and_test_without_classes_below_are_no_classes(tmp_path, photos):
    with pytest.raises(InputError, match="which are splits and no classes"):
        listed(tmp_path, photos(*many("train/{}.png"), *many("test/t{}.png")))


def test_class_folders_1_to_12_keep_their_names(tmp_path, photos):
    names = [f"{number}/{number}_{n}.png" for number in range(1, 13) for n in range(9)]
    rows, _ = listed(tmp_path, photos(*names))
    images = rows["train"] | rows["eval"]
    assert all(label == f"class_{name.split('_')[0]}" for name, label in images.items())
    assert len(images) == 12 * 9


def test_faces_whose_name_says_nothing_are_told_in_every_run(tmp_path, photos):
    names = [f"{age}_{age % 2}_0_20170101.jpg" for age in range(1, 60)]
    source = photos(*names, "39_1_20170116.jpg", "me.webp")
    (source / "notes.txt").write_text("no image")
    lists = utkface.write(tmp_path / "lists", source, on_bad_row="skip")
    (found,) = files.findings_left(str(lists["train"]))
    assert (found.severity, found.count) == ("warning", 3)
    assert found.examples == ("39_1_20170116.jpg", "me.webp", "notes.txt")


def test_class_folders_that_differ_in_spaces_at_their_ends_are_one_class_and_told(tmp_path, photos):
    rows, found = listed(tmp_path, photos(*many("cat/{}.png"), *many("cat /s{}.png"), "dog/d.png"))
    told = found["folders as one class"]
    assert told.severity == "warning" and told.examples == ("'cat', 'cat '",)
    assert "are 2 classes, ids 0 to 1 in this order: cat, dog" in found["folders as classes"].told
    assert set((rows["train"] | rows["eval"]).values()) == {"cat", "dog"}


@pytest.mark.parametrize("empty", ["empty", "train/empty"])
def test_a_class_folder_without_any_file_is_told(tmp_path, photos, empty):
    split = empty.rpartition("/")[0] or "."
    source = photos(*many(f"{split}/cats/{{}}.png"), *many(f"{split}/dogs/d{{}}.png"))
    if split == "train":
        photos("val/cats/vc.png", "val/dogs/vd.png")
    (source / empty).mkdir()
    _, found = listed(tmp_path, source)
    assert found["folders without images"].examples == (empty,)


def held_out_name(folder):
    """A name in a folder whose hash falls into the part that is held out."""
    names = (f"{folder}/{number}.png" for number in itertools.count())
    return next(name for name in names if files.stable_fraction(name) < 0.2)


def test_a_class_whose_images_would_all_be_held_out_is_trained_on_and_told(tmp_path, photos):
    source = photos(*many("cats/c{}.png"), *many("dogs/d{}.png"), held_out_name("rare"))
    rows, found = listed(tmp_path, source)
    assert "rare" in rows["train"].values() and "rare" not in rows["eval"].values()
    told = found["classes without held out images"]
    assert (told.severity, told.examples) == ("warning", ("rare",))
    assert "nothing judges" in told.told and "more images" in told.fix


def test_classes_beside_splits_are_told_as_such_and_nothing_else(tmp_path, photos):
    names = [f"{split}/{label}/{split}{label}.png" for split in ("train", "val")
             for label in ("cats", "dogs")]  # fmt: skip
    _, found = listed(tmp_path, photos(*names, *many("bird/b{}.png", 12)))
    told = found["folders beside splits"]
    assert (told.severity, told.count) == ("warning", 12) and "12 images in bird/" in told.told
    assert not {"files left out", "folders without images"} & set(found)


def test_folders_val_and_test_alone_are_no_classes(tmp_path, photos):
    names = [f"{split}/{label}/{split}{label}.png" for split in ("val", "test")
             for label in ("cats", "dogs")]  # fmt: skip
    with pytest.raises(InputError, match=r"which are splits and no classes.*none to train on"):
        listed(tmp_path, photos(*names))


def test_a_folder_test_among_class_folders_is_a_class_with_a_warning(tmp_path, photos):
    names = [*many("cats/{}.png"), *many("dogs/d{}.png"), *many("test/t{}.png")]
    rows, found = listed(tmp_path, photos(*names))
    assert "test" in rows["train"].values()
    told = found["classes named as splits"]
    assert (told.severity, told.examples) == ("warning", ("test",))


def test_splits_within_class_folders_are_mixed_with_a_warning(tmp_path, photos):
    names = [f"{label}/{split}/{{}}{split}.png" for label in ("cats", "dogs")
             for split in ("train", "val")]  # fmt: skip
    _, found = listed(tmp_path, photos(*[name for form in names for name in many(form, 9)]))
    told = found["splits within classes"]
    assert (told.severity, told.count) == ("warning", 2)
    assert told.examples == ("cats/train, cats/val", "dogs/train, dogs/val")


def each(folders, form, count=8):
    """Returns names of images of their own in every folder."""
    places = [place.format(folder) for place in form.split() for folder in folders]
    return [f"{place}/{n}.png" for place in places for n in range(count)]


@pytest.mark.parametrize(
    ("folders", "form"),
    [
        (["images", "masks"], "{}"),
        (["img", "gt"], "{}"),
        (["JPEGImages", "SegmentationClass", "SegmentationObject"], "{}"),
        (["images", "masks"], "train/{} val/{}"),
        (["train", "train_masks", "test"], "{}"),
        (["images", "annotations"], "{}/training {}/validation"),
    ],
)
def test_pictures_and_label_maps_are_no_classes(tmp_path, photos, folders, form):
    with pytest.raises(InputError, match=r"label maps of one set.* Fix: --task=segmentation with"):
        listed(tmp_path, photos(*each(folders, form)))


@pytest.mark.parametrize(
    "folders",
    [
        ["train2017", "val2017"],
        ["training_set", "test_set"],
        ["Train-Data", "Valid Data"],
        ["training_set/training_set/cats", "test_set/test_set/cats"],
    ],
)
def test_splits_of_any_name_without_classes_are_refused(tmp_path, photos, folders):
    with pytest.raises(InputError, match="which are splits and no classes"):
        listed(tmp_path, photos(*each(folders, "{}")))


@pytest.mark.parametrize(
    ("train", "held_out"),
    [("training_set", "test_set"), ("seg_train", "seg_test"), ("train2017", "val2017")],
)
def test_splits_of_any_name_are_read_as_splits(tmp_path, photos, train, held_out):
    names = each(["cats", "dogs"], f"{train}/{{}} {held_out}/{{}}")
    lists = folder.write(tmp_path / "lists", photos(*names, "seg_pred/1.png"))
    assert all(f"/{train}/" in path for path, _ in files.read_list(lists["train"]))
    assert all(f"/{held_out}/" in path for path, _ in files.read_list(lists["eval"]))
    (found,) = [
        one for one in files.findings_left(str(lists["train"])) if one.severity == "warning"
    ]
    assert found.kind == "folders beside splits"


def test_splits_beside_a_folder_that_is_none_are_told_as_classes(tmp_path, photos):
    _, found = listed(tmp_path, photos(*each(["seg_train", "seg_test", "seg_pred"], "{}")))
    assert found["classes named as splits"].examples == ("seg_test", "seg_train")


@pytest.mark.parametrize(
    "classes",
    [
        ["mask", "no_mask"],
        ["images", "masks", "cats"],
        ["trainer", "sandal"],
        ["label", "mask"],
        ["1", "2"],
    ],
)
def test_classes_that_sound_like_parts_of_a_data_set_stay_classes(tmp_path, photos, classes):
    _, found = listed(tmp_path, photos(*each(classes, "{}", 20)))
    assert set(found) == {"folders as classes"}


@pytest.mark.parametrize("classes", [["test1", "test2", "test3"], ["train1", "train2"]])
def test_numbered_tests_are_classes_with_a_warning(tmp_path, photos, classes):
    _, found = listed(tmp_path, photos(*each(classes, "{}/a {}/b")))
    assert set(found) == {"folders as classes", "classes named as splits"}


@pytest.mark.parametrize("form", ["{}/images {}/masks", "train/{} val/{} train/{}/masks"])
def test_label_maps_within_classes_are_told(tmp_path, photos, form):
    _, found = listed(tmp_path, photos(*each(["COVID", "Normal"], form)))
    told = found["label maps as pictures"]
    assert (told.severity, told.count) == ("warning", 2) and "16 images in 2 folders" in told.told
    assert told.examples[0].endswith("COVID/masks")


@pytest.mark.parametrize(
    ("folders", "form", "count"),
    [
        (["images", "masks"], "{}", 1),
        (["images", "masks"], "train/{} val/{}", 1),
        (["COVID", "Normal"], "{}/images {}/masks", 2),
        (["mask", "no_mask"], "{}", 0),
    ],
)
def test_label_maps_that_are_pretrained_on_are_told(tmp_path, photos, folders, form, count):
    lists = folder.write(tmp_path / "lists", photos(*each(folders, form)), labelled=False)
    found = [one.count for one in files.findings_left(str(lists["train"]))
             if one.kind == "label maps as pictures"]  # fmt: skip
    assert found == [count] * (count > 0)


def test_numbers_among_class_folders_are_names(tmp_path, photos):
    digits = [str(number) for number in range(10)]
    source = photos(*each(digits, "{}", 20), *many("unknown/{}.png", 10))
    lists = folder.write(tmp_path / "lists", source)
    labels = {split: [label for _, label in files.read_list(lists[split])] for split in lists}
    task = Classification.from_targets(labels["train"], Target())
    assert task.class_names == (*(f"class_{digit}" for digit in digits), "unknown")
    assert not any(map(task.problem, labels["train"] + labels["eval"]))


def test_a_number_and_its_name_are_one_class_and_told(tmp_path, photos):
    _, found = listed(tmp_path, photos(*each(["7", "class_7", "cat"], "{}", 20)))
    assert found["folders as one class"].examples == ("'7', 'class_7'",)


def test_class_folders_of_negative_numbers_are_names(tmp_path, photos):
    rows, _ = listed(tmp_path, photos(*(f"{n}/{n}_{k}.png" for n in (-1, 1, 2) for k in range(9))))
    assert set(rows["train"].values()) == {"class_-1", "class_1", "class_2"}
