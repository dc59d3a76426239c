"""An encoder of Keras' own layers alone, for programs that know none of ours."""

import keras

from trainer_module.fast_layers import BatchNormalization, Conv2D


def plain(model: keras.Model) -> keras.Model:
    """Returns the same network with the same weights, each layer being Keras' own.

    Args:
        model: functional, as an encoder is or a classifier on one.
    """

    def plain_of(layer):
        config = layer.get_config()
        if isinstance(layer, Conv2D):
            del config["symmetric"]
            padding = config["padding"] if layer.explicit_padding is None else "valid"
            return keras.layers.Conv2D.from_config(config | {"padding": padding})
        if isinstance(layer, BatchNormalization):
            return keras.layers.BatchNormalization.from_config(config)
        return type(layer).from_config(config)

    padding = {
        layer.name: layer.explicit_padding for layer in model.layers if isinstance(layer, Conv2D)
    }

    def called(layer, *inputs, **options):
        border = padding.get(layer.name)
        if border:
            pad = keras.layers.ZeroPadding2D(border, dtype="float32", name=f"{layer.name}_pad")
            inputs = (pad(inputs[0]),)
        return layer(*inputs, **options)

    copy = keras.models.clone_model(model, clone_function=plain_of, call_function=called)
    copy.set_weights(model.get_weights())
    return copy
