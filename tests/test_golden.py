"""The training step gives the same losses on every backend: the numbers below were made on
TensorFlow and must come out on JAX too.
"""

from functools import partial

import numpy as np
from keras import ops

from trainer_module.heads import build_projection_head
from trainer_module.learner import SimCLR, Views
from trainer_module.learning_rate import cosine_schedule
from trainer_module.loss import nt_xent
from trainer_module.normalize import normalize
from trainer_module.optimizer import build_optimizer
from trainer_module.resnet import build_encoder
from trainer_module.settings import Augmentation, Encoder

LOSSES = (
    2.657985,
    2.649363,
    2.760875,
    2.675045,
)  # of four steps in float32, TensorFlow 2.21 on CPU


class GivenViews(SimCLR):
    """SimCLR on pairs of views drawn beforehand, because random numbers differ between backends."""

    def call(self, pairs, training=False):
        """Returns the embedding [2B, P] of pairs [B, 2, h, w, 3]."""
        views = ops.concatenate([pairs[:, 0], pairs[:, 1]], axis=0)  # [2B, h, w, 3]
        views = normalize(views, self.views.channel_mean, self.views.channel_std)
        return self.head(self.encoder(views, training=training), training=training)


def weights_of_numpy(model):
    """Returns weights that depend on nothing but numpy: kernels of unit gain, norms that change
    nothing.
    """
    rng = np.random.default_rng(0)
    kernel = lambda shape: rng.normal(size=shape) * np.sqrt(2 / np.prod(shape[:-1]))  # noqa: E731
    constant = {"gamma": 1.0, "moving_variance": 1.0}
    return [
        kernel(one.shape) if len(one.shape) > 1 else np.full(one.shape, constant.get(one.name, 0.0))
        for one in model.weights
    ]


def pairs_of_views():
    """Returns uint8 [4, 8, 2, 16, 16, 3]: four batches of eight images.

    The second view is the first, darker and with noise.
    """
    rng = np.random.default_rng(1)
    first = rng.integers(0, 256, (4, 8, 1, 16, 16, 3))
    second = np.clip(0.7 * first + rng.normal(0, 20, first.shape), 0, 255)
    return np.concatenate([first, second], axis=2).astype(np.uint8)


def golden_learner(optimizer):
    encoder, head = (
        build_encoder(Encoder(width=0.0625), (16, 16)),
        build_projection_head(32, 2, 32, 16),
    )
    for network in (encoder, head):
        network.set_weights(weights_of_numpy(network))
    learner = GivenViews(
        encoder,
        head,
        Views((16, 16), Augmentation(), (0.5,) * 3, (0.25,) * 3),
        partial(nt_xent, temperature=0.5),
    )
    learner.compile(optimizer)
    return learner


def test_losses_from_the_same_weights_and_views_are_those_of_tensorflow():
    # A higher rate would blow the last bit of one kernel up to 1e-3 within four steps.
    learner = golden_learner(build_optimizer("sgd", cosine_schedule(0.01, 4), 5e-4))
    losses = []
    for pairs in pairs_of_views():
        learner.reset_metrics()
        losses.append(float(learner.train_on_batch(pairs)))
    np.testing.assert_allclose(losses, LOSSES, rtol=1e-4)
