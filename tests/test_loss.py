"""NT-Xent is the paper's formula; the two label-free measures are theirs."""

import math

import numpy as np
import pytest

from trainer_module.loss import alignment, nt_xent, uniformity


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
