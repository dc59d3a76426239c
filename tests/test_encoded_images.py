"""Encoded images stand where an array of pixels would: same batches, same training."""

import numpy as np
import pytest

from trainer_module.batches import EpochBatches
from trainer_module.encoded_images import EncodedImages, digest_of

SIZE = (4, 6)


def encoded(pixels):
    """Returns the images as an encoding of different lengths: their bytes, and some more behind."""
    files = [image.tobytes() + b"-" * (number % 3) for number, image in enumerate(pixels)]
    ends = np.cumsum(list(map(len, files)))
    bounds = np.stack([ends - list(map(len, files)), ends], axis=1)
    content = np.frombuffer(b"".join(files), np.uint8)
    size = pixels.shape[1:3]

    def decode(some):
        shape = (len(some), *size, 3)
        count = size[0] * size[1] * 3
        return np.frombuffer(b"".join(file[:count] for file in some), np.uint8).reshape(shape)

    return EncodedImages(content, bounds, size, decode)


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (7, *SIZE, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    "index", [3, -1, slice(2, 5), slice(0, 0), [5, 2], np.array([6, 6, 0])], ids=str
)
def test_an_index_gives_the_pixels_that_it_gives_of_the_array(pixels, index):
    np.testing.assert_array_equal(encoded(pixels)[index], pixels[index])


def test_it_looks_like_the_array(pixels):
    images = encoded(pixels)
    assert (len(images), images.shape, images.dtype) == (7, pixels.shape, pixels.dtype)


def test_chosen_images_stay_encoded(pixels):
    some = encoded(pixels).take([4, 1], axis=0)
    assert isinstance(some, EncodedImages)
    np.testing.assert_array_equal(some[:], pixels.take([4, 1], axis=0))


def test_only_whole_images_can_be_taken(pixels):
    with pytest.raises(ValueError, match=r"images are whole\. Received: axis=1"):
        encoded(pixels).take([0], axis=1)


def test_the_digest_depends_on_each_image_and_on_their_order(pixels):
    other = pixels.copy()
    other[3, 0, 0, 0] ^= 1
    digests = {digest_of(encoded(some)) for some in (pixels, pixels[::-1], other, pixels[:6])}
    assert len(digests) == 4
    assert digest_of(encoded(pixels)) == digest_of(encoded(pixels.copy()))


def test_batches_are_those_of_the_array(pixels):
    of_array, of_files = EpochBatches(pixels, 3, seed=0), EpochBatches(encoded(pixels), 3, seed=0)
    for step in range(5):
        np.testing.assert_array_equal(of_files[step][0], of_array[step][0])
