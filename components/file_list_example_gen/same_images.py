"""Finds rows that name one image twice before hours go into a number that they falsify.

Images are one if they are one file, however spelled: `a.png`, `./a.png`, its absolute path and a
link to it. Copies, the same bytes in two files, are found once the images were read, from their
index. Standard library alone, so that a wrong list is told at once.
"""

import os
from collections.abc import Mapping
from typing import Any

from components.file_list_example_gen import image_index
from components.file_list_example_gen.held_out import is_split
from components.file_list_example_gen.layout import is_remote
from components.file_list_example_gen.rows import Problem, Row, parse_rows, refuse
from trainer_module.errors import InputError
from trainer_module.findings import NOTE, REFUSED, WARNING, Finding, counted, first
from trainer_module.tasks.task import Task
from trainer_module.tasks.unlabelled import Unlabelled

TWO_NAMES = "is held out or trained on by its name, but has another name too; name it once"
RowsByImage = dict[str, list[Row]]  # real path of an image -> the rows that name it


class RealPaths:
    """Follows links; each folder once, so that 60,000 rows take a moment."""

    def __init__(self):
        self._folders = {}

    def of(self, path: str) -> str:
        """Returns the one path of a local file; a remote path is returned as it is."""
        if is_remote(path):
            return path
        folder, name = os.path.split(path)
        try:
            return self.of(os.path.join(folder, os.readlink(path)))
        except OSError:  # no link
            pass
        if folder not in self._folders:
            self._folders[folder] = os.path.realpath(folder)
        return os.path.join(self._folders[folder], name)


def doubles(lists: Mapping[str, list[Row]], task: Task) -> list[Finding]:
    """Refuses rows that name an image again where that falsifies a number, returns the others.

    Args:
      lists: rows by split, as `parse_rows` returns them, each good by itself.
      task: what the targets of the splits `train` and `eval` mean.

    Raises:
      InputError: naming both rows of an image that is trained on and held out, or has two
        different targets.
    """
    paths = RealPaths()
    places = {split: _rows_by_image(rows, paths) for split, rows in lists.items()}
    problems, parted = _leaks(places), is_split(lists, task.has_target)
    for split, images in places.items():
        meaning = Unlabelled() if split == "pretrain" else task
        problems += _contradictions(images, meaning, paths, parted)
    refuse(problems)
    found = [finding for images in places.values() for finding in _repeated(images)]
    return found + _pretrained_on(places)


def _rows_by_image(rows: list[Row], paths: RealPaths) -> RowsByImage:
    places = {}
    for row in rows:
        places.setdefault(paths.of(row.path), []).append(row)
    return places


def _leaks(places: Mapping[str, RowsByImage]) -> list[Problem]:
    train, held_out = places["train"], places.get("eval", {})
    return [
        _problem(row, "stands in the training list too", train[place][0])
        for place, rows in held_out.items()
        if place in train
        for row in rows
    ]


def _contradictions(
    images: RowsByImage, task: Task, paths: RealPaths, parted: bool
) -> list[Problem]:
    """Returns the rows that cannot stand beside the first one of their image.

    Args:
      images: of one list.
      task: what its targets mean.
      paths: to compare targets that are files.
      parted: whether a part of the list is held out by a hash of names, which two names of
        an image do not share.
    """
    problems = []
    for kept, *others in images.values():
        for row in others:
            if _target(row, task, paths) != _target(kept, task, paths):
                reason = f"has the target {row.target!r} here, but {kept.target!r} in another row"
                problems.append(_problem(row, reason, kept))
            elif parted and row.name != kept.name:
                problems.append(_problem(row, TWO_NAMES, kept))
    return problems


def _target(row: Row, task: Task, paths: RealPaths) -> Any:
    """Returns what ingest would make of a row's target, or which file it would read for it."""
    if not task.has_target:
        return None
    if task.target_is_file:
        return paths.of(row.target_path)
    return task.example_fields(row.target, (0, 0))


def _problem(row: Row, reason: str, other: Row) -> Problem:
    return Problem(row.list_path, row.line, row.path, f"{reason}: {_shown(other)}")


def _shown(row: Row) -> str:
    return f"{row.list_path}:{row.line}: {row.path}"


def _repeated(images: RowsByImage) -> list[Finding]:
    doubles = [(row, kept) for kept, *others in images.values() for row in others]
    if not doubles:
        return []
    count = "1 row repeats" if len(doubles) == 1 else f"{len(doubles):,} rows repeat"
    told = f"In {doubles[0][0].list_path} {count} an image; each row counts"
    examples = first(f"{_shown(row)} and {_shown(kept)}" for row, kept in doubles)
    fix = "leave one row an image, unless it shall count more than others"
    return [Finding(NOTE, "repeated rows", told, len(doubles), examples, fix)]


def _pretrained_on(places: Mapping[str, RowsByImage]) -> list[Finding]:
    held_out, pretrained = places.get("eval", {}), places.get("pretrain", {})
    shared = [held_out[place][0] for place in held_out if place in pretrained]
    if not shared:
        return []
    told = (
        f"{counted(len(shared), 'image')} of the evaluation list {_are(shared)} pretrained on "
        f"(without labels)"
    )
    fix = "leave them out of the pretraining list, if they stand for images that are new"
    return [Finding(NOTE, "pretrained on", told, len(shared), first(map(_shown, shared)), fix)]


def _are(things: list) -> str:
    return "is" if len(things) == 1 else "are"


def copied(
    indexes: Mapping[str, image_index.Index], lists: Mapping[str, str], has_target: bool = True
) -> list[Finding]:
    """Returns what is wrong where two files hold the same bytes.

    Args:
      indexes: of images, by split.
      lists: path of the list by split; where `eval` has none, it was held out of `train`.
      has_target: whether the images of `train` and `eval` have targets.
    """
    found = [*_leaked(copies(indexes, lists), len(indexes["eval"].by_id()) if "eval" in indexes
                      else 0)]  # fmt: skip
    for split in ("train", "eval") if has_target else ():
        if split in indexes:
            found += _in_one_split(indexes[split], lists.get(split, lists["train"]), split)
    return found


def _leaked(pairs: list[tuple[str, str]], held_out: int) -> list[Finding]:
    if not pairs:
        return []
    are = "is" if len(pairs) == 1 else "are"
    told = (
        f"{len(pairs):,} of {counted(held_out, 'held out image')} {are} trained on too, as a copy "
        f"under another name: the score is better than that of new images"
    )
    examples = first(f"{one} is held out, and trained on as {other}" for one, other in pairs)
    severity = REFUSED if len(pairs) == held_out else WARNING
    fix = "take the copies out of one of the lists"
    return [Finding(severity, "held out copies", told, len(pairs), examples, fix)]


def _in_one_split(index: image_index.Index, list_path: str, split: str) -> list[Finding]:
    """Returns the images of a split that stand there again in another file."""
    by_image: dict[bytes, dict[bytes, list[bytes]]] = {}
    for number, (image, target) in index.by_id().items():
        by_image.setdefault(image, {}).setdefault(target, []).append(number)
    same, other = [], []
    for targets in by_image.values():
        if len(targets) > 1:
            other.append([numbers[0] for numbers in targets.values()][:2])
        same += [numbers[:2] for numbers in targets.values() if len(numbers) > 1]
    named = _named(list_path) if same or other else {}
    told = {
        "copies with two targets": (WARNING, other, "with another target", "keep the right one"),
        "copies": (NOTE, same, "under another name", "keep one of each"),
    }
    return [
        Finding(
            severity,
            kind,
            f"{counted(len(pairs), 'image')} of the split {split!r} also as a copy {how}",
            len(pairs),
            first(sorted(" and ".join(_name(one, named) for one in pair) for pair in pairs)),
            fix,
        )
        for kind, (severity, pairs, how, fix) in told.items()
        if pairs
    ]


def copies(
    indexes: Mapping[str, image_index.Index], lists: Mapping[str, str]
) -> list[tuple[str, str]]:
    """Returns each held out image whose bytes are trained on too, and the image that has them.

    Args:
      indexes: of images, by split.
      lists: path of the list by split, as the examples were read; where `eval` has none, it was
        held out of `train`.

    Returns:
      Rows as `list:line: path`, in the order of the held out ones; `image ID` where a list names
      one no longer.
    """
    if not {"train", "eval"} <= indexes.keys():
        return []
    trained_on = {image: number for number, (image, _) in indexes["train"].by_id().items()}
    held_out = indexes["eval"].by_id().items()
    pairs = [(number, trained_on[image]) for number, (image, _) in held_out if image in trained_on]
    if not pairs:
        return []
    named, evaluated = _named(lists["train"]), _named(lists.get("eval", lists["train"]))
    places = {number: place for place, number in enumerate(evaluated)}
    pairs = sorted(pairs, key=lambda pair: places.get(_id(pair[0]), len(places)))
    return [(_name(first, evaluated), _name(second, named)) for first, second in pairs]


def _id(number: bytes) -> int:
    return int.from_bytes(number, "big")


def _name(number: bytes, named: Mapping[int, str]) -> str:
    return named.get(_id(number), f"image {_id(number)}")


def _named(list_path: str) -> dict[int, str]:
    """Returns id -> row of a list; nothing where it can be read no more, since the run is over."""
    try:
        rows, _ = parse_rows(list_path)
    except InputError:
        return {}
    return {row.image_id: _shown(row) for row in rows}
