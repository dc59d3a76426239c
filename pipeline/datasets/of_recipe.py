"""Writes a recipe's own data set, once for its options and source, into a folder below data/.

A record in the folder says what lies there; while a data set is being written it names no list, so
that one which was cut off does not count.
"""

import dataclasses
import importlib
import inspect
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.config import Configuration, Lists
from pipeline.datasets import files
from trainer_module.errors import InputError

DATA = Path("data")
RECORD = ".written"


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


def with_dataset(configuration: Configuration, source: str) -> Configuration:
    """Writes the recipe's own data set, unless it is there, and returns what names its lists.

    Args:
      configuration: of the run.
      source: archive or folder to read from, where the data set is not generated; '' for the one
        it was read from before.

    Raises:
      InputError: if the source is missing or has no meaning, or there is no list for the task.
    """
    if not configuration.dataset.name:
        rule = "`--source` is of a recipe's data set, and has no meaning beside lists of your own"
        files.require(not source, rule, source=source)
        return configuration
    name, options = configuration.dataset.name, configuration.dataset.options
    # A whole data set is written once for all recipes.
    folder = DATA / (configuration.recipe if options else name)
    written = _written(folder, Written(name, json.loads(json.dumps(options)), source))
    splits = ("train", "eval")
    lists = [str(folder / _list_for(configuration.task, written, split)) for split in splits]
    return dataclasses.replace(configuration, lists=Lists(*lists))


def _written(folder: Path, wanted: Written) -> Written:
    """Returns what the folder holds once it holds what is wanted."""
    module = importlib.import_module(f"pipeline.datasets.{wanted.name}")
    accepted = inspect.signature(module.write).parameters
    before = _read(folder)
    again = bool(before) and before.name == wanted.name and not wanted.source
    source = before.source if again else wanted.source and str(Path(wanted.source).resolve())
    wanted = dataclasses.replace(wanted, source=source)
    if before and _whole(folder, before) and _as_asked(before, wanted):
        return before
    _require_source(wanted, accepted, again)
    given = {"source": source} if source else {"download": True} if "download" in accepted else {}
    verb = "Downloading" if "download" in given else "Writing"
    origin = f" from {source}{', as before' if again else ''}" if source else ""
    print(f"{verb} the data set {wanted.name} into {folder}{origin} ...", flush=True)
    _note(folder, wanted)
    lists = module.write(folder, **wanted.options, **given)
    wanted = dataclasses.replace(wanted, lists=[path.name for path in lists.values()])
    _note(folder, wanted)
    return wanted


def _read(folder: Path) -> Written | None:
    """Returns what the record says; None if there is none that can be read."""
    try:
        text = (folder / RECORD).read_text(encoding="utf-8")
        name, options, source, *lists = json.loads(text)
    except (FileNotFoundError, ValueError):
        return None
    if lists:
        return Written(name, options, source, lists[0])
    # A record of an earlier version, which named no lists.
    return Written(name, options, source, sorted(path.name for path in folder.glob("*.csv")))


def _note(folder: Path, written: Written) -> None:
    record = [written.name, written.options, written.source, list(written.lists)]
    files.write_file(folder / RECORD, json.dumps(record).encode())


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
    if source and "source" not in accepted:
        rule = f"`--source` has no meaning for the data set {name!r}, which needs none"
        raise InputError(f"{rule}. Received: {source!r}")
    needed = "source" in accepted and accepted["source"].default is inspect.Parameter.empty
    if needed and not source:
        rule = f"`--source` is missing: the data set {name!r} is read from a folder or archive"
        raise InputError(f"{rule} of yours")
    if source and not Path(source).exists():
        if again:
            rule = f"The data set {name!r} must be written again, but its source {source} is gone"
            raise InputError(f"{rule}. Fix: name another with --source")
        rule = "`--source` must be a folder or an archive that is there"
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
