"""Random views of images: every operation of SimCLR's augmentation, for a whole batch at once,
inside the compiled step.

Most of it happens in two steps. Where a view's pixels lie in the image is linear and separable, so
crop, resize, flip and blur are together two small matrices an image: view = rows @ image @
columns^T. What colour they have is linear too, so brightness, contrast, saturation, hue and colour
drop are together one 3x3 matrix and one offset an image. Turns, rotation, noise and cutout, where
they are asked for, are steps of their own.

B images of H x W pixels -> B views of h x w pixels, values in [0, 1].
"""

import math
from dataclasses import dataclass

import numpy as np
from keras import ops

from trainer_module.chance import integers
from trainer_module.errors import require
from trainer_module.normalize import to_unit_range
from trainer_module.settings import Augmentation

CROP_ATTEMPTS = 10  # as in torchvision's RandomResizedCrop
# different random numbers in [0, 1): TensorFlow makes its own floats from 23 bits, too
STEPS_OF_CHANCE = 2**23
# ITU-R BT.601: how much red, green and blue make grey
LUMA = np.array([0.299, 0.587, 0.114], "float32")


def augment(images, settings: Augmentation, view_size: tuple[int, int], chance):
    """Draws one random view of every image.

    An operation whose probability is 0 is left out of the computation.

    Args:
        images: [B, H, W, 3], integers in [0, 255] or floats in [0, 1].
        settings: which operations, how often, how strong.
        view_size: (h, w) in pixels.
        chance: keras.random.SeedGenerator; every call moves it on.

    Returns:
        float32 [B, h, w, 3] in [0, 1].

    Raises:
        ValueError: if quarter turns are on and views are not square.
    """
    turning = settings.quarter_turn_probability > 0
    require(
        not turning or view_size[0] == view_size[1],
        "`view_size` must be square for quarter turns",
        view_size=view_size,
    )
    rows, columns = _reading_matrices(settings, ops.shape(images), view_size, chance)
    views = apply_separable(to_unit_range(images), rows, columns)  # [B, h, w, 3]
    if turning:
        views = _quarter_turn(views, settings.quarter_turn_probability, chance)
    if settings.rotation_probability > 0:
        views = _rotate(views, settings, chance)
    views = jitter(views, settings, chance)
    if settings.noise_probability > 0:
        views = _add_noise(views, settings, chance)
    if settings.cutout_probability > 0:
        views = _cut_out(views, settings, chance)
    return ops.clip(views, 0.0, 1.0)


# Where the pixels lie: crop, resize, flip and blur.


def apply_separable(images, rows, columns):
    """Returns rows @ image @ columns^T for every image and channel, as two batched matrix products.

    Args:
        images: float [B, H, W, 3].
        rows: float [B, h, H].
        columns: float [B, w, W].

    Returns:
        float [B, h, w, 3].
    """
    _, height, width, channels = images.shape
    view_height, view_width = rows.shape[1], columns.shape[1]
    read = ops.matmul(rows, ops.reshape(images, [-1, height, width * channels]))  # [B, h, W * 3]
    # [B, W, h, 3]
    read = ops.transpose(ops.reshape(read, [-1, view_height, width, channels]), [0, 2, 1, 3])
    # [B, w, h * 3]
    read = ops.matmul(columns, ops.reshape(read, [-1, width, view_height * channels]))
    return ops.transpose(ops.reshape(read, [-1, view_width, view_height, channels]), [0, 2, 1, 3])


def resize_matrix(low, size, flipped, source_size: int, view_size: int):
    """Bilinear interpolation, antialiased where it shrinks, of a range of pixels along one axis.

    Equal to cutting the range out and resizing it with tf.image.resize(antialias=True) or PIL.

    Args:
        low: [B], first pixel of the range.
        size: [B], pixels of the range.
        flipped: [B], 1 to read it backwards, else 0.
        source_size: pixels of the image along this axis.
        view_size: pixels of the view.

    Returns:
        float32 [B, view_size, source_size]; rows sum to 1.
    """
    low, size, flipped = (
        ops.cast(value, "float32")[:, None, None] for value in (low, size, flipped)
    )  # [B, 1, 1]
    place = (
        ops.arange(view_size, dtype="float32") + 0.5
    ) / view_size  # [view_size], centres in (0, 1)
    place = place[None, :, None]
    place = place + flipped * (1.0 - 2.0 * place)
    centre = low + place * size - 0.5  # [B, view_size, 1], in pixel indices
    pixel = ops.arange(source_size, dtype="float32")[None, None, :]
    support = ops.maximum(size / view_size, 1.0)
    weights = ops.maximum(1.0 - ops.abs(pixel - centre) / support, 0.0)
    inside = ops.logical_and(pixel >= low, pixel < low + size)
    return _rows_of_sum_one(ops.where(inside, weights, 0.0))


def blur_matrix(sigma, view_size: int):
    """Gaussian blur along one axis.

    Weights beyond the border are shared out among the pixels inside.

    Args:
        sigma: [B], deviation in pixels, greater than 0.
        view_size: pixels of the view.

    Returns:
        float32 [B, view_size, view_size]; rows sum to 1.
    """
    pixel = ops.arange(view_size, dtype="float32")
    distance = (pixel[:, None] - pixel[None, :])[None]  # [1, view_size, view_size]
    return _rows_of_sum_one(ops.exp(-0.5 * ops.square(distance / sigma[:, None, None])))


def _rows_of_sum_one(weights):
    return weights / ops.sum(weights, axis=-1, keepdims=True)


@dataclass(frozen=True)
class Box:
    """Which pixels a view reads: for rows and for columns the first pixel, the number of pixels and
    whether backwards, [B] each.
    """

    rows: tuple
    columns: tuple


def random_box(settings: Augmentation, image_shape, chance) -> Box:
    """Draws a crop and flips.

    Args:
        settings: crop and flips; the rest is left alone.
        image_shape: (B, H, W, ...); H and W in pixels.
        chance: keras.random.SeedGenerator.
    """
    count, (height, width) = image_shape[0], image_shape[1:3]
    top, crop_height, left, crop_width = _crop(settings, count, (height, width), chance)
    upside_down = _happens(settings.vertical_flip_probability, count, chance)
    mirrored = _happens(settings.horizontal_flip_probability, count, chance)
    return Box((top, crop_height, upside_down), (left, crop_width, mirrored))


def _reading_matrices(settings, image_shape, view_size, chance):
    """Returns rows [B, h, H] and columns [B, w, W] of random crops, flips and blurs."""
    count, (height, width) = image_shape[0], image_shape[1:3]
    box = random_box(settings, image_shape, chance)
    rows = resize_matrix(*box.rows, height, view_size[0])
    columns = resize_matrix(*box.columns, width, view_size[1])
    if settings.blur_probability > 0:
        sigma = view_size[0] * _uniform(settings.blur_sigma, count, chance)
        # so narrow that it changes nothing
        sigma = ops.where(_happens(settings.blur_probability, count, chance) > 0, sigma, 1e-3)
        rows = ops.matmul(blur_matrix(sigma, view_size[0]), rows)
        columns = ops.matmul(blur_matrix(sigma, view_size[1]), columns)
    return rows, columns


def _crop(settings, count, image_size, chance):
    """Returns top, height, left, width [B] of the crop, in whole pixels.

    The whole image where no crop happens.
    """
    height, width = image_size
    whole = (
        ops.zeros([count]),
        ops.full([count], float(height)),
        ops.zeros([count]),
        ops.full([count], float(width)),
    )
    if settings.crop_probability == 0:
        return whole
    crop_height, crop_width = random_crop_size(settings, count, image_size, chance)
    top = ops.floor(_random([count], chance) * (height - crop_height + 1))
    left = ops.floor(_random([count], chance) * (width - crop_width + 1))
    cropped = top, crop_height, left, crop_width
    if settings.crop_probability == 1:
        return cropped
    happens = _happens(settings.crop_probability, count, chance) > 0
    return tuple(ops.where(happens, one, other) for one, other in zip(cropped, whole, strict=True))


def random_crop_size(settings: Augmentation, count, image_size: tuple[int, int], chance):
    """Draws crop sizes as torchvision's RandomResizedCrop does: the first of ten (area, aspect)
    draws that fits.

    Args:
        settings: crop_area, a share of the image, and crop_aspect, width / height.
        count: B.
        image_size: (H, W) in pixels.
        chance: keras.random.SeedGenerator.

    Returns:
        Height and width, [B] each, whole numbers of pixels as float32. Where none fits, the whole
        image.
    """
    height, width = image_size
    area = _uniform(settings.crop_area, (count, CROP_ATTEMPTS), chance) * (height * width)
    logarithms = [math.log(bound) for bound in settings.crop_aspect]
    aspect = ops.exp(_uniform(logarithms, (count, CROP_ATTEMPTS), chance))
    heights = ops.round(ops.sqrt(area / aspect))  # [B, attempts]
    widths = ops.round(ops.sqrt(area * aspect))
    fits = (heights >= 1) & (heights <= height) & (widths >= 1) & (widths <= width)
    first = ops.argmax(ops.cast(fits, "int32"), axis=1)[:, None]  # [B, 1]
    found = ops.any(fits, axis=1)

    def pick(sizes, whole):
        return ops.where(found, ops.take_along_axis(sizes, first, axis=1)[:, 0], float(whole))

    return pick(heights, height), pick(widths, width)


def _quarter_turn(views, probability, chance):
    """Rotates some views by 90, 180 or 270 degrees."""
    count = ops.shape(views)[0]
    turns = 1 + ops.floor(3 * _random([count], chance))
    turns = (turns * _happens(probability, count, chance))[:, None, None, None]
    once = ops.flip(ops.transpose(views, [0, 2, 1, 3]), axis=1)
    twice = ops.flip(views, axis=(1, 2))
    thrice = ops.flip(once, axis=(1, 2))
    return ops.where(
        turns == 1, once, ops.where(turns == 2, twice, ops.where(turns == 3, thrice, views))
    )


def _rotate(views, settings, chance):
    """Rotates some views by a small angle about their centre."""
    count = ops.shape(views)[0]
    radians = math.radians(settings.rotation_degrees)
    angle = _uniform((-radians, radians), count, chance)
    return rotate(views, angle * _happens(settings.rotation_probability, count, chance))


def rotate(views, angle):
    """Rotates every view by its own angle about its centre.

    Beyond the border lies its mirror image, the border pixel repeated.

    Every pixel is gathered from its four neighbours in the source. `ops.image.affine_transform`
    does the same in one TensorFlow kernel, but XLA, which compiles the step on a GPU, has no such
    operation. Three shears as matrix products, like crop and resize, would compile too, but
    interpolate three times: other, blurrier views.

    Args:
        views: float [B, h, w, C].
        angle: [B], radians; pi / 2 is `numpy.rot90(view)`.

    Returns:
        float [B, h, w, C], interpolated bilinearly.
    """
    height, width, channels = views.shape[1:]
    centre_y, centre_x = (height - 1) / 2, (width - 1) / 2
    cos, sin = ops.cos(angle)[:, None, None], ops.sin(angle)[:, None, None]  # [B, 1, 1]
    y = ops.arange(height, dtype="float32")[:, None] - centre_y  # [h, 1]
    x = ops.arange(width, dtype="float32")[None, :] - centre_x  # [1, w]
    source_y, source_x = (
        centre_y + cos * y + sin * x,
        centre_x + cos * x - sin * y,
    )  # [B, h, w], in pixel indices
    top, left = ops.floor(source_y), ops.floor(source_x)
    down, right = (
        (source_y - top)[..., None],
        (source_x - left)[..., None],
    )  # [B, h, w, 1], in [0, 1)
    pixels = ops.reshape(views, [-1, channels])  # [B * h * w, C]
    first = ops.arange(ops.shape(views)[0])[:, None, None] * (height * width)  # of every view

    def read(rows, columns):
        place = _mirrored(rows, height) * width + _mirrored(columns, width)
        return ops.take(pixels, first + ops.cast(place, "int32"), axis=0)  # [B, h, w, C]

    above = read(top, left) * (1.0 - right) + read(top, left + 1) * right
    below = read(top + 1, left) * (1.0 - right) + read(top + 1, left + 1) * right
    return above * (1.0 - down) + below * down


def _mirrored(index, side: int):
    """Returns the pixel in [0, side) that a whole number stands for where an axis is continued as
    ..., 1, 0, 0, 1, ..., n, n, ...
    """
    index = ops.mod(index, 2 * side)
    return ops.minimum(index, 2 * side - 1 - index)


# Which colour the pixels have.


def jitter(views, settings: Augmentation, chance):
    """Jitters the colours of some views and takes them from others.

    Args:
        views: float [B, h, w, 3].
        settings: jitter and colour drop; the rest is left alone.
        chance: keras.random.SeedGenerator.

    Returns:
        float [B, h, w, 3], not clipped.
    """
    if settings.jitter_probability == 0 and settings.colour_drop_probability == 0:
        return views
    count = ops.shape(views)[0]
    jittered = _happens(settings.jitter_probability, count, chance)
    factors = [
        1.0 + jittered * _uniform((-amount, amount), count, chance)
        for amount in (settings.brightness, settings.contrast)
    ]
    amount = settings.saturation
    saturation = 1.0 + jittered * _uniform((-amount, amount), count, chance)
    # grey is saturation 0
    saturation = saturation * (1.0 - _happens(settings.colour_drop_probability, count, chance))
    hue = jittered * _uniform((-settings.hue, settings.hue), count, chance)
    return recolour(views, *factors, saturation, hue)


def recolour(views, brightness, contrast, saturation, hue):
    """Applies brightness, contrast, saturation and hue at once.

    With grey(x) the luma of a pixel and m its mean over the view: brightness is b x, contrast c x +
    (1 - c) m, saturation s x + (1 - s) grey(x), and hue H x turns the colour circle while grey(H x)
    = grey(x) and H grey = grey. So defined, all four commute: any random order gives this same
    view. (torchvision's order matters only through clipping in between, which we do once at the
    end, and its hue turns HSV, where grey is not kept.)

    Args:
        views: float [B, h, w, 3].
        brightness: [B], factor; 1 changes nothing.
        contrast: [B], factor; 1 changes nothing.
        saturation: [B], factor; 1 changes nothing, 0 is grey.
        hue: [B], turns of the colour circle; 0 changes nothing.

    Returns:
        float [B, h, w, 3], not clipped.
    """
    matrix = (brightness * contrast)[:, None, None] * colour_matrix(saturation, hue)  # [B, 3, 3]
    mean_grey = ops.matmul(ops.mean(views, axis=(1, 2)), LUMA[:, None])  # [B, 1]
    offset = (brightness * (1.0 - contrast))[:, None] * mean_grey  # [B, 1]
    _, height, width, _ = views.shape
    pixels = ops.reshape(views, [-1, height * width, 3])
    # [B, h * w, 3]
    recoloured = ops.matmul(pixels, ops.transpose(matrix, [0, 2, 1])) + offset[:, :, None]
    return ops.reshape(recoloured, [-1, height, width, 3])


def colour_matrix(saturation, hue):
    """Returns [B, 3, 3], acting on a pixel (r, g, b) from the left, for a saturation [B] and turns
    of hue [B].

    The hue turns the plane of equal luma about grey (the chroma plane of YIQ), which keeps both
    luma and grey.
    """
    to_yiq = np.array(
        [LUMA, [0.595716, -0.274453, -0.321263], [0.211456, -0.522591, 0.311135]], "float32"
    )
    to_rgb = np.linalg.inv(to_yiq)
    cos, sin = saturation * ops.cos(2 * math.pi * hue), saturation * ops.sin(2 * math.pi * hue)
    grey = np.outer(to_rgb[:, 0], to_yiq[0])
    chroma = to_rgb[:, 1:] @ to_yiq[1:]
    turned = np.outer(to_rgb[:, 1], to_yiq[2]) - np.outer(to_rgb[:, 2], to_yiq[1])
    return grey[None] + cos[:, None, None] * chroma[None] + sin[:, None, None] * turned[None]


def _add_noise(views, settings, chance):
    """Adds Gaussian noise to some views."""
    happens = _happens(settings.noise_probability, ops.shape(views)[0], chance)[:, None, None, None]
    return views + happens * settings.noise_stddev * _normal(ops.shape(views), chance)


def _cut_out(views, settings, chance):
    """Paints a rectangle of some views in the view's mean colour (DeVries & Taylor 2017,
    arXiv:1708.04552, uses black).
    """
    count, height, width = ops.shape(views)[0], views.shape[1], views.shape[2]
    area = _uniform(settings.cutout_area, count, chance) * _happens(
        settings.cutout_probability, count, chance
    )
    side = ops.sqrt(area)[:, None]  # [B, 1], share of height and of width
    in_rows = _span(_random([count, 1], chance) * (1.0 - side), side, height)
    in_columns = _span(_random([count, 1], chance) * (1.0 - side), side, width)
    hole = ops.logical_and(in_rows[:, :, None, None], in_columns[:, None, :, None])  # [B, h, w, 1]
    return ops.where(hole, ops.mean(views, axis=(1, 2), keepdims=True), views)


def _span(low, length, side: int):
    """Returns [B, side], true where a pixel's centre lies in [low, low + length), both shares of
    the side.
    """
    place = (ops.arange(side, dtype="float32") + 0.5)[None] / side
    return ops.logical_and(place >= low, place < low + length)


# Chance.


def _happens(probability, count, chance):
    """Returns float32 [B], 1 with this probability, else 0.

    Nothing is drawn where the answer is certain.
    """
    if probability in (0, 1):
        return ops.full([count], float(probability))
    return ops.cast(_random([count], chance) < probability, "float32")


def _uniform(bounds, shape, chance):
    """Returns float32 numbers in [low, high)."""
    low, high = bounds
    shape = shape if isinstance(shape, tuple) else (shape,)
    return low + (high - low) * _random(shape, chance)


def _normal(shape, chance):
    """Returns float32 numbers of mean 0 and deviation 1, by the inverse of their distribution."""
    return math.sqrt(2) * ops.erfinv(2 * (_random(shape, chance) + 0.5 / STEPS_OF_CHANCE) - 1)


def _random(shape, chance):
    """Returns float32 numbers in [0, 1).

    Made from integers: TensorFlow turns the same random bits into other floats where XLA compiles
    than where it does not, and the views of a seed must be those of a GPU and of a CPU alike.
    (These floats are the ones that it makes without XLA.)
    """
    return ops.cast(integers(shape, STEPS_OF_CHANCE, chance), "float32") / STEPS_OF_CHANCE
