"""How a recipe, a file and the command line make a run's choices together.

Each is a layer: dotted names of settings, as in `pretraining.epochs`, each with its value. What a
layer says wins over all below it; what no layer says is the recipe's. The rules of the settings are
checked once, on what comes out. Standard library only.
"""

import dataclasses
import difflib
import math
import re
import typing
from collections.abc import Iterator, Mapping
from typing import Any

from pipeline.choices import Choices, absolute
from trainer_module.errors import InputError, require
from trainer_module.settings import MILD
from trainer_module.tasks.registry import TASKS

Layer = Mapping[str, Any]

OPTIONS = "dataset.options"  # its names are those of the function that writes the data set
LISTS = ("lists.train", "lists.eval", "lists.pretrain")
FOLDERS = ("save_paths.pretrain", "save_paths.finetune", "weights.file", "pipeline_root")


def _kinds(section: type, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for field in dataclasses.fields(section):
        if dataclasses.is_dataclass(field.type):
            yield from _kinds(field.type, f"{prefix}{field.name}.")
        elif field.compare:
            yield f"{prefix}{field.name}", field.type


KINDS: dict[str, Any] = dict(_kinds(Choices))  # setting -> its type
SECTIONS = {name.rpartition(".")[0] for name in KINDS} - {""} | {OPTIONS}


def kind_of(name: str) -> Any:
    """Returns the type of a setting.

    Raises:
      InputError: if there is none of that name; the message tells the nearest.
    """
    if name.startswith(f"{OPTIONS}."):
        return Any
    if name in SECTIONS:
        field = next((known for known in KINDS if known.startswith(f"{name}.")), f"{name}.NAME")
        raise InputError(f"{name!r} is a section; name one of its fields, as in {field!r}")
    if name not in KINDS:
        raise InputError(f"No setting {name!r}. {_nearest(name)}")
    return KINDS[name]


def _nearest(name: str) -> str:
    """Returns a hint at the setting that a wrong name may mean, or at those that there are."""
    head, _, last = name.rpartition(".")
    beside = {known.rpartition(".")[2]: known for known in KINDS if known.startswith(f"{head}.")}
    highest = sorted({known.partition(".")[0] for known in KINDS})
    near = [beside[other] for other in difflib.get_close_matches(last, beside, 1)]
    near = near or [known for known in KINDS if known.rpartition(".")[2] == last and not head]
    near = near or difflib.get_close_matches(name, KINDS if head else highest, 1)
    if near:
        return f"Did you mean {' or '.join(map(repr, near))}?"
    return f"There are {', '.join(beside.values() or highest)}"


def settings_of(section: Any, prefix: str = "") -> dict[str, Any]:
    """Returns the settings of a section, or of all choices, as a layer."""
    settings = {}
    for field in dataclasses.fields(section):
        name, value = f"{prefix}{field.name}", getattr(section, field.name)
        if dataclasses.is_dataclass(value):
            settings |= settings_of(value, f"{name}.")
        elif name == OPTIONS:
            settings |= {f"{name}.{option}": chosen for option, chosen in value.items()}
        elif field.compare:
            settings[name] = value
    return settings


def stacked(recipe: Choices, file: Layer, line: Layer, implied: Layer | None = None) -> Choices:
    """Returns the choices that the layers make.

    Args:
      recipe: the lowest layer; where it has no views of its own, `finetuning.views` are the task's.
      file: settings of a file.
      line: settings that the command line names.
      implied: settings that follow from flags of another name; below `line`.

    Raises:
      ValueError: naming the field, the rule and the value received.
    """
    lowest = settings_of(recipe)
    task = (lowest | {**file, **(implied or {}), **line})["task"]
    if recipe.finetuning.views == MILD and task in TASKS:  # a recipe's own are kept
        lowest |= settings_of(TASKS[task].mild, "finetuning.views.")
    settings = _over(_over(lowest, file), {**(implied or {}), **line})
    for name in FOLDERS:
        settings[name] = settings[name] and absolute(settings[name])
    named = {*line, *(name for name, value in file.items() if value != lowest.get(name))}
    return dataclasses.replace(_made(Choices, settings), named=frozenset(named))


def _over(below: Layer, layer: Layer) -> dict[str, Any]:
    """Returns a layer with what is below it, as far as that does not contradict what it says."""
    below = {**below}
    own_lists = any(layer.get(name) for name in LISTS) and not layer.get("dataset.name")
    other_dataset = layer.get("dataset.name", below["dataset.name"]) != below["dataset.name"]
    if own_lists or other_dataset:
        below = {name: value for name, value in below.items() if not name.startswith(OPTIONS)}
        below |= {"dataset.name": "", "dataset.source": ""}
    if other_dataset:
        below |= dict.fromkeys(LISTS, "")
    if layer.get("task", below["task"]) == "pretrain" and not below["lists.train"]:
        below["lists.train"] = layer.get("lists.pretrain", "")
    if layer.get("from_scratch"):
        below |= {"finetuning.freeze": False, "eval_epochs": ()}
    if layer.get("pretraining.minutes"):
        below["pretraining.epochs"] = max(1, below["pretraining.epochs"])  # 0 is no pretraining
    elif "pretraining.epochs" in layer:
        below["pretraining.minutes"] = 0.0
    warmup = below["pretraining.warmup_epochs"]
    epochs = layer.get("pretraining.epochs", warmup)
    if 0 <= epochs < warmup:  # made shorter than its warm-up, it warms up in proportion
        below["pretraining.warmup_epochs"] = warmup * epochs / below["pretraining.epochs"]
    return below | layer


def _made(section: type, settings: Layer, prefix: str = "") -> Any:
    """Returns a section, or all choices, made of settings; the reverse of `settings_of`."""
    values = {}
    for field in dataclasses.fields(section):
        name = f"{prefix}{field.name}"
        if dataclasses.is_dataclass(field.type):
            values[field.name] = _made(field.type, settings, f"{name}.")
        elif name == OPTIONS:
            start = f"{name}."
            values[field.name] = {
                option.removeprefix(start): value
                for option, value in settings.items()
                if option.startswith(start)
            }
        elif field.compare:
            values[field.name] = settings[name]
    try:
        return section(**values)
    except ValueError as error:
        raise type(error)(f"{prefix[:-1]}: {error}" if prefix else str(error)) from error


def from_text(kind: Any, text: str, name: str) -> Any:
    """Returns the value that a command line writes as text.

    Args:
      kind: type of the setting.
      text: of a tuple: numbers, as in "240 240", "240,240" or, standing for all, "240".
      name: of flag or setting, for the message.

    Raises:
      ValueError: naming the setting, its type and the text, if it is empty or of another type.
    """
    require(bool(text.strip()), f"`{name}` must not be empty", value=text)
    if kind is bool:
        require(text.lower() in ("true", "false"), f"`{name}` must be true or false", value=text)
        return text.lower() == "true"
    if kind is Any:  # an option of a data set
        return _number_or_text(text)
    if typing.get_origin(kind) is tuple:
        item, *others = typing.get_args(kind)
        open_ended = others == [...]
        count = len(text.replace(",", " ").split()) if open_ended else 1 + len(others)
        example = 'numbers, as in "5 10"' if open_ended else ""
        return tuple((whole_numbers if item is int else numbers)(text, count, name, example))
    try:
        return kind(text)
    except ValueError as error:
        raise InputError(f"`{name}` must be of type {kind.__name__}. Received: {text!r}") from error


def _number_or_text(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def whole_numbers(text: str, count: int, name: str, rule: str = "") -> list[int]:
    """Returns `count` integers from text, as `numbers` does.

    Raises:
      ValueError: if one is none: to cut it would run something else than was asked for.
    """
    values = numbers(text, count, name, rule)
    whole = all(value.is_integer() for value in values)
    require(whole, f"`{name}` must be whole numbers", value=text)
    return [int(value) for value in values]


def numbers(text: str, count: int, name: str, rule: str = "") -> list[float]:
    """Returns `count` numbers from text like "240 240", "240,240" or, standing for all, "240".

    `rule` says what they must be, where that is not any `count` numbers.
    """
    parts = re.sub(r"(?<=\d)x(?=\d)", " ", text).replace(",", " ").split()  # 240x240, too
    parts = parts * count if len(parts) == 1 else parts
    try:
        values = [float(part) for part in parts]
    except ValueError:
        values = []
    values = values if all(map(math.isfinite, values)) else []
    several = "a number" if count == 1 else f"{count} numbers"
    rule = rule or f'{several}, as in "{" ".join(["240"] * count)}"'
    require(len(values) == count, f"`{name}` must be {rule}", value=text)
    return values
