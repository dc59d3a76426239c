"""Defaults that fit the data: of lists of a person's own, what nobody named follows from the number
and size of the images and from the machine, by the rules of docs/own-images.md.

Standard library alone.
"""

import statistics
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from components.file_list_example_gen.layout import is_remote
from components.file_list_example_gen.rows import Row
from pipeline.choices import Choices
from pipeline.precedence import settings_of, with_settings
from trainer_module.findings import counted
from trainer_module.image_headers import header
from trainer_module.resnets import LEAST_SIDE, feature_dims, last_side, with_stem
from trainer_module.settings import SHORT_RUN, Encoder

SAMPLE = 64  # images whose size is looked at
LONGEST_HEADER = 1 << 17  # bytes
SIDES = {False: (32, 48, 64), True: (32, 48, 64, 96, 128)}  # pixels, by whether there is a GPU
VIEW_SHARE = 0.75  # of an image's side, on a CPU: 0.56 of the work
BATCHES = {False: 128, True: 256}
LEAST_BATCH, LEAST_STEPS = 16, 8  # images; of an epoch
IMAGES_SEEN = {False: 300_000, True: 10_000_000}  # over all epochs
EPOCHS = {False: (20, 200), True: (100, 1000)}
# of an epoch of fine-tuning that goes by steps; images, at most those of the settings' default
FINETUNING_STEPS, LEAST_FINETUNING_BATCH = 32, 8
# cells along a side; numbers of all images together
FINEST, MOST_NUMBERS = 3, 250_000_000
SHORT_STEPS = 20_000  # a run of fewer wants a low temperature and a high rate
SHORT_MINUTES = 60
PLACE = "Chosen for {} on a {} (docs/own-images.md, Defaults that fit; a flag of yours wins):"


@dataclass(frozen=True)
class Situation:
    """What the rules look at besides a person's choices.

    Attributes:
      pretrained_on: rows of the images to pretrain on.
      gpu: whether the machine has a GPU that is used.
      pretrains: whether there will be pretraining, of whose values to tell.
      stem: of the encoder, where that is named or there already.
      learned: labelled images that are trained on step by step, 0 where none are.
      read_out: labelled images, where a head answers from features of an encoder that this run
        makes; 0 elsewhere. The same for few labels, a frozen encoder and one that learns along, so
        that these share one pretraining.
    """

    pretrained_on: Sequence[Row]
    gpu: bool
    pretrains: bool = True
    stem: str = "auto"
    learned: int = 0
    read_out: int = 0


def with_data_defaults(choices: Choices, run: Situation) -> Choices:
    """Returns choices of which nothing is open any more, and tells what was chosen and why; what a
    person named is kept.
    """
    if not choices.fit_to_data:
        return choices
    side = usual_side(run.pretrained_on)
    chosen, lines = _sizes(choices, side, run.gpu, LEAST_SIDE.get(run.stem, 0))
    known = settings_of(choices) | chosen
    more, why = _training(choices, known, len(run.pretrained_on), run.gpu)
    chosen |= more
    if run.pretrains:
        lines += why
    for more, why in (_cells(choices, known, run.read_out), _finetuning(choices, run.learned)):
        chosen |= more
        lines += why
    if lines:
        sized = f" of about {side} pixels" if side else ""
        images = f"{counted(len(run.pretrained_on), 'image')}{sized}"
        print("\n".join([PLACE.format(images, "GPU" if run.gpu else "CPU"), *lines]))
    return with_settings(choices, {**chosen, "fit_to_data": False})


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


def _sizes(choices: Choices, side: int, gpu: bool, least: int):
    """Returns the sizes of images and views where nobody named either, and why.

    `--input_size` names that of views, too. No view is smaller than `least` pixels.
    """
    named = {"image_size", "view_size"} & choices.named
    if choices.task == "segmentation" or named or not side:
        return {}, []
    stored = max([one for one in SIDES[gpu] if one <= side], default=SIDES[gpu][0])
    share = round(VIEW_SHARE * stored)
    view = stored if gpu else max(share, least)
    what = "three quarters of it, 0.56 of the work a step" if view == share else "all of it"
    if share < view < stored:
        what = "the least that the stem takes"
    reasons = [
        _line("image size", f"{stored}: the largest of {SIDES[gpu]} that they have"),
        _line("view size", f"{view}: {what}"),
    ]
    return {"image_size": (stored, stored), "view_size": (view, view)}, reasons


def _training(choices: Choices, known: Mapping[str, Any], images: int, gpu: bool):
    """Returns the settings of pretraining that nobody named, and why."""
    length = _length(known, images, gpu)
    batch, epochs = (
        known[name] if name in choices.named else value for name, (value, _) in length.items()
    )
    chosen = length | _short_run(known["pretraining.minutes"], epochs, images // batch, gpu)
    chosen = {name: one for name, one in chosen.items() if name not in choices.named}
    reasons = [
        _line(name.partition(".")[2].replace("_", " "), f"{value:g}: {why}")
        for name, (value, why) in chosen.items()
        if why
    ]
    return {name: value for name, (value, _) in chosen.items()}, reasons


def _length(known: Mapping[str, Any], images: int, gpu: bool) -> dict[str, tuple[int, str]]:
    """Returns batch and epochs, each with the reason for it, '' where that is not told."""
    fitting = max(LEAST_BATCH, _power_of_two(images // LEAST_STEPS))
    batch = min(BATCHES[gpu], fitting, max(2, images))
    if known["pretraining.micro_batch"]:  # a person's, which must divide the batch
        batch = known["pretraining.batch_size"]
    least, most = EPOCHS[gpu]
    is_least = batch <= LEAST_BATCH and images < LEAST_STEPS * LEAST_BATCH
    wanted = round(IMAGES_SEEN[gpu] / max(1, images))
    epochs = min(most, max(least, wanted))
    told = f"{IMAGES_SEEN[gpu]:,} images in all"
    if epochs != wanted:
        told += f" would be {wanted:,}; from {least} to {most}"
    why = f"at most {BATCHES[gpu]}, and at least {LEAST_STEPS} steps an epoch"
    why = "there is no smaller one" if is_least else why
    if known["pretraining.micro_batch"]:
        why = ""  # no choice of ours
    return {
        "pretraining.batch_size": (batch, why),
        "pretraining.epochs": (epochs, "" if known["pretraining.minutes"] else told),
    }


def _short_run(minutes: float, epochs: int, steps: int, gpu: bool) -> dict[str, tuple[float, str]]:
    """Returns the values for short runs, which all of a CPU are, each with the reason for it; {}
    for a long run of a GPU.

    Args:
      minutes: that a person gave, 0 without.
      epochs: of pretraining.
      steps: of an epoch.
      gpu: whether the machine has one.
    """
    steps = epochs * max(1, steps)
    short = minutes < SHORT_MINUTES if minutes else steps < SHORT_STEPS
    if gpu and not short:
        return {}
    run = f"of {minutes:g} minutes" if minutes else f"of few steps ({steps:,})"
    run = run if short else "on a CPU"
    why = {
        "temperature": f"a run {run} learns from near images first",
        "learning_rate": f"at 256 images, for a run {run}",
        "warmup_epochs": "so high a rate is reached step by step",
        "projection_hidden": "for the loss alone; wider ones want longer runs",
    }
    values = SHORT_RUN | {"warmup_epochs": min(SHORT_RUN["warmup_epochs"], 0.1 * epochs)}
    return {f"pretraining.{name}": (values[name], reason) for name, reason in why.items()}


def _cells(choices: Choices, known: Mapping[str, Any], read_out: int):
    """Returns the grid of cells of which features are the means, where nobody named it, and why.

    To a network that learns from labels alone cells are a loss, so none are chosen for it, nor for
    one that is compared with it (docs/own-images.md).
    """
    encoder = choices.encoder
    if "encoder.grid" in choices.named or encoder.builder != Encoder.builder or not read_out:
        return {}, []
    if choices.from_scratch or choices.finetuning.beside_scratch:
        return {}, []
    numbers, side = feature_dims(encoder), min(known["image_size"])
    finest = min(FINEST, last_side(with_stem(encoder, known["view_size"]), side))
    most = min(read_out, MOST_NUMBERS // read_out)  # of an image
    grid = max([one for one in range(2, finest + 1) if one * one * numbers <= most], default=1)
    if grid == encoder.grid:
        return {}, []
    of_each = counted(grid * grid * numbers, "number"), counted(read_out, "labelled image")
    told = (
        f"{grid} x {grid} parts of an image, {' for '.join(of_each)}; at most {FINEST} x {FINEST}"
    )
    return {"encoder.grid": grid}, [_line("encoder grid", told)]


def _finetuning(choices: Choices, labelled: int):
    """Returns the batch of a training by labels, where nobody named it, and why."""
    if not labelled or "finetuning.batch_size" in choices.named:
        return {}, []
    fitting = max(LEAST_FINETUNING_BATCH, _power_of_two(labelled // FINETUNING_STEPS))
    most = choices.finetuning.batch_size
    batch = min(most, fitting)
    is_least = labelled < FINETUNING_STEPS * LEAST_FINETUNING_BATCH
    why = f"at most {most}, and at least {FINETUNING_STEPS} steps an epoch"
    told = f"{batch}: {'there is no smaller one' if is_least else why}"
    return {"finetuning.batch_size": batch}, [_line("label batch", told)]


def _power_of_two(most: int) -> int:
    """Returns the largest that is at most `most`, at least 1."""
    return 1 << max(0, most.bit_length() - 1)


def _line(name: str, told: str) -> str:
    return f"  {name:<15} {told}"
