"""What pretraining brought, and how sure that is."""

import json
import math

import numpy as np
import pytest

from trainer_module import gains
from trainer_module.gains import BETTER, CHANCE, OVER_UNTRAINED, WORSE, Gain, Judged, gain_of, words
from trainer_module.intervals import of_mean_error, of_share
from trainer_module.origin import BROUGHT, PRETRAINING, SAVED, brought_and
from trainer_module.segmentation import iou
from trainer_module.segmentation.label_map import encode_label_map
from trainer_module.tasks.classification import Classification
from trainer_module.tasks.regression import STD, Regression
from trainer_module.tasks.segmentation import Segmentation
from trainer_module.to_try import TOO_EASY, Seen, what_to_try


def right(count, images):
    return (np.arange(images) < count).astype(int)


def mean(sums, images):
    return sums[..., 0] / images


def test_the_interval_of_two_paired_shares_is_bonett_and_prices():
    # their formula by hand: 30 images of 100 won, 10 lost
    first, second = np.r_[np.ones(30), np.zeros(70)], np.r_[np.zeros(30), np.ones(10), np.zeros(60)]
    won, lost = 31 / 102, 11 / 102
    half = 1.959964 * ((won + lost - (won - lost) ** 2) / 102) ** 0.5
    expected = pytest.approx((won - lost - half, won - lost + half))
    assert gains.of_paired_shares(first, second) == expected


def test_the_interval_covers_the_true_difference_about_as_often_as_it_says():
    chance, covered = np.random.default_rng(0), 0
    for _ in range(1000):
        hard = chance.uniform(size=80)  # an image that is hard is so for both
        first, second = (hard < share for share in (0.8, 0.7))
        low, high = gains.of_paired_shares(first.astype(int), second.astype(int))
        covered += low <= 0.1 <= high
    assert 930 <= covered <= 990


def test_two_models_that_never_disagree_are_not_certainly_equal():
    low, high = gains.of_paired_shares(right(8, 20), right(8, 20))
    assert low < -0.05 and high > 0.05


def test_pairs_tell_more_than_two_intervals_would():
    chance = np.random.default_rng(0)
    hard = chance.normal(20, 10, 300)  # errors in years, which both models share
    sides = [Judged(hard.mean() + shift, (hard + shift)[:, None]) for shift in (0.0, 1.0)]
    sides[0].contributions[:, 0] += chance.normal(0, 0.5, 300)
    gain = gain_of(("error", "other"), OVER_UNTRAINED, tuple(sides), mean, higher_is_better=False)
    low, high = gain.interval
    assert low < -1 < high and high - low < 0.25
    assert gain.verdict == BETTER
    assert "(less is better)" in words(gain)


def test_the_difference_of_a_mean_iou_has_an_interval_over_images():
    task, chance = Segmentation(3), np.random.default_rng(0)
    targets = chance.integers(0, 3, (40, 8, 8), np.uint8)
    targets[:, 0] = 255  # ignored
    answers = [np.where(chance.uniform(size=targets.shape) < share, targets % 3, 0)
               for share in (0.9, 0.6)]  # fmt: skip
    judged = []
    for answer in answers:
        outputs = np.eye(3)[answer]
        rows = task.contributions([encode_label_map(one) for one in targets], outputs, {})
        metric = task.metrics({})[0]
        metric.update_state(targets, outputs)
        assert task.metric_of(rows.sum(0), 40) == pytest.approx(float(metric.result()), abs=1e-6)
        judged.append(Judged(float(metric.result()), rows))
    gain = gain_of(
        ("mean_iou", "untrained_mean_iou"), OVER_UNTRAINED, tuple(judged), task.metric_of
    )
    assert gain.interval[0] < gain.difference < gain.interval[1] and gain.verdict == BETTER


@pytest.mark.parametrize("images", [2, 3, 5, 20])
def test_of_two_models_that_are_equal_on_average_few_are_told_apart(images):
    chance, told_apart = np.random.default_rng(0), 0
    for _ in range(200):
        errors = chance.normal(size=(2, images, 1)) ** 2
        low, high = gains.paired_interval(*errors, mean)
        told_apart += not low < 0 < high
    assert told_apart / 200 < 0.1  # a percentile interval tells 49, 26 and 19 % of them apart


def test_one_image_tells_no_two_models_apart():
    errors = (Judged(score, np.array([[score]])) for score in (0.1, 0.4))
    gain = gain_of(("error", "other"), OVER_UNTRAINED, tuple(errors), mean)
    assert gain.interval is None and gain.verdict == CHANCE


def test_what_an_image_adds_is_what_the_metric_of_its_task_counts():
    logits, labels = np.random.default_rng(0).normal(size=(50, 4)), np.arange(50) % 4
    task = Classification(4)
    metric = task.metrics({})[0]
    metric.update_state(labels, logits)
    assert task.contributions(labels, logits, {}).mean() == pytest.approx(float(metric.result()))
    numbers, statistics = np.random.default_rng(1).normal(size=(2, 50, 1)), {STD: np.array(3.0)}
    metric = Regression().metrics(statistics)[0]
    metric.update_state(*numbers)
    added = Regression().contributions(*numbers, statistics)
    assert added.mean() == pytest.approx(float(metric.result()), rel=1e-6)


def test_the_interval_of_a_model_that_is_compared_is_that_of_a_final_one():
    assert Classification(2).interval(right(8, 20)[:, None]) == of_share(0.4, 20)
    errors = np.array([1.0, 3.0] * 50)[:, None]
    assert Regression().interval(errors) == of_mean_error(2.0, 5.0, 100)
    rows = np.random.default_rng(0).integers(1, 9, (20, 3, 3))
    assert Segmentation(3).interval(rows.reshape(20, 9)) == iou.interval(rows)


def test_another_metric_has_the_interval_of_images_drawn_anew_and_of_one_image_none():
    chance, covered = np.random.default_rng(0), 0
    for _ in range(200):
        shares = chance.uniform(size=(40, 1))  # of right answers of an image
        low, high = gains.own_interval(shares, mean)
        covered += low <= 0.5 <= high
    assert 180 <= covered <= 198
    assert gains.own_interval(shares[:1], mean) is None


def gain(difference, interval, metric="linear_accuracy", higher=True, against=OVER_UNTRAINED):
    return Gain(metric, f"untrained_{metric}", against, difference, interval, 100, higher)


@pytest.mark.parametrize(
    ("one", "verdict", "told"),
    [
        (gain(0.25, (0.2, 0.3)), BETTER, "+25.0 points [+20.0, +30.0] over the untrained encoder"),
        (
            gain(0.02, (-0.005, 0.045)),
            CHANCE,
            "+2.0 points [-0.5, +4.5] over the untrained encoder, within chance",
        ),
        (
            gain(0.021, (0.003, 0.04), metric="precision"),
            BETTER,
            "+2.1 points [+0.3, +4.0] over the untrained encoder",
        ),
        (
            gain(-0.1, (-0.2, -0.01)),
            WORSE,
            "behind the untrained encoder by 10.0 points [1.0, 20.0]",
        ),
        (
            gain(-0.02, (-0.045, 0.005)),
            CHANCE,
            "behind the untrained encoder by 2.0 points [-0.5, 4.5], within chance",
        ),
        (
            gain(2.0, (1.0, 3.0), "mean_absolute_error", higher=False),
            WORSE,
            "behind the untrained encoder by 2 [1, 3] (less is better)",
        ),
        (
            gain(-2.0, (-3.0, -1.0), "mean_absolute_error", higher=False),
            BETTER,
            "-2 [-3, -1] over the untrained encoder (less is better)",
        ),
        (gain(0.02, None), BETTER, "+2.0 points over the untrained encoder"),
    ],
)
def test_a_gain_is_told_in_words(one, verdict, told):
    assert (one.verdict, words(one)) == (verdict, told)
    assert gains.from_dict(gains.as_dict(one)) == one


@pytest.mark.parametrize(
    "one", [gain(math.nan, (math.nan, math.nan)), gain(0.1, (-math.inf, 0.2)), gain(math.nan, None)]
)
def test_a_gain_that_is_no_number_is_told_as_such_and_written_as_json(one):
    assert words(one) == (
        "nothing that can be told over the untrained encoder: a score is not finite"
    )
    assert gains.advice([one], {}, {}) == ""
    stored = json.loads(json.dumps(gains.as_dict(one), allow_nan=False))
    assert words(gains.from_dict(stored)) == words(one)


def test_what_to_try_is_told_where_the_untrained_encoder_is_not_beaten_and_only_there():
    assert gains.advice([gain(0.25, (0.2, 0.3))], {}, {}) == ""
    assert gains.advice([gain(0.0, (-0.1, 0.1), against=gains.OVER_SCRATCH)], {}, {}) == ""
    told = gains.advice([gain(0.02, (-0.005, 0.045))], {}, {})
    assert "within chance" in told and "--pretrain_epochs" in told


def test_what_a_run_does_already_is_no_advice():
    pretraining = {"epochs": 30, "temperature": 0.2, "learning_rate": 0.24, "warmup_epochs": 1.0}
    settings = {"pretraining": pretraining, "encoder": {"stem": "auto"}, "view_size": (32, 32)}
    told = gains.advice([gain(0.02, (-0.005, 0.045))], {}, settings)
    assert [line.split(":")[0].strip() for line in told.splitlines()[2:]] == [
        "more epochs",
        "other views",
    ]
    assert "--pretrain_epochs=60" in told


def test_a_run_of_minutes_is_advised_more_of_them():
    of_minutes = {"pretraining": {"epochs": 200, "minutes": 10.0}}
    assert "--minutes=20" in what_to_try(of_minutes, 0.5)
    assert "--pretrain_epochs" not in what_to_try(of_minutes, 0.5)


def test_pixels_that_are_ahead_are_told_with_what_keeps_places():
    behind = gain(-0.05, (-0.07, -0.03), against=gains.OVER_PIXELS)
    told = gains.advice([gain(0.2, (0.1, 0.3)), behind], {}, {"encoder": {"grid": 1}})
    assert told.startswith(
        "Pretraining did not do better than a linear model of 16 x 16 pixels: "
        "behind a linear model of 16 x 16 pixels by 5.0 points [3.0, 7.0]."
    )
    assert "--set encoder.grid=4" in told


@pytest.mark.parametrize(
    ("side", "stem", "advice"),
    [(96, "small", "grid=4,"), (64, "imagenet", "grid=2,"), (24, "auto", "grid=3,")],
)
def test_no_finer_grid_is_told_than_a_run_takes(side, stem, advice):
    sizes = {"image_size": [side, side], "view_size": [24, 24]}
    told = what_to_try({"encoder": {"stem": stem}, **sizes}, 0.5, Seen(pixels_ahead=True))
    assert advice in told


def test_no_grid_is_told_of_where_the_last_stage_is_one_cell():
    sizes = {"image_size": [32, 32], "view_size": [32, 32]}
    told = what_to_try({"encoder": {"stem": "imagenet"}, **sizes}, 0.5, Seen(pixels_ahead=True))
    assert "encoder.grid" not in told


def test_little_views_under_the_large_stem_are_told_of_the_small_one():
    settings = {"encoder": {"stem": "imagenet"}, "view_size": [48, 48]}
    told = gains.advice([gain(-0.1, (-0.2, 0.1))], {}, settings)
    assert "--set encoder.stem=small" in told


def test_where_the_untrained_encoder_is_right_everywhere_only_other_images_help():
    behind = gain(0.0, (-0.01, 0.01))
    told = gains.advice([behind], {behind.over: 1.0}, {})
    assert told.endswith(TOO_EASY)


@pytest.mark.parametrize(
    ("of", "told"),
    [
        (PRETRAINING, "+5.0 points [+1.0, +9.0] over the untrained encoder"),
        (BROUGHT, "the encoder that was brought: +5.0 points [+1.0, +9.0] over random weights"),
        (SAVED, "the saved encoder: +5.0 points [+1.0, +9.0] over random weights"),
        (
            brought_and(1),
            "the brought weights and 1 epoch: +5.0 points [+1.0, +9.0] over random weights",
        ),
    ],
)
def test_a_gain_is_told_as_that_of_what_made_the_encoder(of, told):
    assert words(gains.with_origin(gain(0.05, (0.01, 0.09)), of)) == told


def test_a_gain_over_pixels_stays_one_over_pixels_whatever_made_the_encoder():
    one = gains.with_origin(gain(0.05, (0.01, 0.09), against=gains.OVER_PIXELS), BROUGHT)
    assert words(one).endswith("over a linear model of 16 x 16 pixels")


@pytest.mark.parametrize("of", [BROUGHT, SAVED])
def test_where_nothing_was_pretrained_no_advice_is_about_pretraining(of):
    one = gains.with_origin(gain(-0.02, (-0.1, 0.06)), of)
    told = gains.advice([one], {}, {"pretraining": {"epochs": 0}, "encoder": {"stem": "small"}})
    assert told.startswith(f"T{of[1:]} did not do better than random weights: behind random")
    of_it = ("retraining", "--pretrain_epochs", "--minutes", "--temperature", "augmentation")
    rows = told.splitlines()[2:]
    assert rows and not any(word in row for word in of_it for row in rows)


@pytest.mark.parametrize("of", [BROUGHT, SAVED, brought_and(4)])
def test_a_stem_that_came_with_an_encoder_is_no_advice_but_larger_images_are(of):
    sizes = {"image_size": [32, 32], "view_size": [32, 32]}
    told = what_to_try({"encoder": {"stem": "imagenet"}, **sizes}, 0.5, Seen(of))
    assert "encoder.stem" not in told and "--input_size=64" in told


def test_the_grid_of_a_saved_encoder_is_no_advice():
    sizes = {"image_size": [64, 64], "view_size": [64, 64]}
    told = what_to_try({"encoder": {"stem": "small"}, **sizes}, 0.5, Seen(SAVED, pixels_ahead=True))
    assert "encoder.grid" not in told


def test_of_a_gain_that_few_images_leave_open_more_to_hold_out_is_the_first_advice():
    told = gains.advice([gain(0.2, (-0.021, 0.399))], {}, {}).splitlines()
    assert told[0] == (
        "100 held-out images cannot tell whether pretraining did better than the untrained "
        "encoder: +20.0 points [-2.1, +39.9] over the untrained encoder, within chance."
    )
    assert "--val_file_path" in told[2]


@pytest.mark.parametrize(
    ("one", "score", "is_open"),
    [
        (gain(0.02, (-0.01, 0.051)), math.nan, True),
        (gain(0.02, (-0.01, 0.049)), math.nan, False),  # not so much that it would matter
        (gain(0.2, (0.1, 0.3)), math.nan, False),  # known to be better
        (gain(-0.02, (-0.1, 0.06)), math.nan, False),  # behind
        (gain(0.0, (-0.1, 0.1)), math.nan, False),
        (gain(-0.2, (-0.6, 0.2), "mean_absolute_error", higher=False), 10.0, True),
        (gain(-0.2, (-0.6, 0.2), "mean_absolute_error", higher=False), 20.0, False),
        (gain(0.2, (-0.6, 2.0), "mean_absolute_error", higher=False), 1.0, False),
    ],
)
def test_images_are_too_few_where_a_gain_within_chance_may_be_much(one, score, is_open):
    assert gains.is_open(one, score) == is_open


def test_a_gain_that_was_stored_before_encoders_were_told_apart_is_one_of_pretraining():
    stored = gains.as_dict(gain(0.2, (0.1, 0.3)))
    del stored["of"]
    assert gains.from_dict(stored).of == PRETRAINING
