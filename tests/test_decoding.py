"""The room where pictures are decoded: every odd file becomes what a person sees, the same in
ingest, tools and the served model, or is refused by one sentence.
"""

import ast
import hashlib
import io
import random
import struct
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps
from strangers import odd_images
from strangers.odd_images import READ, UNREAD

from benchmarks.fuzz_decoder import ENDS, damaged, outcome
from components.file_list_example_gen.image_index import content_digest
from trainer_module.decoding import FORMATS, REMARKS, UnreadableError, prepared, upright_rgb
from trainer_module.decoding_graph import REFUSED, decode_upright
from trainer_module.preprocessing import decode_images

ROOT = Path(__file__).resolve().parent.parent
# What a model refuses that is asked for the file itself; ingest and tools bring these to a PNG.
NOT_SERVED = {
    *("mono1.bmp", "rgb565.bmp", "rle8.bmp", "os2.bmp", "partial_first.gif", "transparent.gif"),
    *("comment.gif", "fields32.bmp"),
    *("profile3.png", "profile5_behind.png", "profile6.png", "profile7_alpha.png", "profile8.png"),
    *("animated.webp", "exif6.webp", "photo.tif", "exif6.tif", "alpha.tif", "pages.tif", "lzw.tif"),
    "with_subdirectories.tif",
    *("cmyk.tif", "rgb16.tif", "photo.jp2", "photo.avif", "exif6.avif", "icon.ico", "photo.ppm"),
}


def as_pillow_shows(content):
    """Returns the picture upright and on white, uint8 [H, W, 3]."""
    image = Image.open(io.BytesIO(content))
    image.load()
    image = ImageOps.exif_transpose(image)
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layer.size, (255, 255, 255, 255)), layer)
    return np.asarray(image.convert("RGB"))


@tf.function(input_signature=[tf.TensorSpec([], tf.string)])
def served(content):
    """Decodes as the served model does."""
    return decode_upright(content)


@pytest.mark.parametrize("name", READ)
def test_an_odd_file_becomes_what_pillow_shows_upright_on_white(name):
    np.testing.assert_array_equal(upright_rgb(READ[name]), as_pillow_shows(READ[name]))


@pytest.mark.parametrize("name", READ)
def test_ingest_notes_the_size_of_the_upright_picture(name):
    stored = prepared(READ[name])
    assert (stored.height, stored.width) == upright_rgb(READ[name]).shape[:2]


@pytest.mark.parametrize("name", sorted(set(READ) - NOT_SERVED))
def test_the_served_graph_decodes_a_file_to_the_pixels_of_ingest(name):
    np.testing.assert_array_equal(served(READ[name]), upright_rgb(READ[name]))


@pytest.mark.parametrize("name", sorted(NOT_SERVED))
def test_the_served_graph_refuses_by_a_sentence_what_it_would_decode_wrongly(name):
    with pytest.raises(tf.errors.InvalidArgumentError) as error:
        served(READ[name])
    assert REFUSED in error.value.message


@pytest.mark.parametrize("name", ["plain.jpg", "cmyk.jpg", "plain.png", "palette.png", "rgb24.bmp"])
def test_an_ordinary_file_is_stored_as_it_is(name):
    assert prepared(READ[name]).encoded == READ[name]
    decoded = decode_images(tf.constant([READ[name]]), 40, 48)[0]
    np.testing.assert_array_equal(decoded, as_pillow_shows(READ[name]))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("order", "<>")
def test_a_jpeg_is_turned_by_each_orientation_in_both_orders_of_bytes(orientation, order):
    content = odd_images.phone(orientation, order)
    np.testing.assert_array_equal(served(content), as_pillow_shows(content))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP", "AVIF"])
def test_other_formats_are_turned_by_each_orientation(orientation, kind):
    lossless = {"WEBP": {"lossless": True}}.get(kind, {})
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = odd_images.saved(odd_images.picture(), kind, exif=exif, **lossless)
    np.testing.assert_array_equal(upright_rgb(content), as_pillow_shows(content))


@pytest.mark.parametrize(
    "content",
    [
        odd_images.saved(odd_images.grey16(), "PNG"),
        odd_images.saved(odd_images.grey16(), "TIFF"),
        odd_images.tiff16(odd_images.grey16(), 1),
        odd_images.tiff16(0xFFFF - odd_images.grey16(), 0),
        b"P5 48 40 65535\n" + odd_images.grey16().astype(">u2").tobytes(),
        odd_images.saved(odd_images.grey12(), "PNG"),
        odd_images.tiff16(odd_images.grey12(), 1),
        b"P5 48 40 4095\n" + odd_images.grey12().astype(">u2").tobytes(),
        odd_images.saved(odd_images.grey8(), "PNG"),
        odd_images.tiff16(odd_images.grey8(), 1),
        odd_images.tiff16(255 - odd_images.grey8(), 0),
        odd_images.png16(np.stack([odd_images.grey8()] * 3 + [np.full((40, 48), 255)], -1), 6),
    ],
    ids=[
        *("png", "tiff", "tiff 1", "tiff 0", "pgm", "png of 12", "tiff of 12", "pgm of 12"),
        *("png of 8", "tiff of 8", "tiff 0 of 8", "png of 8 with alpha"),
    ],
)
def test_of_16_bits_the_upper_8_that_hold_something_are_taken(content):
    grey = odd_images.picture()[..., :1]
    np.testing.assert_array_equal(upright_rgb(content), np.repeat(grey, 3, axis=-1))


@pytest.mark.parametrize("name", UNREAD)
def test_a_file_of_no_picture_is_refused_by_a_sentence_that_says_what_it_is(name):
    content, words = UNREAD[name]
    with pytest.raises(UnreadableError) as error:
        prepared(content)
    assert words in str(error.value)


def test_who_sends_no_picture_hears_which_formats_work():
    with pytest.raises(UnreadableError, match=FORMATS):
        prepared(b"no picture")


@pytest.mark.parametrize(
    ("name", "remarks"),
    {
        "plain.jpg": (),
        "plain.png": (),
        "photo.webp": (),
        "exif1.png": (),
        "exif6.jpg": ("turned",),
        "alpha.png": ("transparent",),
        "alpha_exif7.png": ("turned", "transparent"),
        "animated.png": ("first_frame",),
        "rgb16.png": ("bits_16",),
        "cmyk.jpg": ("cmyk",),
        "photo.tif": ("converted",),
        "exif6.tif": ("turned", "converted"),
        "transparent.gif": ("transparent", "converted"),
        "pages.tif": ("first_frame", "converted"),
        "rgb16.tif": ("bits_16", "converted"),
        "profile6.png": ("turned",),
    }.items(),
)
def test_what_was_done_to_a_picture_is_remarked(name, remarks):
    assert prepared(READ[name]).remarks == remarks
    assert set(remarks) <= set(REMARKS)


@pytest.mark.parametrize(("grey", "bits"), [("grey8", 8), ("grey12", 12)])
def test_fewer_than_16_bits_are_remarked(grey, bits):
    content = odd_images.saved(getattr(odd_images, grey)(), "PNG")
    assert prepared(content).remarks == (f"bits_{bits}",)


@pytest.mark.parametrize("name", ["photo.tif", "profile6.png"])
def test_an_image_that_is_stored_anew_is_found_by_the_digest_of_its_file(name):
    content = READ[name]
    digest = content_digest(prepared(content).encoded)
    assert digest == content_digest(content) == hashlib.sha256(content).digest()[:8]


def test_a_damaged_file_ends_in_one_picture_in_ingest_and_graph_or_in_a_sentence():
    chance = random.Random(0)
    ends = {outcome(damaged(content, chance)) for content in [*READ.values()] * 3}
    assert {"read", "refused"} <= ends <= ENDS


def announced(name, height=30_000, width=40_000):
    """Returns a file whose header says that it has 1,200,000,000 pixels, where its format can."""
    content = bytearray(READ[name])
    if name.endswith(".jpg"):
        frame = max(content.find(b"\xff\xc0"), content.find(b"\xff\xc2"))
        content[frame + 5 : frame + 9] = struct.pack(">HH", height, width)
    elif name.endswith(".png"):
        content[16:24] = struct.pack(">II", width, height)
    elif name.endswith(".gif"):
        content = content.replace(content[6:10], struct.pack("<HH", width, height), 2)
    else:
        content[18:26] = struct.pack("<ii", width, -height)
    return bytes(content)


@pytest.mark.parametrize(
    "name",
    [
        *("plain.jpg", "progressive.jpg", "exif6.jpg", "plain.png", "alpha.png", "rgb24.bmp"),
        *("palette8.bmp", "static.gif"),
    ],
)
def test_a_picture_of_too_many_pixels_is_refused_before_it_is_decoded(name):
    with pytest.raises(UnreadableError, match="1,200,000,000 pixels, more than the 200,000,000"):
        prepared(announced(name))
    for decode in (served, lambda content: decode_images(tf.constant([content]), 8, 8)):
        with pytest.raises(tf.errors.InvalidArgumentError) as error:
            decode(announced(name))
        assert REFUSED in error.value.message


def test_a_side_that_no_stored_picture_may_have_is_refused():
    content = bytearray(READ["rle8.bmp"])
    content[18:22] = struct.pack("<i", 16_777_232)
    with pytest.raises(UnreadableError, match="a side of 16,777,232 pixels"):
        prepared(bytes(content))


def test_the_graph_that_decodes_is_small():
    decoder = tf.function(
        lambda encoded: decode_images(encoded, 32, 32), [tf.TensorSpec([None], tf.string)]
    )
    graph = decoder.get_concrete_function().graph.as_graph_def()
    inside = sum(len(function.node_def) for function in graph.library.function)
    assert len(graph.node) < 10  # what Transform builds again and again
    assert inside < 750


DECODERS = ("decode_", "DecodeImage", "DecodePng", "DecodeJpeg", "DecodeBmp", "DecodeGif")
ROOMS = ("decoding.py", "decoding_graph.py")
OF_LABEL_MAPS = {"trainer_module/segmentation/label_map.py", "components/mean_iou.py"}


def names_of_decoders(path):
    """Yields the calls of a source that decode pictures, as in `tf.io.decode_png`."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute):
            of = ast.unparse(node.value)
            if of in ("tf.io", "tf.image", "tf.raw_ops") and node.attr.startswith(DECODERS):
                yield node.attr
            if of == "Image" and node.attr == "open":
                yield "Image.open"


def test_pictures_are_decoded_in_one_room():
    elsewhere = {
        path.relative_to(ROOT).as_posix(): found
        for folder in ("trainer_module", "components", "pipeline")
        for path in sorted((ROOT / folder).rglob("*.py"))
        if path.name not in ROOMS and (found := [*names_of_decoders(path)])
    }
    label_maps = {"Image.open", "decode_png"}
    for name in OF_LABEL_MAPS | {"trainer_module/tasks/segmentation.py"}:
        assert set(elsewhere.pop(name, [])) <= label_maps
    # what Transform itself has written, pixels of its size
    assert elsewhere.pop("trainer_module/stored_images.py") == ["decode_jpeg"]
    assert elsewhere == {}
