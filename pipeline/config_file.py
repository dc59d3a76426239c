"""A run's settings as a YAML file: read for `--config`, printed by `--print_config`, left by every
run in its pipeline root.

PyYAML reads the text, msgspec holds each value to the type of its setting: strictly, so that
`epochs: 2.5` is an error and no 2. It was chosen for its start: msgspec and PyYAML import in 45 ms
each, OmegaConf in 180 and tyro in 180 (medians of five on 2 CPU cores), and both of these would
replace the command line's own flags, too. Whoever needs no file imports none of it.
"""

import ast
import dataclasses
import inspect
import math
import re
import textwrap
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import yaml

from components.metadata.url import without_password
from pipeline.choices import Choices, absolute
from pipeline.precedence import settings_of
from pipeline.setting_types import FOLDERS, LISTS, OPTIONS, SECTIONS, from_text, kind_of
from trainer_module.errors import InputError
from trainer_module.whole_files import write_text

CONFIG_FILE = "config.yaml"  # in the pipeline root
HEAD = f"""\
# All settings of a run: python local_runner.py --config {CONFIG_FILE}
# Flags win over what stands here, and this over the recipe, whose value is taken for what is left
# out. Paths are absolute, or begin where the command is given.

"""
WIDTH = 100  # of a line


class _Loader(yaml.SafeLoader):
    """PyYAML's, which would take the last of two equal names, and let a few lines that name each
    other stand for gigabytes.
    """

    def compose_node(self, parent, index):
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark
            raise yaml.composer.ComposerError(None, None, "no setting is an alias", mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node, deep=False):
        if not isinstance(node, yaml.MappingNode):
            return super().construct_mapping(node, deep)
        names = [name.value for name, _ in node.value]
        for name, _ in node.value:
            if names.count(name.value) > 1:
                raise yaml.constructor.ConstructorError(
                    None, None, f"{name.value!r} stands here twice", name.start_mark
                )
        return super().construct_mapping(node, deep)


class _Dumper(yaml.SafeDumper):
    """PyYAML's, with tuples in one line."""


# What PyYAML raises: beside its own, what Python says of a value that is none of its kind, as of
# the date 2001-99-99, and of a thousand brackets.
UNREADABLE = (yaml.YAMLError, ValueError, TypeError, AttributeError, KeyError, RecursionError)
# What is a number, read and written: PyYAML would take 064 for 52, 1:40 for 100 and 1e-3 for text.
INT, FLOAT = "tag:yaml.org,2002:int", "tag:yaml.org,2002:float"
NUMBERS = {
    INT: re.compile(r"[-+]?\d+$"),
    FLOAT: re.compile(
        r"[-+]?(\d+\.\d*|\.\d+|\d+(?=[eE]))([eE][-+]?\d+)?$|[-+]?\.(inf|Inf|INF)$|\.(nan|NaN|NAN)$"
    ),
}
for _kind in (_Loader, _Dumper):
    _kind.yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in known if tag not in NUMBERS]
        for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    for _tag, _pattern in NUMBERS.items():
        _kind.add_implicit_resolver(_tag, _pattern, list("-+.0123456789"))
_Loader.add_constructor(INT, lambda loader, node: int(loader.construct_scalar(node)))
_Dumper.add_representer(
    tuple,
    lambda dumper, value: dumper.represent_sequence(
        "tag:yaml.org,2002:seq", value, flow_style=True
    ),
)
_Dumper.add_representer(
    str,  # a line break is written as an escape: a comment stands behind the first line
    lambda dumper, value: dumper.represent_scalar(
        "tag:yaml.org,2002:str", value, style=None if value.isprintable() else '"'
    ),
)


def read_settings(path: str) -> dict[str, Any]:
    """Reads a file's settings as a layer (precedence.py), each of its setting's type.

    Raises:
      InputError: naming the file, the setting, the rule and the value received.
    """
    try:
        values = yaml.load(Path(path).read_text(encoding="utf-8"), _Loader)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        rule = "`--config` must be a file of settings"
        raise InputError(f"{rule}. Received: {path}, {reason}") from error
    except UNREADABLE as error:
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
    if typing.get_origin(kind) is tuple and type(value) in (int, float, str):
        return from_text(kind, str(value), name)  # `image_size: 32`, as --set takes it
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
    return HEAD + "".join(f"{line}\n" for line in _lines(Choices, settings))


def _lines(section: type, settings: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Yields the lines of a section, or of all, with what the source says of each setting."""
    notes, indent = _notes(section), "  " * prefix.count(".")
    fields = [field for field in dataclasses.fields(section) if field.compare]
    for field in sorted(fields, key=lambda field: dataclasses.is_dataclass(field.type)):
        name, note = f"{prefix}{field.name}", notes[field.name]
        if not dataclasses.is_dataclass(field.type):
            value = _options(settings) if name == OPTIONS else settings[name]
            yield from _setting({field.name: value}, note, indent)
            continue
        if not prefix:
            yield ""
            note = inspect.getdoc(field.type).partition("\n\n")[0]
        yield from _wrapped(note, indent)
        yield f"{indent}{field.name}:"
        yield from _lines(field.type, settings, f"{name}.")


def _setting(named: dict[str, Any], note: str, indent: str) -> Iterator[str]:
    text = yaml.dump(named, Dumper=_Dumper, sort_keys=False, width=math.inf)
    first, *others = [f"{indent}{line}" for line in text.splitlines()]
    beside = f"{first}  # {note}" if note else first
    if len(beside) > WIDTH:
        yield from _wrapped(note, indent)
        beside = first
    yield from (beside, *others)


def _wrapped(note: str, indent: str) -> list[str]:
    start = f"{indent}# "
    return textwrap.wrap(note, WIDTH, initial_indent=start, subsequent_indent=start)


def _options(settings: Mapping[str, Any]) -> dict[str, Any]:
    start = f"{OPTIONS}."
    chosen = [name for name in settings if name.startswith(start)]
    return {name.removeprefix(start): settings[name] for name in chosen}


def _notes(section: type) -> dict[str, str]:
    """Returns field -> the comment above and beside it in the source, '' for none."""
    source = inspect.getsource(section)
    lines, notes = source.splitlines(), {}
    for node in ast.parse(source).body[0].body:
        if isinstance(node, ast.AnnAssign):
            first = node.lineno - 1
            while lines[first - 1].lstrip().startswith("#"):
                first -= 1
            comments = [line.partition("#")[2].strip() for line in lines[first : node.end_lineno]]
            notes[node.target.id] = " ".join(filter(None, comments))
    return notes


def leave(choices: Choices, root: Path) -> None:
    """Writes the file of a run into its pipeline root, whole or not at all."""
    write_text(root / CONFIG_FILE, text_of(choices))
