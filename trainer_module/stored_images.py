"""How images lie in Transform's output: as pixels, which cost nothing to read, or encoded, which
take an eighth of the room (JPEG, 256 x 256) or half of it (PNG).

Whoever reads them tells the two apart by their first bytes; a served model packs and unpacks what
it is asked about the same way, so that it sees what training saw. B images, H x W pixels.
"""

import numpy as np
import tensorflow as tf

PIXELS, PNG, JPEG = "pixels", "png", "jpeg"
QUALITY = 95  # of JPEG
FIRST_BYTES = {PNG: b"\x89P", JPEG: b"\xff\xd8"}  # no serialized tensor begins so


def pack_images(images: tf.Tensor, stored_as: str = PIXELS) -> tf.Tensor:
    """Packs images into strings: TFT emits no uint8.

    Args:
      images: uint8 [B, H, W, 3].
      stored_as: 'pixels', one byte a value; 'png', without loss; or 'jpeg'.

    Returns:
      string [B].
    """
    pack = {
        PIXELS: tf.io.serialize_tensor,
        PNG: tf.io.encode_png,
        JPEG: lambda image: tf.io.encode_jpeg(image, quality=QUALITY),
    }[stored_as]
    return tf.map_fn(pack, images, fn_output_signature=tf.string)


def unpack_images(packed: tf.Tensor, height: int, width: int) -> tf.Tensor:
    """Unpacks string [B] into uint8 [B, H, W, 3]; the inverse of `pack_images` for each way."""

    def of(decode) -> tf.Tensor:
        return tf.map_fn(
            lambda image: tf.ensure_shape(decode(image), [height, width, 3]),
            packed,
            fn_output_signature=tf.TensorSpec([height, width, 3], tf.uint8),
        )

    return tf.cond(
        tf.reduce_any(are_encoded(packed)),  # all of them, if one is
        lambda: of(decode_file),
        lambda: of(lambda image: tf.io.parse_tensor(image, tf.uint8)),
    )


def decode_file(encoded: tf.Tensor) -> tf.Tensor:
    """Returns the pixels of a PNG or JPEG, uint8 [H, W, 3], the latter as Pillow decodes it."""
    return tf.io.decode_jpeg(encoded, 3, dct_method="INTEGER_ACCURATE")  # takes a PNG as well


def are_encoded(packed: tf.Tensor) -> tf.Tensor:
    """Returns bool [B]: which of packed images, string [B], are files and no pixels."""
    first = tf.strings.substr(packed, 0, 2)
    return tf.reduce_any([first == begin for begin in FIRST_BYTES.values()], axis=0)


def decoder_of(height: int, width: int):
    """Returns the function that decodes n packed images to uint8 [n, H, W, 3], several at a time on
    the CPU.
    """

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def decode(packed):
        with tf.device("/CPU:0"):
            return unpack_images(packed, height, width)

    def decoded(packed: list[bytes]) -> np.ndarray:
        return decode(tf.constant(packed, tf.string)).numpy()

    return decoded
