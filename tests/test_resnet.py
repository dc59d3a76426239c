"""The encoder is the ResNet of the paper, under names that never clash."""

import keras
import numpy as np
import pytest

from trainer_module.resnet import build_encoder, stage_outputs
from trainer_module.resnets import last_side, stem_for
from trainer_module.settings import Encoder

DEPTHS_AND_FEATURES = [(18, 512), (34, 512), (50, 2048), (101, 2048), (152, 2048)]


def trainable_count(model):
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)


# what the small stem has less than the one of torchvision's models, which the others are counted by
SMALLER_STEM = 7 * 7 * 3 * 64 - 3 * 3 * 3 * 64
TORCHVISION = {18: 11_689_512, 34: 21_797_672, 50: 25_557_032, 101: 44_549_160, 152: 60_192_808}


@pytest.mark.parametrize(("depth", "features"), DEPTHS_AND_FEATURES)
def test_the_number_of_weights_is_that_of_torchvisions_model(depth, features):
    classifier = 1000 * features + 1000
    count = TORCHVISION[depth] - classifier - SMALLER_STEM
    assert trainable_count(build_encoder(Encoder(depth=depth), (32, 32))) == count


def test_the_number_of_weights_of_a_resnet18_with_the_small_stem_is_the_known_one():
    assert trainable_count(build_encoder(Encoder(), (32, 32))) == 11_168_832


@pytest.mark.parametrize("depth", [18, 50])
def test_the_imagenet_stem_has_the_weights_of_torchvisions_model(depth):
    classifier = 1000 * dict(DEPTHS_AND_FEATURES)[depth] + 1000
    counted = trainable_count(build_encoder(Encoder(depth=depth), (128, 128)))
    assert counted == TORCHVISION[depth] - classifier


@pytest.mark.parametrize(("depth", "features"), [(34, 512), (50, 2048)])
def test_a_bottleneck_ends_in_four_times_the_channels(depth, features):
    encoder = build_encoder(Encoder(depth=depth, width=0.125), (32, 32))
    assert encoder.output_shape == (None, features // 8)
    finest, coarsest = stage_outputs(encoder)[1], stage_outputs(encoder)[-1]
    assert (finest.shape[1:3], coarsest.shape[1:3]) == ((32, 32), (4, 4))


def test_a_bottleneck_halves_the_resolution_in_its_3x3_convolution():
    encoder = build_encoder(Encoder(depth=50, width=0.125), (32, 32))
    strides = [encoder.get_layer(f"stage2_block1_{part}_conv").strides for part in (1, 2, 3)]
    assert strides == [(1, 1), (2, 2), (1, 1)]


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


def test_a_grid_keeps_the_place_that_the_mean_forgets():
    images = np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype("float32")
    whole, cells = (build_encoder(Encoder(width=0.125, grid=grid), (32, 32)) for grid in (1, 2))
    stage = keras.Model(cells.input, stage_outputs(cells)[-1])(images)  # [2, 4, 4, 64]
    quadrants = [np.mean(stage[:, top : top + 2, left : left + 2], axis=(1, 2))
                 for top in (0, 2) for left in (0, 2)]  # fmt: skip
    np.testing.assert_allclose(cells(images), np.concatenate(quadrants, axis=1), rtol=1e-5)
    np.testing.assert_allclose(whole(images), np.mean(quadrants, axis=0), rtol=1e-5)


def test_a_grid_finer_than_the_last_stage_is_refused():
    with pytest.raises(ValueError, match=r"at most the last stage's side, 2.*grid=3"):
        build_encoder(Encoder(width=0.125, grid=3), (16, 16))


def test_the_last_side_that_settings_tell_is_that_of_the_network():
    for stem, side in (("small", 24), ("small", 30), ("imagenet", 96), ("auto", 64), ("auto", 65)):
        encoder = Encoder(width=0.125, stem=stem)
        last = stage_outputs(build_encoder(encoder, (side, side)))[-1]
        assert last.shape[1] == last_side(encoder, side)


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
