"""Writes a recipe's own data set, once for its options and source, into a folder below data/.

A record in the folder says what lies there; while a data set is being written it names no list, so
that one which was cut off does not count.
"""

import dataclasses
import importlib
import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from pipeline.arguments import nearest
from pipeline.choices import IMAGES_FOLDER, Choices, Dataset, Lists
from pipeline.datasets import files
from trainer_module.errors import InputError

DATA = Path("data")
RECORD = ".written"
LISTS = "lists"  # in the pipeline root, of a folder of images


@dataclass(frozen=True)
class Written:
    """What a folder holds.

    Attributes:
      name: of the data set.
      options: that it was written with.
      source: absolute path that it was read from; '' if it was drawn, downloaded or in a package.
      lists: names of its list files; none if writing did not finish.
    """

    name: str
    options: Mapping[str, Any]
    source: str
    lists: Sequence[str] = ()


def lists_of(choices: Choices, hold_root: Callable[[], object] = lambda: None) -> Lists:
    """Returns the user's own lists; those of a folder of images, written into the pipeline root;
    or those of the recipe's data set, which is written unless it is there.

    Args:
      choices: of a person.
      hold_root: called before anything is written into the pipeline root.

    Raises:
      InputError: if there is no such data set, its source is missing or has no meaning, an option
        is none of its, or there is no list for the task.
    """
    chosen = choices.dataset
    if not chosen.name:
        return choices.lists
    options = json.loads(json.dumps(chosen.options))
    # A whole data set is written once for all recipes.
    folder = DATA / (choices.recipe if options else chosen.name)
    hold = hold_root if chosen.name == IMAGES_FOLDER else lambda: None
    if chosen.name == IMAGES_FOLDER:
        _refuse_root_of_images(choices)
        folder = choices.root / LISTS
        options |= {"labelled": False} if choices.task == "pretrain" else {}
    written = _written(folder, Written(chosen.name, options, chosen.source), hold)
    if not options.get("labelled", True):
        return Lists(str(folder / written.lists[0]))
    splits = ("train", "eval")
    return Lists(*(str(folder / _list_for(choices.task, written, split)) for split in splits))


def _refuse_root_of_images(choices: Choices) -> None:
    """Refuses a pipeline root whose folder is that of the images: the next run would learn from the
    reports of this one. Below that folder it is passed over.
    """
    if choices.root.resolve() == Path(choices.dataset.source).resolve():
        raise InputError(
            f"`--pipeline_root` must not be the folder of images itself. Received: {choices.root}. "
            f"Fix: leave it out, or another folder"
        )


def _written(folder: Path, wanted: Written, hold: Callable[[], object]) -> Written:
    """Returns what the folder holds once it holds what is wanted; it is held before it changes."""
    module = _module(wanted.name)
    accepted = inspect.signature(module.write).parameters
    _check_options(wanted, accepted)
    before = _read(folder)
    again = bool(before) and before.name == wanted.name and not wanted.source
    source = before.source if again else wanted.source and str(Path(wanted.source).resolve())
    wanted = dataclasses.replace(wanted, source=source)
    known = bool(before) and _whole(folder, before) and _as_asked(before, wanted)
    if known and not module.LISTS_ALONE:
        return before
    _require_source(wanted, accepted, again)
    hold()
    given = {"source": source} if source else {"download": True} if "download" in accepted else {}
    verb = "Downloading" if "download" in given else "Writing"
    origin = f" from {source}{', as before' if again else ''}" if source else ""
    if not known:
        print(f"{verb} the data set {wanted.name} into {folder}{origin} ...", flush=True)
    _note(folder, wanted)
    try:
        lists = module.write(folder, **wanted.options, **given)
    except InputError:
        if not before:
            _forget(folder)
        raise
    wanted = dataclasses.replace(wanted, lists=[path.name for path in lists.values()])
    _note(folder, wanted)
    return wanted


def _module(name: str) -> ModuleType:
    """Imports the module of a data set."""
    names = [path.stem for path in Path(__file__).parent.glob("[a-z]*.py")]
    known = sorted({*names} - {"files", "of_recipe"})
    if name not in known:
        hint = nearest(name, known, f"There are {', '.join(known)}")
        raise InputError(f"`dataset.name` must be a data set. Received: {name!r}. {hint}")
    return importlib.import_module(f"pipeline.datasets.{name}")


def _check_options(wanted: Written, accepted: Mapping[str, inspect.Parameter]) -> None:
    """Refuses an option that the function does not take, or not of that type."""
    known = [name for name in accepted if name not in ("output_dir", "source", "download")]
    for name, value in wanted.options.items():
        if name not in known:
            hint = nearest(name, known, f"It has {', '.join(known) or 'none'}")
            raise InputError(f"No option {name!r} of the data set {wanted.name!r}. {hint}")
        kind = accepted[name].annotation
        wrong = isinstance(value, bool) and kind is not bool
        if wrong or not isinstance(value, kind | int if kind is float else kind):
            told = getattr(kind, "__name__", kind)
            rule = f"`dataset.options.{name}` must be of type {told}"
            raise InputError(f"{rule}. Received: {value!r}")


def _read(folder: Path) -> Written | None:
    """Returns what the record says; None if there is none that can be read."""
    try:
        text = (folder / RECORD).read_text(encoding="utf-8")
        name, options, source, *lists = json.loads(text)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    if lists:
        return Written(name, options, source, lists[0])
    # A record of an earlier version, which named no lists.
    return Written(name, options, source, sorted(path.name for path in folder.glob("*.csv")))


def _note(folder: Path, written: Written) -> None:
    record = [written.name, written.options, written.source, list(written.lists)]
    files.write_file(folder / RECORD, json.dumps(record).encode())


def _forget(folder: Path) -> None:
    """Removes the record, and the folder where nothing else is in it."""
    (folder / RECORD).unlink()
    with suppress(OSError):
        folder.rmdir()


def _whole(folder: Path, written: Written) -> bool:
    return bool(written.lists) and all((folder / name).is_file() for name in written.lists)


def _as_asked(written: Written, wanted: Written) -> bool:
    return dataclasses.replace(written, lists=wanted.lists) == wanted


def _require_source(
    wanted: Written,
    accepted: Mapping[str, inspect.Parameter],
    again: bool,
) -> None:
    """Raises before anything is touched if there is nothing to read the data set from."""
    name, source = wanted.name, wanted.source
    flag = "--images" if name == IMAGES_FOLDER else "--source"
    if source and "source" not in accepted:
        rule = f"`--source` has no meaning for the data set {name!r}, which needs none"
        raise InputError(f"{rule}. Received: {source!r}")
    needed = "source" in accepted and accepted["source"].default is inspect.Parameter.empty
    if needed and not source:
        rule = f"`{flag}` is missing: the data set {name!r} is read from a folder or archive"
        raise InputError(f"{rule} of yours")
    if source and not Path(source).exists():
        if again:
            rule = f"The data set {name!r} must be written again, but its source {source} is gone"
            raise InputError(f"{rule}. Fix: name another with --source")
        kind = "a folder" if name == IMAGES_FOLDER else "a folder or an archive"
        rule = f"`{flag}` must be {kind} that is there"
        raise InputError(f"{rule}. Received: {source!r}")


def _list_for(task: str, written: Written, split: str) -> str:
    """Returns the list written for this task or for none; where images alone count, any.

    Raises:
      InputError: if there is none.
    """
    others = [name for name in written.lists if name.startswith(f"{split}_")]
    fit = [f"{split}_{task}.csv", f"{split}.csv", *(others if task == "pretrain" else [])]
    chosen = next((name for name in fit if name in written.lists), None)
    if chosen is None:
        there = ", ".join(written.lists)
        rule = f"The data set {written.name!r} has no list for --task={task}"
        raise InputError(f"{rule}. There are: {there}")
    return chosen


def check_dataset(chosen: Dataset) -> None:
    """Refuses a data set that there is not, or an option that is none of its; writes nothing.

    Raises:
      InputError: naming it, and the nearest.
    """
    if chosen.name:
        wanted = Written(chosen.name, chosen.options, chosen.source)
        _check_options(wanted, inspect.signature(_module(chosen.name).write).parameters)
