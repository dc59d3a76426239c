"""The optimizers make the steps of their papers, and only kernels decay."""

import keras
import numpy as np
import pytest

from trainer_module.learning_rate import cosine_schedule, scaled_learning_rate
from trainer_module.optimizer import MOMENTUM, TRUST_COEFFICIENT, build_optimizer

RATE, DECAY = 0.1, 0.01


def after_two_steps(name, start, gradient, weight_decay=DECAY):
    optimizer = build_optimizer(name, RATE, weight_decay)
    variable = keras.Variable(start)
    for _ in range(2):
        optimizer.apply([keras.ops.convert_to_tensor(gradient)], [variable])
    return keras.ops.convert_to_numpy(variable.value)


@pytest.fixture(params=[(3, 4), (3, 3, 2, 4)], ids=["dense", "convolution"])
def kernel(request):
    return np.random.default_rng(0).normal(size=request.param).astype("float32")


@pytest.fixture
def gradient(kernel):
    return np.random.default_rng(1).normal(size=kernel.shape).astype("float32")


def momentum_steps(weight, gradient, rate_for):
    velocity = np.zeros_like(weight)
    for _ in range(2):
        decayed = gradient + DECAY * weight
        velocity = MOMENTUM * velocity - rate_for(weight, decayed) * decayed
        weight = weight + velocity
    return weight


def test_sgd_adds_weight_decay_to_the_gradient_as_pytorch_does(kernel, gradient):
    expected = momentum_steps(kernel, gradient, lambda weight, decayed: RATE)
    np.testing.assert_allclose(after_two_steps("sgd", kernel, gradient), expected, rtol=1e-5)


def test_lars_makes_steps_of_a_fixed_share_of_the_kernel(kernel, gradient):
    def trust(weight, decayed):
        return RATE * TRUST_COEFFICIENT * np.sqrt(np.sum(weight**2) / np.sum(decayed**2))

    np.testing.assert_allclose(
        after_two_steps("lars", kernel, gradient),
        momentum_steps(kernel, gradient, trust),
        rtol=1e-5,
    )


@pytest.mark.parametrize("name", ["sgd", "lars", "adamw"])
def test_biases_and_norms_do_not_decay(name):
    vector, still = np.ones(4, "float32"), np.zeros(4, "float32")
    np.testing.assert_array_equal(after_two_steps(name, vector, still, weight_decay=0.5), vector)


@pytest.mark.parametrize("name", ["sgd", "lars", "adamw"])
def test_kernels_decay(name, kernel):
    assert (
        np.abs(after_two_steps(name, kernel, np.zeros_like(kernel), weight_decay=0.5)).sum()
        < np.abs(kernel).sum()
    )


def test_the_schedule_warms_up_and_ends_at_zero():
    schedule = cosine_schedule(0.5, steps=100, warmup_steps=10)
    assert [round(float(schedule(step)), 4) for step in (0, 5, 10, 55, 100)] == [
        0.0,
        0.25,
        0.5,
        0.25,
        0.0,
    ]


def test_without_warm_up_the_schedule_begins_at_its_peak():
    assert float(cosine_schedule(0.5, steps=100)(0)) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("scaling", "rate"), [("linear", 0.2), ("sqrt", 0.1 * 2**0.5), ("none", 0.1)]
)
def test_the_learning_rate_scales_with_the_batch(scaling, rate):
    assert scaled_learning_rate(0.1, 512, scaling) == pytest.approx(rate)


@pytest.mark.parametrize("name", ["sgd", "lars", "adamw"])
def test_an_optimizer_survives_saving(name):
    optimizer = build_optimizer(name, RATE, DECAY)
    again = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert again.get_config() == optimizer.get_config()
