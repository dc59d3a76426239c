"""Label maps in colours, for people: a colour for each class, alone or laid over the image.

H x W pixels, C classes; class ids are uint8.
"""

import colorsys

import numpy as np

BLEND = 0.6  # share of the label map in an overlay
GOLDEN_RATIO = 0.61803398875  # steps of it spread hues evenly, however many there are


def palette(num_classes: int) -> np.ndarray:
    """Returns a colour for each class, uint8 [C, 3]: hues by the golden ratio, in turns bright,
    dark and pale.
    """
    colours = []
    for class_id in range(num_classes):
        saturation, value = ((0.85, 1.0), (0.9, 0.65), (0.45, 0.95))[class_id % 3]
        colours.append(colorsys.hsv_to_rgb(class_id * GOLDEN_RATIO % 1, saturation, value))
    return (np.array(colours).reshape(-1, 3) * 255).round().astype(np.uint8)


def paint(label_map: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """Returns a label map in colours, uint8 [H, W, 3].

    Black where the class id has none, as the ignored one.
    """
    table = np.zeros((256, 3), np.uint8)
    table[: len(colours)] = colours
    return table[label_map]


def overlay(image: np.ndarray, label_map: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """Returns an image with its label map laid over it in colours.

    Pixels whose class id has no colour stay as they are.

    Args:
        image: uint8 [H, W, 3].
        label_map: class ids, uint8 [H, W].
        colours: uint8 [C, 3], as from `palette`.

    Returns:
        uint8 [H, W, 3].
    """
    blended = (1 - BLEND) * image + BLEND * paint(label_map, colours)
    return np.where((label_map < len(colours))[..., None], blended.round().astype(np.uint8), image)
