"""The encoder is the ResNet of the paper, under names that never clash."""

import keras
import numpy as np
import pytest

from trainer_module.resnet import build_encoder, stage_outputs, stem_for
from trainer_module.settings import Encoder


def trainable_count(model):
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)


@pytest.mark.parametrize(("depth", "count"), [(18, 11_168_832), (34, 21_276_992)])
def test_the_number_of_weights_is_that_of_the_architecture(depth, count):
    assert trainable_count(build_encoder(Encoder(depth=depth), (32, 32))) == count


def test_the_imagenet_stem_has_the_weights_of_torchvisions_resnet18():
    assert (
        trainable_count(build_encoder(Encoder(), (128, 128))) == 11_689_512 - 513_000
    )  # without its classifier


def test_the_stem_follows_from_the_image_size():
    assert [stem_for(Encoder(), (side, side)) for side in (16, 64, 65, 224)] == [
        "small",
        "small",
        "imagenet",
        "imagenet",
    ]


def test_an_image_too_small_for_the_stem_is_refused():
    with pytest.raises(ValueError, match=r"at least 8 pixels.*image_size=\(4, 4\)"):
        build_encoder(Encoder(), (4, 4))


def test_the_same_seed_gives_the_same_weights_whatever_was_built_before():
    first = build_encoder(Encoder(width=0.125), (16, 16), seed=1).get_weights()
    second = build_encoder(Encoder(width=0.125), (16, 16), seed=1).get_weights()
    other = build_encoder(Encoder(width=0.125), (16, 16), seed=2).get_weights()
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert not np.array_equal(first[0], other[0])


def test_names_do_not_depend_on_what_was_built_before():
    names = [
        [weight.path for weight in build_encoder(Encoder(width=0.125), (16, 16)).weights]
        for _ in range(2)
    ]
    assert names[0] == names[1]


def test_each_stage_halves_the_resolution_and_doubles_the_channels():
    shapes = [
        tuple(output.shape[1:]) for output in stage_outputs(build_encoder(Encoder(), (32, 32)))
    ]
    assert shapes == [(32, 32, 64), (32, 32, 64), (16, 16, 128), (8, 8, 256), (4, 4, 512)]


def test_a_saved_encoder_loads_without_knowing_our_classes_and_answers_the_same(tmp_path):
    encoder = build_encoder(Encoder(width=0.125), (16, 16), seed=1)
    images = np.random.default_rng(0).normal(size=(2, 16, 16, 3)).astype("float32")
    encoder.save(tmp_path / "encoder.keras")
    np.testing.assert_allclose(
        keras.models.load_model(tmp_path / "encoder.keras")(images), encoder(images), rtol=1e-6
    )


def test_features_are_float32_in_mixed_precision():
    encoder = build_encoder(Encoder(width=0.125), (16, 16), dtype="mixed_bfloat16")
    assert encoder.output.dtype == "float32"
