"""The plan of a run that goes on, as its record tells: with the very encoder that it began with.

An encoder from the user's folders or files lies in the pipeline root since the run began
(imported.py). Where the user's own is gone by now, that copy is taken; one that has changed makes
another run. Standard library alone.
"""

import os
from pathlib import Path

from components.metadata.names import SAVED_MODEL
from pipeline.choices import Choices
from pipeline.plan import Found, Plan, make_plan
from pipeline.save_paths import SavedEncoder, place_of
from trainer_module.saved_encoder import (
    EncoderRecord,
    encoder_fingerprint,
    holds_encoder,
    read_record,
)
from trainer_module.settings import from_json


def plan_again(choices: Choices, record: dict, root: Path) -> Plan:
    """Returns the plan of the run that a record is of (stages.py).

    Args:
      choices: of the run.
      record: of the run.
      root: the pipeline root, which the caller holds.

    Raises:
      InputError: as `make_plan`.
    """
    return make_plan(choices, record.get("took_encoder", True), kept=kept_encoder(record, root))


def kept_encoder(record: dict, root: Path) -> Found | None:
    """Returns the encoder that a run took from a place where nothing is any more, and has a copy
    of; None where the place, or no copy, is there.
    """
    saved = _saved_encoder(record.get("encoder", {}))
    copy = Path(place_of(saved, root), SAVED_MODEL)
    if not saved.path or os.path.exists(saved.path) or not _is_whole(copy, saved):
        return None
    print(f"Encoder: {saved.path} is gone; the run goes on with its copy, {copy.parent}")
    return read_record(copy).encoder, saved


def _is_whole(copy: Path, saved: SavedEncoder) -> bool:
    made_here = saved.from_weights is not None  # whose fingerprint is that of the file
    return holds_encoder(copy) and (made_here or encoder_fingerprint(copy) == saved.fingerprint)


def _saved_encoder(values: dict) -> SavedEncoder:
    try:
        made_of = values.get("from_weights")
        record = from_json(EncoderRecord, made_of) if made_of else None
        return from_json(SavedEncoder, {**values, "from_weights": record})
    except (TypeError, ValueError, AttributeError):
        return SavedEncoder()  # of a record that another version has written
