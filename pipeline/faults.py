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
    told = " ".join(f"{os.strerror(_number(one))} {one}" for one in led_to(error))
    if FULL.search(told):
        place, free = _fullest(root)
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
        named = [one.filename for one in led_to(error) if isinstance(one, OSError)]
        place = next(filter(None, named), root)
        return f"The disk of {place} can only be read. Fix: mount it for writing."
    return ""


def _number(error: BaseException) -> int:
    return (error.errno or 0) if isinstance(error, OSError) else 0


def led_to(error: BaseException | None) -> Iterator[BaseException]:
    """Yields an error, and what it was raised from."""
    seen = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _fullest(root: Path) -> tuple[Path, int]:
    """Returns the folder with the least room of those that a run writes to, and its free bytes."""
    places = {root: 0, Path(tempfile.gettempdir()): 0}
    for place in places:
        places[place] = shutil.disk_usage(place).free
    return min(places.items(), key=lambda item: item[1])
