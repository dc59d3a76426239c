"""What a machine does to a run, as a line that says what to do: a full disk, a disk that can only
be read, a store that another program holds.

Libraries tell these in words of their own, inside errors of other kinds: the words are looked for
in every error that led to the one that arrived. Standard library alone.
"""

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

FULL = re.compile(r"no space left on device|database or disk is full|disk quota exceeded", re.I)
# the latter is ML Metadata's
LOCKED = re.compile(r"database is locked|concurrent writes aborted", re.I)
READ_ONLY = re.compile(r"read-only file system|attempt to write a readonly database", re.I)


def fault(error: BaseException, root: Path) -> str:
    """Returns the line about what happened to a run, '' for an error of another kind.

    Args:
      error: that ended the run.
      root: the pipeline root.
    """
    errors = list(led_to(error))
    told = " ".join(f"{os.strerror(_number(one))} {one}" for one in errors)
    named = [one.filename for one in errors if isinstance(one, OSError)]
    named = [name for name in named if isinstance(name, str)]
    if FULL.search(told):
        place, free = _fullest([str(root), tempfile.gettempdir(), *named])
        return (
            f"No space left on the disk of {place}: {free / 1e6:.1f} MB are free. Fix: make room "
            f"there, as with python -m pipeline.prune."
        )
    if LOCKED.search(told):
        return (
            f"The metadata store of {root} must not be held by another program. Received: the "
            f"database is locked. Fix: close that program."
        )
    if READ_ONLY.search(told):
        place = next(iter(named), root)
        return f"The disk of {place} can only be read. Fix: mount it for writing."
    return ""


def fault_of_a_tool(error: BaseException) -> str:
    """Returns the line about what the machine did to a tool, '' for an error of another kind."""
    if not isinstance(error, OSError):
        return fault(error, Path.cwd()) if isinstance(error, Exception) else ""
    why = (error.strerror or str(error)).lower()
    if error.filename is None:
        return f"what it tells, or makes, could not be written or read: {why}"
    return f"{os.fsdecode(error.filename)}: {why}"


def _number(error: BaseException) -> int:
    return (error.errno or 0) if isinstance(error, OSError) else 0


def led_to(error: BaseException | None) -> Iterator[BaseException]:
    """Yields an error, and what it was raised from."""
    seen = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _fullest(places: list[str]) -> tuple[str, int]:
    """Returns the place with the least room, and its free bytes."""
    free = {}
    for place in places:
        above = (place, *map(str, Path(place).parents))
        there = next(folder for folder in above if os.path.exists(folder))
        free[place] = shutil.disk_usage(there).free
    return min(free.items(), key=lambda item: item[1])
