"""A run's settings as a YAML file: read for `--config`, printed by `--print_config`, left by every
run in its pipeline root.

PyYAML reads the text, msgspec holds each value to the type of its setting: strictly, so that
`epochs: 2.5` is an error and no 2. It was chosen for its start: msgspec and PyYAML import in 45 ms
each, OmegaConf in 180 and tyro in 180 (medians of five on 2 CPU cores), and both of these would
replace the command line's own flags, too. Whoever needs no file imports none of it.
"""

import dataclasses
import inspect
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import yaml

from components.metadata_url import without_password
from pipeline.choices import Choices, absolute
from pipeline.layers import FOLDERS, LISTS, OPTIONS, SECTIONS, kind_of, settings_of
from trainer_module.errors import InputError

FILE = "config.yaml"  # in the pipeline root
HEAD = f"""\
# All settings of a run: python local_runner.py --config {FILE}
# Flags win over what stands here, and this over the recipe, whose value is taken for what is left
# out. Paths are absolute, or begin where the command is given. Units and meaning of each setting
# stand beside it in trainer_module/settings.py and pipeline/choices.py.
"""


class _Loader(yaml.SafeLoader):
    """PyYAML's, which would take the last of two equal names, and 1e-3 for text."""

    def construct_mapping(self, node, deep=False):
        names = [name.value for name, _ in node.value]
        for name, _ in node.value:
            if names.count(name.value) > 1:
                raise yaml.constructor.ConstructorError(
                    None, None, f"{name.value!r} stands here twice", name.start_mark
                )
        return super().construct_mapping(node, deep)


class _Dumper(yaml.SafeDumper):
    """PyYAML's, with tuples in one line."""


EXPONENT = re.compile(r"^[-+]?\d+(\.\d*)?[eE][-+]?\d+$")
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", EXPONENT, list("-+0123456789"))
_Dumper.add_representer(
    tuple,
    lambda dumper, value: dumper.represent_sequence(
        "tag:yaml.org,2002:seq", value, flow_style=True
    ),
)


def read_settings(path: str) -> dict[str, Any]:
    """Reads a file's settings as a layer (layers.py), each of its setting's type.

    Raises:
      InputError: naming the file, the setting, the rule and the value received.
    """
    try:
        values = yaml.load(Path(path).read_text(encoding="utf-8"), _Loader)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        rule = "`--config` must be a file of settings"
        raise InputError(f"{rule}. Received: {path}, {reason}") from error
    except yaml.YAMLError as error:
        raise InputError(f"{path} is not written as YAML is: {error}") from error
    try:
        return {name: _typed(name, value) for name, value in _leaves(values)}
    except ValueError as error:
        raise InputError(f"{path}: {error}") from error


def _leaves(values: Any, section: str = "") -> Iterator[tuple[str, Any]]:
    """Yields the dotted name and the value of each setting; an empty section has none."""
    if not isinstance(values, Mapping | None):
        place = f"{section!r} is a section" if section else "A file of settings has sections"
        raise ValueError(f"{place}, each setting in a line `name: value`. Received: {values!r}")
    for key, value in (values or {}).items():
        name = f"{section}.{key}" if section else str(key)
        if name in SECTIONS:
            yield from _leaves(value, name)
        else:
            yield name, value


def _typed(name: str, value: Any) -> Any:
    kind = kind_of(name)
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        told = kind.__name__ if isinstance(kind, type) else kind
        raise ValueError(f"`{name}` must be of type {told}. Received: {value!r}") from error


def text_of(choices: Choices) -> str:
    """Returns all choices as a file from which the same run can be made, wherever it is read.

    No password is written.
    """
    settings = settings_of(choices)
    for name in (*LISTS, *FOLDERS, "dataset.source"):
        settings[name] = settings[name] and absolute(settings[name])
    settings["metadata"] = without_password(settings["metadata"])
    fields = [field for field in dataclasses.fields(Choices) if field.compare]
    parts = [HEAD]
    for field in sorted(fields, key=lambda field: field.name in SECTIONS):  # sections last
        parts.append(_comment(field.type) if field.name in SECTIONS else "")
        value = {field.name: _nested(settings, field.name)}
        parts.append(yaml.dump(value, Dumper=_Dumper, sort_keys=False))
    return "".join(parts)


def _nested(settings: Mapping[str, Any], name: str) -> Any:
    """Returns the value of a setting, or a section as nested dicts."""
    if name not in SECTIONS:
        return settings[name]
    inner = [other[len(name) + 1 :] for other in settings if other.startswith(f"{name}.")]
    fields = dict.fromkeys(other.partition(".")[0] for other in inner)
    fields |= {"options": None} if name == OPTIONS.partition(".")[0] else {}
    return {field: _nested(settings, f"{name}.{field}") for field in fields}


def _comment(section: type) -> str:
    """Returns what a section is for, its docstring's first paragraph."""
    paragraph = inspect.getdoc(section).partition("\n\n")[0]
    return "".join(f"\n# {line}" for line in paragraph.splitlines()) + "\n"


def leave(choices: Choices, root: Path) -> None:
    """Writes the file of a run into its pipeline root, whole or not at all."""
    draft = root / f"{FILE}.{os.getpid()}.draft"
    draft.write_text(text_of(choices), encoding="utf-8")
    draft.replace(root / FILE)
