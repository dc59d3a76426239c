"""What a person may set: the dotted name of each setting, as in `pretraining.epochs`, its type, and
how its value is read from text.

Standard library only.
"""

import dataclasses
import difflib
import math
import re
import typing
from collections.abc import Iterator
from typing import Any

from pipeline.choices import Choices
from trainer_module.errors import InputError, require

OPTIONS = "dataset.options"  # its names are those of the function that writes the data set
LISTS = ("lists.train", "lists.eval", "lists.pretrain")
BOOLEANS = {"true": True, "false": False}  # in any case of letters
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
        require(text.lower() in BOOLEANS, f"`{name}` must be true or false", value=text)
        return BOOLEANS[text.lower()]
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
