"""The convolution with the gathered filter gradient against TensorFlow's own, slow and in float32
or float64.
"""

import keras
import numpy as np
import pytest

from trainer_module.convolution import LONGEST_ROW, Conv2D

tf = pytest.importorskip("tensorflow", reason="the fast path is TensorFlow's")
from trainer_module.convolution import convolve, filter_gradient  # noqa: E402

SIZES = [(4, 4), (8, 8), (7, 5), (3, 3), (16, 6), (1, 1)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("taps", "stride"), [(3, 1), (3, 2), (1, 1), (1, 2)])
def test_filter_gradient_equals_tensorflows(size, taps, stride):
    random = np.random.default_rng(0)
    images = tf.constant(random.normal(size=(2, *size, 3)))
    kernel = tf.constant(random.normal(size=(taps, taps, 3, 5)))
    with tf.GradientTape() as tape:
        tape.watch(kernel)
        outputs = tf.nn.conv2d(images, kernel, stride, "SAME")
    upstream = tf.constant(random.normal(size=outputs.shape))
    expected = tape.gradient(outputs, kernel, output_gradients=upstream)
    np.testing.assert_allclose(
        filter_gradient(images, upstream, (taps, taps), stride), expected, rtol=1e-10, atol=1e-12
    )


@pytest.mark.parametrize("stride", [1, 2])
def test_convolution_and_both_gradients_equal_tensorflows(stride):
    random = np.random.default_rng(1)
    images, kernel = (
        tf.constant(random.normal(size=(2, 6, 6, 4))),
        tf.constant(random.normal(size=(3, 3, 4, 4))),
    )

    def loss_and_gradients(convolution):
        with tf.GradientTape() as tape:
            tape.watch([images, kernel])
            loss = tf.reduce_sum(tf.sin(convolution(images, kernel, stride)))
        return loss, *tape.gradient(loss, [images, kernel])

    plain = loss_and_gradients(
        lambda images, kernel, stride: tf.nn.conv2d(images, kernel, stride, "SAME")
    )
    for mine, theirs in zip(loss_and_gradients(convolve), plain, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-10, atol=1e-10)


def test_layer_takes_the_fast_path_in_bfloat16_only_and_for_short_rows_only(monkeypatch):
    monkeypatch.setattr("trainer_module.convolution.gpu_capability", lambda: None)

    def gathers(dtype, width):
        layer = Conv2D(8, 3, padding="same", use_bias=False, dtype=dtype)
        images = tf.zeros([1, 4, width, 8], layer.compute_dtype)
        layer.build(images.shape)
        return layer._gathers_patches(images)

    assert gathers("mixed_bfloat16", LONGEST_ROW)
    assert not gathers("mixed_bfloat16", LONGEST_ROW + 1)
    assert not gathers("float32", LONGEST_ROW)


def test_layer_in_bfloat16_learns_what_keras_layer_learns_in_float32():
    random = np.random.default_rng(2)
    images = random.normal(size=(8, 8, 8, 16)).astype(np.float32)

    def gradient(kind, dtype):
        start = keras.initializers.HeNormal(seed=0)
        layer = kind(16, 3, padding="same", use_bias=False, dtype=dtype, kernel_initializer=start)
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.cast(layer(tf.constant(images)), tf.float32) ** 2)
        return tape.gradient(loss, layer.kernel.value)

    # Keras' own layer in bfloat16 is no reference: on some processors it is 2 % away itself.
    mine = gradient(Conv2D, "mixed_bfloat16")
    exact = gradient(keras.layers.Conv2D, "float32")
    assert np.linalg.norm(mine - exact) < 0.01 * np.linalg.norm(exact)
