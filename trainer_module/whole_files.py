"""Files that are replaced whole, such as `run.json`: a reader sees the old one or the new one, and
takes for absent what something has damaged.

Standard library alone.
"""

import json
import os
import sys
from pathlib import Path


def write_bytes(path: Path, content: bytes, durable: bool = True) -> None:
    """Replaces a file in one step, in a folder that is made if it is not there: a kill leaves the
    old file or the new one.

    Args:
      path: of the file.
      content: of the new one.
      durable: whether a power cut leaves one of them, too; waiting for the disk takes its time.

    Raises:
      OSError: if it cannot be written; the old one stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}.draft")
    try:
        with open(draft, "wb") as file:
            file.write(content)
            file.flush()
            if durable:
                # Else a file system may keep the new name alone: a file of 0 bytes.
                os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Replaces a text file as `write_bytes` does."""
    write_bytes(path, text.encode())


def write_json(path: Path, values: dict, durable: bool = True) -> None:
    """Replaces a JSON file as `write_bytes` does."""
    write_bytes(path, json.dumps(values, indent=1).encode(), durable)


def read_json(path: Path, tell: bool = True) -> dict:
    """Returns what a JSON file of ours holds, {} where there is none, or none that can be read,
    which is told unless `tell` is False.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError, RecursionError) as error:
        found = str(error)
    if isinstance(found, dict):
        return found
    if tell:
        print(f"Note: {path} is damaged and taken for absent: {str(found)[:80]}", file=sys.stderr)
    return {}
