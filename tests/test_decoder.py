"""The decoder gives every pixel its logits, on the encoder's own weights."""

import keras
import numpy as np
import pytest

from trainer_module.resnet import build_encoder
from trainer_module.segmentation.decoder import build_decoder, resize
from trainer_module.settings import Encoder
from trainer_module.tasks.segmentation import Segmentation

TINY = Encoder(width=0.125)


def segmenter(size, num_classes=3, **options):
    encoder = build_encoder(TINY, size)
    return encoder, build_decoder(encoder, num_classes, **options)


def names_of(model):
    return {layer.name for layer in model.layers}


@pytest.mark.parametrize(
    "size", [(16, 16), (24, 40), (33, 47), (90, 121)]
)  # small stem and large one, multiples of 32 or not
def test_every_pixel_gets_logits_whatever_the_size(size):
    _, model = segmenter(size, num_classes=5)
    logits = model(np.zeros((2, *size, 3), "float32"))
    assert (
        logits.shape == (2, *size, 5) and keras.backend.standardize_dtype(logits.dtype) == "float32"
    )


def test_upsampling_is_bilinear_between_the_centres_of_pixels():
    coarse = np.array([0.0, 4.0, 8.0], "float32").reshape(1, 1, 3, 1)
    fine = np.asarray(resize(coarse, (1, 6))).ravel()
    np.testing.assert_allclose(
        fine, np.interp((np.arange(6) + 0.5) / 2 - 0.5, range(3), [0.0, 4.0, 8.0]), atol=1e-5
    )


def test_the_encoder_is_shared_not_copied():
    encoder, model = segmenter((16, 16))
    shared = {id(weight) for weight in encoder.weights}
    assert shared <= {id(weight) for weight in model.weights}


def test_the_logits_use_every_stage():
    encoder, model = segmenter((32, 32))
    image = np.random.default_rng(0).normal(size=(1, 32, 32, 3)).astype("float32")
    whole = np.asarray(model(image))
    for stage in (1, 2, 3, 4):
        layer = encoder.get_layer(f"stage{stage}_2_norm")
        before = layer.get_weights()
        layer.set_weights([before[0] + 1, *before[1:]])
        assert np.abs(np.asarray(model(image)) - whole).max() > 1e-3
        layer.set_weights(before)


def test_the_seed_decides_the_initial_weights():
    _, first = segmenter((16, 16), seed=1)
    _, same = segmenter((16, 16), seed=1)
    _, other = segmenter((16, 16), seed=2)
    kernel = lambda model: model.get_layer("logits_conv").get_weights()[0]  # noqa: E731
    assert np.array_equal(kernel(first), kernel(same)) and not np.array_equal(
        kernel(first), kernel(other)
    )


def test_the_seed_of_a_training_decides_them_where_none_is_given():
    encoder, kernels = build_encoder(TINY, (16, 16)), []
    for seed in (1, 1, 2):
        keras.utils.set_random_seed(seed)
        head = Segmentation(3).head(encoder, "linear")
        kernels.append(head.get_layer("logits_conv").get_weights()[0])
    assert np.array_equal(kernels[0], kernels[1]) and not np.array_equal(kernels[0], kernels[2])


def test_fewer_than_two_classes_are_refused():
    with pytest.raises(
        ValueError, match=r"`num_classes` must be at least 2. Received: num_classes=1"
    ):
        segmenter((16, 16), num_classes=1)


def trained(freeze, epochs):
    """Returns the encoder's weights before and after, and the accuracy, of learning to tell bright
    from dark pixels.
    """
    keras.utils.set_random_seed(0)
    encoder, model = segmenter((16, 16), num_classes=2)
    encoder.trainable = not freeze
    images = (
        np.random.default_rng(0)
        .normal(size=(64, 4, 4, 1))
        .astype("float32")
        .repeat(4, 1)
        .repeat(4, 2)
        .repeat(3, 3)
    )
    label_maps = (images[..., 0] > 0).astype("int32")
    before = encoder.get_weights()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=keras.optimizers.Adam(0.01), loss=loss, metrics=["accuracy"])
    history = model.fit(images, label_maps, batch_size=16, epochs=epochs, verbose=0).history
    return before, encoder.get_weights(), history["accuracy"][-1]


def test_it_learns_to_tell_pixels_apart_on_a_frozen_encoder_that_stays_as_it_was():
    before, after, accuracy = trained(freeze=True, epochs=12)
    assert all(
        np.array_equal(a, b) for a, b in zip(before, after, strict=True)
    )  # moving statistics too
    assert accuracy > 0.85


def test_an_encoder_that_is_not_frozen_learns_along():
    before, after, _ = trained(freeze=False, epochs=1)
    assert all(not np.array_equal(a, b) for a, b in zip(before, after, strict=True) if a.ndim == 4)
