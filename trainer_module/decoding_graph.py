"""Bytes in, upright RGB pixels out, in TensorFlow's graph: what Transform and the served model
decode with.

TensorFlow's decoders know no EXIF orientation, drop alpha, take the upper byte of 16 bits even
where a camera filled only the lower 12, and read some BMP and GIF files wrongly. Here each picture
becomes what a person sees, or is refused, also for its size; none is decoded wrongly. Ordinary
pictures go straight to TensorFlow's decoder. decoding.py brings the other formats to one of these.

Every node is paid for in each Transform and wherever a model is saved or loaded, so the numbers of
a header are read all at once (`_fields`). h x w pixels of one picture. Numbers and places are int32
scalars, file contents string scalars.
"""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from trainer_module.image_headers import (
    EXIF,
    JPEG,
    LONGEST,
    LOW,
    LOWEST,
    MOST_PIXELS,
    MOST_SEGMENTS,
    ORDERS,
    ORIENTATION,
    PNG,
    PROFILE,
)

REFUSED = (
    "The picture is none that the model decodes itself: JPEG, PNG, WebP and GIF of one whole "
    "frame, BMP of 8, 24 or 32 bits without compression, of at most "
    f"{MOST_PIXELS // 10**6} million pixels; save it as PNG, or ask pipeline.predict, which reads "
    "more"
)
BASELINE = b"\xff\xc0"  # the marker of an ordinary JPEG's size
# Those of JPEG that holds any number of pixels in a few bytes: progressive, arithmetic.
DENSE = b"\xff\xc2", b"\xff\xc9", b"\xff\xca"
SMALL = 16_384  # bytes
ALL = 2**31 - 1  # bytes
WHITE = 255
# By orientation, 0 for none: the axes in their new order, and which of them are mirrored then.
AXES = [[1, 0, 2] if orientation >= 5 else [0, 1, 2] for orientation in range(9)]
MIRRORED = [[turned in (3, 4, 7, 8), turned in (2, 3, 6, 7), False] for turned in range(9)]
# From a marker of JPEG to the next, by its code: 1 for a byte that fills, 2 for one that stands
# alone, 0 at the pixels and the end, -1 for one that is followed by its size.
KNOWN_MOVES = {0xFF: 1, 0x01: 2, **dict.fromkeys(range(0xD0, 0xD9), 2), 0xD9: 0, 0xDA: 0}
MOVES = [KNOWN_MOVES.get(code, -1) for code in range(256)]


def decode_upright(encoded: tf.Tensor) -> tf.Tensor:
    """Decodes one picture: turned as its EXIF says, transparency on white.

    Args:
      encoded: content of a file, string scalar.

    Returns:
      uint8 [h, w, 3].

    Raises:
      InvalidArgumentError: when it runs, for what is no picture or none that is decoded here.
    """
    return tf.ensure_shape(_by_kind(encoded), [None, None, 3])


def decode_plain(encoded: tf.Tensor) -> tf.Tensor:
    """Decodes JPEG and PNG as TensorFlow does: uint8 [h, w, 3].

    Of JPEG these are the pixels of Pillow and others; TensorFlow's default method is quicker and up
    to 8 levels off.
    """
    return tf.io.decode_jpeg(encoded, 3, dct_method="INTEGER_ACCURATE")  # takes a PNG as well


def _decode_other(encoded: tf.Tensor) -> tf.Tensor:
    """Decodes BMP and the first frame of GIF as TensorFlow does: uint8 [h, w, 3]."""
    return tf.io.decode_image(encoded, channels=3, expand_animations=False)


def are_plain(encoded: tf.Tensor) -> tf.Tensor:
    """Tells of which pictures `decode_plain` is known to be all that `decode_upright` does: bool
    [B].

    Of small ones, where telling them apart one by one costs as much as decoding: PNG of nothing but
    header, pixels and end, without alpha and of at most 8 bits a value, and baseline JPEG without
    EXIF.

    Args:
      encoded: string [B].
    """
    # [B] each
    start, first, then, width, height, bits, colour, size, name = _fields(
        encoded,
        *((0, 3, ">"), (0, 4, ">"), (4, 4, ">"), (16, 4, ">"), (20, 4, ">"), (24, 1), (25, 1)),
        *((33, 4, ">"), (37, 4, ">")),
    )
    length = tf.strings.length(encoded)
    is_png = tf.equal(first, _sign(PNG[:4])) & tf.equal(then, _sign(PNG[4:]))
    is_png &= tf.equal(name, _sign(b"IDAT")) & tf.equal(length - 57, size)
    is_png &= (bits <= 8) & (colour <= 3) & _are_few(height, width)
    is_jpeg = tf.equal(start, _sign(JPEG)) & (length <= SMALL)
    content = tf.strings.substr(encoded, 0, SMALL)  # a bounded copy, however large the images
    is_jpeg &= _which_are_few(content) & ~_which_hold(content, EXIF, *DENSE)
    return is_png | is_jpeg


def _alone(*inputs: tf.TensorSpec) -> Callable[[Callable], Callable]:
    """Keeps a way of decoding apart, as one node of the graph.

    Inlined into a loop over images, what an image does not need costs it more than its decoding.
    """

    def apart(decode: Callable) -> Callable:
        def on_cpu(*given: tf.Tensor) -> tf.Tensor:
            with tf.device("/CPU:0"):
                return tf.ensure_shape(decode(*given), [None, None, 3])

        return tf.function(
            on_cpu,
            input_signature=inputs,
            autograph=False,
            experimental_attributes={"_noinline": True},
        )

    return apart


@_alone(tf.TensorSpec([], tf.string))
def _by_kind(encoded: tf.Tensor) -> tf.Tensor:
    kinds = {JPEG[:2]: _jpeg, PNG[:2]: _png, b"RI": _webp, b"BM": _bmp}
    first = tf.strings.substr(encoded, 0, 2)

    def one_of(starts: list[bytes]) -> tf.Tensor:  # tf.switch_case is nothing that TFT takes
        if not starts:
            return _gif(encoded)
        return tf.cond(
            tf.equal(first, starts[0]),
            lambda: kinds[starts[0]](encoded),
            lambda: one_of(starts[1:]),
        )

    return one_of(list(kinds))


def _if_taken(encoded: tf.Tensor, taken: tf.Tensor) -> tf.Tensor:
    """Returns a file's content, or ends with the sentence that tells what is decoded here."""
    # Not an assertion: that has an effect, so that the whole decoding would run, of no picture,
    # where a graph is asked for its labels alone. This ends with the same error and the sentence.
    start = tf.strings.to_number(tf.where(taken, "0", REFUSED), tf.int32)
    return tf.strings.substr(encoded, start, ALL)


# One file format a function


@_alone(tf.TensorSpec([], tf.string))
def _jpeg(encoded: tf.Tensor) -> tf.Tensor:
    height, width, _ = tf.unstack(tf.io.extract_jpeg_shape(encoded))
    taken = _if_taken(encoded, _are_few(height, width))
    return tf.cond(
        _holds(encoded, EXIF),
        lambda: _turned(decode_plain(taken), _jpeg_exif(encoded)),
        lambda: decode_plain(taken),
    )


@_alone(tf.TensorSpec([], tf.string))
def _png(encoded: tf.Tensor) -> tf.Tensor:
    fields = (16, 4, ">"), (20, 4, ">"), (24, 1), (25, 1)
    width, height, bits, colour = _fields(encoded, *fields)
    exif = _png_exif(encoded)
    is_told = tf.not_equal(exif, "") | ~_holds(encoded, PROFILE)  # which ingest reads
    taken = _if_taken(encoded, is_told & _are_few(height, width))

    def on_white() -> tf.Tensor:
        # [h, w, 4], also of 8 bits: v becomes 257 v
        values = tf.cast(tf.io.decode_png(taken, channels=4, dtype=tf.uint16), tf.int32)
        colours, alpha = tf.split(values, [3, 1], axis=-1)
        return _on_white(*(_upper_bits(part, bits) for part in (colours, alpha)))

    opaque = (bits <= 8) & (colour <= 3) & ~_holds(encoded, b"tRNS")
    pixels = tf.cond(opaque, lambda: decode_plain(taken), on_white)
    return _turned(pixels, exif)


def _upper_bits(values: tf.Tensor, bits: tf.Tensor) -> tf.Tensor:
    """Returns the upper 8 bits of those that hold something: 8, 12 or all of 16."""
    # nearly black if the upper byte were taken of all
    most = tf.where(tf.equal(bits, 16), tf.reduce_max(values), ALL)
    shift = tf.where(most < LOWEST, 0, tf.where(most < LOW, 4, 8))
    return tf.bitwise.right_shift(values, shift)


@_alone(tf.TensorSpec([], tf.string))
def _webp(encoded: tf.Tensor) -> tf.Tensor:
    """Decodes a still picture, of at most 16,383 x 16,383 pixels by its format."""
    kind, flags = _fields(encoded, (12, 4, ">"), (20, 1))
    # 2: animated, 8: with EXIF, which may turn it
    is_still = tf.equal(tf.bitwise.bitwise_and(flags, 2 + 8), 0)
    taken = _if_taken(encoded, is_still | tf.not_equal(kind, _sign(b"VP8X")))
    pixels = tf.cast(tf.io.decode_webp(taken), tf.int32)[0]  # [h, w, 3 or 4]
    # The least of no alpha is the largest number.
    alpha = tf.minimum(tf.reduce_min(pixels[..., 3:], axis=-1, keepdims=True), WHITE)
    return _on_white(pixels[..., :3], alpha)


@_alone(tf.TensorSpec([], tf.string))
def _bmp(encoded: tf.Tensor) -> tf.Tensor:
    fields = (14, 4), (18, 4), (22, 4), (28, 2), (30, 4), (46, 4)
    header, width, height, bits, compression, colours = _fields(encoded, *fields)
    # 12: a header of OS/2, which TensorFlow misreads.
    is_known = (header >= 40) & (header < LONGEST) & tf.equal(compression, 0)
    is_known &= tf.reduce_any(tf.equal(bits, [8, 24, 32]))
    taken = _if_taken(encoded, is_known & _are_few(tf.abs(height), width))

    def looked_up() -> tf.Tensor:
        place = tf.minimum(14 + header, tf.strings.length(taken))
        palette = tf.reshape(_bytes(taken, place, 4 * 256), [256, 4])  # BGR and nothing
        count = tf.where((colours > 0) & (colours < 256), colours, 256)
        known = palette * tf.cast(tf.range(256) < count, tf.int32)[:, tf.newaxis]
        indices = tf.cast(tf.io.decode_bmp(taken)[..., 0], tf.int32)
        return tf.cast(tf.gather(known[:, 2::-1], indices), tf.uint8)

    return tf.cond(tf.equal(bits, 8), looked_up, lambda: _decode_other(taken))


@_alone(tf.TensorSpec([], tf.string))
def _gif(encoded: tf.Tensor) -> tf.Tensor:
    """Decodes a first frame that is opaque and fills the canvas; others are read wrongly."""
    fields = (0, 4, ">"), (6, 2), (8, 2), (6, 4), (10, 1)
    start, width, height, canvas, flags = _fields(encoded, *fields)
    table = tf.bitwise.left_shift(6, tf.bitwise.bitwise_and(flags, 7))  # bytes of 2 to 256 colours
    place = 13 + tf.where(flags >= 128, table, 0)
    place = tf.minimum(place, tf.strings.length(encoded))
    # A frame, or a control block of 8 bytes before it.
    fields = (0, 2, ">"), (3, 1), (0, 1), (1, 4), (5, 4), (8, 1), (9, 4), (13, 4)
    control, transparent, *frames = _fields(encoded, *fields, place=place)
    there = tf.equal(control, 0x21F9)
    sign, corner, size = (
        tf.where(there, behind, first) for first, behind in zip(frames[:3], frames[3:], strict=True)
    )
    is_whole = tf.equal(sign, 0x2C) & tf.equal(corner, 0) & tf.equal(size, canvas)
    is_opaque = ~there | tf.equal(tf.bitwise.bitwise_and(transparent, 1), 0)
    is_gif = tf.equal(start, _sign(b"GIF8"))  # anything may come here
    is_taken = is_gif & is_whole & is_opaque & _are_few(height, width)
    return _decode_other(_if_taken(encoded, is_taken))


def _on_white(colours: tf.Tensor, alpha: tf.Tensor) -> tf.Tensor:
    """Composites int32 [h, w, 3] with alpha [h, w, 1] on white, rounded to the nearest: uint8."""
    return tf.cast((colours * alpha + WHITE * (WHITE - alpha) + 127) // 255, tf.uint8)


# EXIF


@_alone(tf.TensorSpec([None, None, 3], tf.uint8), tf.TensorSpec([], tf.string))
def _turned(pixels: tf.Tensor, exif: tf.Tensor) -> tf.Tensor:
    """Turns and mirrors uint8 [h, w, 3] as the orientation in its EXIF data wants it."""
    orientation = _orientation(exif)
    upright = tf.transpose(pixels, tf.gather(AXES, orientation))
    return tf.raw_ops.Reverse(tensor=upright, dims=tf.gather(MIRRORED, orientation))


def _orientation(exif: tf.Tensor) -> tf.Tensor:
    """Returns the orientation, 1 to 8, that EXIF data (a TIFF header and its directory) name.

    0 where they name none or are damaged.
    """
    sign, *places = _fields(exif, (0, 2, ">"), (4, 4, "<"), (4, 4, ">"))
    is_little, length = tf.equal(sign, _sign(b"II")), tf.strings.length(exif)
    place = tf.where(is_little, *places)
    is_within = (place >= 8) & (place < length) & (is_little | tf.equal(sign, _sign(b"MM")))
    place = tf.where(is_within, place, length)
    counts = _fields(exif, (0, 2, "<"), (0, 2, ">"), place=place)
    size = 12 * tf.maximum(tf.where(is_little, *counts), 1)
    # [entries, 1, 12]
    table = tf.reshape(_bytes(exif, tf.minimum(place + 2, length), size), [-1, 1, 12])
    entry = [
        _weights(12, [(0, 2, order), (2, 2, order), (8, 2, order), (8, 4, order)]) for order in "<>"
    ]
    # [entries] each
    tag, kind, short, long = tf.unstack(
        tf.reduce_sum(table * tf.where(is_little, *entry), axis=-1), axis=-1
    )
    value = tf.where(tf.equal(kind, 3), short, tf.where(tf.equal(kind, 4), long, 0))
    is_one = tf.equal(tag, ORIENTATION) & (value > 0) & (value <= 8)
    return tf.reduce_max(tf.where(is_one, value, 0))


def _jpeg_exif(encoded: tf.Tensor) -> tf.Tensor:
    """Returns the EXIF data of a JPEG, '' without: from marker to marker, up to the pixels."""
    length = tf.strings.length(encoded)

    def step(place, *_):
        fields = (0, 1), (1, 1), (2, 2, ">"), (4, 4, ">"), (8, 2)
        marker, code, size, name, end = _fields(encoded, *fields, place=place)
        is_marker = tf.equal(marker, 0xFF) & (place + 10 <= length)
        is_exif = tf.equal(code, 0xE1) & tf.equal(name, _sign(EXIF[:4])) & tf.equal(end, 0)
        move = tf.gather(MOVES, code)
        move = tf.where(is_marker & ~is_exif, tf.where(move < 0, 2 + size, move), 0)
        found = tf.where(is_marker & is_exif, size - 8, 0)
        return tf.minimum(place + move, length), move, found

    place, _, size = tf.while_loop(
        lambda place, move, _: move > 0,
        step,
        (tf.minimum(2, length), 1, 0),
        maximum_iterations=MOST_SEGMENTS,
    )
    return tf.strings.substr(encoded, tf.minimum(place + 10, length), tf.maximum(size, 0))


def _png_exif(encoded: tf.Tensor) -> tf.Tensor:
    """Returns the EXIF data of a PNG and what follows, '' without: known by its first bytes, since
    a chunk may stand behind the pixels, and pixels hold 8 certain bytes by chance almost never.
    """
    pieces = _split(tf.stack([encoded]), b"eXIf", -1).values
    start = tf.strings.substr(pieces, 0, 4)
    is_exif = tf.equal(start, ORDERS[0]) | tf.equal(start, ORDERS[1]) | tf.equal(start, EXIF[:4])
    exif = tf.strings.reduce_join(tf.where(is_exif, pieces, ""))
    has_prefix = tf.equal(tf.strings.substr(exif, 0, len(EXIF)), EXIF)  # as in JPEG; some write it
    return tf.strings.substr(exif, tf.where(has_prefix, len(EXIF), 0), ALL)


# Bytes


def _are_few(height: tf.Tensor, width: tf.Tensor) -> tf.Tensor:
    """Tells whether a picture may be decoded; without a product, which 32 bits might not hold."""
    return width <= MOST_PIXELS // tf.maximum(height, 1)


def _holds(encoded: tf.Tensor, part: bytes) -> tf.Tensor:
    """Tells whether a string holds a part; quicker than a walk, and than a regular expression."""
    return tf.size(_split(tf.stack([encoded]), part).values) > 1


def _which_hold(encoded: tf.Tensor, *parts: bytes) -> tf.Tensor:
    """Tells which strings [B] hold one of some parts: bool [B]."""
    # Of each piece its row and its place in the row: int64 [pieces, 2]
    pieces = tf.concat([_split(encoded, part).indices for part in parts], axis=0)
    rows, places = tf.unstack(pieces, axis=1)
    return tf.math.unsorted_segment_max(places, rows, tf.size(encoded)) > 0


def _which_are_few(jpegs: tf.Tensor) -> tf.Tensor:
    """Tells which baseline JPEGs, string [B], may be decoded by what they say first of their size:
    bool [B].
    """
    pieces = _split(jpegs, BASELINE)
    rows, places = tf.unstack(pieces.indices, axis=1)
    height, width = _fields(pieces.values, (3, 2, ">"), (5, 2, ">"))
    is_it = tf.equal(places, 1) & _are_few(height, width)
    return tf.math.unsorted_segment_max(tf.cast(is_it, tf.int32), rows, tf.size(jpegs)) > 0


def _split(encoded: tf.Tensor, part: bytes, most: int = 1):
    return tf.raw_ops.StringSplitV2(input=encoded, sep=part, maxsplit=most)


def _bytes(encoded: tf.Tensor, place: tf.Tensor | int, size: tf.Tensor | int) -> tf.Tensor:
    """Returns bytes of strings [...] from a place within them: int32 [..., size], 0 behind their
    ends.
    """
    found = tf.strings.substr(encoded, place, size)
    return tf.cast(tf.io.decode_raw(found, tf.uint8, fixed_length=size), tf.int32)


def _fields(encoded: tf.Tensor, *fields: tuple, place: tf.Tensor | int = 0) -> list[tf.Tensor]:
    """Returns numbers that stand in strings [...]: int32 [...] each, 0 behind their ends.

    Args:
      encoded: the strings.
      *fields: of each number how many bytes behind `place` it begins, how many it has, and '>' if
        the highest comes first.
      place: within the strings.
    """
    size = max(start + count for start, count, *_ in fields)
    found = tf.expand_dims(_bytes(encoded, place, size), -2)
    return tf.unstack(tf.reduce_sum(found * _weights(size, fields), axis=-1), len(fields), axis=-1)


def _weights(size: int, fields: tuple) -> np.ndarray:
    """Returns what each byte counts in each of these numbers: int32 [fields, size]."""
    weights = np.zeros((len(fields), size), np.uint32)
    for row, (start, count, *order) in zip(weights, fields, strict=True):
        counts = 256 ** np.arange(count)
        row[start : start + count] = counts[::-1] if order == [">"] else counts
    return weights.view(np.int32)


def _sign(content: bytes) -> int:
    """Returns the number, signed as int32, that up to four bytes are, the highest first."""
    return int.from_bytes(content.rjust(4, b"\0"), signed=True)
