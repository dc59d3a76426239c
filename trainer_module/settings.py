"""What a person can choose about the science: augmentation, encoder, pretraining, target,
fine-tuning.

Frozen dataclasses on the standard library alone, so that a command line can be checked before
TensorFlow is imported. Every rule is checked once, here, and its error names the field, the rule,
the value received.
"""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from trainer_module import dotted
from trainer_module.errors import require

LOSSES = ("nt_xent", "dcl", "vicreg")
OPTIMIZERS = ("sgd", "lars", "adamw")
DEPTHS = (18, 34, 50, 101, 152)
STEMS = ("auto", "small", "imagenet", "lightly")
PRECISIONS = ("auto", "float32", "bfloat16", "float16")
FINETUNING_PRECISIONS = PRECISIONS[:3]  # float16 needs a scaled loss, which pretraining alone has
LEARNING_RATE_SCALINGS = ("linear", "sqrt", "none")
HEADS = ("linear", "mlp")
MOST_JITTER = {"brightness": 1.0, "contrast": 1.0, "saturation": 1.0, "hue": 0.5}
MOST_MINUTES = 525_600  # a year
SEEDS = 2**31  # what every generator of random numbers on the way takes


def require_finite(settings: Any) -> None:
    """Raises a ValueError for a number of a section that is infinite, none at all, or beyond what
    32 bits hold.
    """
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        numbers = value if isinstance(value, tuple) else (value,)
        finite = all(math.isfinite(item) for item in numbers if isinstance(item, float))
        require(finite, f"`{field.name}` must be finite", **{field.name: value})
        fit = all(_fits_32_bits(item) for item in numbers if isinstance(item, int | float))
        require(fit, f"`{field.name}` must be a number that 32 bits hold", **{field.name: value})


def _fits_32_bits(number: float) -> bool:
    if isinstance(number, int):
        return abs(number) <= 2**31
    return number == 0 or 1e-37 < abs(number) < 1e38


def _require_seed(seed: int) -> None:
    require(0 <= seed < SEEDS, f"`seed` must satisfy 0 <= seed < {SEEDS}", seed=seed)


def _require_checkpoints(minutes: float) -> None:
    rule = "`checkpoint_every_minutes` must be greater than 0"
    require(minutes > 0, rule, checkpoint_every_minutes=minutes)


def _require_probabilities(settings: Any) -> None:
    for field in dataclasses.fields(settings):
        if field.name.endswith("_probability"):
            value = getattr(settings, field.name)
            require(
                0.0 <= value <= 1.0,
                f"`{field.name}` must satisfy 0 <= p <= 1",
                **{field.name: value},
            )


def _require_function(name: str, path: str) -> None:
    problem = dotted.problem(path)
    require(
        not problem,
        f"`{name}` must be the dotted path of a function, but {problem}",
        **{name: path},
    )


@dataclass(frozen=True)
class Augmentation:
    """Random views of an image; each operation has a probability and is off at 0.

    The defaults are those of the best published ResNet-18 recipe for CIFAR-10
    (dkobak/simclr-cifar10).
    """

    crop_probability: float = 1.0
    crop_area: tuple[float, float] = (0.2, 1.0)  # share of the image's area
    crop_aspect: tuple[float, float] = (3 / 4, 4 / 3)  # width / height
    horizontal_flip_probability: float = 0.5
    vertical_flip_probability: float = 0.0
    jitter_probability: float = 0.8
    brightness: float = 0.4  # factor drawn from [1 - b, 1 + b]
    contrast: float = 0.4
    saturation: float = 0.4
    hue: float = 0.1  # share of the colour circle, at most 0.5
    colour_drop_probability: float = 0.1
    noise_probability: float = 0.0
    noise_stddev: float = 0.05  # of pixel values in [0, 1]
    quarter_turn_probability: float = 0.0  # rotation by 90, 180 or 270 degrees
    rotation_probability: float = 0.0
    rotation_degrees: float = 15.0
    cutout_probability: float = 0.0
    cutout_area: tuple[float, float] = (0.02, 0.2)  # share of the view's area
    blur_probability: float = 0.0
    blur_sigma: tuple[float, float] = (
        0.003,
        0.06,
    )  # in units of the view's height, so that it fits every image size

    def __post_init__(self):
        """Checks every rule."""
        require_finite(self)
        _require_probabilities(self)
        for name, top in (
            ("crop_area", 1.0),
            ("cutout_area", 1.0),
            ("blur_sigma", 1.0),
            ("crop_aspect", 100.0),
        ):
            low, high = getattr(self, name)
            require(
                0 < low <= high <= top,
                f"`{name}` must satisfy 0 < low <= high <= {top:g}",
                **{name: (low, high)},
            )
        for name, most in MOST_JITTER.items():
            value, rule = getattr(self, name), f"`{name}` must satisfy 0 <= {name} <= {most:g}"
            require(0 <= value <= most, rule, **{name: value})
        require(
            self.noise_stddev >= 0,
            "`noise_stddev` must be at least 0",
            noise_stddev=self.noise_stddev,
        )
        turned = 0 <= self.rotation_degrees <= 180
        rule = "`rotation_degrees` must satisfy 0 <= degrees <= 180"
        require(turned, rule, rotation_degrees=self.rotation_degrees)


# The operations that a label map can follow (segmentation/paired_views.py).
PAIRED = ("crop", "horizontal_flip", "vertical_flip", "jitter", "colour_drop")


def require_paired(views: Augmentation, section: str = "") -> None:
    """Raises an InputError for an operation that is on and that no label map can follow; `section`
    stands before its name.
    """
    for name, value in vars(views).items():
        operation = name.removesuffix("_probability")
        paired = operation == name or operation in PAIRED or value == 0
        rule = f"`{section}{name}` must be 0 where label maps follow the views"
        require(paired, rule, **{name: value})


@dataclass(frozen=True)
class Encoder:
    """A ResNet whose stem follows from the image size: 3x3, stride 1, no pooling for sides up to 64
    pixels.
    """

    depth: int = 18
    width: float = 1.0  # multiplies the channels of every stage; 1.0 is 64 to 512
    # 'small' or 'imagenet' to choose it by hand; 'lightly' is small without its rectifier
    stem: str = "auto"
    # Features are the means over grid x grid cells of the last stage, 1: over all of it. For images
    # in which the same things lie at the same place, as aligned faces. The loss is of the whole.
    grid: int = 1
    # dotted path of a function with that one's arguments, for another network
    builder: str = "trainer_module.resnet.build_encoder"

    def __post_init__(self):
        """Checks every rule."""
        require_finite(self)
        require(self.depth in DEPTHS, f"`depth` must be one of {DEPTHS}", depth=self.depth)
        require(0 < self.width <= 4, "`width` must satisfy 0 < width <= 4", width=self.width)
        require(self.stem in STEMS, f"`stem` must be one of {STEMS}", stem=self.stem)
        require(1 <= self.grid <= 8, "`grid` must satisfy 1 <= grid <= 8", grid=self.grid)
        _require_function("builder", self.builder)


@dataclass(frozen=True)
class Pretraining:
    """SimCLR: how long, how fast and with which loss."""

    epochs: int = 100
    batch_size: int = 512  # images; the encoder sees 2 views of each
    micro_batch: int = 0  # images held at once, for batches beyond memory; 0: the whole batch
    minutes: float = 0.0  # if not 0, as many epochs as fit into them on the machine, not `epochs`
    temperature: float = 0.5
    loss: str = (
        "nt_xent"  # or 'dcl', 'vicreg', or the dotted path of a function of two embeddings [B, P]
    )
    optimizer: str = "sgd"
    learning_rate: float = 0.06  # at batch size 256
    learning_rate_scaling: str = "linear"
    weight_decay: float = 5e-4
    warmup_epochs: float = 0.0
    projection_layers: int = 2
    projection_hidden: int = 1024
    projection_dim: int = 128
    precision: str = "auto"
    steps_per_execution: int = 1
    monitor_every_epochs: int = 5  # kNN accuracy and linear probe
    checkpoint_every_epochs: int = 1
    checkpoint_every_minutes: float = 15.0  # also within an epoch
    seed: int = 0

    def __post_init__(self):
        """Checks every rule."""
        require_finite(self)
        rule = "`epochs` must be at least 1, or 0 beside `--encoder_weights`"
        require(self.epochs >= 0, rule, epochs=self.epochs)
        rule = "`minutes` must be at least 0, and less than a year"
        require(0 <= self.minutes < MOST_MINUTES, rule, minutes=self.minutes)
        require(
            self.batch_size >= 2,
            "`batch_size` must be at least 2: NT-Xent needs negatives",
            batch_size=self.batch_size,
        )
        require(
            self.micro_batch == 0
            or (self.micro_batch > 0 and self.batch_size % self.micro_batch == 0),
            "`micro_batch` must be 0, or divide `batch_size` without a rest",
            micro_batch=self.micro_batch,
            batch_size=self.batch_size,
        )
        require(
            self.temperature > 0,
            "`temperature` must be greater than 0",
            temperature=self.temperature,
        )
        if self.loss not in LOSSES:
            require(
                "." in self.loss,
                f"`loss` must be one of {LOSSES}, or a dotted path",
                loss=self.loss,
            )
            _require_function("loss", self.loss)
        require(
            self.optimizer in OPTIMIZERS,
            f"`optimizer` must be one of {OPTIMIZERS}",
            optimizer=self.optimizer,
        )
        require(
            self.learning_rate > 0,
            "`learning_rate` must be greater than 0",
            learning_rate=self.learning_rate,
        )
        require(
            self.learning_rate_scaling in LEARNING_RATE_SCALINGS,
            f"`learning_rate_scaling` must be one of {LEARNING_RATE_SCALINGS}",
            learning_rate_scaling=self.learning_rate_scaling,
        )
        require(
            self.weight_decay >= 0,
            "`weight_decay` must be at least 0",
            weight_decay=self.weight_decay,
        )
        require(
            0 <= self.warmup_epochs <= self.epochs,
            "`warmup_epochs` must lie in [0, epochs]",
            warmup_epochs=self.warmup_epochs,
        )
        require(
            self.projection_layers in (2, 3),
            "`projection_layers` must be 2 or 3",
            projection_layers=self.projection_layers,
        )
        require(
            self.precision in PRECISIONS,
            f"`precision` must be one of {PRECISIONS}",
            precision=self.precision,
        )
        for name in (
            "projection_hidden",
            "projection_dim",
            "steps_per_execution",
            "monitor_every_epochs",
            "checkpoint_every_epochs",
        ):
            require(
                getattr(self, name) >= 1,
                f"`{name}` must be at least 1",
                **{name: getattr(self, name)},
            )
        _require_seed(self.seed)
        _require_checkpoints(self.checkpoint_every_minutes)


# Of runs of minutes on a CPU: a low temperature for hard negatives, a higher rate than for 1000
# epochs, which wants a warm-up.
SHORT_RUN = {
    "temperature": 0.2,
    "learning_rate": 0.24,
    "warmup_epochs": 1.0,
    "projection_hidden": 256,
}


def with_batch_for(settings: Pretraining, images: int) -> Pretraining:
    """Returns settings with a batch of at most `images`, and of whole micro-batches."""
    batch_size = max(2, min(settings.batch_size, images))
    micro_batch = settings.micro_batch if settings.micro_batch < batch_size else 0
    batch_size -= batch_size % micro_batch if micro_batch else 0
    return dataclasses.replace(settings, batch_size=batch_size, micro_batch=micro_batch)


@dataclass(frozen=True)
class Target:
    """What the second column of a list means, as far as the user has to say it."""

    num_classes: int = 0  # 0: counted in the training list, where that is possible
    ignored_class: int = (
        255  # id of the pixels of a label map that count for nothing; -1 if there are none
    )

    # of a label map's pixels, in the order of class ids, where these are not ids themselves: 0,255
    # reads black as class 0 and white as class 1
    values: tuple[int, ...] = ()

    def __post_init__(self):
        """Checks every rule."""
        require_finite(self)
        different = len(set(self.values)) == len(self.values) != 1
        rule = "`values` must be two or more different pixel values from 0 to 255, as in 0,255"
        require(different and all(0 <= one <= 255 for one in self.values), rule, values=self.values)
        require(
            self.num_classes == 0 or self.num_classes >= 2,
            "`num_classes` must be at least 2",
            num_classes=self.num_classes,
        )
        require(
            -1 <= self.ignored_class <= 255,
            "`ignored_class` must lie in [-1, 255]",
            ignored_class=self.ignored_class,
        )


# Views that a label must survive.
MILD = Augmentation(crop_area=(0.5, 1.0), jitter_probability=0.0, colour_drop_probability=0.0)


@dataclass(frozen=True)
class Finetuning:
    """A head on the pretrained encoder, which is frozen (linear evaluation) or trained along."""

    epochs: int = 100
    batch_size: int = 256  # images
    head: str = "linear"
    freeze: bool = True
    learning_rate: float = 1e-3
    weight_decay: float = 5e-6
    # randomly cropped and flipped copies of every image that a linear head on a frozen encoder is
    # fitted to as well, for classes
    copies: int = 0
    class_balance: float = (
        0.5  # of a label map's pixels: 0 weighs all pixels alike, 1 all classes alike
    )
    dice: float = 0.0  # share of the Dice loss beside cross entropy, of a label map
    # what is learned from where a network is trained; left alone, each task has its own mild ones
    views: Augmentation = MILD
    precision: str = "auto"  # of the encoder where it is trained along
    # also train the whole network from the labels alone, and tell how much worse or better it is
    beside_scratch: bool = False
    label_fraction: float = 1.0  # of the labels of each class that count, at least one image each
    checkpoint_every_minutes: float = 15.0  # of what learns from views
    seed: int = 0

    def __post_init__(self):
        """Checks every rule."""
        require_finite(self)
        require(self.epochs >= 1, "`epochs` must be at least 1", epochs=self.epochs)
        require(self.batch_size >= 1, "`batch_size` must be at least 1", batch_size=self.batch_size)
        require(self.copies >= 0, "`copies` must be at least 0", copies=self.copies)
        _require_checkpoints(self.checkpoint_every_minutes)
        require(
            self.precision in FINETUNING_PRECISIONS,
            f"`precision` of fine-tuning must be one of {FINETUNING_PRECISIONS}",
            precision=self.precision,
        )
        require(
            0 < self.label_fraction <= 1,
            "`label_fraction` must satisfy 0 < fraction <= 1",
            label_fraction=self.label_fraction,
        )
        require(self.head in HEADS, f"`head` must be one of {HEADS}", head=self.head)
        require(
            self.learning_rate > 0,
            "`learning_rate` must be greater than 0",
            learning_rate=self.learning_rate,
        )
        for name in ("class_balance", "dice"):
            require(
                0 <= getattr(self, name) <= 1,
                f"`{name}` must satisfy 0 <= value <= 1",
                **{name: getattr(self, name)},
            )
        require(
            self.weight_decay >= 0,
            "`weight_decay` must be at least 0",
            weight_decay=self.weight_decay,
        )
        _require_seed(self.seed)


# Of each section the settings that a training's result does not depend on: they may change between
# a killed run and its continuation.
FREE_SETTINGS = {
    "pretraining": (
        "steps_per_execution",
        "monitor_every_epochs",
        "checkpoint_every_epochs",
        "checkpoint_every_minutes",
    ),
    "finetuning": ("checkpoint_every_minutes", "beside_scratch"),
}


def without_free(section: str, values: dict[str, Any]) -> dict[str, Any]:
    """Returns the values of a section's settings but those that change no result."""
    free = FREE_SETTINGS.get(section, ())
    return {name: value for name, value in values.items() if name not in free}


@dataclass(frozen=True)
class Science:
    """What both Trainers are told, as TFX's `custom_config`; the cache compares all of it.

    So what one of them alone depends on stands in its own class below: another fine-tuning does not
    pretrain again.
    """

    task: str  # as trainer_module/tasks/registry.py writes it
    image_size: tuple[int, int]  # H, W in pixels, of Transform's images
    view_size: tuple[int, int]  # H, W in pixels, of pretraining's views
    encoder: Encoder
    augmentation: Augmentation
    pretraining: Pretraining
    fingerprint: str  # of the code


@dataclass(frozen=True)
class PretrainingScience(Science):
    """What the Pretrainer is told."""

    eval_epochs: tuple[int, ...] = ()  # whose encoders are kept


@dataclass(frozen=True)
class FinetuningScience(Science):
    """What the Finetuner is told."""

    finetuning: Finetuning = Finetuning()


@dataclass(frozen=True)
class EvaluationScience:
    """What EpochEvaluation is told."""

    task: str  # as trainer_module/tasks/registry.py writes it
    image_size: tuple[int, int]  # H, W in pixels, of Transform's images
    eval_epochs: tuple[int, ...]  # whose encoders are evaluated
    seed: int  # of the encoder before pretraining


def to_json(settings: Any) -> dict[str, Any]:
    """Returns settings as JSON-able values, from which `from_json` makes the same again."""
    return dataclasses.asdict(settings)


def from_json(kind: type, values: dict[str, Any]) -> Any:
    """Returns the settings of a kind from what `to_json` and JSON made of them: lists are tuples
    again, dicts are settings.

    What a program of ours has written is read without another library: its version would stand in
    the fingerprint of every training.
    """
    nested = {
        field.name: field.type
        for field in dataclasses.fields(kind)
        if dataclasses.is_dataclass(field.type)
    }
    rebuilt = {
        name: tuple(value) if isinstance(value, list) else value for name, value in values.items()
    }
    return kind(
        **{
            name: from_json(nested[name], value) if name in nested else value
            for name, value in rebuilt.items()
        }
    )
