"""What a path names where it names no file.

Standard library alone.
"""

import os
import stat

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
    try:
        kind = NO_FILES.get(stat.S_IFMT(os.stat(path).st_mode), "")
    except (OSError, ValueError):
        return ""
    return kind if os.path.exists(os.path.realpath(path)) else ""
