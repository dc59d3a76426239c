"""Which images of a single list are held out, known before anything is read.

ExampleGen splits by a hash of each image's id; this is the same hash, without TFX, so that a split
that would be empty, or a class that nothing is trained on, is told at once.
"""

import hashlib
from collections.abc import Iterable

TRAIN_BUCKETS, EVAL_BUCKETS = 4, 1  # a single list is split 80 : 20


def is_split(splits: Iterable[str], has_target: bool) -> bool:
    """Tells whether a part is held out of what is given: `train` alone, whose images have targets
    to judge by.
    """
    return has_target and list(splits) == ["train"]


def is_held_out(image_id: int) -> bool:
    """Tells whether an image falls into the split `eval` where one list is split."""
    number = _varint(image_id)
    packed = b"\x0a" + bytes([len(number)]) + number  # Int64List.value
    feature = b"\x1a" + bytes([len(packed)]) + packed  # Feature.int64_list
    bucket = int(hashlib.sha256(feature).hexdigest(), 16) % (TRAIN_BUCKETS + EVAL_BUCKETS)
    return bucket >= TRAIN_BUCKETS


def _varint(number: int) -> bytes:
    """Returns a number as protocol buffers write it."""
    parts = []
    while number >= 128:
        parts.append(number % 128 + 128)
        number //= 128
    return bytes([*parts, number])
