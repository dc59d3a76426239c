"""Features of many images: the encoder applied batch by batch, as evaluation and linear heads need them.

N images of H x W pixels, D feature dims.
"""

import keras
import numpy as np

from trainer_module.normalize import normalize


def encode(encoder: keras.Model, images, channel_mean, channel_std, batch_size: int = 512) -> np.ndarray:
    """Returns the features of images, without augmentation and with the encoder's moving statistics.

    Args:
        encoder: keras.Model from normalized images [B, H, W, 3] to features [B, D].
        images: uint8 [N, H, W, 3].
        channel_mean: [3], in units of [0, 1] pixels.
        channel_std: [3], likewise.
        batch_size: images at once; every call of the encoder has this size, so that it is compiled once.

    Returns:
        float32 [N, D].
    """
    parts = []
    for start in range(0, len(images), batch_size):
        batch = images[start : start + batch_size]
        padded = np.pad(batch, [(0, min(batch_size, len(images)) - len(batch)), (0, 0), (0, 0), (0, 0)])
        features = encoder.predict_on_batch(normalize(padded, channel_mean, channel_std))
        parts.append(np.asarray(features, np.float32)[: len(batch)])
    return np.concatenate(parts)
