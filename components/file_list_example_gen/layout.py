"""How a list is written: what parts its columns, whether it has a header, where path and target
stand.

A list is CSV, `path` or `path,target`. What other programs write besides (tabs, semicolons, bars,
spaces, a header, the index column of a table) is read where it can be meant one way only, and told.
The files themselves are the evidence: that way of reading is right under which the images are
there.
Standard library alone.
"""

import csv
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import unquote

from trainer_module.errors import InputError
from trainer_module.image_headers import has_ending

Line = tuple[int, str]  # number from 1, text

PATH_WORDS = {
    "path", "paths", "file", "files", "filename", "file_name", "filenames", "filepath",
    "file_path", "image", "images", "image_path", "imagepath", "image_file", "image_name", "img",
    "img_path", "img_name", "name", "uri", "url",
}  # fmt: skip
TARGET_WORDS = {
    "label", "labels", "class", "classes", "class_name", "class_id", "classname", "category",
    "target", "targets", "y", "labelmap", "label_map", "mask", "mask_path", "number", "age",
}  # fmt: skip
INDEX_WORDS = {"", "index", "idx", "id", "unnamed: 0", "no", "nr", "#"}
FILE_ADDRESS = "file://"
PARTING = frozenset(",;|\t ")
SAMPLE = 64  # lines whose files are looked for
MOST_COLUMNS = 4  # that are looked at for paths


def _csv(delimiter: str) -> Callable[[str], list[str]]:
    blanks = re.compile(rf'(?<!")" +(?={re.escape(delimiter)}|$)')  # behind a quoted cell

    def cells(text: str) -> list[str]:
        found = csv.reader([text], delimiter=delimiter, skipinitialspace=True, strict=True)
        return [cell.strip() for columns in found for cell in columns]

    def with_or_without_blanks(text: str) -> list[str]:
        try:
            return cells(text)
        except csv.Error:
            return cells(blanks.sub('"', text))

    return with_or_without_blanks


def _at_space(split: Callable[[str], list[str]]) -> Callable[[str], list[str]]:
    return lambda text: _csv(" ")(text.strip()) if text.lstrip()[:1] == '"' else split(text)


# In the order in which they are preferred where several fit alike.
WAYS: Mapping[str, Callable[[str], list[str]]] = {
    "commas": _csv(","),
    "tabs": _csv("\t"),
    "semicolons": _csv(";"),
    "bars": _csv("|"),
    "the first space": _at_space(lambda text: text.split(None, 1)),
    "the last space": _at_space(lambda text: text.rsplit(None, 1)),
    "nothing": lambda text: [text.strip()],
}


@dataclass(frozen=True)
class Layout:
    """How the rows of one list are read.

    Attributes:
      way: a key of WAYS.
      path: column of the image's path, from 0.
      target: column of the target; None if there is none.
      columns: that a row may have.
      header: whether the first row names the columns.
      told: what is unlike `path,target`, a part of a sentence each.
      unread: name of a column that is neither -> how many rows have each of its values.
    """

    way: str = "commas"
    path: int = 0
    target: int | None = 1
    columns: int = 2
    header: bool = False
    told: tuple[str, ...] = ()
    unread: Mapping[str, Counter[str]] = field(default_factory=dict)

    def cells(self, text: str) -> list[str]:
        """Returns the columns of a row.

        Raises:
          csv.Error: if it is malformed.
        """
        return WAYS[self.way](text)


def lines_of(text: str) -> list[Line]:
    """Returns the lines of a text that are not blank, whichever characters end them."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return [(number, line) for number, line in enumerate(lines, start=1) if line.strip()]


def spelled(name: str, folder: str) -> str:
    """Returns a name as the file system has it, where that tells apart what lists write alike.

    Windows' backslashes and the two ways to write an umlaut are tried where no file has the name
    itself; '' if none has any.
    """
    names = [name, name.replace("\\", "/") if "\\" in name else name]
    if not name.isascii():
        names += [unicodedata.normalize(form, names[1]) for form in ("NFC", "NFD")]
    return next((one for one in names if one and _is_there(one, folder)), "")


def exact_name(name: str, text: str, folder: str) -> str:
    """Returns the name of a row's image as the file system has it, where that can be told.

    Spaces about a name belong to it if only the name with them is there.
    """
    if text[:1] == " " or f"{name} " in text:
        spaced = _with_spaces(name, text)
        if len(spaced) > 1 and not _is_there(name, folder):
            name = next((one for one in spaced if _is_there(one, folder)), name)
    odd = "\\" in name or not name.isascii()
    return (spelled(name, folder) or name) if odd else name


def _with_spaces(name: str, text: str) -> list[str]:
    start = text.find(name)
    if start < 0:
        return [name]
    end = start + len(name)
    before = len(text[:start]) - len(text[:start].rstrip(" "))
    after = len(text[end:]) - len(text[end:].lstrip(" "))
    return [name, *(f"{' ' * left}{name}{' ' * right}" for left in {0, before}
                    for right in {0, after} if left or right)]  # fmt: skip


def _is_there(name: str, folder: str) -> bool:
    path = resolved(name, folder)
    if is_remote(path):
        return has_ending(path)  # asking a remote store file by file would take long
    try:
        return os.path.isfile(path)
    except ValueError:  # a character that no name has
        return False


def folder_of(list_path: str) -> str:
    """Returns the folder of a list, against which its relative paths are resolved."""
    return list_path.rsplit("/", 1)[0] if "/" in list_path else "."


def resolved(name: str, folder: str) -> str:
    """Returns where a file lies that a list in `folder` names; of a file:// address, its path."""
    if "://" in name:
        if not name.startswith(FILE_ADDRESS):
            return name
        return unquote(name.removeprefix(FILE_ADDRESS).removeprefix("localhost")) or name
    return name if name.startswith("/") else f"{folder}/{name}"


def is_remote(path: str) -> bool:
    """Tells whether a path belongs to a Beam file system other than the local one."""
    return "://" in path and not path.startswith(FILE_ADDRESS)


def layout_of(list_path: str, lines: Sequence[Line]) -> Layout:
    """Returns how a list is written.

    Args:
      list_path: where it lies; relative paths are resolved against its folder.
      lines: all of it.

    Raises:
      InputError: if it has more columns than can be understood, naming what was found.
    """
    folder = folder_of(list_path)
    body = lines[1:]
    sample = [text for _, text in lines[:: max(1, len(lines) // SAMPLE)]]
    share, way, path = _best(sample, folder)
    first = _cells(way, lines[0][1])
    if not share:
        way = _by_shape(sample)
        header = bool(first) and len(lines) > 1 and first[0].lower() in PATH_WORDS
        if len(lines) == 1 and _in_words_of_headers(_cells(way, lines[0][1]), 0):
            raise InputError(
                f"{list_path}: has a header and no row. Received: {lines[0][1]!r}. Fix: one "
                f"`path` or `path,target` a line below it"
            )
        return Layout(way, header=header, told=_told(way, header, first))
    others = sample[1:] if len(sample) > 2 else []
    whole = bool(others) and _share(others, way, path, folder) == 1.0
    header = len(lines) > 1 and _is_header(first, path, whole, folder)
    path = _named_path(first, sample, way, folder, path) if header else path
    rows = [_cells(way, text) for _, text in (body if header else lines)]
    columns = Counter(map(len, rows)).most_common(1)[0][0]
    if columns <= 2 and path == 0:
        return Layout(way, header=header, told=_told(way, header, first))
    # of fewer names than columns none is certain
    names = first[:columns] if header and len(first) >= columns else []
    target, dropped = _target_column(rows, path, columns, names)
    if target is ...:
        shown = f"line {lines[1 if header else 0][0]}: {rows[0]}"
        named = f", named {first}," if header else ""
        in_two = way == "commas" and all(cell.isdecimal() for cell in rows[0][-2:])
        raise InputError(
            f"{list_path}: {columns} columns{named} as in {shown}; a list is `path` or "
            f"`path,target`, and which column is the target cannot be told. Fix: write two "
            f"columns{', and decimals with a point' if in_two else ''}"
        )
    order = () if path < (columns if target is None else target) else ("the target stands first",)
    told = (*_told(way, header, first), *dropped, *order)
    unread = {name: Counter(row[column] for row in rows if len(row) == columns)
              for column, name in enumerate(names) if column not in (path, target)}  # fmt: skip
    return Layout(way, path, target, columns, header, told, unread)


def _best(sample: Sequence[str], folder: str) -> tuple[float, str, int]:
    """Returns the largest share of lines whose image is there, and the way and column of it."""
    best = (0.0, "commas", 0)
    for way in WAYS:
        rows = [_cells(way, text) for text in sample]
        for column in range(min(MOST_COLUMNS, max(map(len, rows)))):
            share = _share(sample, way, column, folder)
            if share > best[0]:
                best = (share, way, column)
            if any(len(row) > column and has_ending(row[column]) for row in rows):
                break  # what stands behind a path is no path of an image but a target
        if best[0] == 1.0:
            break
    return best


def _share(sample: Sequence[str], way: str, column: int, folder: str) -> float:
    """Returns the share of lines whose image is there if it stands in a column."""
    rows = [_cells(way, text) for text in sample]
    return sum(len(row) > column and bool(spelled(row[column], folder)) for row in rows) / len(rows)


def _cells(way: str, text: str) -> list[str]:
    try:
        return WAYS[way](text)
    except csv.Error:
        return []


def _by_shape(sample: Sequence[str]) -> str:
    """Returns the way in which all lines look alike, for a list none of whose images is there."""
    if any("," in text for text in sample):
        return "commas"
    for way in ("tabs", "semicolons"):
        if {len(_cells(way, text)) for text in sample} == {2}:
            return way
    words = [text.split() for text in sample]
    if all(len(row) == 2 and has_ending(row[0]) for row in words):
        return "the first space"
    return "commas"


def _is_header(first: list[str], path: int, whole: bool, folder: str) -> bool:
    """Tells whether the first row names the columns.

    Args:
      first: its cells.
      path: column of the paths.
      whole: whether the images of all other rows are there.
      folder: of the list.
    """
    if len(first) <= path or spelled(first[path], folder):
        return False
    if _in_words_of_headers(first, path):
        return True
    a_word = not has_ending(first[path]) and "/" not in first[path]
    return a_word and whole


def _in_words_of_headers(cells: list[str], path: int) -> bool:
    words = {cell.lower() for cell in cells}
    named = len(cells) > path and cells[path].lower() in PATH_WORDS
    return named or bool(words & PATH_WORDS and words & TARGET_WORDS)


def _named_path(header: list[str], sample: Sequence[str], way: str, folder: str, found: int) -> int:
    """Returns the column that a header names as the images', where files are there, too; else the
    one that was found: label maps are files as well.
    """
    named = [column for column, cell in enumerate(header) if cell.lower() in PATH_WORDS]
    is_there = len(named) == 1 and _share(sample, way, named[0], folder) > 0
    return named[0] if is_there else found


def parted_otherwise(name: str, text: str, way: str, folder: str) -> str:
    """Returns what parts the columns of a row, of which a list's own way makes a single name that
    is not there; '' if nothing else does.
    """
    if way == "nothing" or not PARTING.intersection(text) or spelled(name, folder):
        return ""
    others = [other for other in WAYS if other not in (way, "nothing", "the last space")]
    rows = {other: _cells(other, text) for other in others}
    fit = (other for other, row in rows.items() if len(row) > 1 and spelled(row[0], folder))
    return next(fit, "")


def _target_column(rows: list[list[str]], path: int, columns: int, header: list[str]):
    """Returns the target's column, None if there is none, ... if that cannot be told; and what was
    passed over. `header` names all columns, or is [].
    """
    others, dropped = [], []
    for column in range(columns):
        values = [row[column] for row in rows if len(row) == columns]
        name = header[column].lower() if header else ""
        if column == path:
            continue
        if column < path and name in INDEX_WORDS and _counts_up(values):
            dropped.append("an index column is passed over")
        elif any(values):
            others.append(column)
        else:
            dropped.append("an empty column is passed over")
    named = [one for one in others if header and header[one].lower() in TARGET_WORDS]
    if len(others) > 1 and len(named) == 1:
        passed = [header[one] for one in others if one not in named]
        what = f"columns {', '.join(passed)} are" if len(passed) > 1 else f"column {passed[0]} is"
        return named[0], (*dropped, f"the {what} passed over")
    if len(others) > 1:
        return ..., ()
    return (others[0] if others else None), tuple(dropped)


def _counts_up(values: Iterable[str]) -> bool:
    values = list(values)
    return len(values) > 1 and any(
        values == [str(number) for number in range(start, start + len(values))] for start in (0, 1)
    )


def _told(way: str, header: bool, first: list[str]) -> tuple[str, ...]:
    parted = () if way == "commas" else (f"columns are parted by {way}",)
    if way == "nothing":
        parted = ("a line is a path, commas and all",)
    named = (f"the first row names the columns: {', '.join(first)}",) if header else ()
    return (*parted, *named)
