"""`python -m pipeline.check`: what a run would say of lists and images, without the run."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from pipeline import check

ROOT = Path(__file__).resolve().parent.parent


def run(*arguments, cwd=ROOT):
    command = [sys.executable, "-m", "pipeline.check", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120)


def test_lists_that_are_right_are_counted_and_end_with_0(image_list, capsys):
    lists = [str(image_list("train", 12)), str(image_list("val", 12))]
    assert check.main(lists) == 0
    assert capsys.readouterr().out == "24 images can be used; 0 warnings, 0 notes\n"


@pytest.mark.tfx  # for Beam, which takes seconds to import
def test_flags_of_beam_that_a_run_refuses_end_with_2(image_list, capsys, monkeypatch):
    monkeypatch.setenv("SIMCLR_BEAM_ARGS", "--direct_num_wokers=2")
    assert check.main([str(image_list("train", 12))]) == 2
    assert "Did you mean '--direct_num_workers'?" in capsys.readouterr().err


@pytest.mark.tfx  # for TensorFlow, which takes seconds to import
def test_how_far_it_is_shows_on_a_terminal_and_nowhere_else(image_list):
    lists = [str(image_list("train", 12)), str(image_list("val", 12))]
    reading, writing = pty.openpty()
    command = [sys.executable, "-m", "pipeline.check", *lists]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=writing, timeout=120)
    os.close(writing)
    shown = os.read(reading, 10_000).split(b"\r\x1b[K")
    os.close(reading)
    assert shown[1] == b"Reading 24 images ..." and shown[-1] == b""
    assert done.stdout.decode() == "24 images can be used; 0 warnings, 0 notes\n"
    assert run(*lists).stderr == ""


def test_a_list_that_can_be_read_once_only_is_refused_for_a_run(image_list, capsys):
    content = image_list("train", 12).read_bytes()
    reading, writing = os.pipe()
    os.write(writing, content)
    os.close(writing)
    assert check.main([f"/dev/fd/{reading}"]) == 2
    assert "is a pipe, which can be read once only" in capsys.readouterr().err


def test_a_folder_in_place_of_a_list_is_refused_with_the_flag_that_takes_it(tmp_path, capsys):
    assert check.main([str(tmp_path)]) == 2
    assert f"Fix: of a folder of images --images={tmp_path}" in capsys.readouterr().err


def test_what_a_run_refuses_ends_with_2_and_names_the_rows(image_list, tmp_path, capsys):
    lists = [str(image_list("train", 12)), str(image_list("val", 12))]
    (tmp_path / "val" / "3.png").write_bytes(b"no image")
    assert check.main(lists) == 2
    assert "val.csv:4: " in capsys.readouterr().err
    assert check.main([*lists, "--on_bad_row=skip"]) == 0
    told = capsys.readouterr().out
    assert "1 of 24 rows was skipped (4.2 %)" in told and "1 warning, 0 notes" in told


def test_rows_that_are_missing_and_those_that_cannot_be_decoded_are_skipped_together(
    image_list, tmp_path, capsys
):
    lists = [str(image_list("train", 12)), str(image_list("val", 12))]
    (tmp_path / "train" / "3.png").write_bytes(b"no image")
    (tmp_path / "train" / "4.png").unlink()
    assert check.main([*lists, "--on_bad_row=skip"]) == 0
    assert "2 of 24 rows were skipped" in capsys.readouterr().out


def test_rows_that_are_missing_and_those_that_cannot_be_decoded_are_refused_together(
    image_list, tmp_path, capsys
):
    lists = [str(image_list("train", 12)), str(image_list("val", 12))]
    (tmp_path / "val" / "3.png").write_bytes(b"no image")
    (tmp_path / "train" / "4.png").unlink()
    assert check.main(lists) == 2
    told = capsys.readouterr().err.splitlines()
    assert told[0] == "pipeline.check: 2 bad rows:"
    assert [line.split("/")[-1].split(": ")[0] for line in told[1:-1]] == ["4.png", "3.png"]


SKIP = "Fix: mend or remove them, or --on_bad_row=skip"


@pytest.mark.parametrize(("bad", "fix"), [(1, SKIP), (6, "Fix: mend them")])
@pytest.mark.parametrize("kind", ["missing", "no image"])
def test_bad_rows_are_refused_with_skipping_them_as_a_way_out_where_the_rest_will_do(
    bad, fix, kind, image_list, tmp_path, capsys
):
    lists = [str(image_list("train", 12)), str(image_list("val", 12))]
    for number in range(bad):  # all six of a class
        file = tmp_path / "train" / f"{2 * number}.png"
        file.unlink() if kind == "missing" else file.write_bytes(b"no image")
    assert check.main(lists) == 2
    assert capsys.readouterr().err.splitlines()[-1] == fix


def test_a_folder_is_checked_without_a_word_of_lists_that_are_gone(tmp_path, capsys):
    for number in range(12):
        place = tmp_path / "photos" / "ab"[number % 2]
        place.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (20 * number, 0, 0)).save(place / f"{number}.png")
    (place / "1.png").write_bytes(b"no image")
    assert check.main(["--images", str(tmp_path / "photos")]) == 2
    told = capsys.readouterr()
    assert told.err.splitlines()[1].startswith(f"{tmp_path}/photos/b/1.png: cannot be decoded")
    assert "csv" not in told.out + told.err
    (place / "1.png").unlink()
    assert check.main(["--images", str(tmp_path / "photos")]) == 0
    told = capsys.readouterr()
    assert "removed" not in told.out and not told.out.startswith("Writing")


def test_a_copy_of_a_held_out_image_is_found(image_list, tmp_path, capsys):
    lists = [str(image_list("train", 12)), str(image_list("val", 12))]
    (tmp_path / "val" / "3.png").write_bytes((tmp_path / "train" / "5.png").read_bytes())
    assert check.main(lists) == 0
    assert "1 of 12 held out images is trained on too" in capsys.readouterr().out


def with_labels(image_list, *labels):
    return [str(image_list("train", 12, labels=labels)), "--num_classes=3"]


@pytest.mark.parametrize("labels", [("0", "900"), ("-1", "1")])
def test_ids_that_are_no_classes_are_named_row_by_row(image_list, capsys, labels):
    assert check.main(with_labels(image_list, *labels)) == 2
    told = capsys.readouterr().err.splitlines()
    assert told[0] == "pipeline.check: 6 bad rows:" and "lies outside [0, 3)" in told[1]


def test_where_skipped_rows_leave_one_class_it_is_refused_by_its_name(image_list, capsys):
    assert check.main([*with_labels(image_list, "0", "900"), "--on_bad_row=skip"]) == 2
    assert "'0' in 6 rows and no other" in capsys.readouterr().err


def test_where_skipped_rows_leave_one_number_it_is_refused(image_list, capsys):
    flags = ["--task=regression", "--on_bad_row=skip"]
    assert check.main([str(image_list("train", 12, labels=("7", "old"))), *flags]) == 2
    assert "the same number" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--encoder_weights=/nix"], "/nix"),
        (["--pretrain_save_path=/"], "`--pretrain_save_path` must be"),
        (["--finetune_save_path=/dev/null/x"], "`--finetune_save_path` must be a folder that can"),
        (["--pretrain_save_path=/tmp/one", "--finetune_save_path=/tmp/one"], "two folders"),
        (["--pipeline_root=/dev/null"], "`--pipeline_root` must be a folder that can"),
        (["--pipeline_root=/dev/null/x"], "`--pipeline_root` must be a folder that can"),
        (["--pipeline_root=/tmp/[x]"], "without [ * ?"),
        (["--eval_epochs=5", "--pretrain_epochs=2"], "`--eval_epochs` must name epochs"),
        (["--set", "pretraining.batch_size=64"], "`pretraining.batch_size` must be from 2"),
    ],
)
def test_what_a_run_refuses_beside_its_lists_ends_with_2(image_list, capsys, flags, message):
    lists = [str(image_list("train", 12)), str(image_list("val", 12))]
    assert check.main([*lists, *flags]) == 2
    assert message in capsys.readouterr().err


def test_a_check_leaves_nothing_in_the_folders_of_a_run(image_list, tmp_path):
    lists = [str(image_list("train", 12)), str(image_list("val", 12))]
    (tmp_path / "there").mkdir()
    flags = [f"--pipeline_root={tmp_path}/there", f"--finetune_save_path={tmp_path}/there/model"]
    assert check.main([*lists, *flags, f"--pretrain_save_path={tmp_path}/new/encoder"]) == 0
    assert list((tmp_path / "there").iterdir()) == [] and not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["absent.csv"], "absent.csv: no such list file"),
        (["a", "b", "c", "d"], "at most 3 lists"),
        (["a.csv", "--train_file_path=b.csv"], "are one thing: leave one out"),
        (["a.csv", "--num_clases=3"], "Did you mean '--num_classes'?"),
        ([""], "must not be empty"),
    ],
)
def test_a_bad_command_line_ends_with_2_and_the_reason(arguments, message, tmp_path):
    result = run(*arguments)
    assert result.returncode == 2
    assert message in result.stderr


def test_help_needs_nothing_heavy():
    script = (
        "import sys; from pipeline import check\n"
        "try: check.main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'numpy', 'tensorflow', 'apache_beam', 'tfx', 'PIL'} & set(sys.modules)\n"
        "sys.exit(', '.join(heavy) or 0)"
    )
    told = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert (told.returncode, told.stderr) == (0, "")
    assert "--num_classes" in told.stdout
