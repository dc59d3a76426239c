"""Bytes in, upright RGB pixels out, in TensorFlow's graph: what Transform and the served model
decode with.

TensorFlow's decoders know no EXIF orientation, drop alpha, take the upper byte of 16 bits even
where a camera filled only the lower 12, and read some BMP and GIF files wrongly. Here each picture
becomes what a person sees, or is refused; none is decoded wrongly. Ordinary pictures go straight to
TensorFlow's decoder. decoding.py brings the other formats to one of these.

h x w pixels of one picture. Bytes and places are int32 scalars, file contents string scalars.
"""

from collections.abc import Callable

import tensorflow as tf

REFUSED = (
    "The picture is none that the model decodes itself: JPEG, PNG, WebP and GIF of one whole "
    "frame, BMP without compression; save it as PNG, or ask pipeline.predict, which reads more"
)
PNG, JPEG, EXIF = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"Exif\0\0"
ORDERS = b"II*\0", b"MM\0*"  # what EXIF data begin with: little or big endian
LONGEST = 1000  # bytes of a BMP's header, 124 in all that are known
SMALL = 16_384  # bytes
LITTLE = [1, 256, 256**2, 256**3]  # what the bytes of a number count, the lowest first
ORIENTATION = 0x0112  # the tag of EXIF
WHITE = 255


def decode_upright(encoded: tf.Tensor) -> tf.Tensor:
    """Decodes one picture: turned as its EXIF says, transparency on white.

    Args:
      encoded: content of a file, string scalar.

    Returns:
      uint8 [h, w, 3].

    Raises:
      InvalidArgumentError: when it runs, for what is no picture or none that is decoded here.
    """
    is_jpeg = tf.equal(tf.strings.substr(encoded, 0, 3), JPEG)
    is_plain = is_jpeg & ~_holds(encoded, EXIF)
    pixels = tf.cond(is_plain, lambda: decode_plain(encoded), lambda: _by_kind(encoded))
    return tf.ensure_shape(pixels, [None, None, 3])


def decode_plain(encoded: tf.Tensor) -> tf.Tensor:
    """Decodes as TensorFlow does: uint8 [h, w, 3]."""
    return tf.io.decode_image(encoded, channels=3, expand_animations=False)


def are_plain(encoded: tf.Tensor) -> tf.Tensor:
    """Tells of which pictures `decode_plain` is known to be all that `decode_upright` does: bool
    [B].

    Of small ones, where telling them apart one by one costs as much as decoding: PNG of nothing but
    header, pixels and end, without alpha and of at most 8 bits a value, and JPEG without EXIF.

    Args:
      encoded: string [B].
    """
    head = tf.io.decode_raw(encoded, tf.uint8, fixed_length=41)
    head = tf.ensure_shape(head, [None, 41])
    wanted = tf.constant(list(PNG), tf.uint8), tf.constant(list(b"IDAT"), tf.uint8)
    is_png = tf.reduce_all(tf.equal(head[:, :8], wanted[0]), axis=1)
    is_next = tf.reduce_all(tf.equal(head[:, 37:41], wanted[1]), axis=1)
    rest = tf.strings.length(encoded) - 57 - _number(tf.cast(head[:, 36:32:-1], tf.int32))
    is_plain_png = is_png & is_next & tf.equal(rest, 0) & (head[:, 24] <= 8) & (head[:, 25] <= 3)
    is_jpeg = tf.equal(tf.strings.substr(encoded, 0, 3), JPEG)
    content = tf.strings.substr(encoded, 0, SMALL)  # a bounded copy, however large the images
    is_small = tf.strings.length(encoded) <= SMALL
    return is_plain_png | (is_jpeg & is_small & ~_which_hold(content, EXIF))


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
    kinds = {
        JPEG[:2]: lambda: _jpeg(encoded),
        PNG[:2]: lambda: _png(encoded),
        b"RI": lambda: _webp(encoded),
        b"BM": lambda: _bmp(encoded),
        b"GI": lambda: _gif(encoded),
    }
    first = tf.strings.substr(encoded, 0, 2)

    def one_of(starts: list[bytes]) -> tf.Tensor:  # tf.switch_case is nothing that TFT takes
        if not starts:
            return _refuse()
        return tf.cond(tf.equal(first, starts[0]), kinds[starts[0]], lambda: one_of(starts[1:]))

    return one_of(list(kinds))


def _only_if(taken: tf.Tensor, decode: Callable[[], tf.Tensor]) -> tf.Tensor:
    """Returns what `decode` does, or ends with the sentence that tells what is decoded here."""
    return tf.cond(taken, decode, _refuse)


def _refuse() -> tf.Tensor:
    # Not an assertion: that has an effect, so that the whole decoding would run, of no picture,
    # where a graph is asked for its labels alone. This ends with the same error and the sentence.
    height = tf.strings.to_number(tf.constant(REFUSED), tf.int32)
    return tf.zeros([height, 0, 3], tf.uint8)


# One file format a function


@_alone(tf.TensorSpec([], tf.string))
def _jpeg(encoded: tf.Tensor) -> tf.Tensor:
    return _turned(decode_plain(encoded), _jpeg_exif(encoded))


@_alone(tf.TensorSpec([], tf.string))
def _png(encoded: tf.Tensor) -> tf.Tensor:
    def deep() -> tf.Tensor:
        values = tf.cast(tf.io.decode_png(encoded, channels=4, dtype=tf.uint16), tf.int32)
        # Below 4096: 12 bits that were not shifted up, nearly black if the upper byte were taken.
        shift = tf.where(tf.reduce_max(values[..., :3]) < 4096, 4, 8)
        return tf.concat([values[..., :3] // 2**shift, values[..., 3:] // 256], axis=-1)

    def shallow() -> tf.Tensor:
        return tf.cast(tf.io.decode_png(encoded, channels=4), tf.int32)

    bits, colour = _bytes(encoded, 24, 1)[0], _bytes(encoded, 25, 1)[0]
    opaque = (bits <= 8) & (colour <= 3) & ~_holds(encoded, b"tRNS")
    pixels = tf.cond(
        opaque,
        lambda: decode_plain(encoded),
        lambda: _on_white(tf.cond(tf.equal(bits, 16), deep, shallow)),
    )
    return _turned(pixels, _png_exif(encoded))


@_alone(tf.TensorSpec([], tf.string))
def _webp(encoded: tf.Tensor) -> tf.Tensor:
    flags = _bytes(encoded, 20, 1)[0]  # 2: animated, 8: with EXIF, which may turn it
    is_still = tf.not_equal(_part(encoded, 12, 4), b"VP8X") | tf.equal(
        flags // 2 % 2 + flags // 8 % 2, 0
    )

    def decoded() -> tf.Tensor:
        pixels = tf.cast(tf.io.decode_webp(encoded), tf.int32)[0]  # [h, w, 3 or 4]
        opaque = [[0, 0], [0, 0], [0, 4 - tf.shape(pixels)[-1]]]
        return _on_white(tf.pad(pixels, opaque, constant_values=WHITE))

    return _only_if(is_still, decoded)


@_alone(tf.TensorSpec([], tf.string))
def _bmp(encoded: tf.Tensor) -> tf.Tensor:
    start = _bytes(encoded, 0, 54)
    header, compression, colours = (_number(start[at : at + 4]) for at in (14, 30, 46))
    bits = start[28] + 256 * start[29]
    # 12: a header of OS/2, which TensorFlow misreads.
    taken = (header >= 40) & (header < LONGEST) & tf.equal(compression, 0)
    taken &= tf.reduce_any(tf.equal(bits, [8, 24, 32]))

    def looked_up() -> tf.Tensor:
        count = tf.where((colours > 0) & (colours < 256), colours, 256)
        palette = tf.reshape(_bytes(encoded, 14 + header, 4 * 256), [256, 4])  # BGR and nothing
        known = palette[:, 2::-1] * tf.cast(tf.range(256) < count, tf.int32)[:, tf.newaxis]
        indices = tf.cast(tf.io.decode_bmp(encoded)[..., 0], tf.int32)
        return tf.cast(tf.gather(known, indices), tf.uint8)

    return _only_if(
        taken, lambda: tf.cond(tf.equal(bits, 8), looked_up, lambda: decode_plain(encoded))
    )


@_alone(tf.TensorSpec([], tf.string))
def _gif(encoded: tf.Tensor) -> tf.Tensor:
    """Decodes a first frame that is opaque and fills the canvas; others are read wrongly."""
    start = _bytes(encoded, 0, 13)
    table = tf.where(start[10] >= 128, 3 * 2 ** (start[10] % 8 + 1), 0)
    control = _bytes(encoded, 13 + table, 18)
    there = tf.equal(control[0], 0x21) & tf.equal(control[1], 0xF9)  # 8 bytes that may be there
    frame = tf.where(there, control[8:17], control[:9])
    whole = tf.reduce_all(tf.equal(frame, tf.concat([[0x2C, 0, 0, 0, 0], start[6:10]], 0)))
    opaque = ~there | tf.equal(control[3] % 2, 0)
    return _only_if(whole & opaque, lambda: decode_plain(encoded))


def _on_white(pixels: tf.Tensor) -> tf.Tensor:
    """Composites int32 [h, w, 4] on white, rounded to the nearest: uint8 [h, w, 3]."""
    colours, alpha = pixels[..., :3], pixels[..., 3:]
    return tf.cast((colours * alpha + WHITE * (WHITE - alpha) + 127) // 255, tf.uint8)


# EXIF


@_alone(tf.TensorSpec([None, None, 3], tf.uint8), tf.TensorSpec([], tf.string))
def _turned(pixels: tf.Tensor, exif: tf.Tensor) -> tf.Tensor:
    """Turns and mirrors uint8 [h, w, 3] as the orientation in its EXIF data wants it."""
    orientation = _orientation(exif)
    upright = tf.cond(orientation >= 5, lambda: tf.transpose(pixels, [1, 0, 2]), lambda: pixels)
    flips = tf.constant([[3, 4, 7, 8], [2, 3, 6, 7]])  # of rows, of columns
    axes = tf.where(tf.reduce_any(tf.equal(flips, orientation), axis=1))[:, 0]
    return tf.reverse(upright, tf.cast(axes, tf.int32))


def _orientation(exif: tf.Tensor) -> tf.Tensor:
    """Returns the orientation, 1 to 8, that EXIF data (a TIFF header and its directory) name.

    1, upright, where they name none or are damaged.
    """
    start = _bytes(exif, 0, 8)
    is_little = tf.equal(start[0], ord("I"))
    is_tiff = tf.equal(start[0], start[1]) & (is_little | tf.equal(start[0], ord("M")))
    long = tf.where(is_little, LITTLE, LITTLE[::-1])
    short = tf.where(is_little, LITTLE[:2], LITTLE[1::-1])
    directory = tf.reduce_sum(start[4:] * long)
    is_within = (directory >= 8) & (directory < tf.strings.length(exif))
    directory = tf.where(is_tiff & is_within, directory, tf.strings.length(exif))
    count = tf.reduce_sum(_bytes(exif, directory, 2) * short)
    left = (tf.strings.length(exif) - directory - 2) // 12
    entries = tf.maximum(tf.minimum(count, left), 0)
    # [entries + 1, 12]: tag, type, count and value; the last row is none of them
    table = tf.reshape(_bytes(exif, directory + 2, 12 * (entries + 1)), [-1, 12])
    is_found = tf.equal(tf.reduce_sum(table[:, :2] * short, axis=1), ORIENTATION)
    is_found &= tf.range(entries + 1) < entries
    entry = table[tf.argmax(is_found)]
    kind = tf.reduce_sum(entry[2:4] * short)
    as_short, as_long = tf.reduce_sum(entry[8:10] * short), tf.reduce_sum(entry[8:] * long)
    value = tf.where(tf.equal(kind, 3), as_short, tf.where(tf.equal(kind, 4), as_long, 1))
    return tf.where(tf.reduce_any(is_found) & (value >= 1) & (value <= 8), value, 1)


def _jpeg_exif(encoded: tf.Tensor) -> tf.Tensor:
    """Returns the EXIF data of a JPEG, '' without: from marker to marker, up to the pixels."""
    length = tf.strings.length(encoded)

    def is_exif(values):
        wanted = [0xFF, 0xE1, *EXIF]
        return tf.reduce_all(tf.equal(tf.concat([values[:2], values[4:]], 0), wanted))

    def before(place, values):
        ends = is_exif(values) | tf.reduce_any(tf.equal(values[1], [0xD9, 0xDA]))
        return (place + 10 <= length) & tf.equal(values[0], 0xFF) & ~ends

    def step(place, values):
        code = values[1]
        alone = tf.equal(code, 1) | ((code >= 0xD0) & (code <= 0xD8))
        size = tf.where(alone, 2, 2 + values[2] * 256 + values[3])
        place += tf.where(tf.equal(code, 0xFF), 1, size)  # 0xFF: a byte that fills
        return place, _bytes(encoded, place, 10)

    place, values = tf.while_loop(before, step, (tf.constant(2), _bytes(encoded, 2, 10)))
    size = tf.where(is_exif(values), values[2] * 256 + values[3] - 8, 0)
    return _part(encoded, place + 10, tf.maximum(size, 0))


def _png_exif(encoded: tf.Tensor) -> tf.Tensor:
    """Returns the EXIF data of a PNG and what follows, '' without: known by its first bytes, since
    a chunk may stand behind the pixels, and pixels hold 8 certain bytes by chance almost never.
    """
    found = [_split(encoded[tf.newaxis], b"eXIf" + order).values for order in ORDERS]
    rests = [
        tf.cond(tf.size(pieces) > 1, lambda p=pieces, o=order: o + p[1], lambda: tf.constant(b""))
        for pieces, order in zip(found, ORDERS, strict=True)
    ]
    return tf.strings.join(rests)


# Bytes


def _holds(encoded: tf.Tensor, part: bytes) -> tf.Tensor:
    """Tells whether a string holds a part; quicker than a walk, and than a regular expression."""
    return tf.size(_split(encoded[tf.newaxis], part).values) > 1


def _which_hold(encoded: tf.Tensor, part: bytes) -> tf.Tensor:
    """Tells which strings [B] hold a part: bool [B]."""
    indices = _split(encoded, part).indices  # of each piece: row, place in the row
    rows = tf.boolean_mask(indices[:, :1], tf.equal(indices[:, 1], 1))
    ones = tf.ones(tf.shape(rows)[:1], tf.int32)
    return tf.scatter_nd(rows, ones, tf.shape(encoded, tf.int64)) > 0


def _split(encoded: tf.Tensor, part: bytes):
    return tf.raw_ops.StringSplitV2(input=encoded, sep=part, maxsplit=1)


def _part(encoded: tf.Tensor, place: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """Returns a part of a string, as much as there is of it."""
    within = tf.clip_by_value(place, 0, tf.strings.length(encoded))
    return tf.strings.substr(encoded, within, size)


def _bytes(encoded: tf.Tensor, place: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """Returns bytes of a string, int32 [size], 0 behind its end."""
    found = tf.io.decode_raw(_part(encoded, place, size), tf.uint8, fixed_length=size)
    static = size if isinstance(size, int) else None
    return tf.ensure_shape(tf.cast(found, tf.int32), [static])


def _number(values: tf.Tensor) -> tf.Tensor:
    """Returns the numbers whose 4 bytes, the lowest first, are the last axis."""
    return tf.reduce_sum(values * LITTLE, axis=-1)
