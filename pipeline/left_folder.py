"""A folder that a run leaves among the user's own.

Only what a run wrote is ever replaced, and a whole one stands there at every moment. A list in the
folder names what was written, with digests: what it does not name, or names with another content,
is the user's. Standard library alone.
"""

import ctypes
import errno
import hashlib
import json
import os
import shutil
import tempfile
from pathlib import Path

from trainer_module.errors import InputError

LIST = "left_by_simclr.json"  # relative path -> digest of the file, '' for a folder
NO_EXCHANGE = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP)  # kernel or file system cannot do it
WORKING_FOLDER, EXCHANGE = -100, 2  # Linux' AT_FDCWD and RENAME_EXCHANGE


def foreign(folder: Path) -> list[str]:
    """Returns what is in a folder and was not left there by a run, as sorted relative paths.

    Args:
      folder: anything; what is no folder is foreign itself, as '.'; what is not there is nothing.
    """
    if not folder.is_dir():
        return ["."] if folder.exists() else []
    ours = _listed(folder)
    if not ours:  # nothing of it need be read, which may be a whole disk
        return sorted(path.name for path in folder.iterdir() if path.name != LIST)
    there = _content(folder)
    return sorted(name for name, digest in there.items() if ours.get(name) != digest)


def put(source: Path, folder: Path) -> None:
    """Copies a folder to a place of the user's, instead of the one that an earlier run left there.

    The copy is made in a hidden folder beside it, which a kill leaves behind. Where the system
    cannot exchange two folders in one step (not Linux, or some network file systems), a kill
    between two renames leaves nothing at the place; the copy and the one before are then whole
    beside it, hidden.

    Args:
      source: folder to copy.
      folder: where to, a link to a folder included; its parents are made where they are missing.

    Raises:
      InputError: if something is there that no run has left; it stays.
      OSError: if the copy cannot be written; what was there stays.
    """
    folder = folder.resolve()
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        shutil.copytree(source, draft, dirs_exist_ok=True)
        (draft / LIST).write_text(json.dumps(_content(draft), indent=1), encoding="utf-8")
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    try:
        refuse_foreign(folder)
        _move(draft, folder)
        refuse_foreign(draft)  # what came in between that look and the exchange
    finally:
        if not foreign(draft):
            shutil.rmtree(draft, ignore_errors=True)


def refuse_unwritable(folder: Path) -> None:
    """Tries whether a folder can be made at a place, and a file in it; nothing stays.

    Raises:
      OSError: if not, with the folder that refuses.
    """
    # `put` makes its copy beside the folder.
    place = folder.resolve().parent
    with tempfile.TemporaryDirectory(prefix=".", dir=nearest_folder(place)) as draft:
        Path(draft, folder.name).touch()


def nearest_folder(place: Path) -> Path:
    """Returns a folder, or the first above it that is there."""
    return next(path for path in (place, *place.parents) if os.path.lexists(path))


def refuse_foreign(folder: Path) -> None:
    """Refuses to replace what no run has left.

    Raises:
      InputError: naming the folder and what is in it.
    """
    if found := foreign(folder):
        raise InputError(
            f"A folder that is replaced must hold nothing but what an earlier run left, unchanged. "
            f"Received: {folder}, with {some(found)}. Fix: another folder"
        )


def some(names: list[str], shown: int = 3) -> str:
    """Returns the first of some names, for a message."""
    return ", ".join(names[:shown]) + (", ..." if len(names) > shown else "")


def exchange_in_two_steps(one: Path, other: Path) -> None:
    """Exchanges two folders where the system cannot do it at once."""
    aside = Path(tempfile.mkdtemp(prefix=f".{other.name}.", dir=other.parent))
    other.rename(aside)
    try:
        one.rename(other)
    except OSError:
        aside.rename(other)
        raise
    aside.rename(one)


def _move(draft: Path, folder: Path) -> None:
    """Brings a folder to its place, and what was there to the draft's."""
    if not folder.exists() or not any(folder.iterdir()):
        draft.rename(folder)
        return
    try:
        _exchange(draft, folder)
    except OSError as error:
        if error.errno not in NO_EXCHANGE:
            raise
        exchange_in_two_steps(draft, folder)


def _exchange(one: Path, other: Path) -> None:
    """Exchanges two folders in one step.

    Raises:
      OSError: if it cannot be done; ENOSYS where the system has no such call.
    """
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if renameat2 is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    paths = os.fsencode(one), os.fsencode(other)
    if renameat2(WORKING_FOLDER, paths[0], WORKING_FOLDER, paths[1], EXCHANGE):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), str(one), None, str(other))


def _listed(folder: Path) -> dict[str, str]:
    try:
        listed = json.loads((folder / LIST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return listed if isinstance(listed, dict) else {}


def _content(folder: Path) -> dict[str, str]:
    """Returns relative path -> digest of all in a folder, '' for folders, a link's target."""
    found = {}
    for path in folder.rglob("*"):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = f"link to {os.readlink(path)}"
        elif name != LIST:
            found[name] = "" if path.is_dir() else _digest(path)
    return found


def _digest(path: Path) -> str:
    if not path.is_file():
        return "no file"  # a pipe or a device, which reading would wait for
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
