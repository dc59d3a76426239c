"""Label maps: PNG files whose pixel values are class ids, read, checked and written.

Grey PNGs and palette PNGs are read; of a palette PNG the index counts, its colours are for people.
TensorFlow's decoder turns palettes into colours, so ingest re-encodes every label map once as an
8-bit grey PNG, which decodes to class ids everywhere.

H x W pixels, C classes; class ids are uint8, so C is at most 255 beside an ignored id.
"""

import functools
import io
from collections.abc import Sequence

import numpy as np

from trainer_module.decoding import DAMAGED, UnreadableError, turns
from trainer_module.image_headers import MOST_PIXELS, header

SHOWN_IDS = 5
WHAT_IS_READ = "expected an 8-bit grey or palette PNG whose pixel values are class ids"


def read_label_map(encoded: bytes) -> np.ndarray:
    """Decodes a label map.

    Args:
        encoded: content of a PNG file, grey or with a palette.

    Returns:
        Class ids, uint8 [H, W].

    Raises:
        ValueError: if it is no whole PNG or has colours, an alpha channel or 16 bits.
    """
    return read_values(encoded) // (255 // (2 ** (grey_bits(encoded) or 8) - 1))


def read_values(encoded: bytes) -> np.ndarray:
    """Decodes a label map whose values are no class ids, as `read_label_map` does.

    Returns:
        Values as a viewer shows them, uint8 [H, W]: white is 255, of a grey PNG of 1 bit, too; of
        a palette PNG the index.
    """
    return _decoded(encoded)[0]


def grey_bits(encoded: bytes) -> int:
    """Returns of how many bits a pixel of a grey PNG is; 0 of one with a palette."""
    bits, colour_type = encoded[24:26]  # of the IHDR chunk, which every PNG begins with
    return bits if colour_type == 0 else 0


@functools.lru_cache(maxsize=1)  # its pixels and its colours are asked for one after the other
def _decoded(encoded: bytes) -> tuple[np.ndarray, np.ndarray | None]:
    """Returns values, uint8 [H, W], and the palette, uint8 [N, 3]; None where it is grey. Pillow
    spreads the values of few bits over [0, 255].
    """
    from PIL import Image

    Image.MAX_IMAGE_PIXELS = MOST_PIXELS
    try:
        with Image.open(io.BytesIO(encoded)) as image:
            if image.format != "PNG":
                raise UnreadableError(
                    f"the label map is a {image.format}, which may blur class ids: {WHAT_IS_READ}"
                )
            if image.mode not in ("1", "L", "P"):
                raise UnreadableError(
                    f"the label map is a PNG of mode {image.mode}: {WHAT_IS_READ}"
                )
            turn = turns().get(header(encoded).orientation)  # as its picture is turned
            upright = image if turn is None else image.transpose(turn)
            values = np.asarray(upright.convert("L") if image.mode == "1" else upright)
            colours = image.getpalette("RGB") if image.mode == "P" else None
    except UnreadableError:
        raise
    except (*DAMAGED, Image.DecompressionBombError) as error:
        raise UnreadableError(f"the label map cannot be decoded: {WHAT_IS_READ}") from error
    palette = None if colours is None else np.asarray(colours, np.uint8).reshape(-1, 3)
    return values, palette


def colours_of(encoded: bytes) -> dict[int, str]:
    """Returns the colour of each index that occurs in a palette PNG, as in 'ff0000'; {} of a grey
    one.
    """
    pixels, palette = _decoded(encoded)
    if palette is None:
        return {}
    there = [int(value) for value in np.flatnonzero(np.bincount(pixels.ravel()))]
    return {value: bytes(palette[value]).hex() for value in there if value < len(palette)}


def values_as_ids(pixels: np.ndarray, values: Sequence[int], ignored: int) -> np.ndarray:
    """Returns class ids of pixel values that are none.

    Args:
        pixels: values, uint8 [H, W].
        values: of the classes, in the order of their ids.
        ignored: value of the pixels that count for nothing, which stays; -1 for none.

    Raises:
        ValueError: if a value is none of these.
    """
    table = np.full(256, -1, np.int16)
    if ignored >= 0:
        table[ignored] = ignored
    table[list(values)] = np.arange(len(values))
    ids = table[pixels]
    if ids.min() < 0:
        other = np.unique(pixels[ids < 0])[:SHOWN_IDS]
        raise ValueError(
            f"the label map holds the value {', '.join(map(str, other))}, none of "
            f"`target.values`, {', '.join(map(str, values))}"
        )
    return ids.astype(np.uint8)


def problem(
    label_map: np.ndarray, image_size: tuple[int, int], num_classes: int, ignored: int
) -> str:
    """Returns what is wrong with a label map, or '' if nothing is.

    Args:
        label_map: class ids, uint8 [H, W].
        image_size: (H, W) in pixels of its image.
        num_classes: C.
        ignored: class id of pixels that count for nothing; -1 for none.
    """
    if label_map.shape != tuple(image_size):
        sizes = [f"{height} x {width}" for height, width in (label_map.shape, image_size)]
        return f"the label map has {sizes[0]} pixels (height x width), its image {sizes[1]}"
    ids = [int(value) for value in np.flatnonzero(np.bincount(label_map.ravel()))]
    outside = [value for value in ids if value >= num_classes and value != ignored]
    if outside:
        shown = ", ".join(map(str, outside[:SHOWN_IDS])) + (
            ", ..." if len(outside) > SHOWN_IDS else ""
        )
        besides = f", and it is not the ignored {ignored}" if ignored >= 0 else ""
        return f"the label map holds class id {shown}, outside [0, {num_classes}){besides}"
    return ""


def encode_label_map(label_map: np.ndarray, colours: np.ndarray | None = None) -> bytes:
    """Returns a label map as a PNG file.

    Args:
        label_map: class ids, uint8 [H, W].
        colours: uint8 [C, 3] for a palette PNG, which looks like what it means; None for a grey
          one.
    """
    from PIL import Image

    image = Image.fromarray(np.ascontiguousarray(label_map, np.uint8))
    if colours is not None:
        image.putpalette(np.ascontiguousarray(colours, np.uint8).tobytes())
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", bits=8)
    return buffer.getvalue()
