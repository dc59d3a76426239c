"""Every random operation is what it says, against a slow reference, and draws what it says."""

import colorsys

import keras
import numpy as np
import pytest

from trainer_module.augment import (
    LUMA,
    apply_separable,
    augment,
    blur_matrix,
    colour_matrix,
    random_crop_size,
    recolour,
    resize_matrix,
    rotate,
)
from trainer_module.settings import Augmentation

OFF = {field: 0.0 for field in Augmentation.__dataclass_fields__ if field.endswith("_probability")}
COUNT = 4000  # of draws, for statistics


@pytest.fixture
def image():
    return np.random.default_rng(0).uniform(size=(1, 12, 16, 3)).astype("float32")


@pytest.fixture
def many():
    """The same small image many times over."""
    return np.repeat(
        np.random.default_rng(1).uniform(0.2, 0.8, size=(1, 8, 8, 3)).astype("float32"),
        COUNT,
        axis=0,
    )


@pytest.fixture
def tf():
    return pytest.importorskip("tensorflow", reason="compares with TensorFlow")


def chance(seed=0):
    return keras.random.SeedGenerator(seed)


def view(images, seed=0, **settings):
    return np.asarray(
        augment(images, Augmentation(**{**OFF, **settings}), images.shape[1:3], chance(seed))
    )


def share_changed(images, views):
    return np.mean(np.abs(views - images).max(axis=(1, 2, 3)) > 1e-5)


# Where the pixels lie.


@pytest.mark.parametrize(
    "view_size", [(12, 16), (24, 20), (5, 7)]
)  # the same, larger, smaller (antialiased)
@pytest.mark.parametrize("box", [(0, 12, 0, 16), (2, 7, 5, 9), (11, 1, 3, 2)])
def test_crop_and_resize_are_those_of_tf_image(tf, image, box, view_size):
    top, height, left, width = box
    rows = resize_matrix([top], [height], [0], 12, view_size[0])
    columns = resize_matrix([left], [width], [0], 16, view_size[1])
    expected = tf.image.resize(
        image[:, top : top + height, left : left + width], view_size, antialias=True
    )
    np.testing.assert_allclose(apply_separable(image, rows, columns), expected, atol=1e-5)


def test_a_flip_reads_the_same_crop_backwards(image):
    rows = resize_matrix([2], [7], [0], 12, 12)
    straight, mirrored = (
        apply_separable(image, rows, resize_matrix([5], [9], [flip], 16, 16)) for flip in (0, 1)
    )
    np.testing.assert_allclose(mirrored, np.asarray(straight)[:, :, ::-1], atol=1e-6)


def test_blur_is_a_gaussian_that_keeps_the_sum_of_weights():
    matrix = np.asarray(blur_matrix(np.array([1.5], "float32"), 9))[0]
    weights = np.exp(-0.5 * ((np.arange(9)[:, None] - np.arange(9)) / 1.5) ** 2)
    np.testing.assert_allclose(matrix, weights / weights.sum(axis=1, keepdims=True), rtol=1e-5)


def test_crop_sizes_keep_the_bounds_of_area_and_aspect():
    height, width = (
        np.asarray(side) for side in random_crop_size(Augmentation(), COUNT, (64, 64), chance())
    )
    slack = 0.05  # whole pixels
    assert (height * width / 64**2).min() > 0.2 - slack and height.max() <= 64 and width.max() <= 64
    assert (width / height).min() > 3 / 4 - slack and (width / height).max() < 4 / 3 + slack
    assert np.mean(width / height > 1) == pytest.approx(0.5, abs=0.05)


def test_without_any_operation_a_view_is_the_image(image):
    np.testing.assert_allclose(view(image), image, atol=1e-6)


@pytest.mark.parametrize("operation", ["horizontal_flip", "vertical_flip"])
def test_a_flip_of_every_image_is_that_of_numpy(image, operation):
    axis = 2 if operation == "horizontal_flip" else 1
    np.testing.assert_allclose(
        view(image, **{f"{operation}_probability": 1.0}), np.flip(image, axis), atol=1e-6
    )


def test_quarter_turns_are_the_three_of_numpy(many):
    views = view(many, quarter_turn_probability=1.0)
    turns = [np.rot90(many[0], k) for k in (1, 2, 3)]
    errors = np.stack([np.abs(views - turn).max(axis=(1, 2, 3)) for turn in turns])
    assert errors.min(axis=0).max() < 1e-6
    assert np.bincount(errors.argmin(axis=0)) / COUNT == pytest.approx([1 / 3] * 3, abs=0.04)


def test_quarter_turns_need_square_views(image):
    with pytest.raises(ValueError, match="`view_size` must be square"):
        view(image, quarter_turn_probability=0.5)


def rotated(image, angle):
    """Returns a rotated image, pixel by pixel in float64, from the image laid out with its mirror
    images around it.
    """
    height, width, _ = image.shape
    margin = 2 * max(height, width)
    around = np.pad(
        image.astype(np.float64), [(margin, margin), (margin, margin), (0, 0)], mode="symmetric"
    )
    turned = np.empty_like(image, np.float64)
    for row, column in np.ndindex(height, width):
        y, x = row - (height - 1) / 2, column - (width - 1) / 2
        y, x = (
            (height - 1) / 2 + np.cos(angle) * y + np.sin(angle) * x,
            (width - 1) / 2 - np.sin(angle) * y + np.cos(angle) * x,
        )
        top, left = int(np.floor(y)), int(np.floor(x))
        # [2, 2, C]
        corners = around[margin + top : margin + top + 2, margin + left : margin + left + 2]
        weights = np.outer([top + 1 - y, y - top], [left + 1 - x, x - left])
        turned[row, column] = (weights[..., None] * corners).sum(axis=(0, 1))
    return turned


@pytest.mark.parametrize("size", [(12, 16), (9, 9), (4, 23)])
@pytest.mark.parametrize("degrees", [0, 5, -15, 45, 90, -170])
def test_a_rotation_is_that_of_the_formula(size, degrees):
    image = np.random.default_rng(0).uniform(size=(*size, 3)).astype("float32")
    angle = np.radians(degrees)
    views = rotate(image[None], np.array([angle], "float32"))
    np.testing.assert_allclose(np.asarray(views)[0], rotated(image, angle), atol=1e-5)


def test_a_rotation_by_90_degrees_is_the_quarter_turn_of_numpy(many):
    turned = rotate(many[:1], np.array([np.pi / 2], "float32"))
    np.testing.assert_allclose(np.asarray(turned)[0], np.rot90(many[0]), atol=1e-5)


def test_every_view_is_rotated_by_its_own_angle():
    images = np.random.default_rng(0).uniform(size=(3, 8, 8, 3)).astype("float32")
    angles = np.array([0.1, -0.2, 0.0], "float32")
    expected = [rotated(image, angle) for image, angle in zip(images, angles, strict=True)]
    np.testing.assert_allclose(rotate(images, angles), expected, atol=1e-5)


def test_a_cutout_paints_one_rectangle_in_the_mean_colour(many):
    views = view(many, cutout_probability=1.0, cutout_area=(0.25, 0.25))
    holes = np.abs(views - many).max(axis=3) > 1e-6  # [B, h, w]
    assert holes.sum(axis=(1, 2)) == pytest.approx(16, abs=0.1)  # a quarter of 8 x 8
    np.testing.assert_allclose(
        views[0][holes[0]], np.broadcast_to(many[0].mean(axis=(0, 1)), (16, 3)), atol=1e-5
    )


# Which colour the pixels have.


def test_colour_operations_in_any_order_are_the_one_matrix():
    rng = np.random.default_rng(0)
    pixels = rng.uniform(size=(1, 6, 6, 3))
    brightness, contrast, saturation, hue = 1.3, 0.7, 0.6, 0.08
    grey = lambda x: (x @ LUMA)[..., None] * np.ones(3)  # noqa: E731
    turn = np.asarray(colour_matrix(np.array([1.0], "float32"), np.array([hue], "float32")))[0]
    operations = [
        lambda x: brightness * x,
        lambda x: contrast * x + (1 - contrast) * grey(x).mean(),
        lambda x: saturation * x + (1 - saturation) * grey(x),
        lambda x: x @ turn.T,
    ]
    ours = recolour(
        pixels.astype("float32"),
        *(np.array([value], "float32") for value in (brightness, contrast, saturation, hue)),
    )
    for _ in range(5):
        expected = pixels
        for index in rng.permutation(4):
            expected = operations[index](expected)
        np.testing.assert_allclose(ours, expected, atol=1e-5)


def test_brightness_and_saturation_are_those_of_tf_image(tf, image):
    one = np.ones(1, "float32")
    np.testing.assert_allclose(
        recolour(image, 0.5 * one, one, one, 0 * one), 0.5 * image, atol=1e-6
    )
    grey = np.repeat(tf.image.rgb_to_grayscale(image), 3, axis=-1)
    # tf.image rounds its weights
    np.testing.assert_allclose(recolour(image, one, one, 0 * one, 0 * one), grey, atol=1e-3)


def test_a_turn_of_hue_moves_red_the_way_hsv_does():
    red = np.array([[[[0.6, 0.4, 0.4]]]], "float32")
    one = np.ones(1, "float32")
    for hue in (0.1, -0.1):
        turned = np.asarray(recolour(red, one, one, one, hue * one))[0, 0, 0]
        assert colorsys.rgb_to_hsv(*turned)[0] == pytest.approx(
            hue % 1, abs=0.05
        )  # HSV's circle is a hexagon, ours is round


def test_a_full_turn_of_hue_changes_nothing(image):
    one = np.ones(1, "float32")
    np.testing.assert_allclose(recolour(image, one, one, one, one), image, atol=1e-5)


# Chance.


@pytest.mark.parametrize(
    "operation",
    [
        "crop",
        "horizontal_flip",
        "jitter",
        "colour_drop",
        "noise",
        "quarter_turn",
        "rotation",
        "cutout",
        "blur",
        "vertical_flip",
    ],
)
def test_an_operation_happens_as_often_as_it_should(many, operation):
    views = view(
        many, **{f"{operation}_probability": 0.3}, blur_sigma=(0.1, 0.2), crop_area=(0.2, 0.5)
    )
    assert share_changed(many, views) == pytest.approx(0.3, abs=0.04)


def test_brightness_is_drawn_evenly_around_one(many):
    views = view(
        many, jitter_probability=1.0, brightness=0.2, contrast=0.0, saturation=0.0, hue=0.0
    )
    factors = views[:, 0, 0, 0] / many[:, 0, 0, 0]
    assert (factors.min(), factors.mean(), factors.max()) == pytest.approx(
        (0.8, 1.0, 1.2), abs=0.01
    )


def test_noise_has_the_deviation_asked_for(many):
    noise = view(many, noise_probability=1.0, noise_stddev=0.02) - many
    assert (noise.mean(), noise.std()) == pytest.approx((0.0, 0.02), abs=1e-3)


def test_noise_has_the_tails_of_a_gaussian(many):
    noise = (view(many, noise_probability=1.0, noise_stddev=0.02) - many) / 0.02
    assert [np.mean(np.abs(noise) > bound) for bound in (1, 2, 3)] == pytest.approx(
        [0.3173, 0.0455, 0.0027], abs=2e-3
    )


def test_views_compiled_with_xla_are_those_of_no_compiler(tf):
    images = np.random.default_rng(0).integers(0, 256, (6, 16, 16, 3), dtype=np.uint8)
    plain, seed = augment(images, Augmentation(**EVERYTHING), (12, 12), chance(5)), chance(5)
    compiled = tf.function(
        lambda batch: augment(batch, Augmentation(**EVERYTHING), (12, 12), seed), jit_compile=True
    )(images)
    np.testing.assert_allclose(compiled, plain, atol=1e-5)


def test_images_of_a_batch_get_views_of_their_own(many):
    views = np.asarray(augment(many[:50], Augmentation(), (8, 8), chance()))
    assert len(np.unique(views.reshape(50, -1).round(4), axis=0)) == 50


EVERYTHING = {name: 0.5 for name in OFF}


class Augmenter(keras.Model):
    """Augmentation as the whole of a model, which `predict_on_batch` compiles on every backend."""

    def __init__(self, settings, seed):
        super().__init__()
        self.settings, self.chance, self.built = settings, chance(seed), True

    def call(self, images):
        return augment(images, self.settings, (12, 12), self.chance)


def test_eager_and_compiled_views_are_equal():
    images = np.random.default_rng(0).integers(0, 256, (6, 16, 16, 3), dtype=np.uint8)
    settings = Augmentation(**EVERYTHING)
    compiled = Augmenter(settings, 5).predict_on_batch(images)
    np.testing.assert_allclose(compiled, augment(images, settings, (12, 12), chance(5)), atol=1e-5)


def test_the_seed_decides_the_views_and_every_call_draws_anew(many):
    first, again, other = (
        view(many[:8], 1, **EVERYTHING),
        view(many[:8], 1, **EVERYTHING),
        view(many[:8], 2, **EVERYTHING),
    )
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    seed = chance(1)
    calls = [np.asarray(augment(many[:8], Augmentation(), (8, 8), seed)) for _ in range(2)]
    assert not np.array_equal(*calls)


def test_views_are_float32_in_the_unit_range_for_uint8_images():
    images = np.random.default_rng(0).integers(0, 256, (6, 16, 16, 3), dtype=np.uint8)
    views = np.asarray(augment(images, Augmentation(**EVERYTHING), (10, 10), chance()))
    assert (
        views.dtype == np.float32
        and views.shape == (6, 10, 10, 3)
        and views.min() >= 0
        and views.max() <= 1
    )


def test_operations_of_probability_zero_are_not_in_the_graph(tf):
    def size_of_graph(settings):
        seed = chance()
        graph = (
            tf.function(lambda batch: augment(batch, settings, (8, 8), seed))
            .get_concrete_function(tf.TensorSpec([4, 8, 8, 3]))
            .graph
        )
        return len(graph.get_operations())

    assert size_of_graph(Augmentation(**OFF)) < 0.5 * size_of_graph(Augmentation(**EVERYTHING))
