"""Where checkpoints lie, and which are needed no more: a training that ended marks its own, and
they go once its run has ended too.

Not at once: a kill before TFX has recorded the model would cost the whole training. Those of a
run that was killed have no mark and stay. Standard library alone.
"""

import hashlib
import json
import shutil
from pathlib import Path

from trainer_module.settings import without_free

CHECKPOINTS = "checkpoints"  # beside the outputs of a Trainer, a folder for settings and data
MARK = "finished"


def checkpoint_dir(fn_args) -> str:
    """Returns a Trainer's folder for the checkpoints of these settings, data and encoder to begin
    with; settings that change no result have no part in it.

    Args:
        fn_args: what TFX hands to a run_fn.
    """
    science = {
        name: without_free(name, value) if isinstance(value, dict) else value
        for name, value in fn_args.custom_config.items()
    }
    told = [science, fn_args.train_files, fn_args.base_model]
    key = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]
    node_dir = Path(fn_args.model_run_dir).parents[1]  # NODE/model_run/EXECUTION
    return str(node_dir / CHECKPOINTS / key)


def mark_finished(folder: str | Path) -> None:
    """Marks the checkpoints in a folder, if there are any, as those of a training whose outputs are
    written.
    """
    if Path(folder).is_dir():
        Path(folder, MARK).touch()


def remove_finished(folder: Path) -> None:
    """Removes the folders of marked checkpoints below a folder; the others stay."""
    for mark in list(folder.glob(f"*/{MARK}")):
        shutil.rmtree(mark.parent)
