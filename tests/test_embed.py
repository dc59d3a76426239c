"""Features of images by the command line; the model itself is asked in test_end_to_end.py."""

import dataclasses

import numpy as np
import pytest
from pyarrow import parquet

from components.file_list_example_gen.rows import read_list
from pipeline import embed
from pipeline.data_check import layout_findings
from trainer_module.errors import InputError
from trainer_module.findings import table


@pytest.fixture
def embedding():
    features = np.array([[1, 0], [0, 1], [1, 0.1]], np.float32)
    return embed.Embedding(features, ["a.png", "b.png", "c.png"], ["cat", "dog", "cat"])


def test_lists_folders_and_files_become_one_row_of_images(tmp_path, image_list):
    listed = image_list("train", 2)
    image_list("folder", 3, labels=())
    (tmp_path / "folder" / "notes.txt").write_text("no image")
    rows = embed.find_images(
        [str(listed), str(tmp_path / "folder"), str(tmp_path / "train" / "0.png")]
    )
    assert [row.path.removeprefix(str(tmp_path)) for row in rows] == [
        *("/train/0.png", "/train/1.png"),
        *("/folder/0.png", "/folder/1.png", "/folder/2.png", "/train/0.png"),
    ]
    assert [row.target for row in rows] == ["cat", "dog", "", "", "", ""]


def test_it_says_how_a_list_was_understood_in_the_words_of_a_run(tmp_path, image_list, capsys):
    path = image_list("train", 2)
    path.write_text("file;kind\n" + path.read_text().replace(",", ";"))
    assert len(embed.find_images([str(path)])) == 2
    assert capsys.readouterr().err == f"{table(layout_findings(str(path), read_list(str(path))))}\n"


def test_a_folder_without_images_is_named(tmp_path):
    with pytest.raises(InputError, match="no image in this folder"):
        embed.find_images([str(tmp_path)])


def test_npz_and_parquet_hold_the_same(tmp_path, embedding):
    found = np.array([[2], [0], [0]]), np.array([[0.9], [0.0], [0.9]], np.float32)
    for name in ("features.npz", "features.parquet"):
        embed.write(tmp_path / name, embedding, *found)
    arrays = np.load(tmp_path / "features.npz")
    table = parquet.read_table(tmp_path / "features.parquet").to_pydict()
    assert list(arrays["paths"]) == table["path"] == embedding.paths
    assert list(arrays["targets"]) == table["target"] == embedding.targets
    np.testing.assert_array_equal(arrays["features"], np.array(table["features"], np.float32))
    np.testing.assert_array_equal(arrays["neighbours"], table["neighbours"])
    np.testing.assert_array_equal(
        arrays["similarities"], np.array(table["similarities"], np.float32)
    )


def test_neighbours_are_told_with_targets_and_how_often_those_agree(embedding):
    lines = embed.neighbour_lines(
        embedding, np.array([[2], [2], [0]]), np.array([[0.995], [0.1], [0.995]])
    )
    assert lines[:2] == ["a.png  cat", "    0.995  c.png  cat"]
    assert lines[-1] == "The nearest image has the same target 66.7 % of the time"


def test_label_maps_are_no_targets_that_could_agree(embedding):
    maps = dataclasses.replace(embedding, targets=["a_map.png", "b_map.png", "c_map.png"])
    lines = embed.neighbour_lines(maps, np.array([[2], [2], [0]]), np.array([[0.9], [0.1], [0.9]]))
    assert lines[-1] == "    0.900  a.png  a_map.png"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "nothing asked for"),
        (["--output", "features.csv"], "`--output` must end in one of .npz, .parquet"),
        (["--output", "absent/features.npz"], "must lie in a folder that exists"),
        (
            ["--neighbours", "2"],
            "`--neighbours` must be from 1 to the number of images minus 1. Received: 2, 2 images",
        ),
        (["--neighbours", "-1"], "`--neighbours` must be at least 1, or 0 for none"),
    ],
)
def test_a_bad_request_ends_with_exit_code_2_and_the_rule(
    arguments, message, tmp_path, image_list, capsys
):
    path = image_list("train", 2)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "saved_model.pb").touch()
    assert embed.main([str(tmp_path / "model"), str(path), *arguments]) == 2
    assert message in capsys.readouterr().err
