"""Images in a folder that all machines see: a file, of which every process reads its part."""

import hashlib
from pathlib import Path

import numpy as np

from trainer_module.cluster import BOUNDS, IMAGES
from trainer_module.encoded_images import EncodedImages

FEW = 256  # images


def write_images(images: np.ndarray | EncodedImages, folder: Path) -> None:
    """Writes images as they lie, as pixels or encoded."""
    if isinstance(images, EncodedImages):
        np.save(folder / BOUNDS, images.bounds)
        images = images.content
    np.save(folder / IMAGES, images)


def images_of(folder: Path, image_size: tuple[int, int]) -> np.ndarray | EncodedImages:
    """Returns the images of a folder, uint8 [N, H, W, 3] or encoded, without reading them.

    Args:
        folder: where `write_images` wrote them.
        image_size: (H, W) in pixels.
    """
    content = np.load(folder / IMAGES, mmap_mode="r")
    if not (folder / BOUNDS).exists():
        return content
    return EncodedImages(content, np.load(folder / BOUNDS), image_size, _decoded(*image_size))


def told_of(data) -> dict:
    """Returns what processes must know of images and their statistics besides what lies in the
    folder, as JSON values.

    Args:
        data: has `images`, [N, H, W, 3], and `channel_mean` and `channel_std`, [3].
    """
    return {
        "channel_mean": [float(value) for value in data.channel_mean],
        "channel_std": [float(value) for value in data.channel_std],
        "image_size": list(data.images.shape[1:3]),
        "few_bytes": few_bytes(data.images),
    }


def data_of(job: dict, folder: Path) -> tuple:
    """Returns images, channel means and deviations of what `told_of` and `write_images` left."""
    statistics = (np.array(job[name], np.float32) for name in ("channel_mean", "channel_std"))
    return images_of(folder, tuple(job["image_size"])), *statistics


def few_bytes(images: np.ndarray | EncodedImages) -> str:
    """Returns a digest of the shape and of a few images spread over all, as they lie."""
    digest = hashlib.sha256(str(tuple(images.shape)).encode())
    for place in range(0, len(images), max(1, len(images) // FEW)):
        if isinstance(images, EncodedImages):
            begin, end = images.bounds[place]
            digest.update(images.content[begin:end].tobytes())
        else:
            digest.update(np.ascontiguousarray(images[place]))
    return digest.hexdigest()[:16]


def _decoded(height: int, width: int):
    """Returns what decodes images; TensorFlow is asked only when the first is."""
    made = []

    def decode(packed) -> np.ndarray:
        from trainer_module.stored_images import decoder_of

        if not made:
            made.append(decoder_of(height, width))
        return made[0](packed)

    return decode
