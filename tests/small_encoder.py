"""Encoders of one and of two convolutions, for runs whose claim is about something else: `--set
encoder.builder=small_encoder.build`. A ResNet's hundred layers would be traced, saved and loaded
again by most nodes of each run.
"""

import keras

from trainer_module.fast_layers import BatchNormalization
from trainer_module.replicas import replica_count


def build(settings, image_size, dtype="float32", seed=0):
    """Returns the mean of a linear map of patches of 4 x 4 pixels."""
    images = keras.Input((*image_size, 3), name="images")
    patches = keras.layers.Conv2D(
        round(64 * settings.width),
        4,
        4,
        kernel_initializer=keras.initializers.GlorotUniform(seed=seed),
        dtype=dtype,
        name="patches",
    )(images)
    features = keras.layers.GlobalAveragePooling2D(dtype="float32", name="features")(patches)
    return keras.Model(images, features, name="small_encoder")


def build_with_norms(settings, image_size, dtype="float32", seed=0):
    """Returns two convolutions with batch normalization, and as many features as a ResNet has."""
    tensor = images = keras.Input((*image_size, 3), name="images")
    for number, filters in enumerate((16, round(512 * settings.width))):
        initializer = keras.initializers.HeNormal(seed=1000 * seed + number)
        shared = {"use_bias": False, "dtype": dtype, "kernel_initializer": initializer}
        tensor = keras.layers.Conv2D(filters, 3, 2, "same", name=f"conv{number}", **shared)(tensor)
        synchronized = {"synchronized": replica_count() > 1, "dtype": dtype}
        norm = BatchNormalization(epsilon=1.001e-5, name=f"norm{number}", **synchronized)
        tensor = keras.layers.ReLU(dtype=dtype, name=f"relu{number}")(norm(tensor))
    features = keras.layers.GlobalAveragePooling2D(dtype="float32", name="features")(tensor)
    return keras.Model(images, features, name="small_encoder")


def build_without_names(settings, image_size, dtype="float32", seed=0):
    """Returns the mean of a convolution, of layers that Keras names."""
    images = keras.Input((*image_size, 3))
    initializer = keras.initializers.GlorotUniform(seed=seed)
    maps = keras.layers.Conv2D(8, 4, 4, kernel_initializer=initializer, dtype=dtype)(images)
    return keras.Model(images, keras.layers.GlobalAveragePooling2D(dtype="float32")(maps))
