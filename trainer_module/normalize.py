"""The one normalization of the project: stored pixels to numbers with mean 0 and deviation 1 in
every channel.

Pretraining, fine-tuning and serving call this function with the statistics that Transform measured,
so they cannot disagree.

B images of H x W pixels with 3 channels.
"""

import keras
from keras import ops

EPSILON = 1e-6  # a channel that never varies (an all-black image set) stays finite


def normalize(images, channel_mean, channel_std):
    """Subtracts the channel mean and divides by the channel deviation, both measured on pixels in
    [0, 1].

    Args:
        images: [B, H, W, 3], integers in [0, 255] or floats in [0, 1].
        channel_mean: [3] or any shape that broadcasts against `images`, float32.
        channel_std: the same shape, float32, not negative.

    Returns:
        float32 [B, H, W, 3].
    """
    pixels = to_unit_range(images)
    std = ops.maximum(ops.cast(channel_std, "float32"), EPSILON)
    return (pixels - ops.cast(channel_mean, "float32")) / std


def to_unit_range(images):
    """Turns integers in [0, 255] into float32 in [0, 1]; floats keep their values.

    Args:
        images: tensor or array of any shape.

    Returns:
        float32 tensor of the same shape.
    """
    pixels = ops.cast(images, "float32")
    if keras.backend.is_float_dtype(keras.backend.standardize_dtype(images.dtype)):
        return pixels
    return pixels / 255.0
