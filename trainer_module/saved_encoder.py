"""What travels with an encoder: its Keras file, and beside it a small record of what it is and how
its images were normalized.

Every model that this project writes carries both in `assets.extra`. Standard library alone: a
command line is checked against the record before TensorFlow is imported.
"""

import dataclasses
import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

from trainer_module.errors import InputError
from trainer_module.settings import Encoder, from_json

EXTRAS = "assets.extra"  # files that travel with a SavedModel and that serving ignores
ENCODER_FILE, RECORD_FILE, TASK_FILE = "encoder.keras", "encoder.json", "task.json"
HEAD_FILE = "head.keras"  # of a classifier: features -> logits, for other programs
CHANNELS = 3  # of every image that is read


@dataclass(frozen=True)
class EncoderRecord:
    """What one must know to use an encoder."""

    encoder: Encoder  # its settings, the stem decided
    image_size: tuple[int, int]  # (H, W) in pixels of the images it was made for
    # [3], in units of [0, 1] pixels: what its images are normalized with
    channel_mean: tuple[float, ...]
    channel_std: tuple[float, ...]  # [3], likewise
    input_channels: int = CHANNELS
    milestones: tuple[int, ...] = ()  # epochs of pretraining whose encoders lie beside it
    # how its images lay ('pixels', 'png' or 'jpeg'): by 'jpeg' it learned from what JPEG leaves
    stored_as: str = "pixels"


def encoder_record(encoder: Encoder, examples, milestones: tuple[int, ...] = ()) -> EncoderRecord:
    """Returns the record of an encoder.

    Args:
        encoder: its settings, the stem decided.
        examples: the images it was made for (examples.py).
        milestones: epochs whose encoders lie beside it.
    """
    mean, std = (
        tuple(float(value) for value in values)
        for values in (examples.channel_mean, examples.channel_std)
    )
    return EncoderRecord(
        encoder,
        examples.images.shape[1:3],
        mean,
        std,
        milestones=milestones,
        stored_as=examples.stored_as,
    )


def write_record(model_dir: str, record: EncoderRecord) -> None:
    """Writes the record into a model's folder."""
    extras = Path(model_dir, EXTRAS)
    extras.mkdir(parents=True, exist_ok=True)
    (extras / RECORD_FILE).write_text(
        json.dumps(dataclasses.asdict(record), indent=1), encoding="utf-8"
    )


def holds_encoder(model_dir: str | Path) -> bool:
    """Tells whether a folder is a model of ours, with an encoder in it; '' is no folder."""
    files = (Path(model_dir, EXTRAS, name) for name in (ENCODER_FILE, RECORD_FILE))
    return model_dir != "" and all(os.path.isfile(file) for file in files)


def read_record(model_dir: str | Path) -> EncoderRecord:
    """Reads the record of a model's encoder.

    Raises:
        InputError: if there is none, or it is damaged.
    """
    path = Path(model_dir, EXTRAS, RECORD_FILE)
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        return from_json(EncoderRecord, values)
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise InputError(
            f"`{path}` must be the record of an encoder. Received: {error}. Fix: a whole copy of "
            f"the folder, or another one"
        ) from error


def encoder_fingerprint(model_dir: str | Path) -> str:
    """Returns a digest of everything that travels with an encoder, milestones included."""
    extras, digest = Path(model_dir, EXTRAS), hashlib.sha256()
    for path in sorted(path for path in extras.rglob("*") if path.is_file()):
        digest.update(f"{path.relative_to(extras)}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]
