"""Checkpoints that are needed no more: a pretraining that ended marks its own, and they go once its
run has ended too.

Not at once: a kill before TFX has recorded the model would cost the whole pretraining. Those of a
run that was killed have no mark and stay. Standard library alone.
"""

import shutil
from pathlib import Path

CHECKPOINTS = "checkpoints"  # beside the outputs of a Trainer, a folder for settings and data
MARK = "finished"


def mark_finished(folder: str | Path) -> None:
    """Marks the checkpoints in a folder as those of a training whose outputs are written."""
    Path(folder, MARK).touch()


def remove_finished(folder: Path) -> None:
    """Removes the folders of marked checkpoints below a folder; the others stay."""
    for mark in list(folder.glob(f"*/{MARK}")):
        shutil.rmtree(mark.parent)
