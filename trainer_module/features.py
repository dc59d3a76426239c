"""Features of many images: the encoder applied batch by batch, as evaluation and linear heads need
them.

N images of H x W pixels, D feature dims, R random copies of each image.
"""

import keras
import numpy as np

from trainer_module.augment import augment
from trainer_module.normalize import normalize
from trainer_module.settings import Augmentation

# images in the encoder at once: its first layer holds 64 numbers for each of their pixels
MOST_AT_ONCE, MOST_PIXELS, LEAST_AT_ONCE = 512, 512 * 64 * 64, 8
CROP_AND_FLIP = Augmentation(jitter_probability=0.0, colour_drop_probability=0.0)


def encode(
    encoder: keras.Model, images, channel_mean, channel_std, batch_size: int = 0, view=None
) -> np.ndarray:
    """Returns the features of images, with the encoder's moving statistics.

    Args:
        encoder: keras.Model from normalized images [B, H, W, 3] to features [B, D].
        images: uint8 [N, H, W, 3].
        channel_mean: [3], in units of [0, 1] pixels.
        channel_std: [3], likewise.
        batch_size: images at once; every call of the encoder has this size, so that it is compiled
          once. 0: as `at_once` says.
        view: function from images to what the encoder sees of them, or None for the images
          themselves.

    Returns:
        float32 [N, D].
    """
    parts, batch_size = [], batch_size or at_once(*images.shape[1:3])
    for start in range(0, len(images), batch_size):
        batch = images[start : start + batch_size]
        padded = np.pad(
            batch, [(0, min(batch_size, len(images)) - len(batch)), (0, 0), (0, 0), (0, 0)]
        )
        seen = padded if view is None else view(padded)
        features = encoder.predict_on_batch(normalize(seen, channel_mean, channel_std))
        parts.append(np.asarray(features, np.float32)[: len(batch)])
    return np.concatenate(parts)


def at_once(height: int, width: int) -> int:
    """Returns how many images of H x W pixels go into an encoder at once: fewer of large ones."""
    return max(LEAST_AT_ONCE, min(MOST_AT_ONCE, MOST_PIXELS // (height * width)))


def encode_crops(
    encoder: keras.Model, images, channel_mean, channel_std, copies: int, seed: int = 0
) -> np.ndarray:
    """Returns the features of randomly cropped and flipped copies of images, more to learn a linear
    head from.

    Args:
        encoder: keras.Model from normalized images [B, H, W, 3] to features [B, D].
        images: uint8 [N, H, W, 3].
        channel_mean: [3], in units of [0, 1] pixels.
        channel_std: [3], likewise.
        copies: R.
        seed: of the crops and flips.

    Returns:
        float32 [R * N, D], one copy of all images after another.
    """
    chance = keras.random.SeedGenerator(seed)
    crop = lambda batch: augment(batch, CROP_AND_FLIP, images.shape[1:3], chance)  # noqa: E731
    return np.concatenate(
        [encode(encoder, images, channel_mean, channel_std, view=crop) for _ in range(copies)]
    )
