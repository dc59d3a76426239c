"""`--pretrain_save_path` and `--finetune_save_path`: where a run leaves its encoder and its final
model, and finds an encoder again.

The folders lie outside the pipeline root and belong to the user, who may change them at any time:
pipeline/imported.py copies an encoder that is taken from there. Standard library alone.
"""

import os
import shlex
from dataclasses import dataclass
from pathlib import Path

from components.metadata.names import SAVED_MODEL
from pipeline.asked_model import newest_model
from pipeline.choices import Choices
from pipeline.left_folder import LIST, foreign, put, refuse_unwritable, some
from trainer_module.errors import InputError
from trainer_module.resnets import require_fit
from trainer_module.saved_encoder import (
    CHANNELS,
    EncoderRecord,
    encoder_fingerprint,
    holds_encoder,
    read_record,
)
from trainer_module.settings import Encoder

IMPORTED = "imported"  # in the pipeline root: copies of encoders that runs took


@dataclass(frozen=True)
class SavedEncoder:
    """An encoder that is there already, of an earlier run or another program; `path` '' for none.

    It is taken instead of pretraining one, unless pretraining begins with it.
    """

    path: str = ""
    fingerprint: str = ""  # of its content
    # [3] each, in units of [0, 1] pixels: what its images are normalized with
    channel_mean: tuple[float, ...] = ()
    channel_std: tuple[float, ...] = ()
    milestones: tuple[int, ...] = ()  # epochs whose encoders came with it
    # of a file of weights (pipeline/weights.py): what is made of it, and from what
    from_weights: EncoderRecord | None = None
    mapping: str = ""
    begins_pretraining: bool = False  # whether pretraining goes on from it

    @property
    def replaces_pretraining(self) -> bool:
        """Whether it is taken instead of pretraining one."""
        return bool(self.path) and not self.begins_pretraining


def place_of(saved: SavedEncoder, root: Path) -> str:
    """Returns the folder of an encoder's copy in the pipeline root, or '' where none was taken."""
    return str(root / IMPORTED / saved.fingerprint) if saved.path else ""


def check_save_paths(choices: Choices) -> None:
    """Refuses folders that hold anything no run has left: what a run leaves replaces what was
    there.

    Raises:
      InputError: naming the flag, the folder and the fix.
    """
    paths = choices.save_paths
    only_read = choices.task != "pretrain" and holds_encoder(paths.pretrain)
    given = {"--pretrain_save_path": paths.pretrain, "--finetune_save_path": paths.finetune}
    for flag, path in given.items():
        if "://" in path:
            raise InputError(f"`{flag}` must be a folder on this machine. Received: {path}")
        if path and os.path.exists(path) and not os.path.isdir(path):
            raise InputError(f"`{flag}` must be a folder. Received: {path}, which is a file")
        found = []
        if path and not (only_read and path == paths.pretrain):
            _refuse_unwritable(flag, path)
            found = foreign(Path(path))
        if found:
            raise InputError(
                f"`{flag}` must be a new or empty folder, or one that holds nothing but what an "
                f"earlier run left, unchanged, as its {LIST} lists it: it is replaced whole. "
                f"Received: {path}, with {some(found)}. Fix: {_other_folder(path, choices.task)}"
            )
    if paths.pretrain and paths.finetune and _overlap(Path(paths.pretrain), Path(paths.finetune)):
        raise InputError(
            f"`--pretrain_save_path` and `--finetune_save_path` must be two folders, neither "
            f"within "
            f"the other. Received: {paths.pretrain} and {paths.finetune}"
        )


def pushed_encoder(path: str) -> str:
    """Returns the folder of the encoder that a folder means as every tool takes it: its own, or
    that of the newest model that was pushed there; '' where there is none.
    """
    try:
        found = newest_model(Path(path))
    except (OSError, ValueError):
        return ""
    return str(found) if holds_encoder(found) else ""


def _other_folder(path: str, task: str) -> str:
    pushed = pushed_encoder(path) if task != "pretrain" else ""
    taken = f"--pretrain_save_path={shlex.quote(pushed)}, the encoder that was pushed there; or "
    return f"{taken if pushed else ''}another folder"


def _refuse_unwritable(flag: str, path: str) -> None:
    """Finds now what would be found after hours."""
    try:
        refuse_unwritable(Path(path))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f"`{flag}` must be a folder that can be written to. Received: {path}, {reason}. Fix: "
            f"another folder"
        ) from error


def _overlap(one: Path, other: Path) -> bool:
    one, other = one.resolve(), other.resolve()
    return one.is_relative_to(other) or other.is_relative_to(one)


def find_encoder(choices: Choices) -> tuple[Encoder, SavedEncoder]:
    """Returns the encoder of a run, and the saved one that it is taken from: that in
    `--pretrain_save_path`, if there is one and the task needs it.

    Of a saved encoder, settings that the person named must be so; the others follow from it.

    Raises:
      InputError: if the encoder that is there is not the one asked for.
    """
    path = choices.save_paths.pretrain
    if choices.task == "pretrain" or not holds_encoder(path):
        return choices.encoder, SavedEncoder()
    record = read_record(path)
    asked = {
        name: value
        for name, value in vars(choices.encoder).items()
        if f"encoder.{name}" in choices.named
    }
    _refuse_another_encoder(path, record, asked)
    return record.encoder, SavedEncoder(
        path, encoder_fingerprint(path), record.channel_mean, record.channel_std, record.milestones
    )


def _refuse_another_encoder(path: str, record: EncoderRecord, asked: dict[str, object]) -> None:
    differing = {
        name: (value, getattr(record.encoder, name))
        for name, value in asked.items()
        if value != getattr(record.encoder, name)
    }
    if record.input_channels != CHANNELS:
        raise InputError(
            f"The encoder in {path} must take images of {CHANNELS} channels, as they are read. "
            f"Received: {record.input_channels} channels. "
            f"Fix: another folder, to pretrain into it"
        )
    if differing:
        wanted = ", ".join(f"{name}={value}" for name, (value, _) in differing.items())
        there = ", ".join(f"{name}={value}" for name, (_, value) in differing.items())
        raise InputError(
            f"`--pretrain_save_path` must hold an encoder of the kind asked for. Received: "
            f"{wanted} asked for, {there} in {path}. "
            f"Fix: leave out what differs, to take the encoder that is there, or name another "
            f"folder, to pretrain into it"
        )


def refuse_small_images(encoder: Encoder, path: str, image_size: tuple[int, int]) -> None:
    """Refuses images that are too small for an encoder that is there.

    Args:
      encoder: its settings.
      path: where it is from.
      image_size: (H, W) in pixels, of Transform's images.

    Raises:
      InputError: naming both.
    """
    try:
        require_fit(encoder, image_size)
    except ValueError as error:
        raise InputError(
            f"{error}, of the encoder in {path}. Fix: a larger --input_size"
        ) from error


def leave(model_uri: str, path: str) -> None:
    """Copies a model to where the user wants it, in place of the one that may be there, so that
    there is always a whole one.

    Args:
      model_uri: of a TFX Model artifact.
      path: the user's folder; nothing is done where one of them is ''.

    Raises:
      InputError: if the folder holds what no run has left there, by now.
      OSError: if the model cannot be written; what was there stays.
    """
    if model_uri and path:
        put(Path(model_uri, SAVED_MODEL), Path(path))
