"""What the bytes of an image file tell before they are decoded: format, size, orientation, and what
a file is that is no image.

Standard library alone, and quick: ingest asks of every image. decoding_graph.py reads the same in
TensorFlow's graph; a test holds the two together.
"""

import os
import re
import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

# What the names of images end in, in lower case; what a file is, its bytes tell.
ENDINGS = (
    *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".avif"),
    *(".heic", ".heif", ".jp2", ".j2k", ".jpx", ".ppm", ".pgm", ".pbm", ".pnm", ".ico", ".icns"),
    *(".apng", ".dib", ".mpo", ".pcx", ".qoi", ".sgi"),
)
PNG, JPEG, EXIF = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"Exif\0\0"
ORDERS = b"II*\0", b"MM\0*"  # what EXIF data begin with: little or big endian
PROFILE = b"Raw profile type exif\0"  # EXIF as hexadecimal text in a PNG, as of ImageMagick
LONGEST_PROFILE = 1 << 20  # bytes of that text
ORIENTATION = 0x0112  # the tag of EXIF
MOST_PIXELS = 200_000_000  # of one picture: 600 MB decoded
LOWEST = 256  # values of 16 bits below are 8 bits, as programs write them that never scaled up
LOW = 4096  # values below are 12 bits that were not shifted up, as of cameras
MOST_SEGMENTS = 1000  # of a JPEG before its pixels
LONGEST = 1000  # bytes of a BMP's header, 124 in all that are known
SOURCE = "Source SHA-256"  # the text in a PNG of ours, of the file that it was made from
OURS = re.compile(rb"\x89PNG[\s\S]{33}tEXt%b\0([0-9a-f]{64})" % SOURCE.encode())
FRAMES = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})  # JPEG's markers of a size
PROGRESSIVE, ARITHMETIC = 0xC2, 0xC9  # of these, and of those from there on
PIXELS = re.compile(rb"\xff+\xda")  # the marker before the pixels of a JPEG
NEXT = re.compile(rb"\xff[^\0\xff\xd0-\xd7]")  # the marker behind them
HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
RAW = "it is a camera raw file; develop it to JPEG, PNG or TIFF"
FOREIGN = (
    (b"version https://git-lfs", "it is a pointer of git-lfs, not the image; run `git lfs pull`"),
    (b"%PDF", "it is a PDF document"),
    (b"%!PS", "it is a PostScript drawing"),
    (b"8BPS", "it is a Photoshop document"),
    (b"PK\3\4", "it is a ZIP archive"),
    (b"\x1f\x8b", "it is compressed by gzip"),
    (b"\0\5\x16\7", "it is what macOS notes about a file, not the file"),
    (b"\x93NUMPY", "it is an array of numpy"),
    (b"\xff\x0a", "it is a JPEG XL picture"),
    (b"\0\0\0\x0cJXL ", "it is a JPEG XL picture"),
    *((start, RAW) for start in (b"FUJIFILMCCD-RAW", b"IIRO", b"IIRS", b"MMOR", b"IIU\0")),
)
KNOWN = (
    (PNG, "PNG"),
    (JPEG, "JPEG"),
    (b"GIF8", "GIF"),
    (b"BM", "BMP"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (b"\0\0\1\0", "ICO"),
    (b"\1\xda", "SGI"),
    (b"qoif", "QOI"),
    *((b"P%d\n" % kind, "PPM") for kind in range(1, 7)),
    *((bytes([10, version, 1]), "PCX") for version in (0, 2, 3, 4, 5)),
)


class Header(NamedTuple):
    """What is known of a file whose picture TensorFlow's graph decodes right.

    Attributes:
      kind: `PNG`, `JPEG`, `WebP` or `BMP`.
      height: of the upright picture in pixels, 0 if it shows only when decoded.
      width: the same.
      orientation: of EXIF, 1 to 8; from 5 on height and width of what is stored are exchanged.
      flags: of `alpha`, `deep` (16 bits a value), `cmyk`, `frames` (more than one), `profile`
        (a PNG whose EXIF data are text, which the graph does not read), `progressive` and
        `arithmetic` (of JPEG).
    """

    kind: str
    height: int = 0
    width: int = 0
    orientation: int = 1
    flags: tuple[str, ...] = ()


def has_ending(name: str) -> bool:
    """Tells whether a name ends as those of images do, in small or capital letters."""
    return os.path.splitext(name)[1].lower() in ENDINGS


def header(content: bytes) -> Header | None:
    """Returns what is known of a file if TensorFlow's graph decodes files of its kind, or None."""
    if content.startswith(PNG) and len(content) > 33:
        return _png(content)
    if content.startswith(JPEG):
        return _jpeg(content)
    if content.startswith(b"RIFF") and content[8:12] == b"WEBP":
        return _webp(content)
    if content.startswith(b"BM") and len(content) > 54:
        return _bmp(content)
    return None


def _png(content: bytes) -> Header:
    width, height, bits, colour = struct.unpack_from(">IIBB", content, 16)
    if colour <= 3 and bits <= 8 and not _has_more(content):
        return Header("PNG", height, width)
    found = {
        "alpha": colour > 3 or b"tRNS" in content,
        "deep": bits > 8,
        "frames": b"acTL" in content,
    }
    starts = *ORDERS, EXIF[:4]
    places = [place for start in starts if (place := content.find(b"eXIf" + start)) > 0]
    found["profile"] = not places and PROFILE in content
    exif = content[min(places) + 4 :] if places else _profile(content) if found["profile"] else b""
    orientation = _orientation(exif.removeprefix(EXIF))
    size = (width, height) if orientation > 4 else (height, width)
    return Header("PNG", *size, orientation, tuple(name for name in found if found[name]))


def _has_more(content: bytes) -> bool:
    """Tells whether a PNG may have a chunk that says more of its picture than header and pixels."""
    is_bare = content[37:41] == b"IDAT" and len(content) == 57 + int.from_bytes(content[33:37])
    return not is_bare and any(name in content for name in (b"tRNS", b"eXIf", b"acTL", PROFILE))


def _profile(content: bytes) -> bytes:
    """Returns the EXIF data that stand in a PNG as text, b'' where it is damaged."""
    place = content.index(PROFILE)
    size, kind = struct.unpack_from(">I4s", content, place - 8)
    text = content[place + len(PROFILE) : place + size]
    packed = kind == b"zTXt"
    if kind == b"iTXt":  # whether it is packed, and how; a language; the key in that language
        packed, text = text[:1] == b"\1", b"".join(text[2:].split(b"\0", 2)[2:])
        text = b"\0" + text if packed else text
    try:
        text = zlib.decompressobj().decompress(text[1:], LONGEST_PROFILE) if packed else text
        return bytes.fromhex("".join(text.decode("latin-1").split()[2:]))  # name, length, bytes
    except (zlib.error, ValueError):
        return b""


def with_exif(png: bytes, orientation: int, source: str) -> bytes:
    """Returns a PNG with an orientation where the graph reads it, and the digest of its file.

    Args:
      png: without such an orientation.
      orientation: 1 to 8.
      source: SHA-256 of the file, in hexadecimal.
    """
    exif = ORDERS[1] + struct.pack(">IHHHIHHI", 8, 1, ORIENTATION, 3, 1, orientation, 0, 0)
    chunks = (b"tEXt", SOURCE.encode() + b"\0" + source.encode()), (b"eXIf", exif)
    added = [
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    ]
    return b"".join([png[:33], *added, png[33:]])


def _jpeg(content: bytes) -> Header:
    height = width = colours = frame = 0
    exif = b""
    for marker, place in _jpeg_segments(content):
        if marker in FRAMES and not height:
            height, width, colours = struct.unpack_from(">HHB", content[place : place + 10], 5)
            frame = marker
        elif marker == 0xE1 and not exif and content.startswith(EXIF, place + 4):
            (size,) = struct.unpack_from(">H", content, place + 2)
            exif = content[place + 10 : place + 2 + size]
    orientation = _orientation(exif)
    size = (width, height) if orientation > 4 else (height, width)
    found = {
        "cmyk": colours == 4,
        "progressive": frame == PROGRESSIVE,
        "arithmetic": frame >= ARITHMETIC,
    }
    return Header("JPEG", *size, orientation, tuple(name for name in found if found[name]))


def _jpeg_segments(content: bytes) -> Iterator[tuple[int, int]]:
    """Yields the markers of a JPEG before its pixels, and where they are."""
    place = 2
    for _ in range(MOST_SEGMENTS):
        if place + 10 > len(content) or content[place] != 0xFF:
            return
        marker = content[place + 1]
        if marker in (0xDA, 0xD9):  # the pixels, the end
            return
        if marker == 0xFF:  # a byte that fills
            place += 1
        elif marker == 1 or 0xD0 <= marker <= 0xD8:  # stands alone
            place += 2
        else:
            yield marker, place
            place += 2 + content[place + 2] * 256 + content[place + 3]


def jpeg_end(content: bytes) -> int:
    """Returns where the marker is that ends the first picture of a JPEG, -1 where that is not
    certain. A thumbnail in the EXIF data, or a second picture, has markers of its own.
    """
    place = 2
    for _, start in _jpeg_segments(content):
        place = start + 2 + int.from_bytes(content[start + 2 : start + 4])
    if not PIXELS.match(content, place):
        return -1
    while found := NEXT.search(content, place):
        place = found.start()
        if found[0] == b"\xff\xd9":
            return place
        place += 2 + int.from_bytes(content[place + 2 : place + 4])
    return -1


def _webp(content: bytes) -> Header | None:
    if len(content) < 30:
        return None
    if content[12:16] == b"VP8 ":
        width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", content, 26))
        return Header("WebP", height, width)
    if content[12:16] == b"VP8L":
        (sides,) = struct.unpack_from("<I", content, 21)  # 14 bits each, less 1
        return Header("WebP", 1 + (sides >> 14 & 0x3FFF), 1 + (sides & 0x3FFF), 1, ("alpha",))
    flags = content[20]
    if flags & 2 or flags & 8:
        return None  # animated, or with EXIF
    width, height = (1 + int.from_bytes(content[at : at + 3], "little") for at in (24, 27))
    return Header("WebP", height, width, 1, ("alpha",) if flags & 16 else ())


def _bmp(content: bytes) -> Header | None:
    size, width, height, _, bits, compression = struct.unpack_from("<IiiHHI", content, 14)
    if not 40 <= size < LONGEST or compression or bits not in (24, 32):
        return None
    return Header("BMP", abs(height), width)


def _orientation(exif: bytes) -> int:
    """Returns the orientation, 1 to 8, that EXIF data name; 1, upright, where they name none or are
    damaged.
    """
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if not order or len(exif) < 8:
        return 1
    (start,) = struct.unpack_from(f"{order}I", exif, 4)
    if start < 8 or start + 2 > len(exif):
        return 1
    exif += bytes(11)  # an entry that is cut off ends in zeros, as in the graph
    (count,) = struct.unpack_from(f"{order}H", exif, start)
    found = 1
    for place in range(start + 2, min(start + 2 + 12 * max(count, 1), len(exif) - 11), 12):
        tag, kind = struct.unpack_from(f"{order}HH", exif, place)
        letter = {3: "H", 4: "I"}.get(kind)
        if tag == ORIENTATION and letter:
            (value,) = struct.unpack_from(order + letter, exif, place + 8)
            found = max(found, value) if value <= 8 else found
    return found


def source_digest(content: bytes) -> str:
    """Returns the SHA-256 of the file that a PNG of ours was made from, in hexadecimal; '' for any
    other content.
    """
    found = OURS.match(content)
    return found[1].decode() if found else ""


def is_picture(start: bytes) -> bool:
    """Tells whether a file that begins like this is a picture, whole or not; BM may begin a name,
    too.
    """
    if start.startswith(b"BM"):
        return 12 <= int.from_bytes(start[14:18], "little") < LONGEST
    in_boxes = start[4:8] == b"ftyp" or (start.startswith(b"RIFF") and start[8:12] == b"WEBP")
    return in_boxes or start.startswith(tuple(sign for sign, _ in KNOWN))


def told(content: bytes) -> str:
    """Returns what a file is that was not decoded, as a part of a sentence."""
    if not content.strip(b"\0"):
        return "the file holds nothing but zeros" if content else "the file is empty"
    for start, words in FOREIGN:
        if content.startswith(start):
            return words
    if content[4:8] == b"ftyp":
        return _of_boxes(content[8:12])
    is_webp = content.startswith(b"RIFF") and content[8:12] == b"WEBP"
    kinds = ["WebP"] if is_webp else [kind for start, kind in KNOWN if content.startswith(start)]
    if kinds:
        return f"the {kinds[0]} file is cut short, damaged or of a rare kind"
    return _of_text(content[:1000].lstrip(b"\xef\xbb\xbf \t\r\n").lower())


def _of_boxes(brand: bytes) -> str:
    if brand in HEIF_BRANDS:
        return "it is a HEIC picture, which `make extra NAME=heic` (pillow-heif) makes readable"
    if brand == b"crx ":
        return RAW
    return (
        "the AVIF file is cut short, damaged or of a rare kind"
        if brand in (b"avif", b"avis")
        else "it is a video"
    )


def _of_text(start: bytes) -> str:
    if start.startswith((b"<!doctype html", b"<html", b"<head")):
        return "it is a web page (HTML), as a failed download leaves it"
    if b"<svg" in start:
        return "it is an SVG drawing"
    is_text = start and all(byte >= 32 or byte in b"\t\r\n\f" for byte in start)
    return "it is text" if is_text else "it is of no format that is known here"
