"""VICReg is the paper's formula, and each of its terms does what its name says."""

import math

import keras
import numpy as np
import pytest

from trainer_module.vicreg import covariance_shared, variance_lacking, vicreg


def paper_vicreg(first, second):
    """The paper's eq. 1 to 6, number by number, in float64.

    The distance as a mean over dimensions, as its algorithm 1 has it.
    """
    count, dims = first.shape
    distance = sum((first[i, j] - second[i, j]) ** 2 for i in range(count) for j in range(dims)) / (
        count * dims
    )
    lacking = shared = 0.0
    for embedding in (first.astype(np.float64), second.astype(np.float64)):
        mean = [sum(embedding[i, j] for i in range(count)) / count for j in range(dims)]
        for j in range(dims):
            for k in range(dims):
                covariance = sum(
                    (embedding[i, j] - mean[j]) * (embedding[i, k] - mean[k]) for i in range(count)
                ) / (count - 1)
                if j == k:
                    lacking += max(0.0, 1.0 - math.sqrt(covariance + 1e-4)) / dims
                else:
                    shared += covariance**2 / dims
    return 25 * distance + 25 * lacking + shared


@pytest.fixture
def embeddings():
    rng = np.random.default_rng(0)
    mixed = rng.normal(size=(5, 5))  # so that dimensions share something
    return tuple((0.5 * rng.normal(size=(9, 5)) @ mixed + 3).astype("float32") for _ in range(2))


def test_it_is_the_formula_of_the_paper(embeddings):
    assert float(vicreg(*embeddings)) == pytest.approx(paper_vicreg(*embeddings), rel=1e-4)


def test_the_weights_belong_to_their_terms(embeddings):
    first, second = embeddings
    terms = [
        float(vicreg(first, second, *weights)) for weights in ((1, 0, 0), (0, 1, 0), (0, 0, 1))
    ]
    assert all(term > 0 for term in terms)
    assert float(vicreg(first, second, 2, 3, 5)) == pytest.approx(
        np.dot(terms, (2, 3, 5)), rel=1e-4
    )


def test_a_collapsed_encoder_pays_for_all_the_variance_it_lacks():
    same = np.ones((8, 4), "float32")
    assert float(vicreg(same, same)) == pytest.approx(2 * 25 * (1 - math.sqrt(1e-4)), rel=1e-5)


def test_dimensions_that_vary_enough_and_share_nothing_cost_nothing():
    corners = 2 * np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]], "float32")
    assert float(variance_lacking(corners)) == 0.0
    assert float(covariance_shared(corners)) == 0.0
    assert float(vicreg(corners, corners)) == 0.0


def test_it_is_the_same_for_views_in_half_precision_but_for_their_rounding(embeddings):
    halves = [keras.ops.cast(view, "bfloat16") for view in embeddings]
    assert float(vicreg(*halves)) == pytest.approx(float(vicreg(*embeddings)), rel=0.02)


def test_a_step_down_its_gradient_makes_it_less(embeddings):
    tf = pytest.importorskip("tensorflow", reason="differentiates with TensorFlow")
    first, second = map(tf.Variable, embeddings)
    with tf.GradientTape() as tape:
        before = vicreg(first, second)
    for variable, gradient in zip(
        (first, second), tape.gradient(before, (first, second)), strict=True
    ):
        variable.assign_sub(1e-3 * gradient)
    assert float(vicreg(first, second)) < float(before)
