"""Flags and settings files of any content are taken, or refused in words."""

import re

import pytest

from benchmarks.fuzz_settings import fuzz
from pipeline.config_file import read_settings, text_of
from pipeline.flags import build_parser, choices_of
from pipeline.left_folder import foreign
from trainer_module.errors import InputError


@pytest.mark.parametrize("seed", [0, 1])
def test_whatever_flags_and_files_hold_ends_in_choices_or_in_words(seed, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    counts, faults = fuzz(200, seed)
    assert faults == [] and counts["taken"] > 2 and counts["refused"] > 50


@pytest.mark.parametrize(
    "text",
    [
        "name: !!map a", "name: !!int a", "name: !!bool x", "name: !!timestamp x", "2001-99-99: 1",
        "name: 2001-99-99", "name: " + "[" * 3000, "{a: " * 2000, "name: !!float x",
        "epochs: " + "9" * 5000, "name: !!python/object/apply:os.system [id]", "? [a]\n: 1",
    ],
    ids=lambda text: text[:40],
)  # fmt: skip
def test_a_file_that_yaml_does_not_understand_is_refused(text, tmp_path):
    (tmp_path / "settings.yaml").write_text(text)
    with pytest.raises(InputError, match=re.escape(str(tmp_path / "settings.yaml"))):
        read_settings(str(tmp_path / "settings.yaml"))


def test_a_few_lines_do_not_stand_for_gigabytes(tmp_path):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 8)}]" for n in range(1, 30)]
    (tmp_path / "settings.yaml").write_text("\n".join(lines))
    with pytest.raises(InputError, match="no setting is an alias"):
        read_settings(str(tmp_path / "settings.yaml"))


def test_a_number_that_is_none_is_refused_by_a_flag_as_by_set():
    with pytest.raises(InputError, match="`--temperature` must be finite"):
        choices_of(build_parser().parse_args(["--temperature=nan"]))


def test_to_look_at_a_folder_of_a_persons_own_reads_no_file(tmp_path):
    (tmp_path / "large").mkdir()
    with open(tmp_path / "large" / "file", "wb") as file:
        file.truncate(10**12)  # an hour to read
    assert foreign(tmp_path) == ["large"]


@pytest.mark.parametrize(
    "setting",
    ["encoder.builder=..", "pretraining.loss=...", "encoder.builder=a..b", "encoder.builder=a b.c"],
)
def test_what_is_no_dotted_path_is_refused(setting):
    with pytest.raises(InputError, match="must be the dotted path of a function, but"):
        choices_of(build_parser().parse_args(["--set", setting]))


def test_a_function_in_a_file_that_is_no_python_is_refused(tmp_path, monkeypatch):
    (tmp_path / "of_a_person.py").write_text("def build(:")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InputError, match=r"of_a_person\.py is not written in Python"):
        choices_of(build_parser().parse_args(["--set", "encoder.builder=of_a_person.build"]))


def test_a_server_without_a_host_is_refused():
    with pytest.raises(InputError, match="`--metadata` must be"):
        choices_of(build_parser().parse_args(["--metadata=mysql://[::1"]))


@pytest.mark.parametrize("flag", ["seed", "temperature", "strength", "pipeline_root"])
def test_two_dashes_are_no_value(flag, capsys):
    with pytest.raises(SystemExit) as stopped:
        build_parser().parse_args([f"--{flag}=--"])
    assert stopped.value.code == 2
    assert f"--{flag}" in capsys.readouterr().err


def test_a_folder_with_a_line_break_in_its_name_is_written_as_it_is(tmp_path):
    choices = choices_of(build_parser().parse_args(["--pipeline_root=/a\nb"]))
    (tmp_path / "settings.yaml").write_text(text_of(choices))
    assert read_settings(str(tmp_path / "settings.yaml"))["pipeline_root"] == "/a\nb"
