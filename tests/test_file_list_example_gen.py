import functools
import json

import numpy as np
import pytest
import tensorflow as tf
from strangers.odd_images import EXIF, exif, saved, with_segments
from tfx.types import standard_component_specs
from tfx.types.standard_artifacts import Examples
from tfx.utils import proto_utils

from components.file_list_example_gen import chunks, image_index
from components.file_list_example_gen.chunks import Account, chunks_of, read_chunk
from components.file_list_example_gen.component import FileListExampleGen, common_folder
from components.file_list_example_gen.executor import Executor
from components.file_list_example_gen.held_out import is_held_out
from components.file_list_example_gen.reading import read_row
from components.file_list_example_gen.rows import Row
from trainer_module.errors import InputError
from trainer_module.preprocessing import decode_images
from trainer_module.segmentation.label_map import encode_label_map
from trainer_module.tasks.classification import Classification
from trainer_module.tasks.registry import task_to_json
from trainer_module.tasks.segmentation import Segmentation

pytestmark = pytest.mark.tfx
NAMED = Classification(2, ("cat", "dog"))


def exec_properties(lists, task=NAMED, **options):
    node = FileListExampleGen(
        lists={split: str(path) for split, path in lists.items()},
        task=task_to_json(task),
        fingerprint="x",
        **options,
    )
    properties = dict(node.exec_properties)
    for key in ("input_config", "output_config", "custom_config"):
        if not isinstance(properties[key], str):
            properties[key] = proto_utils.proto_to_json(properties[key])
    return properties


def ingest(tmp_path, lists, **options):
    examples = Examples()
    examples.uri = str(tmp_path / "examples")
    (tmp_path / "examples").mkdir(exist_ok=True)
    executor = Executor(
        Executor.Context(
            beam_pipeline_args=["--runner=FnApiRunner", "--sdk_container_image=unused"],
            tmp_dir=str(tmp_path),
        )
    )
    executor.Do({}, {"examples": [examples]}, exec_properties(lists, **options))
    return tmp_path / "examples"


def read(folder):
    files = [str(file) for file in folder.glob("*.gz")]
    return [
        tf.train.Example.FromString(record.numpy())
        for record in tf.data.TFRecordDataset(files, "GZIP")
    ]


def test_each_row_becomes_one_example_with_the_bytes_of_its_file(tmp_path, image_list):
    path = image_list("train", 6)
    wanted = sorted((tmp_path / "train" / f"{index}.png").read_bytes() for index in range(6))
    folder = ingest(tmp_path, {"train": path, "eval": image_list("eval", 2)})
    found = read(folder / "Split-train")
    assert sorted(one.features.feature["image"].bytes_list.value[0] for one in found) == wanted


def test_chunks_mix_a_list_and_each_row_is_in_one_of_them(image_list, monkeypatch):
    monkeypatch.setattr(chunks, "ROWS", 8)
    path = str(image_list("train", 40, labels=("cat",)))
    found = list(chunks_of(path, ["train", "eval"]))
    assert [len(chunk.rows) for chunk in found if chunk.number < chunk.of - 1] == [8] * 4
    assert sorted(row.line for chunk in found for row in chunk.rows) == list(range(1, 41))
    assert {is_held_out(row.image_id) for chunk in found for row in chunk.rows
            if chunk.split == "train"} == {False}  # fmt: skip
    lines = [row.line for row in found[0].rows]
    assert lines != sorted(lines) and list(chunks_of(path, ["train", "eval"])) == found


def test_what_chunks_tell_is_what_one_whole_tells(tmp_path, image_list, monkeypatch):
    path = image_list("train", 40)
    (tmp_path / "train" / "2.png").write_bytes(b"no image")
    path.write_text(path.read_text() + "train/4.png,cat,black\n")
    told = []
    for rows in (7, 1000):
        monkeypatch.setattr(chunks, "ROWS", rows)
        parts = [read_chunk(one, NAMED, True, str(tmp_path / f"of {rows}"))
                 for one in chunks_of(str(path), ["train"])]  # fmt: skip
        account = functools.reduce(Account.merge, parts)
        by_line = sorted(account.problems, key=lambda problem: problem.line)
        told.append((account.tally, by_line, b"".join(account.records["train"])))
        assert len(read(tmp_path / f"of {rows}" / "Split-train")) == 39
    assert told[0] == told[1] and len(told[0][1]) == 2


def test_an_attempt_that_died_leaves_nothing_that_counts(tmp_path, image_list):
    (tmp_path / "examples" / "Split-train").mkdir(parents=True)
    (tmp_path / "examples" / "Split-train" / "data_tfrecord-00007-of-00009.gz").write_bytes(b"half")
    (tmp_path / "examples" / "unfinished").mkdir()
    folder = ingest(tmp_path, {"train": image_list("train", 4), "eval": image_list("eval", 2)})
    assert len(read(folder / "Split-train")) == 4
    assert not (folder / "unfinished").exists()


def test_bare_pixels_are_compressed_and_compressed_ones_are_not():
    noise = np.random.default_rng(0).bytes(5000)
    assert [chunks.compression_level(one) for one in (bytes(5000), noise, b"")] == [1, 0, 0]


def test_labels_and_sizes_travel_with_the_image_and_ordinary_lists_have_no_findings(
    tmp_path, image_list, capsys
):
    folder = ingest(tmp_path, {"train": image_list("train", 4), "eval": image_list("eval", 2)})
    feature = read(folder / "Split-train")[0].features.feature
    assert sorted(feature) == ["height", "image", "image_id", "label", "width"]
    assert (feature["height"].int64_list.value[0], feature["width"].int64_list.value[0]) == (16, 16)
    assert feature["label"].bytes_list.value[0] in (b"cat", b"dog")
    assert findings(folder) == []
    assert capsys.readouterr().out == ""


def test_a_pretraining_split_needs_no_labels_and_has_the_same_features(tmp_path, image_list):
    lists = {
        "train": image_list("train", 4),
        "eval": image_list("eval", 2),
        "pretrain": image_list("pretrain", 3, labels=()),
    }
    folder = ingest(tmp_path, lists)
    features = [sorted(read(folder / f"Split-{split}")[0].features.feature) for split in lists]
    assert features[0] == features[1] == features[2]


def test_a_single_list_is_split_the_same_way_every_time_and_indexed_beside_the_examples(
    tmp_path, image_list
):
    path = image_list("train", 40)
    parts = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        folder = ingest(tmp_path / name, {"train": path})
        parts.append(
            {
                split: {_id(example) for example in read(folder / f"Split-{split}")}
                for split in ("train", "eval")
            }
        )
    assert parts[0] == parts[1]
    assert len(parts[0]["train"]) + len(parts[0]["eval"]) == 40
    assert 2 <= len(parts[0]["eval"]) <= 16
    index = image_index.read(str(folder))
    for split, ids in parts[1].items():
        assert {int.from_bytes(number, "big") for number in index[split].by_id()} == ids
    name = "train/3.png"
    split = next(
        split for split in index if index[split].digests(Row(str(path), 1, name, "").image_id)
    )
    copies = index[split].copies_of(image_index.content_digest((tmp_path / name).read_bytes()))
    assert copies == [Row(str(path), 1, name, "").image_id]


def _id(example):
    return example.features.feature["image_id"].int64_list.value[0]


def test_undecodable_images_of_all_lists_are_told_together(tmp_path, image_list):
    lists = {"train": image_list("train", 4), "eval": image_list("eval", 2)}
    (tmp_path / "train" / "2.png").write_bytes(b"no image")
    (tmp_path / "eval" / "1.png").write_bytes((tmp_path / "eval" / "1.png").read_bytes()[:60])
    with pytest.raises(InputError, match="2 bad rows") as error:
        ingest(tmp_path, lists)
    assert f"train.csv:3: {tmp_path}/train/2.png: cannot be decoded as an image" in str(error.value)
    assert "eval.csv:2" in str(error.value)
    assert str(error.value).endswith("Fix: mend or remove them, or --on_bad_row=skip")


def test_where_nothing_is_left_without_undecodable_images_they_are_to_be_mended(
    tmp_path, image_list
):
    lists = {"train": image_list("train", 4), "eval": image_list("eval", 1)}
    (tmp_path / "eval" / "0.png").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"1 bad row:\n.*\nFix: mend them$"):
        ingest(tmp_path, lists)


def test_a_label_map_is_read_and_checked_beside_its_image(tmp_path, image_list):
    image_list("train", 4)
    maps = {
        "good": np.ones((16, 16), np.uint8),
        "large": np.ones((17, 16), np.uint8),
        "beyond": np.full((16, 16), 3, np.uint8),
    }
    for name, label_map in maps.items():
        (tmp_path / f"{name}.png").write_bytes(encode_label_map(label_map))
    path = tmp_path / "list.csv"
    path.write_text(
        "train/0.png,good.png\ntrain/1.png,large.png\n"
        "train/2.png,beyond.png\ntrain/3.png,train/0.png\n"
    )
    with pytest.raises(InputError, match="3 bad rows") as error:
        ingest(tmp_path, {"train": path}, task=Segmentation(3))
    for line, reason in (
        (2, "has 17 x 16 pixels (height x width), its image 16 x 16"),
        (3, "holds class id 3, outside [0, 3)"),
        (4, "PNG of mode RGB"),
    ):
        told = next(text for text in str(error.value).splitlines() if f"list.csv:{line}: " in text)
        assert f"train/{line - 1}.png: the label map" in told
        assert reason in told


def test_a_label_map_drawn_upright_lies_on_its_turned_image(tmp_path):
    label_map = np.zeros((40, 24), np.uint8)
    label_map[4:20, 2:12] = 1
    upright = np.where(label_map[..., None] == 1, [250, 20, 20], [20, 20, 250]).astype(np.uint8)
    stored = saved(np.rot90(upright), "JPEG", quality=95)  # as the sensor lay
    stored = with_segments(stored, (0xE1, EXIF + exif(6)))
    files = {"photo.jpg": stored, "map.png": encode_label_map(label_map)}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    row = Row(str(tmp_path / "list.csv"), 1, "photo.jpg", "map.png")
    fields = read_row(row, Segmentation(2), labelled=True).fields
    image = decode_images(tf.constant([fields["image"]]), 40, 24)[0].numpy()
    object_seen = image[..., 0] > 128
    np.testing.assert_array_equal(object_seen, label_map == 1)


def test_images_without_label_maps_have_the_same_features_in_their_split(tmp_path, image_list):
    labelled = image_list("train", 2)
    (tmp_path / "map.png").write_bytes(encode_label_map(np.eye(16, dtype=np.uint8)))
    labelled.write_text("train/0.png,map.png\ntrain/1.png,map.png\n")
    folder = ingest(
        tmp_path,
        {"train": labelled, "pretrain": image_list("pretrain", 2, labels=())},
        task=Segmentation(3),
    )
    features = [
        sorted(read(folder / f"Split-{split}")[0].features.feature)
        for split in ("train", "pretrain")
    ]
    assert features == [["height", "image", "image_id", "label_map", "width"]] * 2


def test_bad_rows_can_be_skipped_and_are_told_with_a_file_of_all_of_them(
    tmp_path, image_list, capsys
):
    path = image_list("train", 30)
    (tmp_path / "train" / "2.png").write_bytes(b"no image")
    (tmp_path / "train" / "3.png").unlink()
    path.write_text(path.read_text() + "train/4.png,cat,black\n")
    folder = ingest(tmp_path, {"train": path, "eval": image_list("eval", 2)}, on_bad_row="skip")
    (told,) = [one for one in findings(folder) if one["kind"] == "skipped rows"]
    assert (told["severity"], told["count"]) == ("warning", 3)
    assert "3 of 33 rows were skipped (9.1 %)" in told["told"]
    assert [example.split(": ")[0] for example in told["examples"]] == [
        f"{path}:{line}" for line in (3, 4, 31)
    ]
    report = folder / "ingest_report.train.json"
    assert str(report) in told["fix"]
    assert [row["line"] for row in json.loads(report.read_text())] == [3, 4, 31]
    assert len(read(folder / "Split-train")) == 28
    assert "3 of 33 rows were skipped" in capsys.readouterr().out


def test_bad_rows_of_lists_whose_paths_differ_in_a_slash_alone_are_told_of_both(
    tmp_path, image_list
):
    images = image_list("train", 2).parent
    within, beside = images / "train" / "list.csv", images / "train_list.csv"
    within.write_text("0.png,cat\nabsent.png,dog\n1.png,dog\n")
    beside.write_text("train/0.png,cat\nnone.png,dog\ntrain/1.png,dog\n")
    with pytest.raises(InputError, match=r"(?s)absent\.png.*none\.png"):
        ingest(tmp_path, {"train": within, "eval": beside})


def findings(folder):
    return json.loads((folder / "findings.json").read_text())["findings"]


def test_a_class_whose_images_all_fell_away_is_refused_by_name(tmp_path, image_list):
    path = image_list("train", 4)
    for index in (1, 3):
        (tmp_path / "train" / f"{index}.png").write_bytes(b"no image")
    with pytest.raises(InputError, match="'dog': 2 rows"):
        ingest(tmp_path, {"train": path, "eval": image_list("eval", 2)}, on_bad_row="skip")


def test_a_class_that_is_no_output_may_fall_away(tmp_path, image_list):
    path = image_list("train", 4)
    path.write_text(path.read_text() + "absent.png,emu\n")
    folder = ingest(tmp_path, {"train": path, "eval": image_list("eval", 2)}, on_bad_row="skip")
    assert [one["kind"] for one in findings(folder)] == ["skipped rows"]


def test_a_list_of_bad_rows_alone_is_refused_by_its_name(tmp_path, image_list):
    path = image_list("train", 2)
    for index in range(2):
        (tmp_path / "train" / f"{index}.png").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"train\.csv: no row of this list can be used"):
        ingest(tmp_path, {"train": path, "eval": image_list("eval", 2)}, on_bad_row="skip")


def test_a_single_list_of_too_few_images_for_two_parts_is_refused(tmp_path, image_list):
    with pytest.raises(InputError, match="No image is "):
        ingest(tmp_path, {"train": image_list("train", 2)})


def test_copies_of_held_out_images_are_told_at_ingest(tmp_path, image_list):
    lists = {"train": image_list("train", 4), "eval": image_list("eval", 3)}
    (tmp_path / "eval" / "1.png").write_bytes((tmp_path / "train" / "0.png").read_bytes())
    (told,) = findings(ingest(tmp_path, lists))
    assert told["severity"] == "warning" and "1 of 3 held out images is trained on" in told["told"]


def test_black_and_white_label_maps_stop_ingest(tmp_path, image_list):
    lists = {"train": image_list("train", 2), "eval": image_list("eval", 2)}
    white = np.eye(16, dtype=np.uint8) * 255
    (tmp_path / "map.png").write_bytes(encode_label_map(white))
    for split, path in lists.items():
        path.write_text(f"{split}/0.png,map.png\n{split}/1.png,map.png\n")
    with pytest.raises(InputError, match=r"--set target\.values=0,255"):
        ingest(tmp_path, lists, task=Segmentation(2))
    (tmp_path / "again").mkdir()
    folder = ingest(tmp_path / "again", lists, task=Segmentation(2, values=(0, 255)))
    assert findings(folder) == []


def test_the_common_folder_is_the_deepest_one_that_holds_all_lists():
    assert common_folder(["/a/b/c.csv", "/a/b/d/e.csv"]) == "/a/b"
    assert common_folder(["gs://bucket/x/c.csv", "gs://bucket/y.csv"]) == "gs://bucket"
    assert common_folder(["/data/c.csv", "/home/me/d.csv"]) == ""


def test_lists_on_two_file_systems_are_refused():
    for paths in (["gs://one/c.csv", "gs://two/d.csv"], ["/a/c.csv", "gs://two/d.csv"]):
        with pytest.raises(InputError, match="one file system"):
            common_folder(paths)


def test_an_unknown_policy_for_bad_rows_is_refused():
    with pytest.raises(InputError, match="on_bad_row"):
        FileListExampleGen({"train": "/a.csv"}, task_to_json(NAMED), "x", on_bad_row="ignore")


def test_the_component_hands_its_output_on_as_examples(image_list):
    node = FileListExampleGen({"train": str(image_list("train", 2))}, task_to_json(NAMED), "x")
    assert node.outputs[standard_component_specs.EXAMPLES_KEY].type is Examples
