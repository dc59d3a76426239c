"""`--pretrain_save_path` and `--finetune_save_path`: where a run leaves its encoder and its final model, and finds an encoder again.

The folders lie outside the pipeline root and belong to the user, who may change them at any time. An encoder that is taken from there is
therefore first copied into the pipeline root, into a folder named after its fingerprint: what ML Metadata says of it stays true.
Standard library alone.
"""

import shutil
from dataclasses import replace
from pathlib import Path

from pipeline.config import Configuration, SavedEncoder
from trainer_module.errors import InputError
from trainer_module.saved_encoder import CHANNELS, EXTRAS, EncoderRecord, encoder_fingerprint, holds_encoder, read_record

SERVING = "Format-Serving"  # the folder of a TFX Model artifact that holds the SavedModel


def check_save_paths(configuration: Configuration) -> None:
    """Refuses folders that hold something else: what a run leaves there replaces what was there.

    Raises:
      InputError: naming the flag, the folder and the fix.
    """
    paths = configuration.save_paths
    given = {"--pretrain_save_path": paths.pretrain, "--finetune_save_path": paths.finetune}
    for flag, path in given.items():
        folder = Path(path)
        if path and "://" in path:
            raise InputError(f"`{flag}` must be a folder on this machine. Received: {path}")
        if path and folder.exists() and not holds_encoder(folder) and (not folder.is_dir() or any(folder.iterdir())):
            found = f"a folder with {_some(folder)}" if folder.is_dir() else "a file"
            raise InputError(
                f"`{flag}` must be a new or empty folder, or one that an earlier run left with an encoder of ours in it "
                f"({EXTRAS}/encoder.keras and encoder.json). Received: {path}, {found}. Fix: another folder"
            )
    if paths.pretrain and paths.pretrain == paths.finetune:
        raise InputError(f"`--pretrain_save_path` and `--finetune_save_path` must be two folders. Received: {paths.pretrain} for both")


def with_saved_encoder(configuration: Configuration, asked: dict[str, object]) -> Configuration:
    """Returns the configuration of a run that takes its encoder from `--pretrain_save_path`, if there is one and the task needs it.

    Args:
      configuration: of the run.
      asked: the encoder's settings that the user named, such as {'depth': 34}; the others follow from the encoder that is there.

    Raises:
      InputError: if the encoder that is there is not the one asked for.
    """
    path = configuration.save_paths.pretrain
    if configuration.task == "pretrain" or not holds_encoder(path):
        return configuration
    record = read_record(path)
    _refuse_another_encoder(path, record, asked)
    saved = SavedEncoder(path, encoder_fingerprint(path), record.channel_mean, record.channel_std, record.milestones)
    return replace(configuration, encoder=record.encoder, saved_encoder=saved)


def _refuse_another_encoder(path: str, record: EncoderRecord, asked: dict[str, object]) -> None:
    differing = {name: (value, getattr(record.encoder, name)) for name, value in asked.items() if value != getattr(record.encoder, name)}
    if record.input_channels != CHANNELS:
        raise InputError(
            f"The encoder in {path} must take images of {CHANNELS} channels, as they are read. Received: {record.input_channels} channels. "
            f"Fix: another folder, to pretrain into it"
        )
    if differing:
        wanted = ", ".join(f"{name}={value}" for name, (value, _) in differing.items())
        there = ", ".join(f"{name}={value}" for name, (_, value) in differing.items())
        raise InputError(
            f"`--pretrain_save_path` must hold an encoder of the kind asked for. Received: {wanted} asked for, {there} in {path}. "
            f"Fix: leave out what differs, to take the encoder that is there, or name another folder, to pretrain into it"
        )


def bring_in(saved: SavedEncoder, root: Path) -> str:
    """Copies an encoder into the pipeline root.

    Args:
      saved: which one; nothing is done where its path is ''.
      root: the pipeline root.

    Returns:
      The folder of what is now a TFX Model artifact, or ''.
    """
    if not saved.path:
        return ""
    folder = root / "imported" / saved.fingerprint
    if not folder.exists():
        unfinished = folder.with_suffix(".unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        shutil.copytree(Path(saved.path, EXTRAS), unfinished / SERVING / EXTRAS)
        unfinished.rename(folder)
    return str(folder)


def leave(model_uri: str, path: str) -> str:
    """Copies a model to where the user wants it, in place of the one that may be there, so that there is always a whole one.

    Args:
      model_uri: of a TFX Model artifact.
      path: the user's folder; nothing is done where it is ''.

    Returns:
      `path`, or '' where nothing was left.
    """
    if not (model_uri and path):
        return ""
    folder = Path(path)
    unfinished, before = (folder.with_name(f"{folder.name}.{state}") for state in ("unfinished", "before"))
    for draft in (unfinished, before):
        shutil.rmtree(draft, ignore_errors=True)
    shutil.copytree(Path(model_uri, SERVING), unfinished)
    if folder.exists():
        folder.rename(before)
    unfinished.rename(folder)
    shutil.rmtree(before, ignore_errors=True)
    return path


def _some(folder: Path, shown: int = 3) -> str:
    names = sorted(path.name for path in folder.iterdir())
    return ", ".join(names[:shown]) + (", ..." if len(names) > shown else "")
