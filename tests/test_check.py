"""`python -m pipeline.check`: what a run would say of lists and images, without the run."""

import subprocess
import sys
from pathlib import Path

import pytest

from pipeline import check

ROOT = Path(__file__).resolve().parent.parent


def run(*arguments, cwd=ROOT):
    command = [sys.executable, "-m", "pipeline.check", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120)


def test_lists_that_are_right_are_counted_and_end_with_0(image_list, capsys):
    lists = [str(image_list("train", 12)), str(image_list("val", 12))]
    assert check.main(lists) == 0
    assert capsys.readouterr().out == "24 images can be used; 0 warnings, 0 notes\n"


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


def test_a_copy_of_a_held_out_image_is_found(image_list, tmp_path, capsys):
    lists = [str(image_list("train", 12)), str(image_list("val", 12))]
    (tmp_path / "val" / "3.png").write_bytes((tmp_path / "train" / "5.png").read_bytes())
    assert check.main(lists) == 0
    assert "1 of 12 held out images is trained on too" in capsys.readouterr().out


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
