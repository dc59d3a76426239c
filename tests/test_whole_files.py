"""Files that a later command reads back are on the disk whole or not at all."""

import os

import pytest

from trainer_module.cluster import Beat, Watch
from trainer_module.whole_files import read_json, write_json, write_text


def test_a_file_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    path, held = tmp_path / "new" / "run.json", []
    monkeypatch.setattr(os, "fsync", lambda _: held.append(read_json(path)))
    write_json(path, {"run_id": "first"})
    write_json(path, {"run_id": "second"})
    assert held == [{}, {"run_id": "first"}] and read_json(path) == {"run_id": "second"}


def test_a_file_that_is_written_anew_every_second_waits_for_no_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda _: pytest.fail("waited"))
    with Beat(tmp_path / "beat.json", state="comes"):
        assert Watch(tmp_path / "beat.json").look()["state"] == "comes"


def test_a_damaged_file_is_told_where_a_person_may_do_something(tmp_path, capsys):
    (tmp_path / "run.json").write_text("[1]")
    assert read_json(tmp_path / "run.json", tell=False) == {} == read_json(tmp_path / "run.json")
    assert capsys.readouterr().err.count("is damaged and taken for absent") == 1


def test_a_file_that_cannot_be_written_leaves_nothing_beside_it(tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError):
        write_text(tmp_path / "folder", "text")
    assert [*tmp_path.iterdir()] == [tmp_path / "folder"]
