"""Where a pipeline root can be, and who works in it. Standard library alone: a root is held before
anything is written there.
"""

import fcntl
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from pipeline.arguments import require_utf8
from pipeline.left_folder import nearest_folder
from trainer_module.errors import InputError

PATTERN = re.compile(r"[\[*?\\]")  # what Beam or TensorFlow take for a pattern in a path


@contextmanager
def lock(path: Path, shared: bool = False) -> Iterator[None]:
    """Holds the pipeline root at a path for this process, or, `shared`, for this and others that
    run single nodes of one run.

    Raises:
      InputError: if another run holds it, or it is no folder that can be written to.
    """
    _refuse_name(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
        held = open(path / ".lock", "w", encoding="utf-8")  # noqa: SIM115 (closed below)
    except OSError as error:
        raise _unwritable(path, error) from error
    with held as file:
        try:
            fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(
                f"Another run is going on in {path}; wait for it, or give another --pipeline_root"
            ) from error
        yield


def refuse_place(path: Path) -> None:
    """Refuses a place where no pipeline root can be, as far as that shows without making it, and
    leaves nothing there.

    Raises:
      InputError: naming it and the fix.
    """
    _refuse_name(path)
    try:
        with TemporaryDirectory(prefix=".", dir=nearest_folder(path)):
            pass
    except OSError as error:
        raise _unwritable(path, error) from error


def _refuse_name(path: Path) -> None:
    require_utf8(str(path), "`--pipeline_root`")
    if found := PATTERN.search(str(path)):
        raise InputError(
            f"`--pipeline_root` must be a folder without [ * ? or a backslash in its whole path: "
            f"Beam and TensorFlow take them for patterns. Received: {path}, with "
            f"{found.group()}. Fix: another folder"
        )


def _unwritable(path: Path, error: OSError) -> InputError:
    return InputError(
        f"`--pipeline_root` must be a folder that can be written to. Received: {path}, "
        f"{error.strerror}. Fix: another folder"
    )
