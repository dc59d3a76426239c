"""Heads on the features: the projection head, thrown away after pretraining, and the head of a
task.

B images, D features, P dimensions of the embedding.
"""

import keras

MLP_UNITS = 512  # of the hidden layer of a task's 'mlp' head


def build_projection_head(
    feature_dim, layers=2, hidden=1024, embedding_dim=128, dtype="float32", seed=0
):
    """Builds the head of Chen et al. 2020 (arXiv:2002.05709, section 2), without batch
    normalization.

    Batch normalization gains nothing here with the default recipe (dkobak/simclr-cifar10:
    512-1024-128, no BN).

    Args:
        feature_dim: D, length of the features.
        layers: number of dense layers, 2 or 3.
        hidden: units of every layer but the last.
        embedding_dim: P.
        dtype: Keras dtype policy.
        seed: of the initial weights.

    Returns:
        keras.Sequential from features [B, D] to embedding [B, P].
    """
    head = keras.Sequential(name="projection_head")
    head.add(keras.Input((feature_dim,), name="features"))
    for number in range(1, layers):
        initializer = keras.initializers.HeNormal(seed=seed + number)
        head.add(
            keras.layers.Dense(
                hidden,
                activation="relu",
                kernel_initializer=initializer,
                dtype=dtype,
                name=f"projection{number}_dense",
            )
        )
    initializer = keras.initializers.GlorotUniform(seed=seed + layers)
    head.add(
        keras.layers.Dense(
            embedding_dim,
            kernel_initializer=initializer,
            dtype=dtype,
            name=f"projection{layers}_dense",
        )
    )
    return head


def of_mean(head: keras.Model, cells: int) -> keras.Model:
    """Returns the head on the features of so many cells, [B, cells * D]: it takes their mean."""
    dim = head.input_shape[-1]
    layers = [
        keras.Input((cells * dim,), name="features"),
        keras.layers.Reshape((cells, dim), dtype="float32", name="cells"),
        keras.layers.GlobalAveragePooling1D(dtype="float32", name="mean"),
    ]
    return keras.Sequential(layers + head.layers, name=head.name)


def attach_head(encoder: keras.Model, outputs: int, kind: str) -> keras.Model:
    """Puts a task's head on an encoder.

    Args:
        encoder: normalized images [B, H, W, 3] -> features [B, D].
        outputs: numbers an image, in the Dense layer `logits`.
        kind: 'linear', or 'mlp' for one hidden layer before it.

    Returns:
        A model from normalized images to float32 [B, outputs]; it shares the encoder's weights.
    """
    tensor = encoder.output
    if kind == "mlp":
        tensor = keras.layers.Dense(MLP_UNITS, activation="relu", name="hidden")(tensor)
    return keras.Model(
        encoder.input,
        keras.layers.Dense(outputs, dtype="float32", name="logits")(tensor),
        name="finetuned",
    )
