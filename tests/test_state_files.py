"""Files that a later command reads back are on the disk whole or not at all."""

import os

import pytest

from pipeline.state_files import read_whole, write_text, write_whole


def test_a_file_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    path, held = tmp_path / "new" / "run.json", []
    monkeypatch.setattr(os, "fsync", lambda _: held.append(read_whole(path)))
    write_whole(path, {"run_id": "first"})
    write_whole(path, {"run_id": "second"})
    assert held == [{}, {"run_id": "first"}] and read_whole(path) == {"run_id": "second"}


def test_a_file_that_cannot_be_written_leaves_nothing_beside_it(tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError):
        write_text(tmp_path / "folder", "text")
    assert [*tmp_path.iterdir()] == [tmp_path / "folder"]
