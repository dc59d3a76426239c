"""Odd image files, drawn here: what cameras, scanners, editors and failed downloads leave.

`READ` are files of a picture, whose upright pixels on white are known or what Pillow shows;
`UNREAD` are files of none, each with words of the sentence that is told.
"""

import io
import random
import struct
import zlib

import numpy as np
from PIL import Image

HEIGHT, WIDTH = 40, 48  # pixels
PNG = b"\x89PNG\r\n\x1a\n"
EXIF = b"Exif\0\0"


def picture(seed: int = 1, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """Returns a picture without symmetry: ramps, a disc and a little noise, uint8 [H, W, 3]."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    ramps = (
        255 * x / max(width - 1, 1),
        255 * y / max(height - 1, 1),
        40 + 60 * (seed % 3) + 0 * x,
    )
    pixels = np.stack(ramps, -1)
    disc = (y - height * 0.3) ** 2 + (x - width * 0.7) ** 2 < (min(height, width) * 0.2) ** 2
    pixels[disc] = (230, 30 * (seed % 5), 60)
    return np.clip(pixels + rng.normal(0, 4, pixels.shape), 0, 255).astype(np.uint8)


def grey16() -> np.ndarray:
    """Returns grey values that fill 16 bits, uint16 [H, W]."""
    return picture()[..., 0].astype(np.uint16) * 257


def grey12() -> np.ndarray:
    """Returns grey values of a camera's 12 bits, not shifted up, uint16 [H, W]."""
    return picture()[..., 0].astype(np.uint16) * 16 + 5


def grey8() -> np.ndarray:
    """Returns grey values that never left 8 bits, uint16 [H, W]."""
    return picture()[..., 0].astype(np.uint16)


def saved(image: Image.Image | np.ndarray, kind: str, **options) -> bytes:
    """Returns the file that Pillow writes."""
    buffer = io.BytesIO()
    image = Image.fromarray(image) if isinstance(image, np.ndarray) else image
    image.save(buffer, format=kind, **options)
    return buffer.getvalue()


# EXIF


def exif(orientation: int, order: str = "<", kind: int = 3) -> bytes:
    """Returns EXIF data with a maker and an orientation.

    Args:
      orientation: 1 to 8.
      order: '<' for the lowest byte first, '>' for the highest.
      kind: of TIFF's kinds of a value, 3 for SHORT, 4 for LONG.
    """
    value = struct.pack(f"{order}H", orientation) + b"\0\0"
    if kind == 4:
        value = struct.pack(f"{order}I", orientation)
    entries = struct.pack(f"{order}HHI", 0x010F, 2, 4) + b"Us\0\0"
    entries += struct.pack(f"{order}HHI", 0x0112, kind, 1) + value
    header = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8)
    return header + struct.pack(f"{order}H", 2) + entries + bytes(4)


def with_segments(jpeg: bytes, *segments: tuple[int, bytes]) -> bytes:
    """Returns a JPEG with segments of these markers behind its first marker."""
    made = (struct.pack(">BBH", 255, marker, len(data) + 2) + data for marker, data in segments)
    return jpeg[:2] + b"".join(made) + jpeg[2:]


def phone(orientation: int, order: str = "<", kind: int = 3) -> bytes:
    """Returns a JPEG with an orientation, as a phone writes it."""
    jpeg = saved(picture(), "JPEG", quality=95)
    return with_segments(jpeg, (0xE1, EXIF + exif(orientation, order, kind)))


def ended(jpeg: bytes) -> bytes:
    """Returns a JPEG without the last third of its data, which ends as a whole one does."""
    return jpeg[: len(jpeg) * 2 // 3] + b"\xff\xd9"


def taller(jpeg: bytes) -> bytes:
    """Returns a JPEG of twice the height by its header."""
    place = jpeg.index(b"\xff\xc0") + 5
    height = 2 * int.from_bytes(jpeg[place : place + 2])
    return jpeg[:place] + height.to_bytes(2) + jpeg[place + 2 :]


def with_thumbnail(jpeg: bytes, thumbnail: bytes) -> bytes:
    """Returns a JPEG with another one in its EXIF data."""
    return with_segments(jpeg, (0xE1, EXIF + exif(1) + thumbnail))


# Files that Pillow does not write


def chunk(name: bytes, data: bytes) -> bytes:
    """Returns a chunk of a PNG."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(size: tuple[int, int], bits: int, colour: int, rows: list[bytes], *extra: bytes) -> bytes:
    """Returns a PNG from the bytes of its rows, with chunks between header and pixels."""
    head = struct.pack(">IIBBBBB", size[1], size[0], bits, colour, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows))
    chunks = (chunk(b"IHDR", head), *extra, chunk(b"IDAT", pixels), chunk(b"IEND", b""))
    return PNG + b"".join(chunks)


def png16(pixels: np.ndarray, colour: int) -> bytes:
    """Returns a PNG of 16 bits a value, uint16 [H, W, channels]."""
    return png(pixels.shape[:2], 16, colour, [row.astype(">u2").tobytes() for row in pixels])


def interlaced(pixels: np.ndarray, colour: int) -> bytes:
    """Returns a PNG that is stored in seven passes (Adam7), uint8 [H, W, channels]."""
    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2)]
    parts = [pixels[top::down, left::right] for top, left, down, right in (*passes, (1, 0, 2, 1))]
    rows = b"".join(b"\0" + row.tobytes() for part in parts if part.size for row in part)
    head = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], 8, colour, 0, 0, 1)
    chunks = (chunk(b"IHDR", head), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b""))
    return PNG + b"".join(chunks)


def behind_the_pixels(content: bytes, data: bytes) -> bytes:
    """Returns a PNG with EXIF data behind its pixels, where they may stand."""
    return content[:-12] + chunk(b"eXIf", data) + content[-12:]


def with_profile(content: bytes, kind: bytes, data: bytes) -> bytes:
    """Returns a PNG with EXIF data as hexadecimal text, as ImageMagick writes them.

    Args:
      content: a PNG.
      kind: of the chunk: `tEXt`, `zTXt` or `iTXt`.
      data: EXIF.
    """
    text = b"\nexif\n%8d\n%s\n" % (len(data), data.hex("\n", -36).encode())
    texts = {b"tEXt": text, b"zTXt": b"\0" + zlib.compress(text)}
    texts[b"iTXt"] = b"\1\0en\0EXIF\0" + zlib.compress(text)
    return content[:33] + chunk(kind, b"Raw profile type exif\0" + texts[kind]) + content[33:]


def tiff16(pixels: np.ndarray, photometric: int) -> bytes:
    """Returns a TIFF of 16 bits a value, uint16 [H, W] or [H, W, 3]."""
    height, width = pixels.shape[:2]
    samples = pixels.size // (height * width)
    data = pixels.astype("<u2").tobytes()
    end = 8 + 2 + 9 * 12 + 4
    entries = [
        *((256, 3, 1, width), (257, 3, 1, height)),
        (258, 3, samples, end if samples > 1 else 16),
        *((259, 3, 1, 1), (262, 3, 1, photometric), (273, 4, 1, end + 2 * samples)),
        *((277, 3, 1, samples), (278, 3, 1, height), (279, 4, 1, len(data))),
    ]
    directory = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    bits = struct.pack("<H", 16) * samples
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + directory + bytes(4) + bits + data


def topdown(bmp: bytes) -> bytes:
    """Returns a BMP that is stored from the top: negative height."""
    offset = struct.unpack("<I", bmp[10:14])[0]
    width, height = struct.unpack("<ii", bmp[18:26])
    stride = (3 * width + 3) // 4 * 4
    lines = [bmp[offset + row * stride : offset + (row + 1) * stride] for row in range(height)]
    return bmp[:22] + struct.pack("<i", -height) + bmp[26:offset] + b"".join(reversed(lines))


def bmp565() -> bytes:
    """Returns a BMP of 16 bits a pixel, 5-6-5."""
    red, green, blue = (picture()[..., channel].astype(np.uint16) for channel in range(3))
    values = ((red >> 3) << 11 | (green >> 2) << 5 | blue >> 3).astype("<u2")
    return bmp(16, 3, struct.pack("<III", 0xF800, 0x7E0, 0x1F), values[::-1].tobytes())


def bmp(bits: int, compression: int, table: bytes, body: bytes, size=(HEIGHT, WIDTH)) -> bytes:
    """Returns a BMP from what lies behind its header."""
    head = struct.pack(
        "<IiiHHIIiiII", 40, size[1], size[0], 1, bits, compression, len(body), 0, 0, 0, 0
    )
    start = 14 + len(head) + len(table)
    return b"BM" + struct.pack("<IHHI", start + len(body), 0, 0, start) + head + table + body


def bmp_rle() -> bytes:
    """Returns a BMP of 8 bits with run lengths: 4 lines of 16 pixels."""
    palette = b"".join(bytes((value, 255 - value, 0, 0)) for value in range(256))
    body = b"".join(bytes((16, 60 * row)) + b"\0\0" for row in range(4)) + b"\0\1"
    return bmp(8, 1, palette, body, (4, 16))


def bmp_of_os2() -> bytes:
    """Returns a BMP with the header of 12 bytes that OS/2 wrote."""
    lines = b"".join(row[:, ::-1].tobytes() for row in picture()[::-1])  # 48 * 3 is a multiple of 4
    head = struct.pack("<IHHHH", 12, WIDTH, HEIGHT, 1, 24)
    return b"BM" + struct.pack("<IHHI", 26 + len(lines), 0, 0, 26) + head + lines


def partial_gif() -> bytes:
    """Returns a GIF whose only frame covers a part of its canvas."""
    small = bytearray(saved(Image.fromarray(picture(1, 20, 24)).quantize(16), "GIF"))
    small[6:10] = struct.pack("<HH", WIDTH, HEIGHT)  # the canvas
    place = small.index(b"\x2c")
    small[place + 1 : place + 5] = struct.pack("<HH", 10, 8)
    return bytes(small)


def bomb() -> bytes:
    """Returns the begin of a PNG that says it has 2,500,000,000 pixels."""
    head = struct.pack(">IIBBBBB", 50_000, 50_000, 1, 0, 0, 0, 0)
    return PNG + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(10_000)))


# All of them


def _with_alpha() -> np.ndarray:
    """Returns a picture, transparent over hidden colours at left and partly so at right."""
    alpha = np.where(np.mgrid[0:HEIGHT, 0:WIDTH][1] < 24, 0, 255).astype(np.uint8)
    alpha[:, 40:] = 100
    pixels = np.dstack([picture(), alpha])
    pixels[:, :24, :3] = (255, 0, 255)
    return pixels


def _read() -> dict[str, bytes]:
    rgb, alpha = Image.fromarray(picture()), Image.fromarray(_with_alpha())
    palette, jpeg = rgb.quantize(64), saved(rgb, "JPEG", quality=95)
    frames = lambda: [Image.fromarray(picture(seed)) for seed in (1, 2, 3)]  # noqa: E731
    still = saved(rgb, "PNG")
    below = picture()
    below[HEIGHT // 2 :] = 128
    two = (picture()[..., 0] >> 6).reshape(HEIGHT, -1, 4) @ np.array([64, 16, 4, 1])
    return {
        "plain.jpg": jpeg,
        "plain.png": still,
        "no_ending": still,
        "png_inside.jpg": still,
        "jpeg_inside.png": jpeg,
        "cmyk.jpg": saved(rgb.convert("CMYK"), "JPEG", quality=95),
        "grey.jpg": saved(rgb.convert("L"), "JPEG", quality=95),
        "progressive.jpg": saved(rgb, "JPEG", quality=95, progressive=True),
        "grey_below.jpg": saved(below, "JPEG", quality=95),
        "all_grey.jpg": saved(np.full((HEIGHT, WIDTH, 3), 128, np.uint8), "JPEG", quality=95),
        "grey_below_a_thumbnail.jpg": with_thumbnail(saved(below, "JPEG", quality=95), phone(6)),
        "progressive_thumbnail.jpg": with_thumbnail(
            saved(rgb, "JPEG", quality=95, progressive=True), phone(6)
        ),
        "rgb_kept.jpg": saved(rgb, "JPEG", quality=95, keep_rgb=True),
        "trailing_garbage.jpg": jpeg + bytes(1000),
        "exif6.jpg": phone(6),
        "exif3_big_endian.jpg": phone(3, ">"),
        "exif8_long.jpg": phone(8, kind=4),
        "exif_damaged.jpg": with_segments(jpeg, (0xE1, EXIF + exif(6)[:12])),
        "exif_beyond.jpg": with_segments(jpeg, (0xE1, EXIF + b"II*\0\xff\xff\xff\x7f")),
        "exif_in_a_comment.jpg": with_segments(jpeg, (0xFE, EXIF + exif(6))),
        "exif_behind.jpg": with_segments(jpeg, (0xE2, b"x" * 9), (0xE1, EXIF + exif(6))),
        "exif_of_another_picture.jpg": jpeg + phone(6),
        "exif6_cmyk.jpg": with_segments(
            saved(rgb.convert("CMYK"), "JPEG", quality=95), (0xE1, EXIF + exif(6))
        ),
        "exif_behind_filling_bytes.jpg": phone(6)[:2] + b"\xff" * 9 + phone(6)[2:],
        "exif_twice.jpg": with_segments(jpeg, (0xE1, EXIF + exif(6)), (0xE1, EXIF + exif(3))),
        "exif_of_no_turn.jpg": phone(9),
        "two_pictures.mpo": saved(rgb, "MPO", save_all=True, append_images=frames()[1:2]),
        "exif6.png": saved(rgb, "PNG", exif=exif(6)),
        "exif1.png": saved(rgb, "PNG", exif=exif(1)),
        "exif5_behind.png": behind_the_pixels(still, exif(5, ">")),
        "exif6_prefix.png": still[:33] + chunk(b"eXIf", EXIF + exif(6)) + still[33:],
        "exif6_and_profile.png": with_profile(
            saved(rgb, "PNG", exif=exif(6)), b"tEXt", EXIF + exif(3)
        ),
        "profile6.png": with_profile(still, b"zTXt", EXIF + exif(6)),
        "profile3.png": with_profile(still, b"tEXt", EXIF + exif(3, ">")),
        "profile8.png": with_profile(still, b"iTXt", EXIF + exif(8)),
        "profile5_behind.png": with_profile(still, b"zTXt", exif(5))[:33]
        + still[33:-12]
        + with_profile(still, b"zTXt", exif(5))[33 : 33 - len(still)]
        + still[-12:],
        "profile7_alpha.png": with_profile(saved(alpha, "PNG"), b"zTXt", EXIF + exif(7)),
        "grey1.png": saved(rgb.convert("1"), "PNG"),
        "grey2.png": png((HEIGHT, WIDTH), 2, 0, [bytes(row.tolist()) for row in two]),
        "palette.png": saved(palette, "PNG"),
        "palette_transparent.png": saved(palette, "PNG", transparency=0),
        "colour_transparent.png": saved(rgb, "PNG", transparency=rgb.getpixel((3, 3))),
        "alpha.png": saved(alpha, "PNG"),
        "alpha_exif7.png": saved(alpha, "PNG", exif=exif(7)),
        "grey_alpha.png": saved(alpha.convert("LA"), "PNG"),
        "rgb16.png": png16(picture().astype(np.uint16) * 257, 2),
        "rgba16.png": png16(_with_alpha().astype(np.uint16) * 257, 6),
        "interlaced_alpha.png": interlaced(_with_alpha(), 6),
        "palette4_transparent.png": saved(
            rgb.quantize(16), "PNG", bits=4, transparency=bytes([0, 128, 255])
        ),
        "animated.png": saved(rgb, "PNG", save_all=True, append_images=frames()[2:]),
        "one_pixel.png": saved(picture(1, 1, 1), "PNG"),
        "thin_high.png": saved(picture(1, 4000, 1), "PNG"),
        "thin_wide.png": saved(picture(1, 1, 4000), "PNG"),
        "gamma.png": saved(rgb, "PNG", gamma=0.1),
        "rgb24.bmp": saved(rgb, "BMP"),
        "rgba32.bmp": saved(alpha, "BMP"),
        "grey8.bmp": saved(rgb.convert("L"), "BMP"),
        "palette8.bmp": saved(palette, "BMP"),
        "mono1.bmp": saved(rgb.convert("1"), "BMP"),
        "rgb565.bmp": bmp565(),
        "rle8.bmp": bmp_rle(),
        "os2.bmp": bmp_of_os2(),
        "topdown.bmp": topdown(saved(rgb, "BMP")),
        "fields32.bmp": bmp(
            32,
            3,
            struct.pack("<III", 0xFF0000, 0xFF00, 0xFF),
            _with_alpha()[::-1][..., [2, 1, 0, 3]].tobytes(),
        ),
        "odd_width.bmp": saved(picture(2, 33, 31), "BMP"),
        "static.gif": saved(palette, "GIF"),
        "animated.gif": saved(rgb, "GIF", save_all=True, append_images=frames()[1:]),
        "partial_first.gif": partial_gif(),
        "comment.gif": saved(palette, "GIF", comment=b"drawn here"),
        "transparent.gif": saved(palette, "GIF", transparency=palette.getpixel((0, 0))),
        "photo.webp": saved(rgb, "WEBP"),
        "renamed_webp.jpg": saved(rgb, "WEBP", lossless=True),
        "alpha.webp": saved(alpha, "WEBP", lossless=True),
        "alpha_lossy.webp": saved(alpha, "WEBP"),
        "animated.webp": saved(rgb, "WEBP", save_all=True, append_images=frames()[1:]),
        "exif6.webp": saved(rgb, "WEBP", exif=exif(6)),
        "photo.tif": saved(rgb, "TIFF"),
        "exif6.tif": saved(rgb, "TIFF", tiffinfo={274: 6}),
        "alpha.tif": saved(alpha, "TIFF"),
        "pages.tif": saved(rgb, "TIFF", save_all=True, append_images=frames()[1:]),
        "lzw.tif": saved(rgb, "TIFF", compression="tiff_lzw"),
        "with_subdirectories.tif": saved(rgb, "TIFF", tiffinfo={254: 0, 330: 8}),
        "cmyk.tif": saved(rgb.convert("CMYK"), "TIFF"),
        "rgb16.tif": tiff16(picture().astype(np.uint16) * 257, 2),
        "photo.jp2": saved(rgb, "JPEG2000"),
        "photo.avif": saved(rgb, "AVIF"),
        "exif6.avif": saved(rgb, "AVIF", exif=exif(6)),
        "icon.ico": saved(alpha, "ICO"),
        "photo.ppm": saved(rgb, "PPM"),
    }


def raw(tags: dict[int, object]) -> bytes:
    """Returns a TIFF as cameras write it: first a thumbnail, and the picture that counts lies in
    another directory, whose place the tag 330 tells.
    """
    return saved(picture(2, 12, 16), "TIFF", tiffinfo={330: 8, **tags})


def canon(tiff: bytes) -> bytes:
    """Returns a TIFF of Pillow's with Canon's mark behind its header."""
    directory = tiff[8 : 8 + 2 + 12 * int.from_bytes(tiff[8:10], "little") + 4]
    return tiff[:4] + struct.pack("<I", len(tiff)) + b"CR\2\0" + tiff[12:] + directory


def _unread() -> dict[str, tuple[bytes, str]]:
    rgb = picture(1, 120, 160)
    damaged = "cut short, damaged or of a rare kind"
    whole = {
        kind: saved(rgb, kind)
        for kind in (
            *("JPEG", "PNG", "BMP", "WEBP", "TIFF", "JPEG2000", "AVIF", "PPM", "SGI", "PCX"),
        )
    }
    gif = saved(Image.fromarray(rgb).quantize(64), "GIF")
    half = {kind: content[: len(content) // 2] for kind, content in whole.items()}
    return {
        "empty.jpg": (b"", "the file is empty"),
        "zeros.jpg": (bytes(5000), "nothing but zeros"),
        "page.jpg": (
            b"<!DOCTYPE html><html><body>404 Not Found</body></html>",
            "a web page (HTML)",
        ),
        "drawing.svg": (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "an SVG drawing"),
        "pdf.jpg": (b"%PDF-1.4\n%%EOF", "a PDF document"),
        "lfs.png": (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "git lfs pull"),
        "photo.heic": (b"\0\0\0\x18ftypheic\0\0\0\0heicmif1" + bytes(400), "pillow-heif"),
        "photo.jxl": (b"\xff\x0a" + bytes(99), "a JPEG XL picture"),
        "video.mp4": (b"\0\0\0\x18ftypisom\0\0\0\0" + bytes(99), "a video"),
        "notes.txt": (b"no image at all\n", "it is text"),
        "._cat.jpg": (b"\0\5\x16\7\0\2\0\0Mac OS X        " + bytes(99), "macOS"),
        "noise.png": (random.Random(0).randbytes(5000), "of no format that is known here"),
        "half.jpg": (half["JPEG"], f"the JPEG file is {damaged}"),
        "last_bytes_gone.jpg": (whole["JPEG"][:-2], f"the JPEG file is {damaged}"),
        **{
            f"cut_but_ended{number}.jpg": (ended(content), "the JPEG file is cut short: its data")
            for number, content in enumerate(
                [
                    whole["JPEG"],
                    saved(rgb, "JPEG", progressive=True),
                    saved(rgb[..., 0], "JPEG", restart_marker_rows=1),
                    saved(Image.fromarray(rgb).convert("CMYK"), "JPEG", optimize=True),
                ]
            )
        },
        "too_high.jpg": (taller(whole["JPEG"]), "the JPEG file is cut short: its data"),
        "half.png": (half["PNG"], f"the PNG file is {damaged}"),
        "header_only.png": (whole["PNG"][:33], f"the PNG file is {damaged}"),
        "half.bmp": (half["BMP"], f"the BMP file is {damaged}"),
        "half.gif": (gif[:3000], f"the GIF file is {damaged}"),
        "half.webp": (half["WEBP"], f"the WebP file is {damaged}"),
        "half.tif": (half["TIFF"], f"the TIFF file is {damaged}"),
        "photo.nef": (raw({254: 1}), "a camera raw file"),
        "photo.dng": (raw({254: 1, 50706: b"\1\4\0\0"}), "a camera raw file"),
        "reduced.dng": (raw({50706: b"\1\4\0\0"}), "a camera raw file"),
        "photo.cr2": (canon(saved(picture(), "TIFF")), "a camera raw file"),
        "photo.cr3": (b"\0\0\0\x18ftypcrx \0\0\0\1crx isom" + bytes(99), "a camera raw file"),
        "photo.raf": (b"FUJIFILMCCD-RAW 0201" + bytes(99), "a camera raw file"),
        "photo.orf": (b"IIRO\x08\0\0\0" + bytes(99), "a camera raw file"),
        "photo.rw2": (b"IIU\0\x18\0\0\0" + bytes(99), "a camera raw file"),
        "half.jp2": (half["JPEG2000"], f"the JPEG 2000 file is {damaged}"),
        "half.ppm": (half["PPM"], f"the PPM file is {damaged}"),
        "half.sgi": (half["SGI"], f"the SGI file is {damaged}"),
        "half.pcx": (half["PCX"], f"the PCX file is {damaged}"),
        "half.avif": (half["AVIF"], f"the AVIF file is {damaged}"),
        "bomb.png": (bomb(), "2,500,000,000 pixels, more than the 200,000,000"),
        "float.tif": (saved(Image.fromarray(grey16() / 65535.0).convert("F"), "TIFF"), "float32"),
        "int32.tif": (saved(Image.fromarray(grey16().astype(np.int32) * 9), "TIFF"), "int32"),
        "int32_low.tif": (saved(Image.fromarray(grey8().astype(np.int32)), "TIFF"), "int32"),
        "rgb12.tif": (tiff16(picture().astype(np.uint16) * 16, 2), "hold 12 bits or fewer"),
    }


READ, UNREAD = _read(), _unread()
