"""The encoder: a ResNet of 18 to 152 layers (He et al. 2016, arXiv:1512.03385), from normalized
images to features.

B images of H x W pixels; a block has C channels, which a bottleneck's output has four times; the
features are the last stage's mean over positions, D = 512 * width, from 50 layers on 2048 * width.
It is torchvision's network, padding included, so that weights travel both ways
(trainer_module/weights).
Where things lie at the same place in every image, they are the means of G x G cells, D times G * G,
of which pretraining takes the mean.
"""

from dataclasses import dataclass, field
from functools import partial

import keras
import numpy as np

from trainer_module.errors import require
from trainer_module.fast_layers import BatchNormalization, Conv2D
from trainer_module.replicas import replica_count
from trainer_module.resnets import BLOCKS, BOTTLENECK_FROM, EXPANSION, channels_of, stem_for
from trainer_module.settings import Encoder

CELLS = "cells"  # name of the layer that takes the means of a grid
BATCH_NORM_MOMENTUM = 0.9
BATCH_NORM_EPSILON = 1.001e-5


def build_encoder(
    settings: Encoder, image_size: tuple[int, int], dtype: str = "float32", seed: int = 0
) -> keras.Model:
    """Builds an encoder; the same arguments give the same initial weights.

    Args:
        settings: depth, width, stem and grid.
        image_size: (H, W) in pixels; decides the stem where the settings leave it open.
        dtype: Keras dtype policy, 'float32', 'mixed_bfloat16' or 'mixed_float16'.
        seed: of the initial weights.

    Returns:
        keras.Model from normalized images [B, H, W, 3] to features [B, D], every layer named;
        `stage_outputs` gives its stages.

    Raises:
        ValueError: if the image is smaller than the stem or the grid allows.
    """
    images = keras.Input((*image_size, 3), name="images")
    layers = _Layers(dtype, seed)
    channels = channels_of(settings)
    add_block = _bottleneck if settings.depth >= BOTTLENECK_FROM else _block
    tensor = _stem(layers, images, channels[0], stem_for(settings, image_size))
    for stage, (blocks, count) in enumerate(
        zip(BLOCKS[settings.depth], channels, strict=True), start=1
    ):
        for block in range(1, blocks + 1):
            stride = 2 if stage > 1 and block == 1 else 1
            name = f"stage{stage}" if block == blocks else f"stage{stage}_block{block}"
            tensor = add_block(layers, tensor, count, stride, name)
    features = _features(tensor, settings.grid)  # [B, D]
    return keras.Model(images, features, name=f"resnet{settings.depth}")


def _features(tensor, grid: int):
    if grid == 1:
        return keras.layers.GlobalAveragePooling2D(dtype="float32", name="features")(tensor)
    side = min(tensor.shape[1:3])
    require(grid <= side, f"`grid` must be at most the last stage's side, {side}", grid=grid)
    cells = keras.layers.AdaptiveAveragePooling2D(grid, dtype="float32", name=CELLS)(tensor)
    return keras.layers.Flatten(dtype="float32", name="features")(cells)


def cells_of(encoder: keras.Model) -> int:
    """Returns of how many cells an encoder's features are the means, 1 for the whole image."""
    pooling = [layer for layer in encoder.layers if layer.name == CELLS]
    return int(np.prod(pooling[0].output.shape[1:3])) if pooling else 1


def stage_outputs(encoder: keras.Model) -> list:
    """Returns the symbolic outputs of stem and stages 1 to 4, finest first: [B, H', W', C'] each,
    for a segmentation decoder.
    """
    return [
        encoder.get_layer(name).output for name in ("stem", "stage1", "stage2", "stage3", "stage4")
    ]


@dataclass
class _Layers:
    """Makes named layers of one dtype, each with a seed of its own."""

    dtype: str
    seed: int
    made: int = field(default=0)

    def conv(self, tensor, channels: int, size: int, stride: int, name: str):
        """A convolution without bias, initialised as in He et al. 2015 by the fan of the output."""
        self.made += 1
        initializer = keras.initializers.VarianceScaling(
            2.0, "fan_out", "untruncated_normal", seed=1000 * self.seed + self.made
        )
        layer = partial(Conv2D, padding="same", symmetric=True, use_bias=False, dtype=self.dtype)
        return layer(
            channels, size, strides=stride, kernel_initializer=initializer, name=f"{name}_conv"
        )(tensor)

    def norm(self, tensor, name: str):
        """Batch normalization with the constants of the reference implementations, over the whole
        batch on all replicas.
        """
        layer = partial(
            BatchNormalization,
            momentum=BATCH_NORM_MOMENTUM,
            epsilon=BATCH_NORM_EPSILON,
            dtype=self.dtype,
        )
        return layer(synchronized=replica_count() > 1, name=f"{name}_norm")(tensor)

    def relu(self, tensor, name: str):
        """The rectifier."""
        return keras.layers.ReLU(dtype=self.dtype, name=name)(tensor)

    def unit(self, tensor, channels: int, size: int, stride: int, name: str):
        """A convolution, its normalization and the rectifier."""
        return self.relu(self.norm(self.conv(tensor, channels, size, stride, name), name), name)


def _stem(layers: _Layers, images, channels: int, stem: str):
    if stem == "small":
        return layers.unit(images, channels, 3, 1, "stem")
    if stem == "lightly":  # whose backbones of a list of modules miss the rectifier
        tensor = layers.norm(layers.conv(images, channels, 3, 1, "stem"), "stem")
        return keras.layers.Identity(dtype=layers.dtype, name="stem")(tensor)
    tensor = layers.unit(images, channels, 7, 2, "stem")
    # after the rectifier a border of zeros is none at all
    tensor = keras.layers.ZeroPadding2D(1, dtype=layers.dtype, name="stem_pad")(tensor)
    return keras.layers.MaxPooling2D(3, strides=2, dtype=layers.dtype, name="stem_pool")(tensor)


def _block(layers: _Layers, tensor, channels: int, stride: int, name: str):
    """Two 3x3 convolutions beside a shortcut, which is a 1x1 convolution where the shape changes
    (He et al., fig. 2, option B).
    """
    shortcut = _shortcut(layers, tensor, channels, stride, name)
    tensor = layers.unit(tensor, channels, 3, stride, f"{name}_1")
    tensor = layers.norm(layers.conv(tensor, channels, 3, 1, f"{name}_2"), f"{name}_2")
    return _joined(layers, shortcut, tensor, name)


def _bottleneck(layers: _Layers, tensor, channels: int, stride: int, name: str):
    """1x1, 3x3 and 1x1 convolutions beside a shortcut (He et al., fig. 5).

    The 3x3 convolution has the stride, not the first 1x1 as in the paper: it sees every position
    then, worth half a point on ImageNet ("v1.5", as torchvision, timm and the SimCLR authors have
    it).
    """
    shortcut = _shortcut(layers, tensor, EXPANSION * channels, stride, name)
    tensor = layers.unit(tensor, channels, 1, 1, f"{name}_1")
    tensor = layers.unit(tensor, channels, 3, stride, f"{name}_2")
    tensor = layers.norm(layers.conv(tensor, EXPANSION * channels, 1, 1, f"{name}_3"), f"{name}_3")
    return _joined(layers, shortcut, tensor, name)


def _shortcut(layers: _Layers, tensor, channels: int, stride: int, name: str):
    if stride == 1 and tensor.shape[-1] == channels:
        return tensor
    name = f"{name}_shortcut"
    return layers.norm(layers.conv(tensor, channels, 1, stride, name), name)


def _joined(layers: _Layers, shortcut, tensor, name: str):
    added = keras.layers.Add(dtype=layers.dtype, name=f"{name}_add")([shortcut, tensor])
    return layers.relu(added, name)
