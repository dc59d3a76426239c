"""The whole configuration of a run as one frozen value.

Standard library only, so that a wrong flag is told at once.
"""

import dataclasses
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from trainer_module.settings import (
    Augmentation,
    Encoder,
    Finetuning,
    Pretraining,
    Target,
    require,
    require_finite,
)
from trainer_module.tasks.registry import TASKS

LEAST_SIDE = 16  # pixels
MOST_SIDE = 1024


@dataclass(frozen=True)
class Lists:
    """Where the images are named; '' where a list is not given."""

    train: str = ""
    eval: str = ""
    pretrain: str = ""

    def given(self) -> dict[str, str]:
        """Returns split -> absolute path.

        A pretraining list that is the training list is stored once, as `train`.
        """
        paths = {split: absolute(path) for split, path in dataclasses.asdict(self).items() if path}
        if self.pretrain and self.train and same_list(self.pretrain, self.train):
            del paths["pretrain"]
        return paths


@dataclass(frozen=True)
class Dataset:
    """A data set that the recipe writes for itself (pipeline/datasets).

    `name` '' means the user's own lists.
    """

    name: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Gate:
    """What a model must show to be blessed."""

    min_metric: float = 0.0  # least accuracy or mean IoU, in [0, 1]
    # most error, in units of the target, where less is better; 0: any that beats a constant answer
    max_error: float = 0.0
    # below the latest blessed model of the same pipeline; of an error, the share it may grow by
    max_metric_drop: float = 0.02

    def __post_init__(self):
        """Checks every rule."""
        require_finite(self)
        require(
            0 <= self.min_metric <= 1, "`min_metric` must lie in [0, 1]", min_metric=self.min_metric
        )
        require(self.max_error >= 0, "`max_error` must be at least 0", max_error=self.max_error)
        require(
            0 <= self.max_metric_drop <= 1,
            "`max_metric_drop` must lie in [0, 1]",
            max_metric_drop=self.max_metric_drop,
        )

    def limit(self, higher_is_better: bool) -> float:
        """Returns the bound of a metric that points this way."""
        return self.min_metric if higher_is_better else self.max_error

    def beating(self, constant_score: float, higher_is_better: bool) -> "Gate":
        """Returns this gate, or one that asks for as much as a constant answer scores where that is
        more.
        """
        if higher_is_better:
            return dataclasses.replace(self, min_metric=max(self.min_metric, constant_score))
        return dataclasses.replace(
            self, max_error=min(self.max_error or constant_score, constant_score)
        )


@dataclass(frozen=True)
class SavePaths:
    """Folders of the user's, outside the pipeline root: where a run leaves what it made.

    '' where not asked for.
    """

    pretrain: str = ""  # the encoder, and where an encoder is looked for before one is pretrained
    finetune: str = ""  # the final model


@dataclass(frozen=True)
class SavedEncoder:
    """An encoder of an earlier run that is taken instead of pretraining one; `path` '' for none."""

    path: str = ""
    fingerprint: str = ""  # of its content
    channel_mean: tuple[
        float, ...
    ] = ()  # [3], in units of [0, 1] pixels: its images are normalized with these
    channel_std: tuple[float, ...] = ()  # [3], likewise
    milestones: tuple[int, ...] = ()  # epochs whose encoders came with it


@dataclass(frozen=True)
class Configuration:
    """Everything a run depends on."""

    name: str
    recipe: str = "own"  # which one it was made from
    task: str = "classification"
    lists: Lists = Lists()
    dataset: Dataset = Dataset()
    image_size: tuple[int, int] = (
        32,
        32,
    )  # H, W in pixels, what Transform stores and the model is served
    view_size: tuple[int, int] = (32, 32)  # H, W in pixels, what pretraining sees
    on_bad_row: str = "fail"
    encoder: Encoder = Encoder()
    augmentation: Augmentation = Augmentation()
    pretraining: Pretraining = Pretraining()
    target: Target = Target()
    finetuning: Finetuning = Finetuning()
    gate: Gate = Gate()
    eval_epochs: tuple[
        int, ...
    ] = ()  # after which of them, counted from 1, the frozen features are evaluated
    from_scratch: bool = (
        False  # the task learns the whole network from its labels, without pretraining
    )
    save_paths: SavePaths = SavePaths()
    saved_encoder: SavedEncoder = SavedEncoder()

    def __post_init__(self):
        """Checks every rule."""
        for name in ("image_size", "view_size"):
            height, width = getattr(self, name)
            rule = (
                f"`{name}` must have a height and a width from {LEAST_SIDE} to {MOST_SIDE} pixels"
            )
            require(
                min(height, width) >= LEAST_SIDE and max(height, width) <= MOST_SIDE,
                rule,
                **{name: (height, width)},
            )
        square = self.view_size[0] == self.view_size[1]
        turning = self.augmentation.quarter_turn_probability > 0
        require(
            square or not turning,
            "`view_size` must be square for quarter turns",
            view_size=self.view_size,
        )
        require(self.task in TASKS, f"`task` must be one of {', '.join(TASKS)}", task=self.task)
        rising = all(
            first < second
            for first, second in zip((0, *self.eval_epochs), self.eval_epochs, strict=False)
        )
        require(
            rising,
            "`eval_epochs` must be at least 1 and rise, as in 200,400,600",
            eval_epochs=self.eval_epochs,
        )
        require(
            self.on_bad_row in ("fail", "skip"),
            "`on_bad_row` must be 'fail' or 'skip'",
            on_bad_row=self.on_bad_row,
        )


# What `--set` may change: what a person chooses and nothing else follows from.
SETTABLE = (
    "image_size",
    "view_size",
    "on_bad_row",
    "encoder",
    "augmentation",
    "pretraining",
    "target",
    "finetuning",
    "gate",
    "eval_epochs",
)
# Every other field, with where it comes from: a flag that checks it with what belongs to it,
# or the run itself.
ELSEWHERE = {
    "name": "it follows from recipe, lists and task; --pipeline_root names another folder",
    "recipe": "choose it with --recipe",
    "task": "choose it with --task",
    "lists": "name them with --train_file_path, --val_file_path and --pretrain_file_path",
    "dataset": "it belongs to the recipe; choose that with --recipe, its source with --source",
    "from_scratch": "choose it with --from_scratch",
    "save_paths": "name them with --pretrain_save_path and --finetune_save_path",
    "saved_encoder": "it is read from the folder that --pretrain_save_path names",
}


def with_setting(configuration: Configuration, path: str, text: str) -> Configuration:
    """Returns the configuration with one field set from text, as `--set pretraining.epochs=50`
    does.

    Args:
      configuration: what to start from.
      path: `section.field` or `field`.
      text: the value; its type is that of the present value.

    Raises:
      ValueError: if there is no such field, it is not set this way, or the text is not of its type.
    """
    head = path.partition(".")[0]
    require(head not in ELSEWHERE, f"`{head}` is no setting: {ELSEWHERE.get(head)}", setting=path)
    return _with_field(configuration, path, path, text)


def _with_field(section: Any, path: str, rest: str, text: str) -> Any:
    """Returns a section with the field set that the rest of the path names."""
    head, _, rest = rest.partition(".")
    fields = {item.name for item in dataclasses.fields(section)}
    known = set(SETTABLE) if isinstance(section, Configuration) else fields
    require(
        head in known, f"No setting {head!r}; there are {', '.join(sorted(known))}", setting=path
    )
    present = getattr(section, head)
    if dataclasses.is_dataclass(present):
        rule = f"`{head}` is a section; name one of its fields, as in `{head}.FIELD=VALUE`"
        require(bool(rest), rule, setting=path)
        value = _with_field(present, path, rest, text)
    else:
        require(not rest, f"`{head}` has no fields", setting=path)
        if head == "eval_epochs":  # as many as are named
            present = (0,) * len(text.replace(",", " ").split())
        value = parse_like(present, text, path)
    return dataclasses.replace(section, **{head: value})


def parse_like(present: Any, text: str, name: str) -> Any:
    """Returns `text` as a value of the same type as `present`.

    Raises:
      ValueError: naming the setting, its type and the text, if it is empty or of another type.
    """
    require(bool(text.strip()), f"`{name}` must not be empty", value=text)
    if isinstance(present, bool):
        require(
            text.lower() in ("true", "false"), f"`{name}` must be true or false", **{"value": text}
        )
        return text.lower() == "true"
    if isinstance(present, tuple):
        whole = all(isinstance(item, int) for item in present)
        return tuple((whole_numbers if whole else numbers)(text, len(present), name))
    try:
        return type(present)(text)
    except ValueError as error:
        raise ValueError(
            f"`{name}` must be of type {type(present).__name__}. Received: {text!r}"
        ) from error


def whole_numbers(text: str, count: int, name: str) -> list[int]:
    """Returns `count` integers from text, as `numbers` does.

    Raises:
      ValueError: if one is none: to cut it would run something else than was asked for.
    """
    values = numbers(text, count, name)
    whole = all(value.is_integer() for value in values)
    require(whole, f"`{name}` must be whole numbers", value=text)
    return [int(value) for value in values]


def numbers(text: str, count: int, name: str) -> list[float]:
    """Returns `count` numbers from text like "240 240", "240,240" or, standing for all, "240"."""
    parts = text.replace(",", " ").replace("x", " ").split()
    parts = parts * count if len(parts) == 1 else parts
    try:
        values = [float(part) for part in parts]
    except ValueError:
        values = []
    values = values if all(map(math.isfinite, values)) else []
    require(
        len(values) == count,
        f'`{name}` must be {count} numbers, as in "{" ".join(["240"] * count)}"',
        value=text,
    )
    return values


def to_dict(configuration: Configuration) -> dict:
    """Returns the configuration as plain JSON-able values."""
    return dataclasses.asdict(configuration)


def absolute(path: str) -> str:
    """Returns a local path from the root on, a remote one as it is."""
    return path if "://" in path else os.path.abspath(path)


def same_list(first: str, second: str) -> bool:
    """Tells whether two paths name the same rows.

    A link in another folder does not: its relative names are those of images there.
    """
    return _place_of_list(first) == _place_of_list(second)


def _place_of_list(path: str) -> tuple[str, str]:
    if "://" in path:
        return "", path
    return os.path.realpath(os.path.dirname(path)), os.path.realpath(path)
