"""Which ResNets there are: blocks, channels and stems, and which stem fits images of a size.

Standard library alone: weights of other programs are compared with it before Keras is imported.
"""

import dataclasses

from trainer_module.errors import require
from trainer_module.settings import Encoder

BLOCKS = {  # in each stage
    18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3),
}  # fmt: skip
BOTTLENECK_FROM = 50  # layers
EXPANSION = 4  # channels of a bottleneck's output for each of its 3x3 convolution
STAGE_CHANNELS = (64, 128, 256, 512)
SMALL_SIDE = 64  # pixels; up to here the stem keeps the resolution
LEAST_SIDE = {"small": 8, "lightly": 8, "imagenet": 32}  # pixels; the last stage is then 1 x 1


def channels_of(settings: Encoder) -> list[int]:
    """Returns the channels of each stage; a bottleneck's output has four times as many."""
    return [max(8, round(count * settings.width)) for count in STAGE_CHANNELS]


def feature_dims(settings: Encoder) -> int:
    """Returns D, the channels of the last stage: the numbers of a feature of one cell."""
    return channels_of(settings)[-1] * (EXPANSION if settings.depth >= BOTTLENECK_FROM else 1)


def stem_for(settings: Encoder, image_size: tuple[int, int]) -> str:
    """Returns 'small' (3x3, stride 1, no pooling) for sides up to 64 pixels and 'imagenet' (7x7,
    stride 2, pooling) above.

    Args:
        settings: a `stem` other than 'auto' is kept.
        image_size: (H, W) in pixels of the images the encoder is trained on; None where it is
            open, beside a stem that is named.

    Raises:
        ValueError: if the image is smaller than the stem allows.
    """
    if None in image_size and settings.stem != "auto":
        return settings.stem
    side = min(image_size)
    stem = settings.stem
    if stem == "auto":
        stem = "small" if side <= SMALL_SIDE else "imagenet"
    least = LEAST_SIDE[stem]
    require(
        side >= least,
        f"`image_size` must be at least {least} pixels on its shorter side for the {stem} stem",
        image_size=image_size,
    )
    return stem


def with_stem(settings: Encoder, view_size: tuple[int, int]) -> Encoder:
    """Returns the settings with the stem decided, 'auto' by views of (H, W) pixels: an encoder is
    made for these, whatever images it is used on.
    """
    stem = stem_for(settings, view_size) if settings.stem == "auto" else settings.stem
    return dataclasses.replace(settings, stem=stem)


def require_fit(settings: Encoder, image_size: tuple[int, int]) -> None:
    """Refuses images of (H, W) pixels that are too small for an encoder whose stem is decided.

    Raises:
        ValueError: if stem or grid want larger ones.
    """
    most = last_side(settings, min(image_size))
    rule = f"`encoder.grid` must be at most {most}, the last stage's side for these images"
    require(settings.grid <= most, rule, grid=settings.grid, image_size=image_size)


def require_views_fit(settings: Encoder, view_size: tuple[int, int]) -> None:
    """Refuses views of (h, w) pixels that are too small to train an encoder on, whose stem is
    decided.

    Raises:
        InputError: naming the least.
    """
    least = LEAST_SIDE[settings.stem]
    rule = (
        f"`view_size` (--crop_size) must be at least {least} pixels on its shorter side for the "
        f"{settings.stem} stem"
    )
    require(min(view_size) >= least, rule, view_size=view_size)


def last_side(settings: Encoder, side: int) -> int:
    """Returns the positions along a side of the last stage, of images of `side` pixels."""
    shrinks = 32 if stem_for(settings, (side, side)) == "imagenet" else 8
    return -(-side // shrinks)
