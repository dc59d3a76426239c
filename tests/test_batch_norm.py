"""The fused batch normalization is Keras' own, number for number."""

import keras
import numpy as np
import pytest

from trainer_module.batch_norm import FUSED_EPSILON, BatchNormalization

EXACT = {"rtol": 1e-4, "atol": 1e-5}


def pair(**options):
    """Returns Keras' layer and ours with the same weights, which are not those of a new layer."""
    layers = [
        kind(epsilon=FUSED_EPSILON, momentum=0.9, name="norm", **options)
        for kind in (keras.layers.BatchNormalization, BatchNormalization)
    ]
    rng = np.random.default_rng(1)
    weights = [rng.uniform(0.5, 2, 3).astype("float32") for _ in range(4)]
    for layer in layers:
        layer.build((None, 4, 5, 3))
        layer.set_weights(weights)
    return layers


@pytest.fixture
def inputs():
    return np.random.default_rng(0).normal(2, 3, size=(6, 4, 5, 3)).astype("float32")


@pytest.mark.parametrize("training", [True, False])
def test_outputs_are_those_of_keras(inputs, training):
    keras_layer, ours = pair()
    np.testing.assert_allclose(
        ours(inputs, training=training), keras_layer(inputs, training=training), **EXACT
    )


def test_moving_statistics_are_those_of_keras(inputs):
    layers = pair()
    for layer in layers:
        layer(inputs, training=True)
    for one, other in zip(layers[0].get_weights(), layers[1].get_weights(), strict=True):
        np.testing.assert_allclose(other, one, **EXACT)


def test_gradients_are_those_of_keras(inputs):
    import tensorflow as tf

    gradients = []
    for layer in pair():
        x = tf.constant(inputs)
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_sum(layer(x, training=True) ** 3)
        gradients.append(tape.gradient(loss, [x, layer.gamma.value, layer.beta.value]))
    for one, other in zip(*gradients, strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-3, atol=1e-3)


def test_a_frozen_layer_does_not_move(inputs):
    _, ours = pair()
    before = ours.get_weights()
    ours.trainable = False
    ours(inputs, training=True)
    assert all(
        np.array_equal(one, other) for one, other in zip(before, ours.get_weights(), strict=True)
    )


def test_what_the_kernel_cannot_do_takes_keras_way(inputs):
    flat = inputs.reshape(-1, 3)
    keras_layer, ours = (
        kind(epsilon=FUSED_EPSILON)
        for kind in (keras.layers.BatchNormalization, BatchNormalization)
    )
    np.testing.assert_allclose(ours(flat, training=True), keras_layer(flat, training=True), **EXACT)


def test_half_precision_inputs_keep_their_dtype(inputs):
    ours = BatchNormalization(epsilon=FUSED_EPSILON, dtype="mixed_bfloat16")
    assert keras.backend.standardize_dtype(ours(inputs, training=True).dtype) == "bfloat16"


def test_weights_have_the_names_of_keras():
    keras_layer, ours = pair()
    assert [weight.path for weight in ours.weights] == [
        weight.path for weight in keras_layer.weights
    ]
