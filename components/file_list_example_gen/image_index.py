"""Which images a set of examples holds: one small file a split beside the examples, to ask later
which model saw an image.

A record of 24 bytes an image: its id (a hash of its name in the list), digests of its bytes and of
its target. 60,000 images take 1.4 MB. Standard library alone, so that lineage answers at once.
"""

import bisect
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from trainer_module.image_headers import source_digest

FOLDER, SUFFIX = "image_index", ".ids"
PART = 8  # bytes of each part of a record
RECORD = 3 * PART
NAMED_ELSEWHERE = ("image", "image_id", "height", "width")  # fields that are no target


def record(image_id: int, image: bytes, target: bytes) -> bytes:
    """Returns the record of one image; `target` is whatever stands for its label, in bytes."""
    return image_id.to_bytes(PART, "big") + content_digest(image) + content_digest(target)


def content_digest(content: bytes) -> bytes:
    """Returns the short digest of an image's or a target's bytes.

    Of an image that ingest stored anew it is that of the file, which a person has.
    """
    source = source_digest(content)
    return bytes.fromhex(source)[:PART] if source else hashlib.sha256(content).digest()[:PART]


def write(records: Iterable[bytes], folder: str, split: str) -> None:
    """Writes the index of a split, of records by themselves or several together.

    Their order says nothing, so they are sorted.
    """
    place, whole = Path(folder, FOLDER), b"".join(records)
    place.mkdir(parents=True, exist_ok=True)
    parts = sorted(whole[start : start + RECORD] for start in range(0, len(whole), RECORD))
    (place / f"{split}{SUFFIX}").write_bytes(b"".join(parts))


@dataclass(frozen=True)
class Index:
    """The images of one split: the sorted records, searched where they lie, since there may be
    hundreds of large splits.
    """

    records: bytes

    def digests(self, image_id: int) -> tuple[bytes, bytes] | None:
        """Returns the digests of an image's bytes and of its target, None if it is not there."""
        if image_id >= 1 << 8 * PART:  # a number that a person asks for may be any
            return None
        wanted = image_id.to_bytes(PART, "big")
        at = bisect.bisect_left(range(len(self.records) // RECORD), wanted, key=self._id) * RECORD
        number, image, target = (
            self.records[at + part * PART : at + (part + 1) * PART] for part in range(3)
        )
        return (image, target) if number == wanted else None

    def _id(self, row: int) -> bytes:
        return self.records[row * RECORD : row * RECORD + PART]

    def copies_of(self, digest: bytes) -> list[int]:
        """Returns the ids of the images whose bytes have this digest, whatever their names."""
        found, at = [], self.records.find(digest)
        while at >= 0:
            if at % RECORD == PART:  # the second part of a record
                found.append(int.from_bytes(self.records[at - PART : at], "big"))
            at = self.records.find(digest, at + 1)
        return found

    def by_id(self) -> dict[bytes, tuple[bytes, bytes]]:
        """Returns id (as bytes) -> digests of the image's bytes and of its target."""
        parts = [self.records[start : start + PART] for start in range(0, len(self.records), PART)]
        return {
            number: (image, target)
            for number, image, target in zip(parts[::3], parts[1::3], parts[2::3], strict=True)
        }


def read(folder: str) -> dict[str, Index]:
    """Returns split -> index of a set of examples.

    {} where none was written or the examples are gone.
    """
    return {
        path.name.removesuffix(SUFFIX): Index(path.read_bytes())
        for path in sorted(Path(folder, FOLDER).glob(f"*{SUFFIX}"))
    }
