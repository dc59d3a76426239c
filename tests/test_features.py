"""Features come image by image, whatever the batches.

Copies are cropped and flipped, and nothing else.
"""

import keras
import numpy as np
import pytest

from trainer_module.examples import Examples
from trainer_module.features import at_once, encode, encode_crops
from trainer_module.finetune import features_to_learn, finetune
from trainer_module.settings import Finetuning
from trainer_module.tasks.classification import Classification
from trainer_module.tasks.regression import Regression

STATISTICS = np.zeros(3, "float32"), np.ones(3, "float32")  # pixels stay as they are


@pytest.fixture
def pixels():
    """An encoder whose features are the pixels it sees."""
    images = keras.Input((8, 8, 3))
    return keras.Model(images, keras.layers.Flatten()(images))


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (7, 8, 8, 3), dtype=np.uint8)


def test_features_do_not_depend_on_the_batch(pixels, images):
    np.testing.assert_allclose(
        encode(pixels, images, *STATISTICS, batch_size=3), images.reshape(7, -1) / 255, atol=1e-6
    )


@pytest.mark.parametrize(
    ("size", "images"), [((32, 32), 512), ((64, 64), 512), ((144, 192), 75), ((1024, 1024), 8)]
)
def test_fewer_large_images_are_encoded_at_once(size, images):
    assert at_once(*size) == images


def test_copies_of_an_image_differ(pixels, images):
    first, second = np.split(encode_crops(pixels, images, *STATISTICS, copies=2), 2)
    assert (np.abs(first - second).max(axis=1) > 0.01).all()


def test_copies_keep_the_colours(pixels):
    plain = np.broadcast_to(np.array([200, 100, 50], np.uint8), (4, 8, 8, 3))
    np.testing.assert_allclose(
        encode_crops(pixels, plain, *STATISTICS, copies=3),
        np.tile(plain.reshape(4, -1) / 255, (3, 1)),
        atol=1e-5,
    )


def test_the_seed_decides_the_copies(pixels, images):
    one, again, other = (
        encode_crops(pixels, images, *STATISTICS, copies=1, seed=seed) for seed in (1, 1, 2)
    )
    assert np.array_equal(one, again) and not np.array_equal(one, other)


def test_a_linear_head_learns_from_copies_too(pixels, images):
    train = Examples(images, np.arange(7) % 2, *STATISTICS)
    settings = Finetuning(copies=2)
    features = features_to_learn(pixels, Classification(2), train, settings)
    np.testing.assert_allclose(features[:7], images.reshape(7, -1) / 255, atol=1e-6)
    assert len(features) == 21
    fitted, plain = (
        finetune(pixels, Classification(2), train, Finetuning(copies=copies)) for copies in (2, 0)
    )
    assert not np.allclose(fitted.get_layer("logits").kernel, plain.get_layer("logits").kernel)


def test_numbers_are_learned_from_whole_images_alone(pixels, images):
    train = Examples(images, np.arange(7, dtype=np.float32), *STATISTICS)
    fitted, plain = (
        finetune(pixels, Regression(), train, Finetuning(copies=copies)) for copies in (2, 0)
    )
    np.testing.assert_array_equal(*(one.get_layer("logits").kernel for one in (fitted, plain)))
