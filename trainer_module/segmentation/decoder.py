"""The segmentation decoder: from the encoder's stages back to one vector of logits a pixel.

A light feature pyramid (Lin et al. 2017, arXiv:1612.03144; for segmentation Kirillov et al. 2019,
arXiv:1901.02446) and not DeepLab-v3+: atrous convolutions would change the strides at which the
encoder was pretrained and cost 4 to 16 times the work in its dearest stages. A pyramid takes the
encoder as it is, at any stride. What it lacks, sight of the whole picture, comes from the mean of
the last stage (the image pooling of DeepLab-v3, arXiv:1706.05587).

B images of H x W pixels, C classes, D channels of the decoder; a stage s has C_s channels at H_s x
W_s positions.
"""

import keras
from keras import ops

from trainer_module.errors import require
from trainer_module.fast_layers import BatchNormalization
from trainer_module.replicas import replica_count
from trainer_module.resnet import BATCH_NORM_EPSILON, BATCH_NORM_MOMENTUM, stage_outputs

LEAST_CHANNELS = 32


def build_decoder(encoder: keras.Model, num_classes: int, seed: int | None = None) -> keras.Model:
    """Puts a decoder on an encoder; the encoder's layers and weights are shared, not copied.

    Set `encoder.trainable = False` to freeze it: its batch normalization then keeps to its moving
    statistics in training too.

    Args:
        encoder: from `build_encoder`, for images of at least 16 x 16 pixels; the sides need not be
          multiples of its stride.
        num_classes: C, at least 2.
        seed: of the decoder's initial weights; None for Keras' global one.

    Returns:
        keras.Model from normalized images [B, H, W, 3] to logits float32 [B, H, W, C].

    Raises:
        ValueError: if there are fewer than two classes.
    """
    require(num_classes >= 2, "`num_classes` must be at least 2", num_classes=num_classes)
    # the stem is as fine as stage 1 or so dear that it does not pay
    _, *stages = stage_outputs(encoder)
    channels = max(LEAST_CHANNELS, stages[1].shape[-1])
    layers = _Layers(seed)
    coarsest = stages[-1]
    tensor = layers.conv(coarsest, channels, 1, "decoder_top") + _context(
        layers, coarsest, channels
    )  # [B, H_4, W_4, D]
    for number, stage in reversed(list(enumerate(stages[:-1], start=1))):
        lateral = layers.conv(stage, channels, 1, f"decoder{number}_lateral")
        merged = layers.norm(resize(tensor, stage.shape[1:3]) + lateral, f"decoder{number}_merged")
        tensor = layers.norm(
            layers.conv(merged, channels, 3, f"decoder{number}"), f"decoder{number}"
        )  # [B, H_s, W_s, D]
    logits = layers.conv(tensor, num_classes, 1, "logits", use_bias=True)  # [B, H_1, W_1, C]
    outputs = resize(ops.cast(logits, "float32"), encoder.input_shape[1:3])  # [B, H, W, C]
    return keras.Model(encoder.input, outputs, name="segmenter")


def resize(tensor, size: tuple[int, int]):
    """Returns [B, h, w, C] resized bilinearly to `size`, (H, W) in positions.

    The same tensor where it has that size.
    """
    if tuple(tensor.shape[1:3]) == tuple(size):
        return tensor
    return ops.image.resize(tensor, size, interpolation="bilinear")


def _context(layers: "_Layers", stage, channels: int):
    """Returns what the picture as a whole is, [B, 1, 1, D], to be added at every position."""
    pooled = ops.mean(stage, axis=(1, 2), keepdims=True)  # [B, 1, 1, C_4]
    return ops.relu(layers.conv(pooled, channels, 1, "decoder_context", use_bias=True))


class _Layers:
    """Makes named layers, each with a seed of its own."""

    def __init__(self, seed: int | None):
        self._seed = seed
        self._made = 0

    def conv(self, tensor, channels: int, size: int, name: str, use_bias: bool = False):
        """A convolution at stride 1, initialised as in He et al. 2015."""
        self._made += 1
        seed = None if self._seed is None else 1000 * self._seed + self._made
        initializer = keras.initializers.HeNormal(seed)
        layer = keras.layers.Conv2D(
            channels,
            size,
            padding="same",
            use_bias=use_bias,
            kernel_initializer=initializer,
            name=f"{name}_conv",
        )
        return layer(tensor)

    def norm(self, tensor, name: str):
        """Batch normalization with the encoder's constants, over the whole batch on all replicas,
        then the rectifier.
        """
        layer = BatchNormalization(
            momentum=BATCH_NORM_MOMENTUM,
            epsilon=BATCH_NORM_EPSILON,
            synchronized=replica_count() > 1,
            name=f"{name}_norm",
        )
        return ops.relu(layer(tensor))
