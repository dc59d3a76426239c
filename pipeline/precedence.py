"""How a recipe, a file and the command line make a run's choices together.

Each is a layer: names of settings, as in `pretraining.epochs`, with their values. What a layer says
wins over all below it; what no layer says is the recipe's. The rules of the settings are checked
once, on what comes out. Standard library only.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from pipeline.arguments import at_home, require_utf8
from pipeline.choices import Choices, absolute
from pipeline.setting_types import FOLDERS, LISTS, OPTIONS
from trainer_module.settings import MILD
from trainer_module.tasks.registry import TASKS

Layer = Mapping[str, Any]


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


def stacked(
    recipe: Choices, file: Layer, command_line: Layer, implied: Layer | None = None
) -> Choices:
    """Returns the choices that the layers make.

    Args:
      recipe: the lowest layer; where it has no views of its own, `finetuning.views` are the task's.
      file: settings of a file.
      command_line: settings that flags name.
      implied: settings that follow from flags of another name; below `command_line`.

    Raises:
      ValueError: naming the field, the rule and the value received.
    """
    lowest, flags = settings_of(recipe), {**(implied or {}), **command_line}
    task = (lowest | {**file, **flags})["task"]
    if recipe.finetuning.views == MILD and task in TASKS:  # a recipe's own are kept
        lowest |= settings_of(TASKS[task].mild, "finetuning.views.")
    settings = _over(_over(lowest, file), flags)
    for name in FOLDERS:
        settings[name] = settings[name] and absolute(settings[name])
    for name in (*LISTS, "dataset.source"):
        settings[name] = at_home(settings[name])
    for name in (*FOLDERS, *LISTS, "dataset.source"):
        require_utf8(settings[name] and absolute(settings[name]), f"`{name}`")
    named = {*command_line, *(name for name, value in file.items() if value != lowest.get(name))}
    return dataclasses.replace(_made(Choices, settings), named=frozenset(named))


def with_settings(choices: Choices, settings: Layer) -> Choices:
    """Returns choices with other values of some settings, which nobody named.

    Raises:
      ValueError: naming the field, the rule and the value received.
    """
    return dataclasses.replace(
        _made(Choices, {**settings_of(choices), **settings}), named=choices.named
    )


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
    epochs = layer.get("pretraining.epochs", math.inf)
    if 0 <= epochs <= warmup:  # made as short as its warm-up, it warms up in proportion
        below["pretraining.warmup_epochs"] = warmup * epochs / max(1, below["pretraining.epochs"])
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
