"""Reads list files: one image a row, `path` or `path,target`, and checks every row before hours are
spent.

Paths are absolute, or relative to the folder of the list; local, or on any Beam file system
(`gs://...`). Standard library alone, so that a wrong list is told at once; Beam is imported only
for a list that is not local.
"""

import csv
import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from trainer_module.errors import InputError
from trainer_module.tasks.task import Task

SHOWN_PROBLEMS = 20


@dataclass(frozen=True)
class Row:
    """One line of a list: where it stands, the image and the target as written ('' if there is no
    target).
    """

    list_path: str
    line: int
    name: str
    target: str

    @property
    def path(self) -> str:
        """Where the image lies: a relative name is resolved against the list's folder."""
        return self._resolved(self.name)

    @property
    def target_path(self) -> str:
        """Where the file lies that the target names, if it names one; resolved as the image is."""
        return self._resolved(self.target)

    def _resolved(self, name: str) -> str:
        if is_remote(name) or name.startswith("/"):
            return name
        folder = self.list_path.rsplit("/", 1)[0] if "/" in self.list_path else "."
        return f"{folder}/{name}"

    @property
    def image_id(self) -> int:
        """A stable 63-bit id made from the name: splits and orders follow it, not the row's
        position or the folder.
        """
        return int.from_bytes(hashlib.sha256(self.name.encode()).digest()[:8], "big") >> 1


@dataclass(frozen=True)
class Problem:
    """One bad row, told as `list:line: path: reason`."""

    list_path: str
    line: int
    path: str
    reason: str

    def __str__(self):
        return f"{self.list_path}:{self.line}: {self.path}: {self.reason}"


def is_remote(path: str) -> bool:
    """Tells whether a path belongs to a Beam file system other than the local one."""
    return "://" in path


def read_bytes(path: str) -> bytes:
    """Returns the content of a file on the local or any Beam file system."""
    if not is_remote(path):
        with open(path, "rb") as file:
            return file.read()
    from apache_beam.io.filesystem import CompressionTypes
    from apache_beam.io.filesystems import FileSystems

    with FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED) as file:
        return file.read()


def read_rows(list_path: str) -> list[Row]:
    """Returns the rows of a list file.

    Raises:
      InputError: naming every malformed row (the first 20 and a count), or that the list is missing
        or empty.
    """
    rows, problems = parse_rows(list_path)
    refuse(problems)
    return rows


def parse_rows(list_path: str) -> tuple[list[Row], list[Problem]]:
    """Returns the rows of a list file and its malformed rows; a row is one line of CSV.

    Raises:
      InputError: if the list is missing, empty or no text.
    """
    rows, problems = [], []
    for line, text in enumerate(_list_text(list_path).replace("\r\n", "\n").split("\n"), start=1):
        try:
            cells = [
                cell.strip()
                for columns in csv.reader([text], skipinitialspace=True, strict=True)
                for cell in columns
            ]
        except csv.Error as error:
            problems.append(Problem(list_path, line, text, f"malformed row: {error}"))
            continue
        if not any(cells):
            continue
        if len(cells) > 2 or not cells[0]:
            reason = (
                f"malformed row: expected `path` or `path,target`, received {len(cells)} "
                f"columns {cells}"
            )
            problems.append(Problem(list_path, line, cells[0], reason))
        else:
            rows.append(Row(list_path, line, cells[0], cells[1] if len(cells) == 2 else ""))
    if not rows and not problems:
        raise InputError(
            f"{list_path}: the list is empty; it needs one `path` or `path,target` a line"
        )
    return rows, problems


def _list_text(list_path: str) -> str:
    if not is_remote(list_path):
        if not os.path.exists(list_path):
            raise InputError(f"{list_path}: no such list file")
        if os.path.isdir(list_path):
            raise InputError(
                f"{list_path}: is a directory, expected a text file with one image a line"
            )
    try:
        return read_bytes(list_path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{list_path}: is not UTF-8 text ({error.reason} at byte {error.start})"
        ) from error
    except OSError as error:
        raise InputError(f"{list_path}: cannot be read: {error}") from error


def check_rows(rows: Iterable[Row], task: Task) -> list[Problem]:
    """Returns the rows whose image is not a readable file or whose target breaks a rule of the
    task.
    """
    problems = []
    for row in rows:
        reason = task.problem(row.target) or _path_problem(row.path, "image")
        if (
            task.target_is_file
            and not reason
            and (reason := _path_problem(row.target_path, task.target.replace("_", " ")))
        ):
            reason += f" {row.target_path}"
        if reason:
            problems.append(Problem(row.list_path, row.line, row.path, reason))
    return problems


def _path_problem(path: str, kind: str) -> str:
    if is_remote(path):
        return ""  # seen when it is read: asking a remote store file by file would take longer
    if os.path.isfile(path):
        return "" if os.access(path, os.R_OK) else f"{kind} cannot be read (permission)"
    return (
        f"is a directory, not {'an' if kind == 'image' else 'a'} {kind}"
        if os.path.isdir(path)
        else f"no such {kind}"
    )


def refuse(problems: Sequence[Problem], total: int = 0) -> None:
    """Raises an InputError that tells the first 20 problems and how many there are, if there are
    any.

    Args:
      problems: the bad rows, or the first of them.
      total: how many there are in all, if more than `problems` holds.
    """
    count = max(total, len(problems))
    if count:
        lines = [str(problem) for problem in problems[:SHOWN_PROBLEMS]]
        more = [f"... and {count - len(lines)} more"] if count > len(lines) else []
        noun = "row" if count == 1 else "rows"
        raise InputError("\n".join([f"{count} bad {noun}:", *lines, *more]))


def fingerprint(rows: Sequence[Row], with_targets: bool = False) -> str:
    """Returns a short digest of every row's path, target, and size and time of change of its files:
    what the cache key must see.

    Args:
      rows: of one list.
      with_targets: whether targets are files too.

    Raises:
      InputError: if a file is missing.
    """
    digest = hashlib.sha256()
    files = [[row.path, row.target_path] if with_targets else [row.path] for row in rows]
    stats = _remote_stats([path for paths in files for path in paths if is_remote(path)])
    for row, paths in zip(rows, files, strict=True):
        seen = [
            f"{size}\0{changed}"
            for size, changed in (stats.get(path) or _local_stat(row, path) for path in paths)
        ]
        digest.update("\0".join([row.path, row.target, *seen]).encode() + b"\n")
    return f"rows:{len(rows)},sha256:{digest.hexdigest()[:24]}"


def _local_stat(row: Row, path: str) -> tuple[int, int]:
    try:
        stat = os.stat(path)
    except OSError as error:
        raise InputError(
            str(Problem(row.list_path, row.line, path, f"no such file ({error.strerror})"))
        ) from error
    return stat.st_size, stat.st_mtime_ns


def _remote_stats(paths: list[str]) -> dict[str, tuple[int, float]]:
    if not paths:
        return {}
    from apache_beam.io.filesystems import FileSystems

    found = [match.metadata_list for match in FileSystems.match(paths)]
    return {
        files[0].path: (files[0].size_in_bytes, files[0].last_updated_in_seconds)
        for files in found
        if files
    }
