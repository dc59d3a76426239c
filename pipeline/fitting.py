"""Defaults that fit the data: of lists of a person's own, what nobody named follows from the number
and size of the images and from the machine, by the rules of docs/own-images.md.

Standard library alone.
"""

import dataclasses
import os
import statistics
import struct
from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import Any

from components.file_list_example_gen.layout import is_remote
from components.file_list_example_gen.rows import Row
from pipeline.choices import Choices
from pipeline.layers import settings_of
from trainer_module.findings import counted
from trainer_module.image_headers import header

SAMPLE = 64  # images whose size is looked at
LONGEST_HEADER = 1 << 17  # bytes
SIDES = {False: (32, 48, 64), True: (32, 48, 64, 96, 128)}  # pixels, by whether there is a GPU
VIEW_SHARE = 0.75  # of an image's side, on a CPU: 0.56 of the work
BATCHES = {False: 128, True: 256}
LEAST_BATCH, LEAST_STEPS = 16, 8  # images; of an epoch
SEEN = {False: 300_000, True: 10_000_000}  # images, over all epochs
EPOCHS = {False: (20, 200), True: (100, 1000)}
SHORT = 20_000  # steps; a run of fewer wants a low temperature and a high rate
SHORT_MINUTES = 60
FEW = {"temperature": 0.2, "learning_rate": 0.24, "projection_hidden": 256, "warmup_epochs": 1.0}
PLACE = "Chosen for {} on a {} (docs/own-images.md, Defaults that fit; a flag of yours wins):"


def fitted(
    choices: Choices, pretrained_on: Sequence[Row], gpu: bool, pretrains: bool = True
) -> Choices:
    """Returns choices of which nothing is open any more, and tells what was chosen and why.

    Args:
      choices: of a person; what these name is kept.
      pretrained_on: rows of the images to pretrain on.
      gpu: whether the machine has a GPU that is used.
      pretrains: whether there will be pretraining, of whose values to tell.
    """
    if not choices.fit_to_data:
        return choices
    side = usual_side(pretrained_on)
    known = settings_of(choices)
    chosen, reasons = _sizes(choices, side, gpu)
    known |= chosen
    more, why = _training(choices, known, len(pretrained_on), gpu)
    chosen |= more
    lines = [*reasons, *why] if pretrains else reasons
    if lines:
        sized = f" of about {side} pixels" if side else ""
        images = f"{counted(len(pretrained_on), 'image')}{sized}"
        print("\n".join([PLACE.format(images, "GPU" if gpu else "CPU"), *lines]))
    return _with(choices, {**chosen, "fit_to_data": False})


def has_gpu() -> bool:
    """Tells whether TensorFlow will find a GPU, without loading it: an NVIDIA device that is not
    hidden, and a TensorFlow that is not the one for CPUs alone.
    """
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES", "all") in ("", "-1")
    if hidden or not os.path.exists("/dev/nvidia0"):
        return False
    try:
        metadata.version("tensorflow-cpu")
    except metadata.PackageNotFoundError:
        return True
    return False


def usual_side(rows: Sequence[Row]) -> int:
    """Returns the median of the shorter sides of some images in pixels; 0 if none is known."""
    sides = [side for row in rows[:: max(1, len(rows) // SAMPLE)] if (side := _side(row.path))]
    return round(statistics.median(sides)) if sides else 0


def _side(path: str) -> int:
    if is_remote(path):
        return 0
    try:
        with open(path, "rb") as file:
            found = header(file.read(LONGEST_HEADER))
    except (OSError, ValueError, IndexError, struct.error):
        return 0
    return min(found.height, found.width) if found else 0


def _sizes(choices: Choices, side: int, gpu: bool):
    """Returns the sizes of images and views where nobody named either, and why.

    `--input_size` names that of views, too.
    """
    named = {"image_size", "view_size"} & choices.named
    if choices.task == "segmentation" or named or not side:
        return {}, []
    stored = max([one for one in SIDES[gpu] if one <= side], default=SIDES[gpu][0])
    view = stored if gpu else round(VIEW_SHARE * stored)
    what = "all of it" if gpu else "three quarters of it, 0.56 of the work a step"
    reasons = [
        _line("image size", f"{stored}: the largest of {SIDES[gpu]} that they have"),
        _line("view size", f"{view}: {what}"),
    ]
    return {"image_size": (stored, stored), "view_size": (view, view)}, reasons


def _training(choices: Choices, known: Mapping[str, Any], images: int, gpu: bool):
    """Returns the settings of pretraining that nobody named, and why."""
    open_ones, reasons = {}, []

    def choose(name: str, value: Any, why: str = "") -> Any:
        name = f"pretraining.{name}"
        if name in choices.named:
            return known[name]
        open_ones[name] = value
        if why:
            reasons.append(_line(name.partition(".")[2].replace("_", " "), f"{value:g}: {why}"))
        return value

    few = 1 << max(0, (images // LEAST_STEPS).bit_length() - 1)  # a power of two
    batch = min(BATCHES[gpu], max(LEAST_BATCH, few), max(2, images))
    if known["pretraining.micro_batch"]:  # a person's, which must divide the batch
        batch = known["pretraining.batch_size"]
    batch = choose("batch_size", batch, f"at most {BATCHES[gpu]}, {LEAST_STEPS} steps an epoch")
    minutes = known["pretraining.minutes"]
    least, most = EPOCHS[gpu]
    epochs = min(most, max(least, round(SEEN[gpu] / max(1, images))))
    told = f"{SEEN[gpu]:,} images in all, from {least} to {most} epochs"
    epochs = choose("epochs", epochs, "" if minutes else told)
    steps = epochs * max(1, images // batch)
    short = minutes < SHORT_MINUTES or not gpu if minutes else steps < SHORT
    if short:
        why = f"of {minutes:g} minutes" if minutes else f"of few steps ({steps:,})"
        choose("temperature", FEW["temperature"], f"a run {why} learns from near images first")
        choose("learning_rate", FEW["learning_rate"], f"at 256 images, for a run {why}")
        warmup = min(FEW["warmup_epochs"], 0.1 * epochs)
        choose("warmup_epochs", warmup, "what a higher rate needs")
        choose("projection_hidden", FEW["projection_hidden"], "what such a run can fill")
    return open_ones, reasons


def _line(name: str, told: str) -> str:
    return f"  {name:<15} {told}"


def _with(choices: Choices, values: Mapping[str, Any]) -> Choices:
    """Returns choices with other values of some settings."""
    pretraining = {name.partition(".")[2]: value for name, value in values.items() if "." in name}
    own = {name: value for name, value in values.items() if "." not in name}
    section = dataclasses.replace(choices.pretraining, **pretraining)
    return dataclasses.replace(choices, pretraining=section, **own)
