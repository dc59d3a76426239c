"""`--encoder_weights FILE`: a ResNet of another program as the run's encoder.

The file is looked at before anything heavy is loaded; `make_encoder` then makes of it what an
earlier run would have left (pipeline/imported.py). Standard library alone, but for the file itself.
"""

import dataclasses
import hashlib
import json
import re
import shlex
from pathlib import Path

from pipeline.choices import Choices, Weights
from pipeline.save_paths import SavedEncoder, pushed_encoder
from trainer_module.errors import InputError
from trainer_module.findings import counted
from trainer_module.resnets import require_views_fit
from trainer_module.saved_encoder import (
    ENCODER_FILE,
    EXTRAS,
    EncoderRecord,
    holds_encoder,
    write_record,
)
from trainer_module.settings import Encoder
from trainer_module.weights.files import WeightsFile
from trainer_module.weights.names import VERSION, Found, find_resnet

MAPPING_FILE = "weights.json"  # beside the encoder: which of its tensors was which in the file
# What torchvision, lightly and most of timm normalize images with, in units of [0, 1] pixels; of
# timm resnet34.ra4_e3600_r224_in1k has 0.5, and no tensor tells.
IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# metadata of a file that pipeline/export.py wrote
MADE_BY, OURS = "made_by", "simclr-tfx"
HUB = "models--"  # a model's folder among those that clients of huggingface.co keep
BLURRED = re.compile(r"resnet(aa|blur)", re.IGNORECASE)
OWN_MEAN, OWN_STD = "channel_mean", "channel_std"
OWN_KINDS = {"depth": int, "width": float, "stem": str, "grid": int}


def refuse_two_encoders(choices: Choices) -> None:
    """Refuses weights beside a folder that holds an encoder for the same run.

    Raises:
        InputError: naming both.
    """
    folder = choices.save_paths.pretrain
    if choices.task != "pretrain" and holds_encoder(folder):
        raise InputError(
            f"`--encoder_weights` and an encoder in `--pretrain_save_path` must not be given "
            f"together. Received: {choices.weights.file}, and the encoder in {folder}. Fix: leave "
            f"one out"
        )


def find_weights(choices: Choices) -> tuple[Encoder, SavedEncoder]:
    """Returns the encoder that a file of weights is, and what becomes of it.

    Settings that the person named must be so; the others follow from the file.

    Raises:
        InputError: if the file is none of weights, of other weights than the run needs, or
            of such that are not finite.
    """
    path = choices.weights.file
    _refuse_blurred(path)
    _refuse_model(path, choices.task)
    file = WeightsFile(path)
    asked = {
        name: getattr(choices.encoder, name)
        for name in OWN_KINDS
        if f"encoder.{name}" in choices.named
    }
    if asked.get("stem") == "auto":
        del asked["stem"]
    grid = {"grid": choices.encoder.grid}  # which has no weights
    own = grid | _own_architecture(path, file.metadata)
    found = find_resnet(file.shapes, asked, path, own)
    _refuse_not_finite(path, file.read(found.tensors.values()))
    _refuse_small_views(found.encoder, choices)
    (mean, std), whose = _normalization(choices, file.metadata)
    record = EncoderRecord(found.encoder, choices.image_size, mean, std)
    return found.encoder, SavedEncoder(
        path,
        _fingerprint(path, record),
        mean,
        std,
        from_weights=record,
        mapping=_told(path, found, whose),
        begins_pretraining=choices.pretraining.epochs > 0,
    )


def for_images(saved: SavedEncoder, image_size: tuple[int, int]) -> SavedEncoder:
    """Returns the encoder of a file of weights for images of (H, W) pixels, which are decided after
    it was found.
    """
    if saved.from_weights.image_size == image_size:
        return saved
    record = dataclasses.replace(saved.from_weights, image_size=image_size)
    fingerprint = _fingerprint(saved.path, record)
    return dataclasses.replace(saved, from_weights=record, fingerprint=fingerprint)


def _refuse_blurred(path: str) -> None:
    """Refuses timm's ResNets that blur before a stride: blurring has no tensors, so that no more
    than a name tells them from plain ones.

    Raises:
        InputError: if the file, or the folder in which the hub's clients keep it, is named so.
    """
    parts = Path(path).parts
    named = [part for part in parts if part == parts[-1] or part.startswith(HUB)]
    if any(BLURRED.search(part) for part in named):
        raise InputError(
            f"`--encoder_weights` must be those of a ResNet that does not blur before its strides, "
            f"as timm's resnetaa and resnetblur do. Received: {path}, which is named as one of "
            f"these. Fix: weights of timm's plain resnet50, or, if they are, give the file another "
            f"name"
        )


def _refuse_model(path: str, task: str) -> None:
    """Refuses a folder in which an encoder of ours lies, with the ways to take it.

    Raises:
        InputError: naming both.
    """
    found = pushed_encoder(path)
    if not found:
        return
    place = shlex.quote(found)
    as_it_is = f"--pretrain_save_path={place} instead, which takes it as it is; or, to "
    raise InputError(
        f"`--encoder_weights` must be a file of weights. Received: {path}, a folder with an "
        f"encoder of ours. Fix: {'to ' if task == 'pretrain' else as_it_is}begin pretraining "
        f"with it, the file of `python -m pipeline.export {place} --format safetensors --output "
        f"encoder.safetensors`"
    )


def _own_architecture(path: str, metadata: dict[str, str]) -> dict[str, object]:
    """Returns depth, width, stem and grid as a file of ours says them, {} of any other: no tensor
    shows a width that was rounded to whole channels, a missing rectifier or a grid.

    Raises:
      InputError: naming the file, if there is no such encoder.
    """
    if metadata.get(MADE_BY) != OURS:
        return {}
    told = {name: metadata[name] for name in OWN_KINDS if name in metadata}
    try:
        own = {name: OWN_KINDS[name](text) for name, text in told.items()}
        Encoder(**own)  # which has the rules
    except ValueError as error:
        raise InputError(
            f"The metadata of {path} must name an encoder. Received: {told}: {error}"
        ) from error
    return own


def _refuse_small_views(encoder: Encoder, choices: Choices) -> None:
    try:
        require_views_fit(encoder, choices.view_size)
    except ValueError as error:
        raise InputError(
            f"{error}, which the weights have. Fix: a larger --input_size and --crop_size"
        ) from error


def _normalization(choices: Choices, metadata: dict[str, str]):
    """Returns the mean and deviation of the images that the weights expect, and whose they are."""
    weights, whose = choices.weights, "the settings'"
    if not weights.channel_mean and OWN_MEAN in metadata and OWN_STD in metadata:
        weights, whose = _own_normalization(weights.file, metadata), "the file's own"
    if not weights.channel_mean:
        return IMAGENET, "ImageNet's"
    return (weights.channel_mean, weights.channel_std), whose


def _own_normalization(path: str, metadata: dict[str, str]) -> Weights:
    """Returns the mean and deviation that a file names; the rules are those for a person's.

    Raises:
        InputError: naming the file.
    """
    try:
        own = [tuple(map(float, json.loads(metadata[name]))) for name in (OWN_MEAN, OWN_STD)]
        return Weights(path, *own)
    except (ValueError, TypeError, RecursionError) as error:
        raise InputError(
            f"The metadata of {path} must name a mean and a deviation for images in [0, 1]. "
            f"Received: {OWN_MEAN}={metadata[OWN_MEAN]!r}, {OWN_STD}={metadata[OWN_STD]!r}: "
            f"{error}. Fix: name others by --set weights.channel_mean and weights.channel_std"
        ) from error


def _told(path: str, found: Found, whose: str) -> str:
    encoder, kept = found.encoder, len(found.tensors)
    below = f" below {found.prefix!r}" if found.prefix else ""
    rest = f", {counted(len(found.left_out), 'other')} left out" if found.left_out else ""
    return (
        f"the ResNet-{encoder.depth} of width {encoder.width:g} with the {encoder.stem} stem in "
        f"{path}: {kept} tensors{below}{rest}; images are normalized with {whose} mean and "
        f"deviation (weights.channel_mean, weights.channel_std)"
    )


def _fingerprint(path: str, record: EncoderRecord) -> str:
    """Returns a digest of a file's content and of what is made of it."""
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256")
    digest.update(f"{record} {VERSION}".encode())
    return digest.hexdigest()[:16]


def make_encoder(saved: SavedEncoder, model_dir: Path) -> None:
    """Makes a model's folder of a file of weights: encoder, record, and the mapping of the tensors.

    Raises:
        InputError: if the file is no longer the one that was found.
    """
    import keras

    from trainer_module.resnet import build_encoder
    from trainer_module.weights.exchange import put_in

    record, file = saved.from_weights, WeightsFile(saved.path)
    settings = {name: getattr(record.encoder, name) for name in ("depth", "width", "stem")}
    found = find_resnet(file.shapes, settings, saved.path)
    values = file.read(found.tensors.values())
    received = _fingerprint(saved.path, record)
    if received != saved.fingerprint:
        raise InputError(
            f"The weights in {saved.path} must not change while they are read. Received: "
            f"fingerprint {received}, a moment ago {saved.fingerprint}. Fix: start again"
        )
    encoder = build_encoder(record.encoder, record.image_size)
    put_in(encoder, record.encoder, {ours: values[name] for ours, name in found.tensors.items()})
    write_record(str(model_dir), record)
    encoder.save(model_dir / EXTRAS / ENCODER_FILE)
    mapping = {"file": saved.path, "tensors": dict(found.tensors), "left_out": found.left_out}
    (model_dir / EXTRAS / MAPPING_FILE).write_text(json.dumps(mapping, indent=1), encoding="utf-8")
    keras.utils.clear_session()


def _refuse_not_finite(path: str, values: dict) -> None:
    """Refuses what would make every feature NaN, as a training that diverged leaves it.

    Args:
        path: of the file.
        values: name -> float32 array of each tensor that is taken from it.

    Raises:
        InputError: naming the first such tensor.
    """
    import numpy as np

    counts = {name: int(np.sum(~np.isfinite(value))) for name, value in values.items()}
    bad = [name for name, count in counts.items() if count]
    if bad:
        raise InputError(
            f"`--encoder_weights` must hold finite numbers. Received: {path}, whose {bad[0]} has "
            f"{counts[bad[0]]:,} of {values[bad[0]].size:,} that are not "
            f"({counted(len(bad), 'such tensor')}). Fix: another file, as of an earlier epoch"
        )
