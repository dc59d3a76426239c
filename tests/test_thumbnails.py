"""The features of a thumbnail are its pixels."""

import numpy as np

from trainer_module.thumbnails import thumbnails


def test_features_are_the_means_of_blocks_of_pixels_in_order():
    blocks = np.random.default_rng(0).normal(size=(2, 16, 16, 3)).astype("float32")
    images = blocks.repeat(4, axis=1).repeat(4, axis=2)
    small = np.reshape(thumbnails((64, 64))(images), blocks.shape)
    inside = np.s_[:, 1:-1, 1:-1]
    assert np.corrcoef(small[inside].ravel(), blocks[inside].ravel())[0, 1] > 0.9


def test_an_image_that_is_smaller_keeps_its_own_pixels():
    images = np.random.default_rng(0).normal(size=(2, 8, 12, 3)).astype("float32")
    assert thumbnails((8, 12))(images).shape == (2, 8 * 8 * 3)
