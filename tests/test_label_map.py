"""Label maps: what is read as class ids, what is refused, and how they are shown."""

import io

import numpy as np
import pytest
from PIL import Image
from strangers import odd_images

from trainer_module.image_headers import header
from trainer_module.segmentation.label_map import (
    encode_label_map,
    problem,
    read_label_map,
    read_values,
)
from trainer_module.segmentation.painting import overlay, paint, palette

IDS = np.random.default_rng(0).integers(0, 11, (9, 14), dtype=np.uint8)
IDS[0] = 255


def png(image, **options):
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", **options)
    return buffer.getvalue()


def with_palette(ids):
    image = Image.fromarray(ids)
    image.putpalette(np.random.default_rng(1).integers(0, 256, 768, dtype=np.uint8).tobytes())
    return image


def test_a_grey_png_holds_class_ids():
    assert np.array_equal(read_label_map(png(Image.fromarray(IDS))), IDS)


def test_of_a_palette_png_the_index_counts_not_the_colour():
    assert np.array_equal(read_label_map(png(with_palette(IDS))), IDS)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_a_palette_png_of_few_bits_holds_class_ids(bits):
    ids = IDS % 2**bits
    assert np.array_equal(read_label_map(png(with_palette(ids), bits=bits)), ids)


def test_a_grey_png_of_one_bit_holds_class_ids():
    assert np.array_equal(read_label_map(png(Image.fromarray(IDS % 2 == 1))), IDS % 2)


def test_a_grey_png_of_few_bits_holds_class_ids():
    tf = pytest.importorskip("tensorflow", reason="decodes a second time")
    # Pillow cannot write grey of 2 or 4 bits: the palette is cut out and the colour type set.
    for bits in (2, 4):
        encoded = _as_grey(png(with_palette(IDS % 2**bits), bits=bits))
        assert np.array_equal(read_label_map(encoded), IDS % 2**bits)
        assert np.array_equal(
            tf.io.decode_png(encoded, channels=1)[..., 0] // (255 // (2**bits - 1)), IDS % 2**bits
        )


def test_values_of_few_bits_are_those_that_a_viewer_shows():
    for bits, white in ((2, 3), (4, 15)):
        encoded = _as_grey(png(with_palette(IDS % 2 * white), bits=bits))
        assert np.array_equal(read_values(encoded), IDS % 2 * 255)
    assert np.array_equal(read_values(png(Image.fromarray(IDS % 2 == 1))), IDS % 2 * 255)
    assert np.array_equal(read_values(png(with_palette(IDS % 4), bits=2)), IDS % 4)
    assert np.array_equal(read_values(png(Image.fromarray(IDS))), IDS)


def _as_grey(encoded):
    import zlib

    chunks, rest = [], encoded[8:]
    while rest:
        length = int.from_bytes(rest[:4], "big")
        kind, content, rest = rest[4:8], rest[8 : 8 + length], rest[12 + length :]
        if kind == b"IHDR":
            content = content[:9] + b"\0" + content[10:]
        if kind != b"PLTE":
            chunks.append(
                length.to_bytes(4, "big")
                + kind
                + content
                + zlib.crc32(kind + content).to_bytes(4, "big")
            )
    return encoded[:8] + b"".join(chunks)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "I;16"])
def test_a_png_of_colours_alpha_or_16_bits_is_refused(mode):
    image = (
        Image.fromarray(IDS.astype(np.uint16))
        if mode == "I;16"
        else Image.fromarray(IDS).convert(mode)
    )
    with pytest.raises(
        ValueError,
        match=rf"the label map is a PNG of mode {mode}: expected an 8-bit grey or palette PNG",
    ):
        read_label_map(png(image))


def test_a_jpeg_is_refused():
    buffer = io.BytesIO()
    Image.fromarray(IDS).save(buffer, format="JPEG")
    with pytest.raises(ValueError, match="is a JPEG, which may blur class ids"):
        read_label_map(buffer.getvalue())


WHOLE = png(Image.fromarray(IDS))


@pytest.mark.parametrize(
    "encoded",
    [
        b"",
        b"no image",
        WHOLE[:-30],
        odd_images.png((20_100, 20_100), 8, 0, []),
    ],
    ids=["empty", "text", "cut", "404 million pixels"],
)
def test_what_is_no_whole_png_is_refused(encoded):
    with pytest.raises(ValueError, match="the label map cannot be decoded"):
        read_label_map(encoded)


def test_a_label_map_may_have_as_many_pixels_as_a_picture():
    with pytest.raises(ValueError, match="cannot be decoded") as refused:
        read_label_map(odd_images.png((13_500, 14_000), 8, 0, []))
    assert "truncated" in str(refused.value.__cause__)  # its pixels were read


def test_a_label_map_of_its_images_size_with_known_class_ids_has_no_problem():
    assert problem(IDS, (9, 14), 11, 255) == ""


def test_problems_are_told():
    assert (
        problem(IDS, (14, 9), 11, 255)
        == "the label map has 9 x 14 pixels (height x width), its image 14 x 9"
    )
    assert (
        problem(IDS, (9, 14), 9, 255)
        == "the label map holds class id 9, 10, outside [0, 9), and it is not the ignored 255"
    )
    assert problem(IDS, (9, 14), 11, -1) == "the label map holds class id 255, outside [0, 11)"
    assert problem(IDS, (9, 14), 1, 255).startswith(
        "the label map holds class id 1, 2, 3, 4, 5, ..., outside [0, 1)"
    )


@pytest.mark.parametrize("colours", [None, palette(11)])
def test_what_is_written_is_read_back(colours):
    assert np.array_equal(read_label_map(encode_label_map(IDS, colours)), IDS)


def test_the_grey_png_decodes_to_class_ids_in_tensorflow():
    tf = pytest.importorskip("tensorflow", reason="decodes as the transform graph does")
    assert np.array_equal(tf.io.decode_png(encode_label_map(IDS), channels=1)[..., 0], IDS)


def test_a_palette_png_shows_each_class_in_its_colour():
    shown = np.asarray(Image.open(io.BytesIO(encode_label_map(IDS, palette(11)))).convert("RGB"))
    assert np.array_equal(shown[1:], palette(11)[IDS[1:]])


@pytest.mark.parametrize("num_classes", [2, 11, 21])
def test_colours_of_a_palette_are_far_apart(num_classes):
    colours = palette(num_classes).astype(int)
    distance = np.abs(colours[:, None] - colours[None]).sum(axis=-1) + 999 * np.eye(
        num_classes, dtype=int
    )
    assert distance.min() > 40


def test_an_overlay_tints_pixels_of_a_class_and_leaves_ignored_ones():
    image = np.full((9, 14, 3), 100, np.uint8)
    shown = overlay(image, IDS, palette(11))
    assert (shown[0] == 100).all()
    np.testing.assert_allclose(shown[1:], 0.4 * 100 + 0.6 * palette(11)[IDS[1:]], atol=0.51)
    assert (paint(IDS, palette(11))[0] == 0).all()


def test_a_label_map_with_an_orientation_of_its_own_is_turned_by_it():
    label_map = np.arange(12, dtype=np.uint8).reshape(3, 4)
    turned = odd_images.saved(np.rot90(label_map), "PNG", exif=odd_images.exif(6))
    np.testing.assert_array_equal(read_label_map(turned), label_map)


XMP = (
    b"XML:com.adobe.xmp\0\0\0\0\0"
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
    b'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
    b'xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="3"/></rdf:RDF></x:xmpmeta>'
)


@pytest.mark.parametrize(
    ("kind", "content"),
    [(b"iTXt", XMP), (b"eXIf", b"MM\0*\0\0"), (b"eXIf", b"garbage!"), (b"eXIf", b"")],
    ids=["XMP", "cut", "garbage", "empty"],
)
def test_what_does_not_turn_a_picture_does_not_turn_its_label_map(kind, content):
    encoded = WHOLE[:33] + odd_images.chunk(kind, content) + WHOLE[33:]
    np.testing.assert_array_equal(read_label_map(encoded), IDS)
    assert header(encoded).orientation == 1
