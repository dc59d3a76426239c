"""A batch in micro-batches teaches what the whole batch teaches, in less memory."""

from functools import partial

import keras
import numpy as np
import pytest
from keras import ops

from trainer_module.chance import PartOfBatch, both_views
from trainer_module.heads import build_projection_head
from trainer_module.learner import SimCLR, Views
from trainer_module.loss import nt_xent, vicreg
from trainer_module.optimizer import build_optimizer
from trainer_module.replicas import replica_count
from trainer_module.settings import Augmentation

BATCH, PARTS, SIDE = 12, 3, 8
TOLERANCE = 1e-5
IMAGES = np.random.default_rng(0).integers(0, 256, (2, BATCH, 10, 10, 3), dtype=np.uint8)
LOSSES = {
    "nt_xent": partial(nt_xent, temperature=0.5),
    "dcl": partial(nt_xent, temperature=0.5, decoupled=True),
    "vicreg": vicreg,
}
# Few operations, which compile fast; noise is what has random numbers for every pixel.
OFF = ("crop", "jitter", "colour_drop")
FEW = Augmentation(**{f"{name}_probability": 0.0 for name in OFF}, noise_probability=0.5)


class CutByHand(SimCLR):
    """Embeds a batch part by part, and lets Keras differentiate all of it at once: slow and large,
    but plain.
    """

    def call(self, images, training=False):
        """Returns the embedding [2B, P], in the order of the images."""
        embeddings = []
        for number in range(PARTS):
            rows = np.arange(number, BATCH, PARTS)
            part = PartOfBatch(self.chance.state.value, *both_views(rows, BATCH))
            embeddings.append(self.embed(ops.take(images, rows, axis=0), part, training))
        self.chance.move_behind(part)
        size = embeddings[0].shape[-1]
        views = ops.reshape(ops.stack(embeddings), (PARTS, 2, BATCH // PARTS, size))
        return ops.reshape(ops.transpose(views, (1, 2, 0, 3)), (2 * BATCH, size))


def encoder(own_statistics, dtype):
    """Returns a small encoder, whose batch normalization uses each batch's own statistics or the
    moving ones.
    """
    images = keras.Input((SIDE, SIDE, 3))
    initializer = keras.initializers.HeNormal(seed=1)
    tensor = keras.layers.Conv2D(8, 3, kernel_initializer=initializer, dtype=dtype)(images)
    norm = keras.layers.BatchNormalization(synchronized=replica_count() > 1, dtype=dtype)
    tensor = keras.layers.ReLU(dtype=dtype)(norm(tensor))
    norm.trainable = own_statistics
    return keras.Model(images, keras.layers.GlobalAveragePooling2D(dtype="float32")(tensor))


def trained(kind=SimCLR, parts=1, own_statistics=False, loss="nt_xent", dtype="float32", xla=False):
    """Returns the losses of two steps, and all variables of the model behind them."""
    learner = small_learner(kind, parts, own_statistics, loss, dtype)
    compiled = xla or keras.backend.backend() == "jax"
    learner.compile(build_optimizer("sgd", 0.1, 5e-4), jit_compile=compiled)
    losses = []
    for batch in IMAGES:
        learner.reset_metrics()
        losses.append(float(learner.train_on_batch(batch)))
    return losses, [np.asarray(ops.convert_to_numpy(one), "float64") for one in learner.variables]


def small_learner(kind=SimCLR, parts=1, own_statistics=True, loss="nt_xent", dtype="float32"):
    """Returns a model of few weights, not compiled."""
    head = build_projection_head(8, 2, 16, 4, dtype)
    views = Views((SIDE, SIDE), FEW, (0.5,) * 3, (0.25,) * 3)
    network = encoder(own_statistics, dtype)
    return kind(network, head, views, LOSSES[loss], 0, parts, dtype=dtype)


def assert_alike(one, other, tolerance=TOLERANCE):
    np.testing.assert_allclose(one[0], other[0], rtol=tolerance)
    for ours, theirs in zip(one[1], other[1], strict=True):
        np.testing.assert_allclose(ours, theirs, atol=tolerance)


@pytest.mark.parametrize("loss", LOSSES)
def test_with_moving_statistics_the_steps_are_those_of_the_whole_batch(loss):
    assert_alike(trained(parts=PARTS, loss=loss), trained(loss=loss))


def test_with_statistics_of_their_own_they_are_those_of_all_parts_differentiated_at_once():
    cut = trained(parts=PARTS, own_statistics=True)
    assert_alike(cut, trained(CutByHand, own_statistics=True))


@pytest.mark.parametrize("dtype", ["mixed_bfloat16", "mixed_float16"])
def test_half_precision_is_off_by_its_rounding_and_a_scaled_loss_is_unscaled(dtype):
    assert_alike(trained(parts=PARTS, dtype=dtype), trained(dtype=dtype), 1e-2)


@pytest.mark.skipif(keras.backend.backend() == "jax", reason="JAX compiles all of the above")
def test_compiled_with_xla_they_are_those_of_the_whole_batch():
    assert_alike(trained(parts=PARTS, xla=True), trained())
