"""docs/settings.md: its commands print what stands there."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^( *)```(yaml|console)\n(.*?)^ *```", PAGE, re.MULTILINE | re.DOTALL)


def without_indent(indent, text):
    return [line.removeprefix(indent) for line in text.splitlines()]


def commands(lines):
    """Yields each command of a console block and the lines that follow it."""
    starts = [index for index, line in enumerate(lines) if line.startswith("$ ")]
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        yield lines[start].removeprefix("$ "), lines[start + 1 : end]


@pytest.fixture
def shell(tmp_path):
    program = f"{sys.executable} {ROOT / 'local_runner.py'}"

    def run(command):
        command = command.replace("python local_runner.py", program)
        result = subprocess.run(
            command, shell=True, cwd=tmp_path, capture_output=True, text=True, timeout=60
        )
        return (result.stdout + result.stderr).splitlines()

    return run


def test_every_command_prints_what_the_page_says(tmp_path, shell):
    told = 0
    for indent, kind, text in BLOCKS:
        lines = without_indent(indent, text)
        if kind == "yaml":
            (tmp_path / lines[0].removeprefix("# ")).write_text("\n".join(lines))
            continue
        for command, output in commands(lines):
            assert shell(command) == output
            told += 1
    assert told >= 8
    assert not (tmp_path / "runs").exists()
