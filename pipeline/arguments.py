"""What every command line has in common: exit codes, the nearest name for a mistyped one, and no
empty values, which are mistakes, as of `--source=$NOT_SET`.

Standard library alone, so that a wrong flag is told at once.
"""

import argparse
import difflib
import os
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

from trainer_module.errors import InputError

# Exit codes. REFUSED is of a model; IN_PART: of several images some were answered. That of a stop
# stands in loading.py.
DONE, FAILED, BAD_INPUT, REFUSED, IN_PART = 0, 1, 2, 3, 4
LOCAL = (
    "must lie in a folder of this machine, or one that machines share as NFS does: checkpoints, "
    "locks and models need one; of an object store, as s3:// and gs://, lists and their images may "
    "come"
)


def nearest(word: str, known: Iterable[str], otherwise: str) -> str:
    """Returns a hint at the known name that a mistyped word may mean, or `otherwise`."""
    near = difflib.get_close_matches(word, list(known), 1)
    return f"Did you mean {near[0]!r}?" if near else otherwise


def one_of(known: Iterable[str]) -> dict[str, Any]:
    """Returns what has `add_argument` take one of some words alone, and hint at the nearest."""
    return {"type": partial(known_word, known), "metavar": f"{{{','.join(known)}}}"}


def known_word(known: Iterable[str], value: str) -> str:
    """Returns a flag's value.

    Raises:
      ArgumentTypeError: if it is none of these words; with the nearest of them.
    """
    if value not in known:
        hint = nearest(value, known, "Fix: one of them")
        rule = f"must be one of {', '.join(known)}. Received: {value!r}. {hint}"
        raise argparse.ArgumentTypeError(rule)
    return value


def model_parser(tool: str, about: str) -> argparse.ArgumentParser:
    """Returns the command line of a tool that asks a model, with the model in it.

    Args:
      tool: its module below `pipeline`.
      about: what it does, lines as they are.
    """
    parser = argparse.ArgumentParser(
        prog=f"python -m pipeline.{tool}",
        description=about,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = "SavedModel, folder of versions, or pipeline root"
    parser.add_argument("model", type=path_of, metavar="MODEL", help=what)
    return parser


def refuse_empty(parser: argparse.ArgumentParser) -> None:
    """Has a parser refuse an empty value of every flag whose kind is plain text."""
    parser.register("type", None, text)


def text(value: str) -> str:
    """Returns a flag's value.

    Raises:
      ArgumentTypeError: if it is empty or `--`, which argparse tells with the flag's name.
    """
    if value == "--":  # as of Python 3.13; argparse made a list of it before
        raise argparse.ArgumentTypeError("must have a value. Received: '--'")
    if not value.strip():
        rule = "must not be empty; leave the flag out, or is a variable of the shell not set?"
        raise argparse.ArgumentTypeError(rule)
    return value


def path_of(value: str) -> Path:
    """Returns a flag's value as a path of this machine; an empty one would be the working folder.

    Raises:
      ArgumentTypeError: if it is a web address or one of an object store.
    """
    if "://" in value:
        raise argparse.ArgumentTypeError(f"{LOCAL}. Received: {value}")
    return Path(at_home(text(value)))


def refuse_address(path: str, flag: str, kind: str, fix: str = "") -> None:
    """Raises an InputError for an address, which a path would be made of by dropping a slash.

    Args:
      path: as it was written.
      flag: that it is the value of.
      kind: what is wanted, as 'a folder'.
      fix: where that is not a list of what lies at the address.
    """
    if "://" in path:
        lists = "lists of images in an object store, as s3:// and gs://: --train_file_path"
        raise InputError(
            f"`{flag}` must be {kind} of this machine. Received: {path}. Fix: {fix or lists}"
        )


def at_home(path: str) -> str:
    """Returns a path with the home folder for a ~ at its start, which the shell leaves as it is in
    --flag=~/x.
    """
    return os.path.expanduser(path) if path == "~" or path.startswith("~/") else path


def require_utf8(path: str, what: str) -> None:
    """Raises an InputError for a path that is not UTF-8: lists, keys and metadata are; `what` says
    whose it is.
    """
    try:
        path.encode()
    except UnicodeEncodeError as error:
        raise InputError(
            f"{what} must have a path in UTF-8. Received: {path!r}. Fix: another name"
        ) from error
