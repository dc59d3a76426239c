"""Label maps: PNG files whose pixel values are class ids, read, checked and written.

Grey PNGs and palette PNGs are read; of a palette PNG the index counts, its colours are for people.
TensorFlow's decoder turns palettes into colours, so ingest re-encodes every label map once as an
8-bit grey PNG, which decodes to class ids everywhere.

H x W pixels, C classes; class ids are uint8, so C is at most 255 beside an ignored id.
"""

import io

import numpy as np

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
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(encoded)) as image:
            if image.format != "PNG":
                raise ValueError(
                    f"the label map is a {image.format}, which may blur class ids: {WHAT_IS_READ}"
                )
            if image.mode not in ("1", "L", "P"):
                raise ValueError(f"the label map is a PNG of mode {image.mode}: {WHAT_IS_READ}")
            pixels = np.asarray(ImageOps.exif_transpose(image)).astype(np.uint8)
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise ValueError(f"the label map cannot be decoded: {WHAT_IS_READ}") from error
    return pixels // _spread(encoded)


def _spread(encoded: bytes) -> int:
    """Returns by what Pillow multiplies the values of a grey PNG of 2 or 4 bits, to spread them
    over [0, 255].
    """
    bits, colour_type = encoded[24:26]  # of the IHDR chunk, which every PNG begins with
    return 255 // (2**bits - 1) if colour_type == 0 and bits in (2, 4) else 1


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
