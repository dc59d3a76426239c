"""Puts a task's head on an encoder: on features computed once while the encoder is frozen, or training both.

B images, H x W pixels, D feature dims, C classes. Randomness comes from `settings.seed` alone.
"""

from dataclasses import dataclass

import keras
import numpy as np
from keras import ops

from trainer_module.augment import augment
from trainer_module.features import encode
from trainer_module.linear_eval import fit_linear, weights_checksum
from trainer_module.normalize import normalize
from trainer_module.settings import Augmentation, Finetuning

WARMUP_SHARE = 0.05  # of the steps


@dataclass(frozen=True)
class Labelled:
    """One split: images uint8 [N, H, W, 3], labels [N, ...], and the statistics that normalize images."""

    images: np.ndarray
    labels: np.ndarray
    channel_mean: np.ndarray
    channel_std: np.ndarray


def attach_head(encoder: keras.Model, head: list[keras.layers.Layer]) -> keras.Model:
    """Returns a model from normalized images [B, H, W, 3] to the head's output; it shares the encoder's weights."""
    outputs = encoder.output
    for layer in head:
        outputs = layer(outputs)
    return keras.Model(encoder.input, outputs, name="finetuned")
