"""Files that a later command reads back, such as `run.json`: on the disk whole or not at all, and
taken for absent where something has damaged them.

Standard library alone.
"""

import json
import os
import sys
from pathlib import Path

RUN_FILE = "run.json"  # of a pipeline root


def write_whole(path: Path, values: dict) -> None:
    """Replaces a JSON file as `write_bytes` does."""
    write_text(path, json.dumps(values, indent=1))


def write_text(path: Path, text: str) -> None:
    """Replaces a text file as `write_bytes` does."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Replaces a file in one step, in a folder that is made if it is not there: a kill or a power
    cut leaves the old file or the new one.

    Raises:
      OSError: if it cannot be written; the old one stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}.draft")
    try:
        with open(draft, "wb") as file:
            file.write(content)
            file.flush()
            # Else a file system may keep the new name and lose what it names: a file of 0 bytes.
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def read_whole(path: Path) -> dict:
    """Returns what a JSON file of ours holds, {} where there is none, or none that can be read,
    which is told.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError, RecursionError) as error:
        found = str(error)
    if isinstance(found, dict):
        return found
    print(f"Note: {path} is damaged and taken for absent: {str(found)[:80]}", file=sys.stderr)
    return {}
