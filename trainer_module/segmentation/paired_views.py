"""Random views of images together with their label maps: one crop and one flip for both, colours
for the image alone.

The image is read bilinearly, its label map at the nearest pixel: a class id is no number to
average. Crops lie inside the image, so there is nothing to fill. Inside the compiled step, like
`augment`, whose matrices these are.

B images of H x W pixels -> B views of h x w pixels.
"""

from keras import ops

from trainer_module.augment import apply_separable, jitter, random_box, resize_matrix
from trainer_module.normalize import to_unit_range
from trainer_module.settings import Augmentation, require_paired


def augment_pair(images, label_maps, settings: Augmentation, view_size: tuple[int, int], chance):
    """Draws one random view of every image and reads its label map at the same places.

    Args:
        images: [B, H, W, 3], integers in [0, 255] or floats in [0, 1].
        label_maps: [B, H, W], integer class ids up to 65,536.
        settings: crop, flips, jitter and colour drop; every other operation must be off.
        view_size: (h, w) in pixels.
        chance: keras.random.SeedGenerator; every call moves it on.

    Returns:
        float32 [B, h, w, 3] in [0, 1], and int32 [B, h, w], in which only class ids of the label
        map occur.

    Raises:
        ValueError: if another operation is on.
    """
    require_paired(settings)
    box = random_box(settings, ops.shape(images), chance)
    rows, columns = (resize_matrix(*side, *sizes) for side, sizes in _sides(box, images, view_size))
    views = apply_separable(to_unit_range(images), rows, columns)  # [B, h, w, 3]
    rows, columns = (
        nearest_matrix(*side, *sizes) for side, sizes in _sides(box, images, view_size)
    )
    # [B, h, w]
    ids = apply_separable(ops.cast(label_maps, "float32")[..., None], rows, columns)[..., 0]
    return ops.clip(jitter(views, settings, chance), 0.0, 1.0), ops.cast(ops.round(ids), "int32")


def nearest_matrix(low, size, flipped, source_size: int, view_size: int):
    """Reads the nearest pixel of a range along one axis: every row has a single 1.

    Equal to cutting the range out and resizing it with tf.image.resize(method='nearest').

    Args:
        low: [B], first pixel of the range, a whole number.
        size: [B], pixels of the range.
        flipped: [B], 1 to read it backwards, else 0.
        source_size: pixels of the label map along this axis.
        view_size: pixels of the view.

    Returns:
        float32 [B, view_size, source_size].
    """
    # [B, 1]
    low, size, flipped = (ops.cast(value, "float32")[:, None] for value in (low, size, flipped))
    index = ops.arange(view_size, dtype="float32")[None]  # [1, view_size]
    index = index + flipped * (view_size - 1 - 2 * index)
    # [B, view_size]; whole numbers to the last, so no rounding
    pixel = low + ops.floor((2 * index + 1) * size / (2 * view_size))
    return ops.one_hot(ops.cast(pixel, "int32"), source_size, dtype="float32")


def _sides(box, images, view_size):
    """Yields for rows and columns: first pixel, pixels and flip of the box [B] each.

    Pixels of image and view.
    """
    yield box.rows, (images.shape[1], view_size[0])
    yield box.columns, (images.shape[2], view_size[1])
