"""Tensors under torchvision's names into our encoder, and out of it.

PyTorch's normalization adds 1e-5 to the variance where ours adds a little more, the least that
GPUs accept; the difference is taken off the variance, or put on, so that both compute the same.
"""

from collections.abc import Mapping

import keras
import numpy as np

from trainer_module.resnet import BATCH_NORM_EPSILON
from trainer_module.settings import Encoder
from trainer_module.weights.names import tensors_of

TORCH_EPSILON = 1e-5


def put_in(encoder: keras.Model, settings: Encoder, tensors: Mapping[str, np.ndarray]) -> None:
    """Sets every weight of an encoder.

    Args:
        encoder: from `build_encoder`.
        settings: its own, the stem decided.
        tensors: torchvision's name -> float32 array.
    """
    for name, tensor in tensors_of(settings).items():
        value = np.asarray(tensors[name], np.float32)
        if tensor.part == "kernel":
            value = value.transpose(2, 3, 1, 0)  # [D, C, k, k] -> [k, k, C, D]
        elif tensor.part == "moving_variance":
            value = value + np.float32(TORCH_EPSILON - BATCH_NORM_EPSILON)
        getattr(encoder.get_layer(tensor.layer), tensor.part).assign(value)


def taken_out(encoder: keras.Model, settings: Encoder) -> dict[str, np.ndarray]:
    """Returns torchvision's name -> float32 array for every tensor of an encoder; the reverse of
    `put_in`.
    """
    found = {}
    for name, tensor in tensors_of(settings).items():
        layer = encoder.get_layer(tensor.layer)
        value = np.asarray(keras.ops.convert_to_numpy(getattr(layer, tensor.part)), np.float32)
        if tensor.part == "kernel":
            value = value.transpose(3, 2, 0, 1)  # [k, k, C, D] -> [D, C, k, k]
        elif tensor.part == "moving_variance":
            value = value + np.float32(layer.epsilon - TORCH_EPSILON)
        found[name] = np.ascontiguousarray(value)
    return found
