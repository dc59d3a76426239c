"""The optimizers by name, and which weights decay.

Weight decay is part of the gradient in SGD and LARS (L2, as in the recipes the defaults come from;
Keras' own SGD decouples it, which with momentum 0.9 decays ten times less) and decoupled in AdamW.
"""

import keras
from keras import ops

MOMENTUM = 0.9
TRUST_COEFFICIENT = 0.001  # LARS, as in google-research/simclr


def decays(variable) -> bool:
    """Tells kernels, which decay, from biases and the weights of norms, which are vectors and do
    not.
    """
    return len(variable.shape) > 1


@keras.saving.register_keras_serializable("simclr")
class SGD(keras.optimizers.SGD):
    """Stochastic gradient descent with momentum and L2 weight decay of kernels."""

    def __init__(self, learning_rate=0.01, l2=0.0, momentum=MOMENTUM, name="sgd", **kwargs):
        """Takes over the hyperparameters.

        Args:
            learning_rate: number or schedule.
            l2: weight decay, added to the gradient of kernels as l2 * weight.
            momentum: in [0, 1].
            name: of the optimizer.
            **kwargs: of keras.optimizers.SGD.
        """
        super().__init__(learning_rate=learning_rate, momentum=momentum, name=name, **kwargs)
        self.l2 = l2

    def update_step(self, gradient, variable, learning_rate):
        """Updates one variable."""
        if self.l2 and decays(variable):
            gradient = gradient + self.l2 * variable
        super().update_step(gradient, variable, learning_rate)

    def get_config(self):
        """Returns what `from_config` needs."""
        return super().get_config() | {"l2": self.l2}


@keras.saving.register_keras_serializable("simclr")
class LARS(SGD):
    """Layer-wise adaptive rate scaling (You et al. 2017, arXiv:1708.03888, algorithm 1).

    Keras has none. A kernel w with gradient g (weight decay included) moves by

        rate * TRUST_COEFFICIENT * |w| / |g|  *  g,

    so by the same share of its own length whatever its layer: with large batches one rate for all
    is too fast for some layers and too slow for others.

    Biases and norms neither decay nor adapt: they take plain momentum steps.
    """

    def __init__(self, learning_rate=1.0, l2=0.0, momentum=MOMENTUM, name="lars", **kwargs):
        """Takes over the hyperparameters, which are those of SGD."""
        super().__init__(learning_rate, l2, momentum, name, **kwargs)

    def update_step(self, gradient, variable, learning_rate):
        """Updates one variable, with a step as long as a fixed share of its kernel."""
        if decays(variable):
            weight_norm = _norm(variable)
            gradient_norm = _norm(gradient + self.l2 * variable)
            trust = TRUST_COEFFICIENT * weight_norm / ops.maximum(gradient_norm, 1e-12)
            usable = ops.logical_and(weight_norm > 0, gradient_norm > 0)
            learning_rate = learning_rate * ops.where(usable, trust, 1.0)
        super().update_step(gradient, variable, learning_rate)


def _norm(kernel):
    """Returns the square root of the sum of squares.

    `ops.norm` knows no kernels of convolutions, [h, w, C, C'].
    """
    return ops.sqrt(ops.sum(ops.square(kernel)))


def build_optimizer(name: str, learning_rate, weight_decay: float) -> keras.optimizers.Optimizer:
    """Builds an optimizer by its name in the settings.

    Args:
        name: 'sgd', 'lars' or 'adamw'.
        learning_rate: number or schedule.
        weight_decay: of kernels only.

    Returns:
        An optimizer to compile a model with.

    Raises:
        ValueError: if there is no optimizer of that name.
    """
    if name == "sgd":
        return SGD(learning_rate, weight_decay)
    if name == "lars":
        return LARS(learning_rate, weight_decay)
    if name == "adamw":
        return AdamW(learning_rate, weight_decay=weight_decay, name="adamw")
    raise ValueError(f"`optimizer` must be 'sgd', 'lars' or 'adamw'. Received: optimizer={name!r}")


@keras.saving.register_keras_serializable("simclr")
class AdamW(keras.optimizers.AdamW):
    """Adam with decoupled weight decay of kernels."""

    def _use_weight_decay(self, variable):
        return decays(variable) and super()._use_weight_decay(variable)
