"""What a path names where it names no file that can be looked at.

Standard library alone.
"""

import os
import stat
from pathlib import Path

NO_FILES = {  # that a path may name, and whose reading may never end
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def no_file(path: str) -> str:
    """Returns what a path names in place of a file, as in 'a named pipe'; '' of a file, a folder,
    what is not there, and a pipe of the shell, as `<(...)` gives.
    """
    kind = NO_FILES.get(_kind(path), "")
    return kind if kind and os.path.exists(os.path.realpath(path)) else ""


def is_pipe(path: str) -> bool:
    """Tells whether a path names a pipe, a named one or one of the shell."""
    return _kind(path) == stat.S_IFIFO


def _kind(path: str) -> int:
    try:
        return stat.S_IFMT(os.stat(path).st_mode)
    except (OSError, ValueError):
        return 0


def closed(path: str) -> str:
    """Returns a sentence that names the highest folder on the way to a path that cannot be entered;
    '' where there is none.
    """
    if not _is_forbidden(path):
        return ""
    real = Path(os.path.realpath(path))
    barred = next(filter(_is_forbidden, (*reversed(real.parents), real)), real)
    return f"the folder {barred.parent} cannot be entered (permission denied)"


def _is_forbidden(path: str | Path) -> bool:
    try:
        os.stat(path)
    except PermissionError:
        return True
    except (OSError, ValueError):
        pass
    return False
