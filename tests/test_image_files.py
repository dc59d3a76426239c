"""Image files as people name them to predict and embed: any ending, folders with what macOS leaves
in them, and bad ones among good ones.
"""

import io
import json
import os
import socket
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from strangers.odd_images import READ, UNREAD, phone

from pipeline import embed, predict
from pipeline.arguments import BAD_INPUT, DONE, IN_PART
from pipeline.image_files import in_folder, is_image
from trainer_module.decoding import upright_rgb
from trainer_module.decoding_graph import decode_upright
from trainer_module.tasks.registry import task_to_json
from trainer_module.tasks.segmentation import Segmentation


class Corner(tf.Module):
    """A model that answers the colour of the upper left pixel."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
    def corner(self, image_bytes):
        return {
            "features": tf.map_fn(
                lambda content: tf.cast(decode_upright(content)[0, 0], tf.float32),
                image_bytes,
                fn_output_signature=tf.TensorSpec([3], tf.float32),
            )
        }


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    module = Corner()
    tf.saved_model.save(
        module, str(folder), {"from_images": module.corner, "features": module.corner}
    )
    return str(folder)


@pytest.fixture
def folder(tmp_path):
    """Returns a folder of four images, beside a hidden file, a hidden folder and a text."""
    files = {
        "UPPER.JPG": phone(6),
        "deep/photo.webp": READ["photo.webp"],
        "photo.tif": READ["photo.tif"],
        "plain.png": READ["plain.png"],
        "._plain.png": UNREAD["._cat.jpg"][0],
        ".DS_Store": b"\0\0\0\1Bud1",
        ".hidden/x.png": READ["plain.png"],
        "notes.txt": b"none",
    }
    for name, content in files.items():
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return tmp_path / "images"


SEEN = ["UPPER.JPG", "deep/photo.webp", "photo.tif", "plain.png"]


def corners(folder, names):
    return np.stack([upright_rgb((folder / name).read_bytes())[0, 0] for name in names])


def embedded(model, *places):
    """Returns the exit code, and the features and paths that were stored."""
    output = f"{model}.npz"
    Path(output).unlink(missing_ok=True)
    code = embed.main([model, *map(str, places), "--output", output])
    with np.load(output) as stored:
        return code, stored["features"], list(stored["paths"])


def test_embed_takes_images_of_every_ending_and_no_hidden_file(model, folder, capsys):
    code, features, paths = embedded(model, folder)
    assert (code, paths) == (DONE, [str(folder / name) for name in SEEN])
    np.testing.assert_array_equal(features, corners(folder, SEEN))
    assert "left out, as no image's name ends so: .txt (1)" in capsys.readouterr().err


def test_a_link_to_a_folder_beside_counts_whichever_is_listed_first_and_one_that_leads_back_not(
    tmp_path,
):
    for names in (("a", "b"), ("b", "a")):
        root, (first, second) = tmp_path / "".join(names), names
        for name in names:
            (root / name).mkdir(parents=True)
        (root / first / "0.png").touch()
        (root / second / "link").symlink_to(root / first)
        (root / second / "back").symlink_to(root)
        found = [os.path.relpath(path, root) for path in in_folder(str(root))]
        assert found == sorted([f"{first}/0.png", f"{second}/link/0.png"])


def test_embed_follows_a_link_to_a_folder(model, folder, tmp_path):
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "class").symlink_to(folder)
    assert len(embedded(model, tmp_path / "links")[2]) == len(SEEN)


@pytest.mark.parametrize("name", ["deep/photo.webp", "photo.tif", "no_ending"])
def test_an_image_of_any_ending_is_no_list(model, folder, name):
    (folder / "no_ending").write_bytes(READ["no_ending"])
    assert embedded(model, folder / name)[2] == [str(folder / name)]


def test_embed_names_a_bad_image_and_stores_the_others(model, folder, capsys):
    (folder / "page.jpg").write_bytes(UNREAD["page.jpg"][0])
    lines = [*SEEN, "page.jpg", "gone.jpg"]
    (folder / "list.csv").write_text("\n".join(lines))
    code, features, paths = embedded(model, folder / "list.csv")
    assert code == IN_PART
    assert [path.removeprefix(f"{folder}/") for path in paths] == SEEN
    np.testing.assert_array_equal(features, corners(folder, SEEN))
    told = capsys.readouterr().err
    assert f"list.csv:5: {folder}/page.jpg: cannot be decoded as an image: it is a web page" in told
    assert f"list.csv:6: {folder}/gone.jpg: no such file or directory" in told


def test_embed_of_bad_images_alone_is_bad_input(model, folder, capsys):
    (folder / "page.jpg").write_bytes(UNREAD["page.jpg"][0])
    assert embed.main([model, str(folder / "page.jpg"), "--output", "x.npz"]) == BAD_INPUT
    assert "it is a web page" in capsys.readouterr().err


def test_predict_names_a_bad_image_and_answers_the_others(model, folder, capsys):
    (folder / "empty.jpg").write_bytes(b"")
    files = [str(folder / name) for name in ("plain.png", "empty.jpg", "gone.png", "UPPER.JPG")]
    assert predict.main([model, *files, "--json"]) == IN_PART
    told = capsys.readouterr()
    assert [line.split('"')[3] for line in told.out.splitlines()] == [files[0], files[3]]
    assert f"{files[1]}: cannot be decoded as an image: the file is empty" in told.err
    assert f"{files[2]}: no such file or directory" in told.err


def test_predict_takes_a_folder(model, folder, capsys):
    assert predict.main([model, str(folder), "--json"]) == DONE
    assert len(capsys.readouterr().out.splitlines()) == len(SEEN)


def test_predict_of_bad_images_alone_is_bad_input(model, folder):
    (folder / "empty.jpg").write_bytes(b"")
    assert predict.main([model, str(folder / "empty.jpg")]) == BAD_INPUT


def test_a_pipe_a_socket_and_a_folder_without_rights_are_named_and_the_others_answered(
    model, folder, capsys, without_rights
):
    os.mkfifo(folder / "pipe.png")
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(folder / "socket.png"))
    (folder / "device.png").symlink_to("/dev/zero")
    os.chmod(folder / "deep", 0)
    with without_rights():
        ends = [predict.main([model, str(folder)]), embedded(model, folder)[0]]
    os.chmod(folder / "deep", 0o755)
    told = capsys.readouterr().err
    assert ends == [IN_PART, IN_PART]
    for tool in ("predict", "embed"):
        for name, why in {
            "deep": "the folder and the images in it cannot be read (permission denied)",
            "pipe.png": "is a named pipe, not a file",
            "socket.png": "is a socket, not a file",
            "device.png": "is a device, not a file",
        }.items():
            assert any(
                line.startswith(f"pipeline.{tool}: ") and line.endswith(f"{folder}/{name}: {why}")
                for line in told.splitlines()
            )


def test_a_line_break_in_a_name_stays_in_its_line(model, folder, capsys):
    plain = folder / "a\nb.png"
    plain.write_bytes(READ["plain.png"])
    (folder / "c\nd.png").write_bytes(b"")
    places = [str(plain), str(folder / "c\nd.png")]
    assert [predict.main([model, *places]), embedded(model, *places)[0]] == [IN_PART, IN_PART]
    told = capsys.readouterr()
    assert told.out.startswith(f"{folder}/a\\nb.png  ")
    assert told.err.count(f"{folder}/c\\nd.png: cannot be decoded") == 2


def test_embed_overwrites_no_file(model, folder, tmp_path, capsys):
    (tmp_path / "f.npz").write_bytes(b"of a person")
    assert embed.main([model, str(folder), f"--output={tmp_path}/f.npz"]) == BAD_INPUT
    assert "f.npz, which is there. Fix: another --output" in capsys.readouterr().err
    assert (tmp_path / "f.npz").read_bytes() == b"of a person"


def test_embed_writes_nothing_into_the_folder_of_the_model(model, folder, capsys):
    assert embed.main([model, str(folder), f"--output={model}/f.npz"]) == BAD_INPUT
    assert "must lie outside the folder of the model" in capsys.readouterr().err
    assert not Path(model, "f.npz").exists()


class Removing(io.StringIO):
    """A terminal that removes a file as soon as anything is told."""

    def __init__(self, path):
        super().__init__()
        self.path = path

    def write(self, text):
        self.path.unlink(missing_ok=True)
        return super().write(text)


def test_predict_tells_each_answer_before_the_next_images_are_read(
    model, folder, capsys, monkeypatch
):
    last = folder / "deep" / "photo.webp"
    terminal = Removing(last)
    monkeypatch.setattr(sys, "stdout", terminal)
    images = [str(folder / "plain.png")] * predict.BATCH
    assert predict.main([model, *images, str(last)]) == IN_PART
    assert len(terminal.getvalue().splitlines()) == predict.BATCH
    assert f"{last}: no such file or directory" in capsys.readouterr().err


class Halves(tf.Module):
    """A model that answers class 0 above and class 1 below."""

    task = Segmentation(2)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
    def halves(self, image_bytes):
        logits = tf.constant([[[[1.0, 0.0]]], [[[0.0, 1.0]]]])  # [2, 1, 1, 2]
        logits = tf.transpose(logits, [1, 0, 2, 3])  # [1, 2, 1, 2]
        return self.task.served(tf.repeat(logits, tf.size(image_bytes), 0), image_bytes, {})


@pytest.fixture(scope="module")
def halves(tmp_path_factory):
    folder, module = tmp_path_factory.mktemp("halves"), Halves()
    tf.saved_model.save(module, str(folder), {"from_images": module.halves})
    (folder / "assets.extra").mkdir()
    (folder / "assets.extra" / "task.json").write_text(task_to_json(module.task))
    return str(folder)


def test_label_maps_of_an_image_are_the_same_alone_and_beside_a_larger_one(
    halves, tmp_path, capsys
):
    small, large = str(tmp_path / "small.png"), str(tmp_path / "large.png")
    Image.new("RGB", (6, 4)).save(small)
    Image.new("RGB", (9, 20)).save(large)
    assert predict.main([halves, small, "--json"]) == DONE
    alone = capsys.readouterr().out
    assert predict.main([halves, large, small, "--json"]) == DONE
    assert capsys.readouterr().out.splitlines()[1] == alone.rstrip("\n")
    assert json.loads(alone)["class_ids"] == [[0] * 6] * 2 + [[1] * 6] * 2


@pytest.mark.parametrize("letter", ["a", "ä"])
def test_pictures_of_an_image_with_the_longest_of_names_have_names_that_fit(
    letter, halves, tmp_path
):
    stem = letter * ((predict.LONGEST_NAME - len(".png")) // len(letter.encode()))
    images = [tmp_path / name for name in (f"{stem}.png", f"{stem[:-1]}b.png", "short.png")]
    for path in images:
        Image.new("RGB", (6, 4)).save(path)
    output = tmp_path / "drawn"
    assert predict.main([halves, *map(str, images), f"--output_dir={output}"]) == DONE
    names = {path.name for path in output.iterdir()}
    assert len(names) == 6 and {"short_labelmap.png", "short_overlay.png"} < names
    assert all(name.startswith(letter) for name in names if not name.startswith("short"))


class Other(tf.Module):
    """A model of another program."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32)])
    def same(self, values):
        return {"values": values}


@pytest.mark.parametrize("kind", ["another program", "damaged"])
def test_a_model_that_cannot_answer_is_named_with_what_to_do(kind, folder, tmp_path, capsys):
    model = tmp_path / "other"
    if kind == "damaged":
        model.mkdir()
        (model / "saved_model.pb").write_bytes(b"garbage" * 10)
    else:
        module = Other()
        tf.saved_model.save(module, str(model), {"serving_default": module.same})
    told = {"another program": "the model serves no `{}`", "damaged": "cannot be loaded: "}[kind]
    assert predict.main([str(model), str(folder)]) == BAD_INPUT
    assert f"pipeline.predict: {model}: " in (error := capsys.readouterr().err)
    assert told.format("from_images") in error
    assert embed.main([str(model), str(folder), f"--output={tmp_path}/f.npz"]) == BAD_INPUT
    assert f"pipeline.embed: {model}: " in (error := capsys.readouterr().err)
    assert told.format("features") in error


def test_a_list_whose_first_image_begins_as_a_bitmap_does_is_a_list(tmp_path):
    (tmp_path / "list.csv").write_text("BMW_1.jpg,bmw\nBMW_2.jpg,bmw\n")
    (tmp_path / "short.csv").write_text("BM.jpg\n")
    (tmp_path / "picture").write_bytes(READ["os2.bmp"])
    found = [is_image(str(tmp_path / name)) for name in ("list.csv", "short.csv", "picture")]
    assert found == [False, False, True]


def test_a_list_without_rights_is_bad_input(model, folder, tmp_path, capsys, without_rights):
    path = tmp_path / "list.csv"
    path.write_text(f"{folder}/plain.png\n")
    path.chmod(0)
    with without_rights():
        assert embed.main([model, str(path), f"--output={tmp_path}/f.npz"]) == BAD_INPUT
    assert f"{path}: cannot be read: " in capsys.readouterr().err


def test_a_name_that_no_parquet_file_holds_is_told_before_the_work(tmp_path, folder, capsys):
    name = os.path.join(os.fsencode(folder), b"caf\xe9.png")
    os.rename(folder / "plain.png", name)
    (tmp_path / "17").mkdir()
    (tmp_path / "17" / "saved_model.pb").touch()  # which is not loaded
    line = [str(tmp_path), os.fsdecode(name), f"--output={tmp_path}/f.parquet"]
    assert embed.main(line) == BAD_INPUT
    told = capsys.readouterr().err
    assert "An image in a .parquet file must have a path in UTF-8" in told and "udce9.png" in told
