"""What is measured on the way is what it is called."""

import keras
import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.neighbors import KNeighborsClassifier

from trainer_module.monitor import RIDGE, knn_accuracy, ridge_accuracy, thinned


@pytest.fixture
def features():
    """Returns train features, train labels, held-out features, held-out labels; classes overlap."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(4, 6))
    labels = rng.integers(0, 4, 700)
    values = (centres[labels] + rng.normal(size=(700, 6))).astype("float32")
    return values[:500], labels[:500], values[500:], labels[500:]


def test_knn_is_scikit_learns_on_unit_vectors(features):
    train, train_labels, held_out, labels = features
    unit = lambda x: x / np.linalg.norm(x, axis=1, keepdims=True)  # noqa: E731
    reference = KNeighborsClassifier(10).fit(unit(train), train_labels).score(unit(held_out), labels)
    assert knn_accuracy(train, train_labels, held_out, labels, 10) == pytest.approx(reference, abs=1e-9)


def test_fewer_images_than_neighbours_all_vote(features):
    train, train_labels, held_out, labels = features
    assert 0 <= knn_accuracy(train[:3], train_labels[:3], held_out, labels) <= 1


def test_the_ridge_probe_is_scikit_learns(features):
    train, train_labels, held_out, labels = features
    penalty = RIDGE * np.trace(np.cov(train.T, bias=True)) / train.shape[1] * len(train)
    reference = Ridge(alpha=penalty).fit(train, keras.utils.to_categorical(train_labels)).predict(held_out)
    assert ridge_accuracy(train, train_labels, held_out, labels) == pytest.approx(np.mean(reference.argmax(axis=1) == labels), abs=1e-9)


def test_features_that_are_the_same_for_all_images_score_as_chance(features):
    train, train_labels, held_out, labels = features
    accuracy = ridge_accuracy(np.ones_like(train), train_labels, np.ones_like(held_out), labels)
    assert accuracy == pytest.approx(np.mean(labels == np.bincount(train_labels).argmax()))


@pytest.mark.parametrize(("count", "most", "kept"), [(10, 100, 10), (100, 10, 10), (1, 5, 1)])
def test_thinning_keeps_what_fits(count, most, kept):
    chosen = thinned(count, most)
    assert len(chosen) == kept and chosen.max() < count
