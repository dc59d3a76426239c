"""Which images keep their labels where few shall do."""

from itertools import pairwise

import numpy as np
import pytest

from trainer_module.labelled_subset import labelled_subset

LABELS = np.repeat([0, 1, 2], [200, 60, 3])


def test_every_class_keeps_its_share_and_at_least_one_image():
    chosen = labelled_subset(LABELS, 0.1, seed=0)
    assert np.bincount(LABELS[chosen]).tolist() == [20, 6, 1]


@pytest.mark.parametrize("seed", [0, 1])
def test_a_larger_fraction_contains_the_smaller_one(seed):
    fractions = [set(labelled_subset(LABELS, fraction, seed)) for fraction in (0.01, 0.1, 0.5, 1.0)]
    assert all(smaller < larger for smaller, larger in pairwise(fractions))
    assert fractions[-1] == set(range(len(LABELS)))


def test_the_seed_chooses_the_images():
    assert labelled_subset(LABELS, 0.1, 0).tolist() == labelled_subset(LABELS, 0.1, 0).tolist()
    assert labelled_subset(LABELS, 0.1, 0).tolist() != labelled_subset(LABELS, 0.1, 1).tolist()


@pytest.mark.parametrize("targets", [np.linspace(0, 1, 50), np.zeros((50, 4, 4), int)])
def test_targets_that_are_no_classes_are_chosen_regardless(targets):
    assert len(labelled_subset(targets, 0.1, 0)) == 5
