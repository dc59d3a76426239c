"""Transform's preprocessing_fn: decode, resize, learn the channels' mean and standard deviation,
transform the task's target.

Images leave as strings (stored_images.py), the statistics leave beside them through the
transform graph, so that pretraining, fine-tuning and serving all normalize with exactly what was
learned here (trainer_module/normalize.py). B images, H x W pixels after resizing.
"""

import functools
from collections.abc import Callable
from typing import Any

import tensorflow as tf
import tensorflow_transform as tft

from trainer_module.decoding_graph import are_plain, decode_plain, decode_upright
from trainer_module.stored_images import PIXELS, pack_images
from trainer_module.tasks.registry import task_from_json

IMAGE, CHANNEL_MEAN, CHANNEL_STD, IMAGE_ID = "image", "channel_mean", "channel_std", "image_id"
LEAST_STD = 1e-3  # of pixel values in [0, 1]: a constant channel is centred, not blown up


def preprocessing_fn(inputs: dict[str, Any], custom_config: dict[str, Any]) -> dict[str, tf.Tensor]:
    """Builds the transform graph.

    Args:
      inputs: batched raw features: `image` encoded bytes, `image_id`, and the task's target where
        there is one.
      custom_config: `image_size` [H, W] in pixels; `stored_as`, see `pack_images`; `task` as JSON;
        `normalization`: an encoder's own, see there.

    Returns:
      `image`: what `pack_images` makes of [H, W, 3], string [B]; `channel_mean`, `channel_std`:
        float32 [B, 3] in units of [0, 1] pixels, the same in every row; `image_id` int64 [B]; the
        task's transformed target and what it learns about it.
    """
    height, width = custom_config["image_size"]
    images = decode_images(tf.reshape(inputs["image"], [-1]), height, width)  # [B, H, W, 3] uint8
    mean, std = normalization(custom_config) or channel_statistics(images)
    count = tf.shape(images)[0]
    outputs = {
        IMAGE: pack_images(images, custom_config.get("stored_as", PIXELS)),
        CHANNEL_MEAN: tf.tile(mean[tf.newaxis], [count, 1]),
        CHANNEL_STD: tf.tile(std[tf.newaxis], [count, 1]),
    }
    if IMAGE_ID in inputs:
        outputs[IMAGE_ID] = tf.reshape(inputs[IMAGE_ID], [-1])
    return outputs | task_from_json(custom_config["task"]).transform(inputs, (height, width))


def decode_images(encoded: tf.Tensor, height: int, width: int) -> tf.Tensor:
    """Decodes images of any size and brings them to one, with antialiasing.

    Args:
      encoded: string [B], content of image files as ingest stores it; see `decode_upright`.
      height: H in pixels.
      width: W in pixels.

    Returns:
      uint8 [B, H, W, 3].
    """
    return tf.ensure_shape(_kept_decoder(height, width)(encoded), [None, height, width, 3])


def _decoder(height: int, width: int) -> Callable[[tf.Tensor], tf.Tensor]:
    """Returns what decodes images to one size: string [B] to uint8 [B, H, W, 3]."""

    def decode(image_and_kind: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        image, is_plain = image_and_kind
        pixels = tf.cond(is_plain, lambda: decode_plain(image), lambda: decode_upright(image))
        pixels.set_shape([None, None, 3])

        def resized() -> tf.Tensor:
            return tf.cast(
                tf.clip_by_value(
                    tf.round(tf.image.resize(pixels, [height, width], antialias=True)), 0, 255
                ),
                tf.uint8,
            )

        fits = tf.reduce_all(tf.shape(pixels)[:2] == [height, width])
        return tf.ensure_shape(tf.cond(fits, lambda: pixels, resized), [height, width, 3])

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)], autograph=False)
    def decoder(encoded: tf.Tensor) -> tf.Tensor:
        with tf.device("/CPU:0"):  # the GPU is the Trainers'
            return tf.map_fn(
                decode,
                (encoded, are_plain(encoded)),
                fn_output_signature=tf.TensorSpec([height, width, 3], tf.uint8),
            )

    return decoder


_kept_decoder = functools.cache(_decoder)  # TFT builds its graph nine times


def normalization(custom_config: dict[str, Any]) -> tuple[tf.Tensor, tf.Tensor] | None:
    """Returns the mean and standard deviation that came with an encoder of an earlier run, float32
    [3] each; None to learn them here.
    """
    mean, std = custom_config.get("normalization") or ([], [])
    return (tf.constant(mean, tf.float32), tf.constant(std, tf.float32)) if mean else None


def channel_statistics(images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Learns mean and standard deviation of each colour channel over the analyzed split.

    Each image is reduced to three means and variances first; all images being equally large, the
    law of total variance is exact: Var = Var(means) + E(variances).

    Args:
      images: uint8 [B, H, W, 3].

    Returns:
      Two float32 [3] in units of [0, 1] pixels.
    """
    # [B, 3] each
    means, variances = tf.nn.moments(tf.cast(images, tf.float32) / 255.0, axes=[1, 2])
    mean = tft.mean(means, reduce_instance_dims=False)
    variance = tft.var(means, reduce_instance_dims=False) + tft.mean(
        variances, reduce_instance_dims=False
    )
    return mean, tf.maximum(tf.sqrt(variance), LEAST_STD)
