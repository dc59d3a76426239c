"""What pixels tell without a network: the features of a small copy of an image are its pixels.

A linear model of them is what any encoder should beat; of aligned faces, which lie at the same
place in every image, few do (docs/faces.md). Keras is imported where it is needed: what tells of
pixels need not.
"""

SIDE = 16  # pixels


def thumbnails(image_size: tuple[int, int], side: int = SIDE):
    """Returns an encoder without weights, a Keras model: normalized images [B, H, W, 3] to features
    [B, s * s * 3].

    Args:
        image_size: (H, W).
        side: s, of the copies; at most that of the images.
    """
    import keras

    side = min(side, *image_size)
    images = keras.Input((*image_size, 3), name="images")
    small = keras.layers.Resizing(side, side, antialias=True, name="thumbnails")(images)
    return keras.Model(images, keras.layers.Flatten(name="features")(small), name="thumbnails")
