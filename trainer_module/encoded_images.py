"""Images that lie encoded, as JPEG or PNG, and are decoded when a batch asks for them: more than an
array of pixels has room for.

They stand where an array uint8 [N, H, W, 3] would, with the same index in every place, so batches
are drawn in the same order, shuffled as thoroughly, and resumed as exactly. Runs on both backends.

N images of H x W pixels.
"""

import hashlib
from collections.abc import Callable, Sequence

import numpy as np


class EncodedImages:
    """N encoded images in one array of bytes, which may be a file that the system pages in and out.

    `images[3]`, `images[:512]` and `images[[5, 2]]` are pixels; `len` and `shape` are those of the
    array that all pixels would make, and `take` chooses images without decoding them.
    """

    dtype = np.dtype(np.uint8)

    def __init__(
        self,
        content: np.ndarray,
        bounds: np.ndarray,
        image_size: tuple[int, int],
        decode: Callable[[Sequence[bytes]], np.ndarray],
    ):
        """Takes over the bytes, without a copy.

        Args:
            content: uint8, one encoded image after another.
            bounds: int64 [N, 2], where each begins and ends in `content`.
            image_size: (H, W) in pixels, the same for all.
            decode: returns uint8 [n, H, W, 3] of n encoded images.
        """
        self.content, self.bounds, self._decode = content, bounds, decode
        self.shape = (len(bounds), *image_size, 3)

    def __len__(self) -> int:
        """Returns N."""
        return len(self.bounds)

    def __getitem__(self, index) -> np.ndarray:
        """Returns the pixels of an image, uint8 [H, W, 3], or of several, [n, H, W, 3]."""
        chosen = self.bounds[index]
        pixels = self._decode([self._encoded(*bound) for bound in chosen.reshape(-1, 2)])
        return pixels[0] if chosen.ndim == 1 else pixels

    def take(self, indices, axis: int = 0) -> "EncodedImages":
        """Returns some of the images, still encoded; as of an array, only along the first axis."""
        if axis != 0:
            raise ValueError(f"`axis` must be 0: images are whole. Received: axis={axis}")
        return EncodedImages(self.content, self.bounds[indices], self.shape[1:3], self._decode)

    def sha256(self) -> str:
        """Returns a digest of all images in their order."""
        digest = hashlib.sha256()
        for bound in self.bounds:
            encoded = self._encoded(*bound)
            digest.update(len(encoded).to_bytes(8, "little") + encoded)
        return digest.hexdigest()

    def _encoded(self, begin: int, end: int) -> bytes:
        return self.content[begin:end].tobytes()


class Strings:
    """N strings in one array of bytes, which may be a file; `strings[:32]` are bytes."""

    def __init__(self, content: np.ndarray, bounds: np.ndarray):
        """Takes over the bytes, as `EncodedImages` does."""
        self.content, self.bounds = content, bounds

    def __len__(self) -> int:
        """Returns N."""
        return len(self.bounds)

    def __getitem__(self, some: slice) -> list[bytes]:
        """Returns some of the strings."""
        return [self.content[begin:end].tobytes() for begin, end in self.bounds[some]]


def digest_of(images: "np.ndarray | EncodedImages") -> str:
    """Returns the SHA-256 of all images, whichever way they lie."""
    if isinstance(images, EncodedImages):
        return images.sha256()
    return hashlib.sha256(np.ascontiguousarray(images)).hexdigest()
