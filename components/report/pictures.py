"""Pixels as what a web page takes: single pictures as data URIs, and many small ones as tiles of
one sheet.

N images of H x W pixels.
"""

import base64
import io
import math
from dataclasses import dataclass

import numpy as np
from PIL import Image

from trainer_module.decoding import upright_rgb

# pixels: a JPEG mixes colours within blocks of this size, so tiles of whole blocks do not bleed
# into each other
BLOCK = 16
MOST_TILE_SIDE = 64  # pixels
MOST_PICTURE_SIDE = 160  # pixels
QUALITY = 85  # of JPEG


@dataclass(frozen=True)
class Sheet:
    """Many images in one picture, row by row.

    Attributes:
      jpeg: the picture.
      side: height and width of a tile in pixels.
      columns: tiles in a row.
      rows: rows of tiles.
    """

    jpeg: bytes
    side: int
    columns: int
    rows: int

    @property
    def uri(self) -> str:
        """The picture as a data URI."""
        return _uri("jpeg", self.jpeg)


def sheet(images: np.ndarray) -> Sheet:
    """Lays images out as tiles of one picture.

    Args:
      images: uint8 [N, H, W, 3].
    """
    side = min(MOST_TILE_SIDE, BLOCK * math.ceil(max(images.shape[1:3]) / BLOCK))
    columns = math.ceil(math.sqrt(len(images)))
    rows = math.ceil(len(images) / columns)
    picture = np.zeros((rows * side, columns * side, 3), np.uint8)
    for index, image in enumerate(images):
        top, left = side * (index // columns), side * (index % columns)
        picture[top : top + side, left : left + side] = Image.fromarray(image).resize(
            (side, side), Image.Resampling.BICUBIC
        )
    return Sheet(_encoded(Image.fromarray(picture), "JPEG", quality=QUALITY), side, columns, rows)


def picture(image: np.ndarray) -> str:
    """Returns one image, uint8 [H, W, 3], as a data URI.

    A large one is made smaller, a small one keeps every pixel as it is.
    """
    whole = Image.fromarray(image)
    if max(whole.size) <= MOST_TILE_SIDE:
        return _uri("png", _encoded(whole, "PNG", optimize=True))
    whole.thumbnail((MOST_PICTURE_SIDE, MOST_PICTURE_SIDE))
    return _uri("jpeg", _encoded(whole, "JPEG", quality=QUALITY))


def reencoded(content: bytes) -> str:
    """Returns an encoded picture, such as a task draws it, as a data URI of a size for the page."""
    return picture(upright_rgb(content))


def _encoded(image: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def _uri(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
