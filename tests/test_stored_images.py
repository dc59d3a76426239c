"""Images come out of Transform's strings as they went in, whichever way they were stored."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from trainer_module.stored_images import are_encoded, decoder_of, pack_images, unpack_images


@pytest.fixture(scope="module")
def images():
    """Three pictures of 48 x 64 pixels without sharp edges, which JPEG is made for."""
    small = np.random.default_rng(0).integers(0, 256, (3, 6, 8, 3), dtype=np.uint8)
    large = [Image.fromarray(image).resize((64, 48), Image.Resampling.BICUBIC) for image in small]
    return np.stack(list(map(np.asarray, large)))


@pytest.mark.parametrize("stored_as", ["pixels", "png"])
def test_pixels_and_png_lose_nothing(images, stored_as):
    packed = pack_images(tf.constant(images), stored_as)
    np.testing.assert_array_equal(unpack_images(packed, 48, 64), images)


def test_a_jpeg_holds_what_pillow_sees_in_it_and_that_is_close_to_the_picture(images):
    packed = pack_images(tf.constant(images), "jpeg")
    unpacked = unpack_images(packed, 48, 64).numpy()
    seen = [np.asarray(Image.open(io.BytesIO(file))) for file in packed.numpy()]
    np.testing.assert_array_equal(unpacked, np.stack(seen))
    assert np.abs(unpacked.astype(int) - images).mean() < 3
    assert max(map(len, packed.numpy())) < images[0].size / 2


@pytest.mark.parametrize("stored_as", ["pixels", "png", "jpeg"])
def test_training_decodes_to_the_very_pixels_that_a_served_model_sees(images, stored_as):
    packed = pack_images(tf.constant(images), stored_as)
    served = unpack_images(packed, 48, 64)
    np.testing.assert_array_equal(decoder_of(48, 64)(list(packed.numpy())), served)


def test_no_image_is_no_image(images):
    assert unpack_images(tf.constant([], tf.string), 48, 64).shape == (0, 48, 64, 3)
    assert decoder_of(48, 64)([]).shape == (0, 48, 64, 3)


def test_files_and_pixels_are_told_apart(images):
    ways = [pack_images(tf.constant(images[:1]), way) for way in ("pixels", "png", "jpeg")]
    assert are_encoded(tf.concat(ways, 0)).numpy().tolist() == [False, True, True]


def test_an_image_of_another_size_is_refused(images):
    with pytest.raises(tf.errors.InvalidArgumentError):
        decoder_of(32, 32)(list(pack_images(tf.constant(images), "png").numpy()))
