"""The linear head is the optimum."""

import keras
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from trainer_module.linear_eval import (
    WEIGHT_DECAY,
    chosen_decay,
    cross_entropy_and_gradient,
    fit_linear,
    linear_accuracy,
)


@pytest.fixture
def blobs():
    rng = np.random.default_rng(0)
    labels = np.arange(300) % 3
    centres = rng.normal(size=(3, 5))
    return (centres[labels] + 0.7 * rng.normal(size=(300, 5))).astype("float32") * 10 + 3, labels


def test_it_classifies_as_scikit_learns_logistic_regression_does(blobs):
    features, labels = blobs
    kernel, bias = fit_linear(features, labels, 3, weight_decay=1e-3)
    scaled = (features - features.mean(axis=0)) / features.std(axis=0)
    reference = LogisticRegression(C=1 / (1e-3 * len(labels)), max_iter=1000, tol=1e-8).fit(
        scaled, labels
    )
    logits = features @ kernel + bias
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(probabilities, reference.predict_proba(scaled), atol=2e-3)


def test_the_gradient_is_that_of_the_loss(blobs):
    features, labels = blobs
    weights = np.random.default_rng(1).normal(size=18) * 0.01
    gradient = cross_entropy_and_gradient(weights, features, labels, 0.1)[1]
    step = 1e-2 * np.eye(18)
    numeric = [
        (
            cross_entropy_and_gradient(weights + d, features, labels, 0.1)[0]
            - cross_entropy_and_gradient(weights - d, features, labels, 0.1)[0]
        )
        / 2e-2
        for d in step
    ]
    np.testing.assert_allclose(gradient, numeric, rtol=2e-2, atol=2e-3)


def test_a_dense_layer_takes_the_head(blobs):
    features, labels = blobs
    kernel, bias = fit_linear(features, labels, 3)
    dense = keras.layers.Dense(3)
    dense.build((None, 5))
    dense.set_weights([kernel, bias])
    accuracy = np.mean(np.argmax(dense(features), axis=1) == labels)
    assert accuracy == pytest.approx(linear_accuracy(kernel, bias, features, labels))
    assert accuracy > 0.8


def test_a_feature_that_never_varies_in_training_changes_no_answer(blobs):
    features, labels = blobs
    uneven = labels + np.arange(300) % 2 > 0  # half as many of the first class
    features, labels = features[uneven], labels[uneven]
    constant = np.full((len(features), 1), -0.4242, np.float32)
    kernel, bias = fit_linear(np.concatenate([features, constant], axis=1), labels, 3)
    assert not kernel[-1].any()
    answers = [
        np.concatenate([features, held_out], axis=1) @ kernel + bias
        for held_out in (constant, constant + 0.1)
    ]
    np.testing.assert_array_equal(*answers)
    np.testing.assert_allclose(answers[0], features @ kernel[:-1] + bias, rtol=1e-4, atol=1e-4)


def test_copies_of_the_features_that_do_not_differ_change_nothing(blobs):
    features, labels = blobs
    once, thrice = fit_linear(features, labels, 3), fit_linear(np.tile(features, (3, 1)), labels, 3)
    for one, other in zip(once, thrice, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-3)


def test_a_fit_that_ends_too_early_is_told_and_one_that_converges_is_not(blobs, capsys):
    fit_linear(*blobs, 3)
    assert capsys.readouterr().out == ""
    rng = np.random.default_rng(0)
    uneven = np.diag(np.logspace(0, 3, 80)) @ rng.normal(size=(80, 80))
    fit_linear(rng.normal(size=(300, 80)) @ uneven, rng.integers(0, 2, 300), 2, weight_decay=0.0)
    told = capsys.readouterr().out
    assert told.startswith("Warning: the linear head on 300 x 80 features has not converged: ")
    assert "after 300 iterations" in told


def test_a_fit_to_features_that_are_no_numbers_is_told(blobs, capsys):
    features, labels = blobs
    fit_linear(np.where(features == features[0, 0], np.nan, features), labels, 3)
    assert "has not converged" in capsys.readouterr().out


def test_half_a_copy_of_the_features_is_refused(blobs):
    features, labels = blobs
    with pytest.raises(ValueError, match=r"whole number of copies.*features=450, labels=300"):
        fit_linear(np.tile(features, (2, 1))[:450], labels, 3)


def test_a_label_outside_the_classes_is_refused(blobs):
    with pytest.raises(ValueError, match=r"\[0, 2\). Received: 0 to 2"):
        fit_linear(*blobs, 2)


def many_features(images=1_000, features=900):
    """Two classes that a hundred of the features tell a little, with noise."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, images)
    table = rng.normal(size=(images, features)).astype("float32")
    table[:, :100] += 0.25 * labels[:, None]
    return table, labels


def test_of_many_features_for_few_images_the_decay_is_chosen_by_images_held_out():
    features, labels = many_features(images=5_000)
    known, asked = (features[:1_000], labels[:1_000]), (features[1_000:], labels[1_000:])
    chosen, fixed = fit_linear(*known, 2), fit_linear(*known, 2, WEIGHT_DECAY)
    assert linear_accuracy(*chosen, *asked) > 0.02 + linear_accuracy(*fixed, *asked)


@pytest.mark.parametrize(("images", "features"), [(200, 120), (5_000, 500)])
def test_it_is_chosen_of_few_images_by_each_fifth_and_of_ten_for_each_number(images, features):
    table, labels = many_features(images + 4_000, features)
    known, asked = (table[:images], labels[:images]), (table[images:], labels[images:])
    chosen, fixed = fit_linear(*known, 2), fit_linear(*known, 2, WEIGHT_DECAY)
    assert linear_accuracy(*chosen, *asked) > 0.005 + linear_accuracy(*fixed, *asked)


@pytest.mark.parametrize("images", [300, 1_000])
def test_copies_of_an_image_are_held_out_together(images):
    features, labels = many_features(images)
    once = chosen_decay(features, labels, 2, len(labels))
    twice = chosen_decay(np.tile(features, (2, 1)), np.tile(labels, 2), 2, len(labels))
    assert once[0] == twice[0]
    np.testing.assert_allclose(once[1], twice[1], atol=1e-2)


@pytest.mark.parametrize(("images", "features"), [(5_000, 100), (99, 900)])
def test_of_many_images_or_hardly_any_the_decay_is_the_fixed_one(images, features):
    features, labels = many_features(images, features)
    chosen, fixed = fit_linear(features, labels, 2), fit_linear(features, labels, 2, WEIGHT_DECAY)
    assert np.array_equal(chosen[0], fixed[0])
