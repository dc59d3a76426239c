"""How sure a score is on a few images."""

import pytest

from trainer_module.intervals import intervals_of, of_mean_error, of_share, told


def test_the_interval_of_a_share_is_wilsons():
    # solved from its definition: the shares p with |observed - p| = z sqrt(p (1 - p) / n)
    for share, images in ((0.914, 1000), (0.5, 7), (0.0, 12), (1.0, 3)):
        for end in of_share(share, images):
            deviation = (end * (1 - end) / images) ** 0.5
            assert abs(share - end) == pytest.approx(1.959964 * deviation, abs=1e-9)


def test_all_right_on_one_image_says_almost_nothing():
    assert of_share(1.0, 1) == pytest.approx((0.207, 1.0), abs=1e-3)


def test_an_error_has_the_interval_of_its_mean():
    # absolute errors 1 and 3, again and again: mean 2, mean square 5, deviation 1
    # 1.9842 of Student's for 99 degrees of freedom, over the root of 99
    assert of_mean_error(2.0, 5.0, 100) == pytest.approx((2 - 0.1994, 2 + 0.1994), abs=1e-4)
    assert of_mean_error(2.0, 5.0, 2)[1] == pytest.approx(2 + 12.7062, abs=1e-4)


def test_one_error_has_no_interval():
    assert intervals_of({"mean_absolute_error": 3.0, "mean_squared_error": 9.0}, 1) == {}


def test_accuracies_and_errors_have_intervals_and_other_numbers_none():
    metrics = {"accuracy": 0.9, "untrained_linear_accuracy": 0.5, "mean_iou": 0.5, "loss": 0.3}
    assert set(intervals_of(metrics, 50)) == {"accuracy", "untrained_linear_accuracy"}
    assert set(intervals_of({"mean_absolute_error": 2.0, "mean_squared_error": 5.0}, 50)) == {
        "mean_absolute_error"
    }
    assert intervals_of(metrics, 0) == {}


def test_an_interval_is_told_with_how_many_images_there_were():
    assert told(of_share(0.914, 1000), 1000, percent=True) == "(89.5 to 93.0, 1,000 images)"
    assert told((1.5, 2.5), 1, percent=False) == "(1.5 to 2.5, 1 image)"
