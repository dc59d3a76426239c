"""A label map follows its image through every view, pixel by pixel."""

import keras
import numpy as np
import pytest

from trainer_module.augment import random_box, resize_matrix
from trainer_module.segmentation.paired_views import augment_pair, nearest_matrix
from trainer_module.settings import Augmentation

IGNORED = 255
GEOMETRY = Augmentation(
    crop_area=(0.2, 1.0),
    vertical_flip_probability=0.5,
    jitter_probability=0.0,
    colour_drop_probability=0.0,
)
COLOURS_TOO = Augmentation(crop_area=(0.2, 1.0), jitter_probability=1.0)


def chance(seed=0):
    return keras.random.SeedGenerator(seed)


def patches(count, size=(24, 32), patch=4):
    """Images of flat grey patches whose brightness is their class id / 15, and their label maps."""
    rng = np.random.default_rng(0)
    ids = (
        rng.integers(0, 16, (count, size[0] // patch, size[1] // patch))
        .repeat(patch, 1)
        .repeat(patch, 2)
    )
    return (ids[..., None] / 15 * np.ones(3)).astype("float32"), ids.astype("uint8")


def slow_nearest(line, low, size, flipped, view_size):
    read = [line[low + int((index + 0.5) * size / view_size)] for index in range(view_size)]
    return read[::-1] if flipped else read


@pytest.mark.parametrize("flipped", [0, 1])
@pytest.mark.parametrize(
    ("low", "size", "view_size"),
    [(0, 12, 12), (0, 12, 7), (3, 5, 15), (11, 1, 4), (2, 9, 3), (0, 12, 5)],
)
def test_nearest_reading_is_that_of_a_slow_loop(low, size, flipped, view_size):
    line = np.random.default_rng(1).integers(0, 256, 12)
    matrix = np.asarray(nearest_matrix([low], [size], [flipped], 12, view_size))[0]
    assert (matrix @ line).tolist() == slow_nearest(line, low, size, flipped, view_size)


def test_nearest_reading_is_that_of_tf_image():
    tf = pytest.importorskip("tensorflow", reason="compares with TensorFlow")
    line = np.arange(60)
    for view_size in range(1, 121):
        expected = (
            tf.image.resize(line.reshape(1, 60, 1, 1), (view_size, 1), method="nearest")
            .numpy()
            .ravel()
        )
        ours = np.asarray(nearest_matrix([0], [60], [0], 60, view_size))[0] @ line
        between_pixels = (2 * np.arange(view_size) + 1) * 60 % (
            2 * view_size
        ) == 0  # TensorFlow rounds these as it happens
        assert ((ours == expected) | between_pixels).all()


def test_image_and_label_map_show_the_same_places():
    images, label_maps = patches(64)
    views, ids = (
        np.asarray(tensor)
        for tensor in augment_pair(images, label_maps, GEOMETRY, (24, 32), chance())
    )
    # the brightness is the class id, but for pixels that average two patches
    seen = np.abs(views[..., 0] * 15 - ids) < 1e-3
    assert seen.mean() > 0.6
    wrong = np.roll(ids, 1, axis=0)
    assert (np.abs(views[..., 0] * 15 - wrong) < 1e-3).mean() < 0.1


def test_where_a_view_averages_nothing_it_is_the_label_map_exactly():
    images, label_maps = patches(32)
    flips = Augmentation(
        crop_probability=0.0,
        vertical_flip_probability=0.5,
        jitter_probability=0.0,
        colour_drop_probability=0.0,
    )
    views, ids = (
        np.asarray(tensor) for tensor in augment_pair(images, label_maps, flips, (24, 32), chance())
    )
    np.testing.assert_allclose(views[..., 0] * 15, ids, atol=1e-4)
    turned = [label_maps, label_maps[:, ::-1], label_maps[:, :, ::-1], label_maps[:, ::-1, ::-1]]
    found = np.stack([(ids == turn).all(axis=(1, 2)) for turn in turned])
    assert (
        found.any(axis=0).all() and found.any(axis=1).all()
    )  # each is one of the four, and all four happen


def test_a_view_of_a_label_map_is_its_slow_crop():
    _, label_maps = patches(20)
    images = np.zeros((20, 24, 32, 3), "float32")
    _, ids = augment_pair(images, label_maps, GEOMETRY, (12, 20), chance(3))
    box = random_box(GEOMETRY, images.shape, chance(3))
    top, height, upside_down = np.asarray(box.rows).astype(int)
    left, width, mirrored = np.asarray(box.columns).astype(int)
    assert 0 < upside_down.sum() < 20 and 0 < mirrored.sum() < 20 and len(set(height)) > 5
    for index, label_map in enumerate(label_maps):
        read = slow_nearest(label_map, top[index], height[index], upside_down[index], 12)
        expected = [
            slow_nearest(row, left[index], width[index], mirrored[index], 20) for row in read
        ]
        assert np.array_equal(ids[index], expected)


def test_only_class_ids_of_the_label_map_occur_and_the_ignored_one_comes_from_nowhere_else():
    images, label_maps = patches(64)
    _, ids = augment_pair(images, label_maps, COLOURS_TOO, (17, 23), chance())
    assert not (np.asarray(ids) == IGNORED).any()
    label_maps[:, :, :8] = IGNORED
    _, ids = augment_pair(images, label_maps, COLOURS_TOO, (17, 23), chance())
    for before, after in zip(label_maps, np.asarray(ids), strict=True):
        assert set(np.unique(after)) <= set(np.unique(before))


def test_colours_change_in_the_image_alone():
    images, label_maps = patches(16)
    plain, ids = augment_pair(images, label_maps, GEOMETRY, (24, 32), chance(7))
    jittered = Augmentation(
        crop_area=(0.2, 1.0),
        vertical_flip_probability=0.5,
        jitter_probability=1.0,
        colour_drop_probability=0.0,
    )
    coloured, same_ids = augment_pair(images, label_maps, jittered, (24, 32), chance(7))
    assert np.array_equal(ids, same_ids)
    assert np.abs(np.asarray(plain) - np.asarray(coloured)).mean() > 0.01


@pytest.mark.parametrize("operation", ["rotation", "cutout", "quarter_turn", "noise", "blur"])
def test_an_operation_that_label_maps_do_not_follow_is_refused(operation):
    images, label_maps = patches(1)
    with pytest.raises(
        ValueError,
        match=rf"`{operation}_probability` must be 0 where label maps follow.* Received: .*=0.5",
    ):
        augment_pair(
            images,
            label_maps,
            Augmentation(**{f"{operation}_probability": 0.5}),
            (24, 32),
            chance(),
        )


class Pair(keras.Model):
    """Paired augmentation as the whole of a model, which `predict_on_batch` compiles on every
    backend.
    """

    def __init__(self):
        super().__init__()
        self.chance, self.built = chance(5), True

    def call(self, inputs):
        return augment_pair(*inputs, COLOURS_TOO, (16, 20), self.chance)


def test_eager_and_compiled_views_are_equal():
    images, label_maps = patches(6)
    compiled = Pair().predict_on_batch((images, label_maps))
    for one, other in zip(
        compiled, augment_pair(images, label_maps, COLOURS_TOO, (16, 20), chance(5)), strict=True
    ):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_the_centre_of_a_pixel_is_the_same_for_image_and_label_map():
    ramp = np.arange(40, dtype="float32")
    # antialiased, so the mean of three pixels
    read = np.asarray(resize_matrix([4], [30], [1], 40, 10))[0] @ ramp
    nearest = np.asarray(nearest_matrix([4], [30], [1], 40, 10))[0] @ ramp
    np.testing.assert_allclose(nearest[1:-1], read[1:-1], atol=1e-4)
