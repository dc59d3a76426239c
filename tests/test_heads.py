"""The projection head has the layers asked for."""

import numpy as np
import pytest

from trainer_module.heads import build_projection_head, of_mean


@pytest.mark.parametrize(
    ("layers", "count"),
    [
        (2, 512 * 1024 + 1024 + 1024 * 128 + 128),
        (3, 512 * 1024 + 2 * 1024 + 1024**2 + 1024 * 128 + 128),
    ],
)
def test_the_head_has_the_weights_of_its_layers(layers, count):
    assert build_projection_head(512, layers).count_params() == count


def test_only_the_last_layer_is_linear():
    head = build_projection_head(8, 3, hidden=4, embedding_dim=2)
    assert [layer.activation.__name__ for layer in head.layers] == ["relu", "relu", "linear"]


def test_the_same_seed_gives_the_same_head():
    first, second = (build_projection_head(8, 2, 4, 2, seed=3).get_weights() for _ in range(2))
    assert all(np.array_equal(one, other) for one, other in zip(first, second, strict=True))


def test_the_loss_does_not_see_in_which_cell_a_thing_lies():
    head = of_mean(build_projection_head(8, 2, hidden=16, embedding_dim=4), cells=4)
    features = np.random.default_rng(0).normal(size=(3, 4, 8)).astype("float32")
    moved = features[:, [2, 0, 3, 1]]
    embeddings = [head(cells.reshape(3, 32)) for cells in (features, moved)]
    np.testing.assert_allclose(*embeddings, atol=1e-6)
