"""What a person chooses about a run, as one frozen value; what follows from it and from the data is
the plan (plan.py).

Standard library only, so that a wrong flag is told at once.
"""

import dataclasses
import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components.file_list_example_gen.rows import ON_BAD_ROW
from components.metadata.url import parse_mysql
from pipeline.arguments import LOCAL, at_home, refuse_address
from trainer_module.errors import InputError, require
from trainer_module.resnets import require_fit, require_views_fit, with_stem
from trainer_module.saved_encoder import CHANNELS
from trainer_module.settings import (
    Augmentation,
    Encoder,
    Finetuning,
    Pretraining,
    Target,
    require_finite,
    require_paired,
)
from trainer_module.tasks.registry import TASKS

LEAST_SIDE = 16  # pixels
MOST_SIDE = 1024
STORED_AS = ("auto", "pixels", "png", "jpeg")
OWN = "own"  # the recipe of lists of the user's own
IMAGES_FOLDER = "folder"  # the data set of `--images`
RUNS = Path("runs")


@dataclass(frozen=True)
class Lists:
    """Where the images are named; '' where a list is not given."""

    train: str = ""
    eval: str = ""
    pretrain: str = ""

    def __post_init__(self):
        """Checks every rule."""
        rule = "`--train_file_path` is missing: a list of `path,label` rows"
        others = {"--val_file_path": self.eval, "--pretrain_file_path": self.pretrain}
        others = {flag: path for flag, path in others.items() if path}
        require(bool(self.train) or not others, rule, **others)
        require(
            not (self.pretrain and self.eval and same_list(self.pretrain, self.eval)),
            "`--pretrain_file_path` and `--val_file_path` name the same list; pretrain on other "
            "images",
            **others,
        )

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
    """A data set that the recipe writes for itself (pipeline/datasets); `name` '' for lists of the
    user's own.
    """

    name: str = ""
    # archive or folder that it is read from; '' for none, or the one it was read from before
    source: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)  # of the function that writes it


@dataclass(frozen=True)
class Gate:
    """What a model must show to be blessed."""

    min_metric: float = 0.0  # least accuracy or mean IoU, in [0, 1]
    # most error, in units of the target, where less is better; 0: any that beats a constant answer
    max_error: float = 0.0
    # below the latest blessed model of the same pipeline; of an error, the share it may grow by
    max_metric_drop: float = 0.02
    least_eval_images: int = 10  # held out; on fewer no model is blessed

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
        rule = "`least_eval_images` must be at least 1"
        require(self.least_eval_images >= 1, rule, least_eval_images=self.least_eval_images)

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
class Weights:
    """Weights of another program, with which the encoder begins."""

    file: str = ""  # safetensors, or PyTorch's own; '' for none
    # [3] each, in units of [0, 1] pixels: what images are normalized with; left out, as the file
    # says, or else ImageNet's
    channel_mean: tuple[float, ...] = ()
    channel_std: tuple[float, ...] = ()

    def __post_init__(self):
        """Checks every rule."""
        require_finite(self)
        mean, std = self.channel_mean, self.channel_std
        both = (len(mean), len(std)) in ((0, 0), (CHANNELS, CHANNELS))
        rule = "`channel_mean` and `channel_std` must both have three numbers, or none"
        require(both, rule, channel_mean=mean, channel_std=std)
        rule = "`channel_std` must be greater than 0"
        require(all(value > 0 for value in std), rule, channel_std=std)
        rule = "`channel_mean` must lie in [0, 1], as pixels do"
        require(all(0 <= value <= 1 for value in mean), rule, channel_mean=mean)
        rule = "`channel_mean` and `channel_std` are of `--encoder_weights`, which is missing"
        require(bool(self.file) or not mean, rule, channel_mean=mean)


@dataclass(frozen=True)
class Choices:
    """Everything that a person may set. A recipe, a file and the command line make it together
    (precedence.py).
    """

    # of the folder below runs/, of the models that a new one is compared with; 'own' stands for one
    # that is made of the training list's path
    name: str = OWN
    recipe: str = OWN  # whose values are taken for what a file leaves out
    task: str = "classification"
    lists: Lists = Lists()
    dataset: Dataset = Dataset()
    image_size: tuple[int, int] = (32, 32)  # H, W in pixels, stored by Transform, and served
    view_size: tuple[int, int] = (32, 32)  # H, W in pixels, what pretraining sees
    # 'pixels', 'png' or 'jpeg', how Transform's images lie on disk and in memory; 'auto': by room
    stored_as: str = "auto"
    on_bad_row: str = "fail"
    encoder: Encoder = Encoder()
    augmentation: Augmentation = Augmentation()
    pretraining: Pretraining = Pretraining()
    target: Target = Target()
    finetuning: Finetuning = Finetuning()
    gate: Gate = Gate()
    # after which epochs, counted from 1, the frozen features are evaluated
    eval_epochs: tuple[int, ...] = ()
    # the task learns the whole network from its labels, without pretraining
    from_scratch: bool = False
    # what nobody named of sizes and of pretraining follows from the images and the machine
    # (data_defaults.py); what was chosen then is written down, and this is false
    fit_to_data: bool = False
    save_paths: SavePaths = SavePaths()
    weights: Weights = Weights()
    pipeline_root: str = ""  # '': runs/NAME
    metadata: str = ""  # a MySQL server's URL; '': a file in the pipeline root
    # Which settings a person named: a recipe's own give way to the data (a smaller batch, the
    # encoder that is there), a person's are obeyed or refused.
    named: frozenset[str] = field(default=frozenset(), compare=False)

    def __post_init__(self):
        """Checks every rule that a section cannot check by itself."""
        rule = "`name` must be the name of a folder: letters, digits, and . _ - within"
        require(bool(re.fullmatch(r"\w[\w.-]*", self.name)), rule, name=self.name)
        require(self.task in TASKS, f"`task` must be one of {', '.join(TASKS)}", task=self.task)
        require(
            self.on_bad_row in ON_BAD_ROW,
            "`on_bad_row` must be 'fail' or 'skip'",
            on_bad_row=self.on_bad_row,
        )
        require(
            self.stored_as in STORED_AS,
            f"`stored_as` must be one of {', '.join(STORED_AS)}",
            stored_as=self.stored_as,
        )
        rule = f"`pipeline_root` {LOCAL}"
        require("://" not in self.pipeline_root, rule, pipeline_root=self.pipeline_root)
        if self.metadata:
            parse_mysql(self.metadata)
        _check_sizes(self)
        _check_views(self)
        _check_lists(self)
        _check_epochs(self)
        _check_weights(self)
        if self.from_scratch:
            idle = {
                "--task=pretrain": self.task == "pretrain",
                "--freeze": self.finetuning.freeze,
                "--eval_epochs": self.eval_epochs,
                "--pretrain_save_path": self.save_paths.pretrain,
                "--encoder_weights": self.weights.file,
            }
            refuse_beside_from_scratch(idle)

    @property
    def pipeline_name(self) -> str:
        """One for each task: an encoder is no newer version of a classifier."""
        name = self.name
        images = self.dataset.source if self.dataset.name == IMAGES_FOLDER else ""
        if name == OWN and (self.lists.train or images):
            listed = self.lists.train or images
            path = Path(listed) if "://" in listed else Path(listed).resolve()
            digest = hashlib.sha256(str(path).encode()).hexdigest()[:6]
            folder = path if images else path.parent
            name = f"{folder.name or 'images'}-{digest}"
        return name if self.task == "classification" else f"{name}-{self.task}"

    @property
    def root(self) -> Path:
        """The folder of everything that a run leaves."""
        return Path(self.pipeline_root or RUNS / self.pipeline_name)


def _check_sizes(choices: Choices) -> None:
    for name in ("image_size", "view_size"):
        height, width = getattr(choices, name)
        rule = f"`{name}` must have a height and a width from {LEAST_SIDE} to {MOST_SIDE} pixels"
        require(
            min(height, width) >= LEAST_SIDE and max(height, width) <= MOST_SIDE,
            rule,
            **{name: (height, width)},
        )
    larger = any(
        view > image for view, image in zip(choices.view_size, choices.image_size, strict=True)
    )
    height, width = map(max, choices.view_size, choices.image_size)
    rule = (
        "`view_size` (--crop_size) must not be larger than `image_size` (--input_size): views are "
        f"cut from images of that size, and would only be blurred. Fix: --input_size="
        f'"{height} {width}"'
    )
    require(not larger, rule, view_size=choices.view_size, image_size=choices.image_size)
    square = choices.view_size[0] == choices.view_size[1]
    turning = choices.augmentation.quarter_turn_probability > 0
    rule = "`view_size` must be square for quarter turns"
    require(square or not turning, rule, view_size=choices.view_size)
    encoder = with_stem(choices.encoder, choices.view_size)
    if not choices.fit_to_data:  # which may choose another size
        require_fit(encoder, choices.image_size)
    if not choices.from_scratch:
        require_views_fit(encoder, choices.view_size)


def _check_views(choices: Choices) -> None:
    """Refuses views that fine-tuning could not learn from, which would show after pretraining."""
    task, finetuning = TASKS[choices.task], choices.finetuning
    learned = task.learns_from_views(finetuning) or finetuning.beside_scratch
    if not (task.target and learned):
        return
    if task.target_is_file:  # a label map, which moves along
        require_paired(finetuning.views, "finetuning.views.")
    square = choices.image_size[0] == choices.image_size[1]
    turning = finetuning.views.quarter_turn_probability
    rule = (
        "`image_size` (--input_size) must be square for quarter turns, "
        "`finetuning.views.quarter_turn_probability`"
    )
    require(square or not turning, rule, image_size=choices.image_size)


def _check_lists(choices: Choices) -> None:
    lists = choices.lists
    require(
        not (choices.dataset.name and lists.train),
        "`dataset` must have no name beside lists of your own",
        dataset=choices.dataset.name,
        train=lists.train,
    )
    of_images = choices.dataset.name == IMAGES_FOLDER
    flag = ("--images", "a folder") if of_images else ("--source", "a folder or an archive")
    refuse_address(choices.dataset.source, *flag)
    require(
        bool(choices.dataset.name) or not choices.dataset.source,
        "`--source` is of a recipe's data set, and has no meaning beside lists of your own",
        source=choices.dataset.source,
    )
    require(
        choices.dataset.name != IMAGES_FOLDER or choices.task in ("classification", "pretrain"),
        "A folder tells classes alone, for classification, or nothing but images, for "
        "--task=pretrain; other tasks need a list with rows of `path,target`",
        task=choices.task,
    )
    require(
        choices.task == "pretrain" or bool(lists.eval) or not lists.pretrain,
        "`--pretrain_file_path` beside `--train_file_path` needs `--val_file_path` too: nothing is "
        "held out then",
        **{"--pretrain_file_path": lists.pretrain},
    )


def _check_epochs(choices: Choices) -> None:
    epochs = choices.eval_epochs
    rising = all(first < second for first, second in zip((0, *epochs), epochs, strict=False))
    rule = "`eval_epochs` must be at least 1 and rise, as in 200,400,600"
    require(rising, rule, eval_epochs=epochs)


def _check_weights(choices: Choices) -> None:
    file, epochs = choices.weights.file, choices.pretraining.epochs
    rule = "`--pretrain_epochs` must be at least 1; 0 takes `--encoder_weights` as they are"
    require(epochs > 0 or bool(file), rule, pretrain_epochs=epochs)
    rule = "`--pretrain_epochs` must be at least 1 where the encoder is to be learned or left"
    leaves = choices.task == "pretrain" or bool(choices.save_paths.pretrain)
    require(epochs > 0 or not leaves, rule, pretrain_epochs=epochs)
    rule = "`--encoder_weights` are those of a ResNet, and no other `encoder.builder` takes them"
    ours = choices.encoder.builder == Encoder().builder
    require(ours or not file, rule, builder=choices.encoder.builder)


def refuse_beside_from_scratch(idle: Mapping[str, Any]) -> None:
    """Refuses what belongs to pretraining.

    Args:
      idle: flag -> whether it was given, beside `--from_scratch`.

    Raises:
      InputError: if one was.
    """
    clashing = ", ".join(name for name, given in idle.items() if given)
    if clashing:
        raise InputError(
            f"`--from_scratch` learns the encoder from labels alone, without pretraining. Received "
            f"beside it: {clashing}"
        )


def absolute(path: str) -> str:
    """Returns a local path from the root on, a remote one as it is."""
    return path if "://" in path else os.path.abspath(at_home(path))


def same_list(first: str, second: str) -> bool:
    """Tells whether two paths name the same rows.

    A link in another folder does not: its relative names are those of images there.
    """
    return _place_of_list(first) == _place_of_list(second)


def _place_of_list(path: str) -> tuple[str, str]:
    if "://" in path:
        return "", path
    return os.path.realpath(os.path.dirname(path)), os.path.realpath(path)
