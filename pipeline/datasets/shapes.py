"""A data set drawn by numpy, in which only the pattern inside a region says the class.

Colours, light, scale, rotation, position, the region's outline and the clutter around it are
random, so raw pixels say next to nothing: a network has to learn features. Every image comes with a
label map, the class id of each pixel. With several regions an image has no class of its own: then
there are label maps alone.

Legend: N images of S x S pixels. A field is an [N, S, S] float32 array, a number of each image is
[N, 1, 1], so that they multiply. Positions are in units of the image's side, -0.5 to 0.5. A pattern
is a signed distance to its ink in periods, positive inside, which makes edges smooth: 32 pixels
have room for four to seven periods.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from pipeline.datasets import files
from trainer_module.errors import require

# periods by which lines leave the straight way, at most: pixels of straight ones match by chance
BEND = 0.4
# images drawn at once from one seed, always whole: a longer data set starts with the images of the
# shorter one
BLOCK = 500
CLUTTER = 5  # things that lie around behind the region
LUMA = np.array([0.299, 0.587, 0.114], np.float32)
LISTS_ALONE = False  # images are written, once


def _wave(cells: np.ndarray) -> np.ndarray:
    """Distance to the nearest whole number: 0 to 0.5."""
    return np.abs(cells - np.round(cells))


def _stripes(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return 0.25 - _wave(u)


def _zigzag(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return (0.25 - _wave(u + 2 * _wave(v / 2))) / np.sqrt(2)


def _rings(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return 0.25 - _wave(np.hypot(u, v))


def _checks(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    across, along = _wave(u / 1.5) - 0.25, _wave(v / 1.5) - 0.25
    return 1.5 * np.sign(across * along) * np.minimum(np.abs(across), np.abs(along))


def _grid(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return 0.13 - np.minimum(_wave(u), _wave(v))


def _dots(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return 0.33 - np.hypot(_wave(u), _wave(v))


def _crosses(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    across, along = _wave(u / 1.3), _wave(v / 1.3)
    return 1.3 * np.maximum(
        np.minimum(0.13 - across, 0.4 - along), np.minimum(0.4 - across, 0.13 - along)
    )


def _diamonds(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    # Long diamonds that touch at their tips: with equal axes they would be checks, turned by 45
    # degrees.
    return (0.44 - _wave(u) - _wave(v / 2)) / np.hypot(1, 0.5)


PATTERNS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "checks": _checks,
    "crosses": _crosses,
    "diamonds": _diamonds,
    "dots": _dots,
    "grid": _grid,
    "rings": _rings,
    "stripes": _stripes,
    "zigzag": _zigzag,
}
# a class's id, in label maps too, is its place in this alphabetical order
CLASSES = tuple(PATTERNS)
BACKGROUND = len(CLASSES)  # class id of the clutter in label maps: a class of its own
LABEL_MAP_CLASSES = len(CLASSES) + 1
IGNORED = 255  # in label maps: pixels on the edge of a region, which belong to neither side
MOST_REGIONS = 6
SMALLER = 0.6  # one of several regions, and its pattern, beside a single one


def write(
    output_dir: str | Path,
    train_images: int = 4000,
    eval_images: int = 1000,
    image_size: int = 32,
    seed: int = 0,
    regions: int = 1,
) -> dict[str, Path]:
    """Writes the data set: images, label maps, two lists of labels and two of label maps.

    Args:
        output_dir: where images and lists go.
        train_images: how many; classes are equally frequent.
        eval_images: how many; drawn from seeds of their own.
        image_size: pixels, at least 16.
        seed: the same seed gives the same files.
        regions: in each image, with a class of its own each; at most 6.

    Returns:
        Paths of the lists `train_segmentation`, `eval_segmentation` (path,labelmap), and with one
        region `train`, `eval` (path,label).

    Raises:
        InputError: where an argument breaks its rule.
    """
    require(train_images >= 1, "`train_images` must be at least 1", train_images=train_images)
    require(eval_images >= 1, "`eval_images` must be at least 1", eval_images=eval_images)
    require(16 <= image_size <= 1024, "`image_size` must lie in [16, 1024]", image_size=image_size)
    require(seed >= 0, "`seed` must be at least 0", seed=seed)
    require(
        1 <= regions <= MOST_REGIONS, f"`regions` must lie in [1, {MOST_REGIONS}]", regions=regions
    )
    folder = Path(output_dir)
    counts = {"train": train_images, "eval": eval_images}
    write_split = _write_split if regions == 1 else partial(_write_scenes, regions=regions)
    rows = {
        split: write_split(folder, split, count, image_size, seed)
        for split, count in counts.items()
    }
    lists = {}
    for split in counts:
        if regions == 1:
            lists[split] = files.write_list(
                folder / f"{split}.csv", [(image, label) for image, label, _ in rows[split]]
            )
        name = f"{split}_segmentation"
        lists[name] = files.write_list(
            folder / f"{name}.csv", [(image, label_map) for image, _, label_map in rows[split]]
        )
    return lists


def _write_split(
    folder: Path, split: str, count: int, image_size: int, seed: int
) -> list[tuple[str, str, str]]:
    """Writes the images of a split and returns its rows: path of the image, class name, path of the
    label map.
    """
    rows = []
    for start in range(0, count, BLOCK):
        generator = np.random.default_rng([seed, ("train", "eval").index(split), start])
        indices = np.arange(start, start + BLOCK)
        images, label_maps = draw(generator, indices % len(CLASSES), image_size)
        for index, image, label_map in list(zip(indices, images, label_maps, strict=True))[
            : count - start
        ]:
            label = CLASSES[index % len(CLASSES)]
            row = (
                f"{split}/{label}/{index:06d}.png",
                label,
                f"{split}_labelmaps/{label}/{index:06d}.png",
            )
            files.write_file(folder / row[0], files.encode_png(image))
            files.write_file(folder / row[2], files.encode_png(label_map))
            rows.append(row)
    return rows


def _write_scenes(
    folder: Path, split: str, count: int, image_size: int, seed: int, regions: int
) -> list[tuple[str, str, str]]:
    """Writes the images of a split that have several regions and returns its rows: path of the
    image, no class, path of the label map.
    """
    rows = []
    for start in range(0, count, BLOCK):
        generator = np.random.default_rng([seed, ("train", "eval").index(split), start, regions])
        images, label_maps = draw_scenes(generator, BLOCK, image_size, regions)
        for index, image, label_map in list(
            zip(range(start, start + BLOCK), images, label_maps, strict=True)
        )[: count - start]:
            row = (f"{split}/{index:06d}.png", "", f"{split}_labelmaps/{index:06d}.png")
            files.write_file(folder / row[0], files.encode_png(image))
            files.write_file(folder / row[2], files.encode_png(label_map))
            rows.append(row)
    return rows


def draw(
    generator: np.random.Generator, class_ids: np.ndarray, image_size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Draws one image for each class id.

    Args:
        generator: the only source of chance.
        class_ids: [N] integers, places in CLASSES.
        image_size: S, in pixels.

    Returns:
        images, [N, S, S, 3] uint8, and label maps, [N, S, S] uint8: the class id inside the region,
        BACKGROUND outside.
    """
    x, y = _places(image_size)
    count = len(class_ids)
    filled = _filled_region(generator, class_ids, x, y)
    image = _clutter(generator, count, x, y)
    image += filled.region[..., None] * (filled.filling - image)
    label_maps = np.where(
        filled.region > 0.5, np.asarray(class_ids)[:, None, None], BACKGROUND
    ).astype(np.uint8)
    return _photograph(generator, image, x, y), label_maps


def draw_scenes(
    generator: np.random.Generator, count: int, image_size: int, regions: int
) -> tuple[np.ndarray, np.ndarray]:
    """Draws images of several regions, each with a random class and a place of its own.

    Later ones may cover earlier ones.

    Args:
        generator: the only source of chance.
        count: N.
        image_size: S, in pixels.
        regions: in each image.

    Returns:
        images, [N, S, S, 3] uint8, and label maps, [N, S, S] uint8: class ids, BACKGROUND, and
        IGNORED on the edges of regions.
    """
    x, y = _places(image_size)
    image = _clutter(generator, count, x, y)
    label_maps = np.full((count, image_size, image_size), BACKGROUND, np.uint8)
    first = generator.uniform(0, 2 * np.pi, (count, 1, 1)).astype(np.float32)
    for number in range(regions):
        # around the centre, so that they cover one another only here and there
        angle = first + 2 * np.pi * number / regions
        class_ids = generator.integers(len(CLASSES), size=count)
        centre_x, centre_y = 0.3 * np.cos(angle), 0.3 * np.sin(angle)
        filled = _filled_region(generator, class_ids, x - centre_x, y - centre_y, SMALLER)
        image += filled.region[..., None] * (filled.filling - image)
        label_maps = np.where(filled.region > 0, IGNORED, label_maps)
        label_maps = np.where(filled.region >= 1, class_ids[:, None, None], label_maps).astype(
            np.uint8
        )
    return _photograph(generator, image, x, y), label_maps


def _places(image_size: int) -> tuple[np.ndarray, np.ndarray]:
    """The centres of the pixels, x [1, 1, S] and y [1, S, 1]."""
    side = ((np.arange(image_size) + 0.5) / image_size - 0.5).astype(np.float32)
    return side[None, None, :], side[None, :, None]


@dataclass(frozen=True)
class _FilledRegion:
    region: np.ndarray  # [N, S, S], share of the pixel inside
    filling: np.ndarray  # [N, S, S, 3], the pattern in two colours


def _filled_region(
    generator: np.random.Generator,
    class_ids: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
    size: float = 1,
) -> _FilledRegion:
    """A region of relative size near the origin, filled with the pattern of its class in two random
    colours.
    """
    count = len(class_ids)
    x, y = x / size, y / size
    dark = _colour(generator, count, _uniform(generator, count, 0.05, 0.4))
    light = _colour(generator, count, _luma(dark) + _uniform(generator, count, 0.4, 0.6))
    swapped = generator.random((count, 1, 1, 1)) < 0.5
    region_x, region_y = (
        _uniform(generator, count, -0.1, 0.1),
        _uniform(generator, count, -0.1, 0.1),
    )
    region = _coverage(size * _outline(generator, x - region_x, y - region_y))
    # [N, S, S, 1]
    ink = _coverage(size * _ink(generator, class_ids, x - region_x, y - region_y))[..., None]
    return _FilledRegion(
        region, np.where(swapped, dark * ink + light * (1 - ink), light * ink + dark * (1 - ink))
    )


def _photograph(
    generator: np.random.Generator, image: np.ndarray, x: np.ndarray, y: np.ndarray
) -> np.ndarray:
    """Lights an image [N, S, S, 3] unevenly and adds noise; uint8."""
    image = image * _light(generator, len(image), x, y)[..., None]
    image += generator.normal(0, 0.02, image.shape).astype(np.float32)
    return (image.clip(0, 1) * 255).round().astype(np.uint8)


def _uniform(generator: np.random.Generator, count: int, low: float, high: float) -> np.ndarray:
    """A number of each image, [N, 1, 1]."""
    return generator.uniform(low, high, (count, 1, 1)).astype(np.float32)


def _turn(angle: np.ndarray, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x


def _coverage(distance: np.ndarray) -> np.ndarray:
    """Share of each pixel inside an edge, from the signed distance to it in units of the image's
    side.
    """
    return (distance * distance.shape[-1] + 0.5).clip(0, 1)


def _luma(colour: np.ndarray) -> np.ndarray:
    return colour @ LUMA


def _colour(generator: np.random.Generator, count: int, luma: np.ndarray) -> np.ndarray:
    """Random colours of the given brightness, [N, 1, 1, 3]: whatever loses its hue keeps its
    contrast.
    """
    tint = generator.uniform(-0.3, 0.3, (count, 1, 1, 3)).astype(np.float32)
    return (luma[..., None] + tint - _luma(tint)[..., None]).clip(0, 1)


def _ink(
    generator: np.random.Generator, class_ids: np.ndarray, x: np.ndarray, y: np.ndarray
) -> np.ndarray:
    """The pattern of each image, turned, scaled, shifted and bent at random, as the distance to the
    edge of its ink, positive inside.
    """
    count = len(class_ids)
    period = _uniform(generator, count, 0.14, 0.24)  # of the image's side
    across, along = _turn(_uniform(generator, count, 0, 2 * np.pi), x, y)
    bend, wave = _uniform(generator, count, 0, BEND), _uniform(generator, count, np.pi, 2 * np.pi)
    u = (
        across / period
        + _uniform(generator, count, 0, 1)
        + bend * np.sin(wave * along + _uniform(generator, count, 0, 2 * np.pi))
    )
    v = (
        along / period
        + _uniform(generator, count, 0, 1)
        + bend * np.sin(wave * across + _uniform(generator, count, 0, 2 * np.pi))
    )
    distance = np.empty_like(u)
    for class_id, pattern in enumerate(PATTERNS.values()):
        chosen = np.equal(class_ids, class_id)
        distance[chosen] = pattern(u[chosen], v[chosen])
    return distance * period


def _outline(generator: np.random.Generator, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """A region around the origin with a random outline, between diamond, disc and square, wavy:
    distance to it, positive inside.
    """
    count = max(len(x), len(y))
    x, y = _turn(_uniform(generator, count, 0, 2 * np.pi), x, y)
    stretch = np.exp(_uniform(generator, count, -0.2, 0.2))
    power = _uniform(generator, count, 1.3, 5)
    length = (np.abs(x * stretch) ** power + np.abs(y / stretch) ** power) ** (1 / power)
    angle = np.arctan2(y, x)
    radius = _uniform(generator, count, 0.42, 0.54)
    for lobes in (2, 3, 5):
        radius = radius + _uniform(generator, count, 0, 0.12 / lobes) * np.cos(
            lobes * angle + _uniform(generator, count, 0, 2 * np.pi)
        )
    return radius - length


def _clutter(
    generator: np.random.Generator, count: int, x: np.ndarray, y: np.ndarray
) -> np.ndarray:
    """What lies behind the region, [N, S, S, 3]: soft-edged boxes and blobs over a plain colour."""
    image = (
        _colour(generator, count, _uniform(generator, count, 0.2, 0.8))
        * np.ones_like(x * y)[..., None]
    )
    for _ in range(CLUTTER):
        shifted_x, shifted_y = (
            x - _uniform(generator, count, -0.5, 0.5),
            y - _uniform(generator, count, -0.5, 0.5),
        )
        across, along = _turn(_uniform(generator, count, 0, np.pi), shifted_x, shifted_y)
        width, height = (
            _uniform(generator, count, 0.05, 0.25),
            _uniform(generator, count, 0.05, 0.25),
        )
        box = np.minimum(width - np.abs(across), height - np.abs(along))
        blob = width - np.hypot(across, along)
        thing = _coverage(np.where(generator.random((count, 1, 1)) < 0.5, box, blob))[..., None]
        image += thing * (_colour(generator, count, _uniform(generator, count, 0.1, 0.9)) - image)
    return image


def _light(generator: np.random.Generator, count: int, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Brightness that falls off in a random direction, [N, S, S]."""
    across, _ = _turn(_uniform(generator, count, 0, 2 * np.pi), x, y)
    return _uniform(generator, count, 0.75, 1.0) + _uniform(generator, count, 0, 0.3) * across
