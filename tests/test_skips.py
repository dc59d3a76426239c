"""Where a machine has everything, a skipped test fails the run."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    ("flags", "code"),
    [
        ((), 0),
        (("--no_skips",), 1),
        (("--no_skips", "-n1"), 1),
        (("--no_skips", "--but", "sound"), 1),
        (("--no_skips", "--but", "sound", "--but", "browser"), 0),
    ],
)
def test_a_skip_fails_the_run_where_nothing_may_be_skipped(tmp_path, flags, code):
    shutil.copy(Path(__file__).with_name("conftest.py"), tmp_path)
    skipping = (
        "import pytest\n\ndef test_it():\n    pytest.skip('no browser')\n\ndef "
        "test_other():\n    pass\n"
    )
    (tmp_path / "test_some.py").write_text(skipping)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        *flags,
        str(tmp_path),
    ]
    told = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert told.returncode == code, told.stdout
    assert ("no browser" in told.stdout.splitlines()[-1]) == bool(code), told.stdout
