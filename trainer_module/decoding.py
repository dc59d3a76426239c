"""The one room where pictures are decoded: bytes in, upright RGB pixels out, or one sentence why
not.

Ingest stores what `prepared` returns: the file as it is where TensorFlow's graph decodes it right
(decoding_graph.py, which Transform and the served model run), else a PNG of what Pillow reads. So
training, serving, report and tools see the same pixels. Label maps are no pictures: see
segmentation/label_map.py.
"""

import hashlib
import importlib.util
import io
import random
import re
import struct
import zlib
from typing import Any, NamedTuple

from trainer_module.image_headers import (
    LOW,
    LOWEST,
    MOST_PIXELS,
    RAW,
    SOURCE,
    Header,
    header,
    jpeg_end,
    told,
    with_exif,
)

LONGEST_SIDE = 1_000_000  # pixels of a PNG that libpng reads
FORMATS = "JPEG, PNG, GIF, BMP, WebP, TIFF, PPM, ICO, JPEG 2000, AVIF"
# Pillow's readers that may be asked. Not those that start programs (EPS) or that know no signature
# and so take anything (TGA).
READERS = (
    *("AVIF", "BMP", "DIB", "GIF", "HEIF", "ICNS", "ICO", "JPEG", "JPEG2000", "MPO", "PCX", "PNG"),
    *("PPM", "QOI", "SGI", "TIFF", "WEBP"),
)
# What Pillow's readers end with on damaged bytes, by what these lead them to.
DAMAGED = (
    *(OSError, ValueError, SyntaxError, LookupError, TypeError, AttributeError, ArithmeticError),
    *(EOFError, MemoryError, RuntimeError, AssertionError, struct.error, zlib.error),
)
# What was done to a picture that a person may want to know, by the key in `Prepared.remarks`.
REMARKS = {
    "turned": "turned or mirrored, as the orientation in the EXIF data says",
    "transparent": "transparent pixels were laid on white",
    "first_frame": "of several frames or pages the first was taken",
    "bits_16": "of 16 bits a value the upper 8 were taken",
    "bits_12": "the 16 bits a value hold 12 bits, of which the upper 8 were taken",
    "bits_8": "the 16 bits a value hold 8 bits, which were taken as they are",
    "cmyk": "colours for print (CMYK) became RGB",
    "converted": "stored as PNG: of a kind that the model does not decode itself",
}
GREY = 128  # what libjpeg fills in where pixels are missing
MORE = bytes(byte for byte in random.Random(0).randbytes(300) if byte != 0xFF)  # no marker
BITS_PER_SAMPLE, PHOTOMETRIC, WHITE_IS_ZERO = 258, 262, 0  # of TIFF
KIND, REDUCED, DNG_VERSION, DIRECTORIES_BELOW = 254, 1, 50706, 330  # the same
CANON = b"CR\2"  # behind the header of such a TIFF


class Prepared(NamedTuple):
    """A picture as it is stored.

    Attributes:
      encoded: bytes that `decode_upright` decodes.
      height: of the upright picture in pixels.
      width: the same.
      remarks: keys of REMARKS.
    """

    encoded: bytes
    height: int
    width: int
    remarks: tuple[str, ...] = ()


class UnreadableError(ValueError):
    """The bytes are no picture that is read here; one sentence says why."""


def prepared(content: bytes) -> Prepared:
    """Brings the content of an image file to what is stored, decoding it once to be sure.

    Raises:
      UnreadableError: saying what the file is where that can be told, and which formats work.
    """
    found = header(content)
    if found is None:
        return _by_pillow(content)
    _refuse_too_many(found.height * found.width)
    import tensorflow as tf

    try:
        # The raw operation, called as the eager fast path wants it: 2x faster on small images.
        pixels = tf.raw_ops.DecodeImage(
            contents=tf.constant(content),
            channels=0 if found.kind == "WebP" else 3,  # its decoder drops no alpha
            dtype=tf.uint8,
            expand_animations=False,
        )
        remarks = _remarks(content, found) if found.flags or found.orientation > 1 else ()
    except tf.errors.OpError:
        return _by_pillow(content)
    if found.kind == "JPEG" and _may_be_cut(pixels, found) and _is_cut(content):
        raise UnreadableError(
            "the JPEG file is cut short: its data end before its last pixels, which would be grey "
            "or blurred; get the whole file"
        )
    if "profile" in found.flags:
        content = with_exif(content, found.orientation, hashlib.sha256(content).hexdigest())
    if found.height:
        return Prepared(content, found.height, found.width, remarks)
    height, width = pixels.shape[:2]  # of a JPEG whose header is damaged, but not for its decoder
    size = (width, height) if found.orientation > 4 else (height, width)
    return Prepared(content, *size, remarks)


def _may_be_cut(pixels, found: Header) -> bool:
    """Tells whether the lower part of a JPEG may be missing, at once of an ordinary one: its last
    pixel would be grey. Arithmetic coding may end early.
    """
    if "arithmetic" in found.flags:
        return False
    is_grey = {memoryview(pixels)[-1, -1, channel] for channel in range(3)} == {GREY}
    return is_grey or "progressive" in found.flags or "cmyk" in found.flags


def _is_cut(content: bytes) -> bool:
    """Tells whether the data of a JPEG end before its pixels do: then bytes that are put before its
    end become pixels; of a whole picture none of them is read.

    By Pillow, since TensorFlow's decoder would print a warning; at half the size, which is quicker.
    """
    from PIL import Image

    Image.MAX_IMAGE_PIXELS = MOST_PIXELS
    if (end := jpeg_end(content)) < 0:
        return False
    decoded = []
    try:
        for one in (content, content[:end] + MORE + content[end:]):
            with Image.open(io.BytesIO(one), formats=["JPEG"]) as image:
                image.draft(image.mode, (image.width // 2, image.height // 2))
                decoded.append(image.tobytes())
    except DAMAGED:
        return False
    return decoded[0] != decoded[1]


def _remarks(content: bytes, found: Header) -> tuple[str, ...]:
    """Returns what the graph will do to a picture that it decodes."""
    done = {
        "turned": found.orientation > 1,
        "transparent": "alpha" in found.flags
        and _values(content, found.kind)[..., 3:].min(initial=255) < 255,
        "first_frame": "frames" in found.flags,
        "cmyk": "cmyk" in found.flags,
    }
    remarks = tuple(key for key, is_done in done.items() if is_done)
    if "deep" not in found.flags:
        return remarks
    return (*remarks, _depth(_values(content, found.kind, deep=True)[..., :3])[0])


def _depth(values) -> tuple[str, int]:
    """Returns what 16 bits a value hold, as a key of REMARKS, and how far to shift them down; so
    does the graph (decoding_graph.py). A black picture holds anything.
    """
    most = values.max()
    if 0 < most < LOWEST:
        return "bits_8", 0
    return ("bits_12", 4) if 0 < most < LOW else ("bits_16", 8)


def _values(content: bytes, kind: str, deep: bool = False) -> Any:
    """Returns what TensorFlow decodes of a PNG or a WebP: [H, W, 4], of an opaque WebP [H, W, 3];
    uint16 where it is `deep`.
    """
    import tensorflow as tf

    if kind == "WebP":
        return tf.io.decode_webp(content)[0].numpy()
    return tf.io.decode_png(content, channels=4, dtype=tf.uint16 if deep else tf.uint8).numpy()


def upright_rgb(content: bytes):
    """Returns the picture of an image file as training and the served model see it: uint8 array
    [H, W, 3].

    Raises:
      UnreadableError: as `prepared`.
    """
    import tensorflow as tf

    from trainer_module.decoding_graph import decode_upright

    return decode_upright(tf.constant(prepared(content).encoded)).numpy()


def _refuse_too_many(pixels: int) -> None:
    if pixels > MOST_PIXELS:
        raise UnreadableError(
            f"the picture has {pixels:,} pixels, more than the {MOST_PIXELS:,} that are decoded; "
            f"make it smaller"
        )


# What Pillow reads


def _by_pillow(content: bytes) -> Prepared:
    """Decodes by Pillow and stores a PNG of 8 bits a value, upright and opaque."""
    from PIL import Image

    Image.MAX_IMAGE_PIXELS = MOST_PIXELS  # for what lies inside another file, as in an ICO
    Image.init()
    _register_heic()
    readers = [name for name in READERS if name in Image.OPEN]
    try:
        with Image.open(io.BytesIO(content), formats=readers) as image:
            _refuse_too_many(image.width * image.height)
            if _is_raw(image, content):
                raise UnreadableError(RAW)
            if max(image.size) > LONGEST_SIDE:
                raise UnreadableError(
                    f"the picture has a side of {max(image.size):,} pixels, more than the "
                    f"{LONGEST_SIDE:,} that are stored; make it smaller"
                )
            pixels, remarks = _upright(image)
    except UnreadableError:
        raise
    except Image.DecompressionBombError as error:
        _refuse_too_many(int(re.search(r"\d+", str(error))[0]))
        raise
    except DAMAGED as error:
        raise UnreadableError(
            f"cannot be decoded as an image: {told(content)}; formats that work: {FORMATS}"
        ) from error
    return Prepared(_as_png(pixels, content), pixels.height, pixels.width, remarks)


def _is_raw(image, content: bytes) -> bool:
    """Tells whether an opened image is of a camera raw file, whose first picture is a thumbnail of
    the one that counts.
    """
    if image.format != "TIFF":
        return False
    tags = image.tag_v2
    is_dng = DNG_VERSION in tags and DIRECTORIES_BELOW in tags
    return bool(tags.get(KIND, 0) & REDUCED) or is_dng or content[8:11] == CANON


def _register_heic() -> None:
    if importlib.util.find_spec("pillow_heif"):
        import pillow_heif

        pillow_heif.register_heif_opener()


def _upright(image) -> tuple[Any, tuple[str, ...]]:
    """Returns an opened image as RGB, upright and on white, and what was done to it."""
    orientation = _orientation(image)
    image.load()  # which turns a TIFF, and no other
    rgb, remarks = _of_many_bits(image) if image.mode[0] in "IF" else _of_8_bits(image)
    left = _orientation(image)
    done = {
        "turned": orientation > 1,
        "first_frame": getattr(image, "is_animated", False),
        "cmyk": image.mode == "CMYK",
        "converted": True,
    }
    told_too = (key for key, is_done in done.items() if is_done)
    return rgb.transpose(turns()[left]) if left > 1 else rgb, (*remarks, *told_too)


def _orientation(image) -> int:
    from PIL import ExifTags

    for name in ("xmp", "XML:com.adobe.xmp"):  # Pillow would take one from there, too
        image.info.pop(name, None)
    found = image.getexif().get(ExifTags.Base.Orientation, 1)
    return found if found in turns() else 1


def turns() -> dict[int, Any]:
    """Returns what turns a picture upright, by its orientation."""
    from PIL.Image import Transpose

    return {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }


def _of_8_bits(image) -> tuple[Any, tuple[str, ...]]:
    from PIL import Image

    remarks = ()
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        alpha = layer.getchannel("A")
        rgb = Image.new("RGB", image.size, (255, 255, 255))
        rgb.paste(layer, mask=alpha)
        remarks = ("transparent",) if alpha.getextrema()[0] < 255 else ()
    else:
        rgb = image.convert("RGB")
    if image.format != "TIFF" or max(image.tag_v2.get(BITS_PER_SAMPLE, (8,))) <= 8:
        return rgb, remarks
    if max(high for _, high in rgb.getextrema()) < LOW >> 8:
        raise UnreadableError(
            "a TIFF in colour whose 16 bits a value hold 12 bits or fewer cannot be read whole; "
            "save it with 8 bits a value, or as PNG"
        )
    return rgb, (*remarks, "bits_16")


def _of_many_bits(image) -> tuple[Any, tuple[str, ...]]:
    """Returns a grey image of 16 bits a value as RGB: 8 of them, but not by Pillow, which cuts off
    what is above 255.
    """
    import numpy as np
    from PIL import Image

    values = np.asarray(image)
    is_longer = image.format == "TIFF" and max(image.tag_v2.get(BITS_PER_SAMPLE, (1,))) > 16
    if is_longer or values.dtype.kind == "f" or values.min() < 0 or values.max() > 0xFFFF:
        raise UnreadableError(
            f"the picture's values are of {values.dtype.name}, from {values.min():g} to "
            f"{values.max():g}; save it with 8 or 16 bits a value"
        )
    depth, shift = _depth(values)
    grey = (values >> shift).astype(np.uint8)
    if image.format == "TIFF" and image.tag_v2.get(PHOTOMETRIC) == WHITE_IS_ZERO:
        grey = 255 - grey  # Pillow turns only values of 8 bits over
    return Image.fromarray(grey).convert("RGB"), (depth,)


def _as_png(pixels, source: bytes) -> bytes:
    """Returns an RGB picture as a PNG that names the digest of the file it was made from."""
    from PIL.PngImagePlugin import PngInfo

    text, buffer = PngInfo(), io.BytesIO()
    text.add_text(SOURCE, hashlib.sha256(source).hexdigest())
    pixels.save(buffer, "PNG", compress_level=1, pnginfo=text)
    return buffer.getvalue()
