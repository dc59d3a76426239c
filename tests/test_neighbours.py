"""Nearest neighbours among features."""

import tracemalloc

import numpy as np
import pytest

from trainer_module import neighbours
from trainer_module.neighbours import nearest


def slowly(features, count):
    """Returns what `nearest` should: every pair compared by the formula, in float64."""
    rows, similarities = [], []
    for own, first in enumerate(features.astype(np.float64)):
        found = [
            (first @ other / (np.linalg.norm(first) * np.linalg.norm(other)), row)
            for row, other in enumerate(features)
            if row != own
        ]
        best = sorted(found, key=lambda pair: (-pair[0], pair[1]))[:count]
        rows.append([row for _, row in best])
        similarities.append([similarity for similarity, _ in best])
    return np.array(rows), np.array(similarities)


def test_they_are_those_of_the_formula_also_across_blocks(monkeypatch):
    monkeypatch.setattr(neighbours, "AT_ONCE", 7 * 30)
    features = np.random.default_rng(0).normal(size=(30, 5)).astype(np.float32)
    rows, similarities = nearest(features, 4)
    expected_rows, expected_similarities = slowly(features, 4)
    np.testing.assert_array_equal(rows, expected_rows)
    np.testing.assert_allclose(similarities, expected_similarities, atol=1e-6)


def bytes_held(images):
    """Returns the most that `nearest` holds at once."""
    features = np.random.default_rng(0).normal(size=(images, 4)).astype(np.float32)
    tracemalloc.start()
    nearest(features, 1)
    held = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return held


def test_what_is_held_at_once_does_not_grow_with_the_images(monkeypatch):
    monkeypatch.setattr(neighbours, "AT_ONCE", 2**18)
    assert bytes_held(4000) < 1.5 * bytes_held(1000)


def test_the_length_of_features_says_nothing():
    features = np.random.default_rng(1).normal(size=(20, 3)).astype(np.float32)
    lengths = np.linspace(0.1, 10, 20, dtype=np.float32)[:, np.newaxis]
    np.testing.assert_array_equal(nearest(features, 3)[0], nearest(lengths * features, 3)[0])


def test_a_copy_is_the_nearest_with_similarity_one():
    features = np.random.default_rng(2).normal(size=(10, 8)).astype(np.float32)
    rows, similarities = nearest(np.concatenate([features, features]), 1)
    np.testing.assert_array_equal(rows[:, 0], [*range(10, 20), *range(10)])
    np.testing.assert_allclose(similarities, 1, atol=1e-6)


def test_features_of_zero_are_similar_to_nothing():
    rows, similarities = nearest(np.zeros((3, 4), np.float32), 2)
    assert not similarities.any()
    assert all(row not in others for row, others in enumerate(rows))


@pytest.mark.parametrize("count", [0, 3, -1])
def test_there_are_no_more_neighbours_than_other_images(count):
    with pytest.raises(ValueError, match="from 1 to the number of images minus 1"):
        nearest(np.ones((3, 2), np.float32), count)
