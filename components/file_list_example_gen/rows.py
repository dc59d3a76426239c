"""Reads list files: one image a row, `path` or `path,target`, and checks every row before hours are
spent.

Paths are absolute, or relative to the folder of the list; local, or on any Beam file system
(`gs://...`). Standard library alone, so that a wrong list is told at once; Beam is imported only
for a list that is not local.
"""

import codecs
import csv
import hashlib
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from components.file_list_example_gen.layout import (
    Layout,
    exact_name,
    folder_of,
    is_remote,
    layout_of,
    lines_of,
    parted_otherwise,
    resolved,
)
from components.file_list_example_gen.names import closed, no_file
from trainer_module.errors import InputError, visible
from trainer_module.findings import SHOWN_EXAMPLES, counted
from trainer_module.image_headers import is_picture
from trainer_module.tasks.task import Task

ON_BAD_ROW = ("fail", "skip")  # what a row does that cannot be read: end the run, or be left out
SHOWN_PROBLEMS = 20  # reasons
MEND = "mend or remove them"
MEND_ALL = "mend them"
WEB = ("http://", "https://", "ftp://")
WEB_PAGE = "is a web address: download it first, and name the file"
EXPECTED = "expected a text file with one image a line"
IS_FOLDER = f"is a directory, {EXPECTED}"
IS_PICTURE = f"is a picture, {EXPECTED}. Fix: of a folder of pictures, --images=DIR"
JSON = re.compile(r'\s*[{\[]\s*["{\[]')  # how it begins


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
        return resolved(self.name, folder_of(self.list_path))

    @property
    def target_path(self) -> str:
        """Where the file lies that the target names, if it names one; resolved as the image is."""
        folder = folder_of(self.list_path)
        return resolved(exact_name(self.target, self.target, folder), folder)

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

    @property
    def place(self) -> str:
        """Where it stands, as `list:line: path`."""
        return visible(f"{self.list_path}:{self.line}: {self.path}", kept="")

    def __str__(self):
        return f"{self.place}: {visible(self.reason, kept='')}"


def read_bytes(path: str) -> bytes:
    """Returns the content of a file on the local or any Beam file system.

    Raises:
      OSError: if it cannot be read, or is no file.
    """
    if is_web(path):
        raise OSError(WEB_PAGE)
    if not is_remote(path):
        if kind := no_file(path):
            raise OSError(f"is {kind}, not a file")
        with open(path, "rb") as file:
            return file.read()
    from components.file_list_example_gen.remote import read

    return read(path)


def read_rows(list_path: str) -> list[Row]:
    """Returns the rows of a list file.

    Raises:
      InputError: telling the malformed rows by reason, or that the list is missing
        or empty.
    """
    rows, problems = parse_rows(list_path)
    refuse(problems)
    return rows


@dataclass(frozen=True)
class ListFile:
    """What a list file says: its rows, its malformed rows, how it is written, and the rows whose
    image has its name in other characters than the list.
    """

    rows: list[Row]
    problems: list[Problem]
    layout: Layout
    respelled: list[Row]


def parse_rows(list_path: str) -> tuple[list[Row], list[Problem]]:
    """Returns the rows of a list file and its malformed rows.

    Raises:
      InputError: if the list is missing, empty, no text or not understood.
    """
    found = read_list(list_path)
    return found.rows, found.problems


def read_list(list_path: str) -> ListFile:
    """Returns all that a list file says; a row is one line, of CSV unless it is clearly otherwise.

    Raises:
      InputError: if the list is missing, empty, no text or not understood.
    """
    lines = lines_of(_list_text(list_path))
    if not lines:
        raise InputError(
            f"{list_path}: the list is empty; it needs one `path` or `path,target` a line"
        )
    layout = layout_of(list_path, lines)
    rows, problems, respelled, folder = [], [], [], folder_of(list_path)
    for line, text in lines[1:] if layout.header else lines:
        made = _row((list_path, folder), line, text, layout)
        if isinstance(made, Problem):
            problems.append(made)
            continue
        rows.append(made)
        if made.name not in text and made.name not in text.replace('""', '"'):
            respelled.append(made)
    return ListFile(rows, problems, layout, respelled)


def _row(place: tuple[str, str], line: int, text: str, layout: Layout) -> Row | Problem:
    list_path, folder = place
    try:
        cells = layout.cells(text)
    except csv.Error as error:
        return Problem(list_path, line, text, f"malformed row: {error}")
    if len(cells) > layout.columns or len(cells) <= layout.path or not cells[layout.path]:
        reason = (
            f"malformed row: expected `path` or `path,target`, received {len(cells)} "
            f"columns {cells}"
        )
        return Problem(list_path, line, cells[0] if cells else text, reason)
    there = layout.target is not None and len(cells) > layout.target
    name = cells[layout.path]
    alone = len(cells) == 1 and layout.columns > 1
    if alone and (other := parted_otherwise(name, text, layout.way, folder)):
        reason = f"columns parted by {other}, those of the list by {layout.way}"
        return Problem(list_path, line, name, f"malformed row: {reason}")
    if " " in text or "\\" in text or not text.isascii():
        name = exact_name(name, text, folder)
    return Row(list_path, line, name, cells[layout.target] if there else "")


def _list_text(list_path: str) -> str:
    if not is_remote(list_path):
        if not os.path.exists(list_path):
            raise InputError(f"{list_path}: {closed(list_path) or 'no such list file'}")
        if os.path.isdir(list_path):
            raise InputError(f"{list_path}: {IS_FOLDER}")
    try:
        content = read_bytes(list_path)
    except OSError as error:
        reason = error if error.errno or is_remote(list_path) else f"it {error}"
        raise InputError(f"{list_path}: cannot be read: {reason}") from error
    return _decoded(content, list_path)


def _decoded(content: bytes, list_path: str) -> str:
    # Excel's "Unicode text" says by its first bytes what it is.
    is_wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = content.decode("utf-16" if is_wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        if is_picture(content):
            raise InputError(f"{list_path}: {IS_PICTURE}") from error
        raise InputError(
            f"{list_path}: is not UTF-8 text ({error.reason} at byte {error.start}). Fix: save it "
            f"as UTF-8, with commas"
        ) from error
    if "\0" in text:
        raise InputError(f"{list_path}: holds zero bytes, which no text has. Fix: save it as UTF-8")
    if JSON.match(text):
        raise InputError(f"{list_path}: is JSON; a list has one `path` or `path,target` a line")
    return text


def check_rows(rows: Iterable[Row], task: Task) -> list[Problem]:
    """Returns the rows whose image is not a readable file or whose target breaks a rule of the
    task.
    """
    return [
        Problem(row.list_path, row.line, row.path, reason)
        for row in rows
        if (reason := _row_problem(row, task))
    ]


def _row_problem(row: Row, task: Task) -> str:
    """Returns why a row cannot be used, or ''."""
    if reason := task.problem(row.target) or path_problem(row.path, "image"):
        return reason
    if not task.target_is_file:
        return ""
    if reason := path_problem(row.target_path, task.target.replace("_", " ")):
        return f"{reason} {row.target_path}"
    return own_target(row, task)


def own_target(row: Row, task: Task) -> str:
    """Returns what is wrong with a row whose target is its image, or ''."""
    is_own = task.target_is_file and row.target_path == row.path
    return "the label map is the image itself" if is_own else ""


def is_web(path: str) -> bool:
    """Tells whether a path is the address of a web page, which nothing here reads."""
    return path.lower().startswith(WEB)


def path_problem(path: str, kind: str) -> str:
    """Returns why a path names no readable file, or ''."""
    if is_web(path):
        return WEB_PAGE
    if is_remote(path):
        return ""  # seen when it is read: asking a remote store file by file would take longer
    if os.path.isfile(path):
        return "" if os.access(path, os.R_OK) else f"{kind} cannot be read (permission)"
    found = "a directory" if os.path.isdir(path) else no_file(path)
    if found:
        return f"is {found}, not {'an' if kind == 'image' else 'a'} {kind}"
    if why := closed(path):
        return f"{why} on the way to the {kind}"
    return f"no such {kind}"


def told_by_reason(problems: Iterable[Problem]) -> list[str]:
    """Returns lines that tell problems, of the first 20 reasons: those of many rows with how many
    there are, and the first 3.
    """
    rows: dict[str, list[Problem]] = {}
    for problem in problems:
        rows.setdefault(problem.reason, []).append(problem)
    lines = []
    for reason, alike in list(rows.items())[:SHOWN_PROBLEMS]:
        if len(alike) <= SHOWN_EXAMPLES:
            lines += map(str, alike)
            continue
        lines.append(visible(f"{counted(len(alike), 'row')}: {reason}", kept=""))
        lines += [f"  {problem.place}" for problem in alike[:SHOWN_EXAMPLES]]
        lines.append(f"  ... and {len(alike) - SHOWN_EXAMPLES:,} more")
    left = sum(map(len, list(rows.values())[SHOWN_PROBLEMS:]))
    return lines + ([f"... and {left:,} more"] if left else [])


def refuse(problems: Sequence[Problem], fix: str = MEND) -> None:
    """Raises an InputError that tells how many problems there are, their reasons and the fix, if
    there are any.
    """
    if problems:
        lines = [f"{counted(len(problems), 'bad row')}:", *told_by_reason(problems), f"Fix: {fix}"]
        raise InputError("\n".join(lines))


def refuse_of_run(problems: Sequence[Problem], rest_will_do: bool) -> None:
    """Raises an InputError as `refuse`, of rows that a run could leave out if the rest will do."""
    refuse(problems, f"{MEND}, or --on_bad_row=skip" if rest_will_do else MEND_ALL)
