"""Small files that a later command reads back, such as `run.json`: on the disk whole or not at all,
and taken for absent where something has damaged them.

Standard library alone.
"""

import json
import os
import sys
from pathlib import Path

RUN_FILE = "run.json"  # of a pipeline root


def write_whole(path: Path, values: dict) -> None:
    """Replaces a JSON file in one step: a kill or a power cut leaves the old or the new one.

    Raises:
      OSError: if it cannot be written; the old one stays.
    """
    draft = path.with_name(f"{path.name}.{os.getpid()}.draft")
    try:
        with open(draft, "w", encoding="utf-8") as file:
            json.dump(values, file, indent=1)
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
