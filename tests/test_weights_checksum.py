"""A moved weight shows in the checksum; what a layer is called does not."""

import keras

from trainer_module.weights_checksum import weights_checksum


def model():
    dense = keras.layers.Dense(2, kernel_initializer="ones")  # Keras numbers its name
    return keras.Sequential([keras.Input((3,)), dense])


def test_the_checksum_sees_one_changed_weight():
    changed = model()
    before = weights_checksum(changed)
    assert weights_checksum(changed) == before
    changed.layers[0].bias.assign([0.0, 1e-7])
    assert weights_checksum(changed) != before


def test_the_same_weights_under_other_names_have_the_same_checksum():
    assert weights_checksum(model()) == weights_checksum(model())
