"""What every command line asks of its values: empty ones, as of `--source=$NOT_SET`, are mistakes.

Standard library alone, so that a wrong flag is told at once.
"""

import argparse
from pathlib import Path


def refuse_empty(parser: argparse.ArgumentParser) -> None:
    """Has a parser refuse an empty value of every flag whose kind is plain text."""
    parser.register("type", None, text)


def text(value: str) -> str:
    """Returns a flag's value.

    Raises:
      ArgumentTypeError: if it is empty, which argparse tells with the flag's name.
    """
    if not value.strip():
        rule = "must not be empty; leave the flag out, or is a variable of the shell not set?"
        raise argparse.ArgumentTypeError(rule)
    return value


def folder(value: str) -> Path:
    """Returns a flag's value as a path; an empty one would be the working folder."""
    return Path(text(value))
