"""What a run notes about the machine and the code it ran on."""

import subprocess
import sys
from pathlib import Path

from components.environment import LIBRARIES, git_commit, version_of, versions

ROOT = Path(__file__).resolve().parent.parent


def test_every_library_has_a_version_whichever_wheel_of_tensorflow_is_installed():
    assert set(versions()) == set(LIBRARIES) and all(versions().values())


def test_a_library_that_is_not_there_has_no_version():
    assert version_of("no-such-library") == ""


def test_a_copy_inside_somebody_elses_repository_has_no_commit(tmp_path):
    package = tmp_path / "components"
    package.mkdir()
    (package / "environment.py").write_text((ROOT / "components/environment.py").read_text())
    git = ["git", "-C", str(tmp_path.parent), "-c", "user.name=n", "-c", "user.email=e"]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "theirs"], check=True)
    code = "from components.environment import git_commit; print(repr(git_commit()))"
    told = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True
    )
    assert told.stdout.strip() == "''", told.stderr


def test_the_working_tree_has_its_commit():
    head = ["git", "-C", str(ROOT), "rev-parse", "--short=12", "HEAD"]
    told = subprocess.run(head, capture_output=True, text=True)
    assert git_commit().rstrip("+") == told.stdout.strip()
