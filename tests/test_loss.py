"""Each loss is its paper's formula, each of its terms does what its name says; the two label-free
measures are theirs.
"""

import math

import keras
import numpy as np
import pytest

from trainer_module.loss import (
    alignment,
    covariance_shared,
    nt_xent,
    uniformity,
    variance_lacking,
    vicreg,
)


def paper_nt_xent(first, second, temperature, decoupled):
    """Eq. 1 of the SimCLR paper, one pair at a time, in float64."""
    views = np.concatenate([first, second]).astype(np.float64)
    views /= np.linalg.norm(views, axis=1, keepdims=True)
    count = len(first)
    losses = []
    for i in range(2 * count):
        j = (i + count) % (2 * count)
        left_out = (i, j) if decoupled else (i,)
        negatives = [
            math.exp(views[i] @ views[k] / temperature)
            for k in range(2 * count)
            if k not in left_out
        ]
        losses.append(-views[i] @ views[j] / temperature + math.log(sum(negatives)))
    return np.mean(losses)


@pytest.fixture
def embeddings():
    rng = np.random.default_rng(0)
    return rng.normal(size=(7, 5)).astype("float32"), rng.normal(size=(7, 5)).astype("float32")


@pytest.mark.parametrize("temperature", [0.1, 0.5, 1.0])
@pytest.mark.parametrize("decoupled", [False, True])
def test_nt_xent_is_the_formula_of_the_paper(embeddings, temperature, decoupled):
    assert float(nt_xent(*embeddings, temperature, decoupled)) == pytest.approx(
        paper_nt_xent(*embeddings, temperature, decoupled), rel=1e-5
    )


def test_a_collapsed_encoder_scores_the_log_of_all_other_views():
    same = np.ones((8, 4), "float32")
    assert float(nt_xent(same, same, 0.5)) == pytest.approx(math.log(2 * 8 - 1), rel=1e-6)


def test_nt_xent_ignores_the_length_of_embeddings(embeddings):
    first, second = embeddings
    assert float(nt_xent(3 * first, 0.1 * second, 0.5)) == pytest.approx(
        float(nt_xent(first, second, 0.5)), rel=1e-5
    )


def test_nt_xent_ignores_the_order_of_images(embeddings):
    first, second = embeddings
    assert float(nt_xent(first[::-1].copy(), second[::-1].copy(), 0.5)) == pytest.approx(
        float(nt_xent(first, second, 0.5)), rel=1e-6
    )


def test_half_precision_embeddings_are_compared_in_float32(embeddings):
    first, second = (values.astype("float16") for values in embeddings)
    exact = paper_nt_xent(first.astype("float64"), second.astype("float64"), 0.1, False)
    assert float(nt_xent(first, second, 0.1)) == pytest.approx(exact, rel=1e-5)


def test_alignment_is_the_mean_squared_distance_of_pairs():
    first, second = (
        np.array([[1.0, 0.0], [0.0, 2.0]], "float32"),
        np.array([[3.0, 0.0], [1.0, 0.0]], "float32"),
    )
    assert float(alignment(first, second)) == pytest.approx((0 + 2) / 2)


def test_uniformity_is_zero_when_collapsed_and_known_for_opposites():
    assert float(uniformity(np.ones((5, 3), "float32"))) == pytest.approx(0, abs=1e-5)
    assert float(uniformity(np.array([[1.0, 0.0], [-1.0, 0.0]], "float32"))) == pytest.approx(
        -8, rel=1e-5
    )


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
def embedding_pair():
    rng = np.random.default_rng(0)
    mixed = rng.normal(size=(5, 5))  # so that dimensions share something
    return tuple((0.5 * rng.normal(size=(9, 5)) @ mixed + 3).astype("float32") for _ in range(2))


def test_vicreg_is_the_formula_of_the_paper(embedding_pair):
    assert float(vicreg(*embedding_pair)) == pytest.approx(paper_vicreg(*embedding_pair), rel=1e-4)


def test_vicregs_weights_belong_to_their_terms(embedding_pair):
    first, second = embedding_pair
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


def test_vicreg_is_the_same_for_views_in_half_precision_but_for_their_rounding(embedding_pair):
    halves = [keras.ops.cast(view, "bfloat16") for view in embedding_pair]
    assert float(vicreg(*halves)) == pytest.approx(float(vicreg(*embedding_pair)), rel=0.02)


def test_a_step_down_vicregs_gradient_makes_it_less(embedding_pair):
    tf = pytest.importorskip("tensorflow", reason="differentiates with TensorFlow")
    first, second = map(tf.Variable, embedding_pair)
    with tf.GradientTape() as tape:
        before = vicreg(first, second)
    for variable, gradient in zip(
        (first, second), tape.gradient(before, (first, second)), strict=True
    ):
        variable.assign_sub(1e-3 * gradient)
    assert float(vicreg(first, second)) < float(before)
