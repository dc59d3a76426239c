"""Save paths: an encoder is left, found, and checked against what was asked for."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline import save_paths
from pipeline.choices import Choices, SavePaths
from pipeline.left_folder import exchange_in_two_steps
from pipeline.plan import encoder_of
from trainer_module.errors import InputError
from trainer_module.saved_encoder import (
    ENCODER_FILE,
    EXTRAS,
    EncoderRecord,
    encoder_fingerprint,
    holds_encoder,
    read_record,
    write_record,
)
from trainer_module.settings import Encoder

RECORD = EncoderRecord(
    Encoder(18, 0.5, "small"), (32, 32), (0.4, 0.5, 0.6), (0.2, 0.2, 0.3), milestones=(10, 20)
)


def write_model(folder, weights=b"weights"):
    """A model's folder as far as save paths look at it."""
    write_record(str(folder), RECORD)
    (Path(folder) / EXTRAS / ENCODER_FILE).write_bytes(weights)
    (Path(folder) / "saved_model.pb").write_bytes(b"graph")
    return str(folder)


def left_model(folder, weights=b"weights"):
    """A model's folder as a run leaves it."""
    made = Path(f"{folder} made")
    write_model(made / "Format-Serving", weights)
    save_paths.leave(str(made), str(folder))
    return str(folder)


def choices(asked=None, **paths):
    asked = asked or {}
    return Choices(
        encoder=Encoder(**asked),
        named=frozenset(f"encoder.{name}" for name in asked),
        save_paths=SavePaths(**{name: str(path) for name, path in paths.items()}),
    )


def test_a_record_comes_back_as_it_was(tmp_path):
    assert read_record(write_model(tmp_path)) == RECORD


def test_an_encoder_that_is_there_is_taken_with_its_architecture_and_normalization(tmp_path):
    asked = choices({"depth": 18}, pretrain=write_model(tmp_path))
    encoder, saved = save_paths.find_encoder(asked)
    assert (encoder.depth, encoder.width, encoder.stem) == (18, 0.5, "small")
    assert saved.path == str(tmp_path)
    assert (saved.channel_mean, saved.milestones) == (
        RECORD.channel_mean,
        (10, 20),
    )


@pytest.mark.parametrize(
    ("record", "told"),
    [
        (RECORD, "Encoder: a ResNet-18 of width 0.5 from "),
        (
            replace(RECORD, encoder=Encoder(builder="small_encoder.build")),
            "Encoder: an encoder of small_encoder.build from ",
        ),
    ],
)
def test_an_encoder_that_is_taken_is_told_as_the_network_that_it_is(record, told, tmp_path, capsys):
    path = write_model(tmp_path)
    write_record(path, record)
    encoder_of(choices(pretrain=path))
    assert capsys.readouterr().out.startswith(f"{told}{path}, not pretrained again")


@pytest.mark.parametrize("task", ["pretrain", "classification"])
def test_where_there_is_none_one_is_pretrained(tmp_path, task):
    asked = replace(choices(pretrain=tmp_path / "new"), task=task)
    assert save_paths.find_encoder(asked) == (asked.encoder, save_paths.SavedEncoder())


def test_pretraining_does_not_take_the_encoder_it_will_replace(tmp_path):
    path = write_model(tmp_path)
    asked = replace(choices({"depth": 34}, pretrain=path), task="pretrain")
    assert save_paths.find_encoder(asked) == (Encoder(depth=34), save_paths.SavedEncoder())


def test_another_depth_or_width_than_asked_for_names_both(tmp_path):
    with pytest.raises(
        InputError, match=r"depth=34, width=2.0 asked for, depth=18, width=0.5 in .* Fix: leave out"
    ):
        asked = {"depth": 34, "width": 2.0, "stem": "small"}
        save_paths.find_encoder(choices(asked, pretrain=write_model(tmp_path)))


def test_an_encoder_of_other_images_names_both_numbers_of_channels(tmp_path):
    write_record(write_model(tmp_path), replace(RECORD, input_channels=1))
    with pytest.raises(InputError, match=r"images of 3 channels.*Received: 1 channels"):
        save_paths.find_encoder(choices(pretrain=tmp_path))


@pytest.mark.parametrize("name", ["pretrain", "finetune"])
def test_a_folder_with_something_else_in_it_is_never_replaced(tmp_path, name):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(
        InputError, match=f"--{name}_save_path. must be a new or empty folder.*thesis.txt"
    ):
        save_paths.check_save_paths(choices(**{name: tmp_path}))


def test_new_and_empty_folders_and_models_of_ours_are_fine(tmp_path):
    (tmp_path / "empty").mkdir()
    save_paths.check_save_paths(
        choices(pretrain=tmp_path / "empty", finetune=left_model(tmp_path / "ours"))
    )
    save_paths.check_save_paths(choices(pretrain=tmp_path / "new"))


def test_one_folder_cannot_hold_both(tmp_path):
    with pytest.raises(InputError, match="two folders"):
        save_paths.check_save_paths(choices(pretrain=tmp_path, finetune=tmp_path))


@pytest.mark.parametrize("text", ['{"depth": 18}', "null", "[]", '{"encoder": null}', "{"])
def test_a_damaged_record_is_named(tmp_path, text):
    write_model(tmp_path)
    (tmp_path / EXTRAS / "encoder.json").write_text(text)
    with pytest.raises(InputError, match=r"encoder.json. must be the record of an encoder"):
        save_paths.find_encoder(choices(pretrain=tmp_path))


def test_a_model_is_left_whole_in_place_of_the_one_before(tmp_path):
    write_model(tmp_path / "made" / "Format-Serving", b"new")
    left_model(tmp_path / "there", b"old")
    save_paths.leave(str(tmp_path / "made"), str(tmp_path / "there"))
    assert encoder_fingerprint(tmp_path / "there") == encoder_fingerprint(
        tmp_path / "made" / "Format-Serving"
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["made", "there", "there made"]


def test_nothing_is_left_without_a_model_or_a_path(tmp_path):
    save_paths.leave("", str(tmp_path / "there"))
    save_paths.leave(str(tmp_path), "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("own", ["thesis.txt", f"{EXTRAS}/thesis.txt", f"{EXTRAS}/{ENCODER_FILE}"])
def test_a_model_of_ours_among_what_is_not_ours_is_refused_before_the_run(tmp_path, own):
    left_model(tmp_path / "there")
    (tmp_path / "there" / own).write_text("years of work")
    with pytest.raises(InputError, match=f"--finetune_save_path.*{own}"):
        save_paths.check_save_paths(choices(finetune=tmp_path / "there"))


def test_a_model_that_no_list_calls_ours_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"--finetune_save_path.*assets.extra"):
        save_paths.check_save_paths(choices(finetune=write_model(tmp_path)))


def test_an_encoder_among_other_files_may_be_taken_for_it_is_only_read(tmp_path):
    left_model(tmp_path / "there")
    (tmp_path / "there" / "thesis.txt").write_text("years of work")
    save_paths.check_save_paths(
        replace(choices(pretrain=tmp_path / "there"), task="classification")
    )


def test_a_file_put_there_during_the_run_is_kept(tmp_path):
    write_model(tmp_path / "made" / "Format-Serving", b"new")
    left_model(tmp_path / "there", b"old")
    (tmp_path / "there" / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match=r"thesis.txt"):
        save_paths.leave(str(tmp_path / "made"), str(tmp_path / "there"))
    assert (tmp_path / "there" / "thesis.txt").read_text() == "years of work"


@pytest.mark.parametrize("state", ["before", "unfinished"])
def test_a_neighbour_with_a_name_like_ours_is_kept(tmp_path, state):
    own = tmp_path / f"there.{state}" / "thesis.txt"
    own.parent.mkdir()
    own.write_text("years of work")
    left_model(tmp_path / "there")
    left_model(tmp_path / "there", b"new")
    assert own.read_text() == "years of work"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux exchanges two folders in one step")
def test_there_is_a_whole_model_after_every_line_that_runs(tmp_path):
    left_model(tmp_path / "there")
    seen = []

    def look(frame, event, argument):
        if "/pipeline/" not in frame.f_code.co_filename:
            return None
        seen.append(
            all(
                (tmp_path / "there" / name).exists()
                for name in ("saved_model.pb", f"{EXTRAS}/{ENCODER_FILE}")
            )
        )
        return look

    tracing = sys.gettrace()
    sys.settrace(look)
    try:
        left_model(tmp_path / "there", b"new")
    finally:
        sys.settrace(tracing)
    assert len(seen) > 10
    assert all(seen)


@pytest.mark.parametrize("asked", ["", "serving"])
def test_a_root_in_place_of_an_encoder_is_refused_with_the_folder_that_was_pushed_there(
    tmp_path, asked
):
    pushed = write_model(tmp_path / "a root" / "serving" / "17")
    (tmp_path / "a root" / "run.json").touch()
    folder, fix = tmp_path / "a root" / asked, f"Fix: --pretrain_save_path='{pushed}', the encoder"
    with pytest.raises(InputError) as refused:
        encoder_of(choices(pretrain=folder))
    assert fix in str(refused.value)


def test_a_root_is_no_folder_to_pretrain_into_whatever_was_pushed_there(tmp_path):
    write_model(tmp_path / "serving" / "17")
    with pytest.raises(InputError, match=r"Received: .*, with serving\. Fix: another folder"):
        encoder_of(replace(choices(pretrain=tmp_path), task="pretrain"))


def test_without_an_exchange_the_new_model_still_takes_the_place_of_the_old(tmp_path):
    old, new = tmp_path / "old", tmp_path / "new"
    write_model(old, b"old")
    write_model(new, b"new")
    exchange_in_two_steps(new, old)
    assert [(folder / EXTRAS / ENCODER_FILE).read_bytes() for folder in (old, new)] == [
        b"new",
        b"old",
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "old"]


def test_a_link_to_a_folder_stays_a_link(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "disk" / "there")
    for weights in (b"old", b"new"):
        left_model(tmp_path / "link", weights)
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "disk" / "there" / EXTRAS / ENCODER_FILE).read_bytes() == b"new"


@pytest.mark.parametrize(("one", "other"), [("a", "a/b"), ("a/b", "a"), ("a", "c/../a")])
def test_neither_folder_lies_in_the_other(tmp_path, one, other):
    with pytest.raises(InputError, match="two folders"):
        save_paths.check_save_paths(choices(pretrain=tmp_path / one, finetune=tmp_path / other))


def test_no_folder_given_is_not_the_working_folder(tmp_path, monkeypatch):
    write_model(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert not holds_encoder("")


def test_a_file_in_the_place_of_a_folder_is_named(tmp_path):
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(InputError, match=r"must be a folder.*mine, which is a file"):
        save_paths.check_save_paths(choices(finetune=tmp_path / "mine"))


@pytest.mark.parametrize("flag", ["pretrain_save_path", "finetune_save_path"])
@pytest.mark.parametrize(
    ("place", "reason"),
    [
        ("/proc/encoder", "No such file or directory"),
        ("/sys/a/b", "Permission denied|Operation not permitted|Read-only"),
        ("FILE/encoder", "Not a directory"),
        ("n" * 300, "File name too long"),
    ],
)
def test_a_folder_that_cannot_be_written_is_told_before_anything_starts(
    flag, place, reason, tmp_path
):
    (tmp_path / "FILE").write_text("mine")
    asked = choices(**{flag.removesuffix("_save_path"): tmp_path / place})
    with pytest.raises(InputError, match=rf"`--{flag}` must be a folder that.*({reason}).*Fix: "):
        save_paths.check_save_paths(asked)


def test_the_trial_leaves_nothing(tmp_path):
    save_paths.check_save_paths(choices(finetune=tmp_path / "a" / "b"))
    assert not list(tmp_path.iterdir())
