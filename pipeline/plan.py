"""What follows from the choices and the data: the plan of a run, all input checked.

Standard library only but for what writes a data set, so that bad input is told before anything
heavy is loaded.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from components.environment import has_gpu
from components.file_list_example_gen.rows import Row
from pipeline.choices import Choices, Gate, Lists
from pipeline.data_check import Checked, checked_rows
from pipeline.data_defaults import Situation, with_data_defaults
from pipeline.datasets.of_recipe import lists_of
from pipeline.encoder_name import encoder_name
from pipeline.idle import idle
from pipeline.save_paths import SavedEncoder, check_save_paths, find_encoder, refuse_small_images
from pipeline.weights import find_weights, for_images, refuse_two_encoders
from trainer_module.errors import InputError
from trainer_module.findings import Finding, counted, table
from trainer_module.memory import MOST_OF_MEMORY, total_memory
from trainer_module.saved_encoder import EXTRAS, TASK_FILE
from trainer_module.settings import Encoder, Pretraining, with_batch_for
from trainer_module.tasks.registry import TASKS, task_from_json
from trainer_module.tasks.task import Task
from trainer_module.tasks.unlabelled import Unlabelled

Found = tuple[Encoder, SavedEncoder]  # of a run, and where it comes from
LEAST_JPEG_SIDE = 64  # pixels; of smaller images JPEG's blocks of 8 x 8 are a part that shows


@dataclass(frozen=True)
class Plan:
    """A run, decided. What is not here is as it was chosen."""

    choices: Choices
    task: Task  # fixed by the training list
    lists: Lists  # every row is checked
    encoder: Encoder  # the one that was found, or the one to pretrain
    pretraining: Pretraining  # with a batch that fits
    gate: Gate  # not below what a constant answer scores
    stored_as: str  # how images lie after Transform: 'pixels', 'png' or 'jpeg'
    eval_epochs: tuple[int, ...]  # whose encoders there are or will be
    saved_encoder: SavedEncoder = SavedEncoder()
    findings: tuple[Finding, ...] = ()  # of the lists, before anything is read

    @property
    def name(self) -> str:
        """Of the pipeline."""
        return self.choices.pipeline_name


def as_chosen(choices: Choices, task: Task) -> Plan:
    """Returns the plan of a run that takes the choices as they are, as for images that no list
    names.
    """
    return Plan(
        choices,
        task,
        choices.lists,
        choices.encoder,
        choices.pretraining,
        choices.gate,
        "pixels" if choices.stored_as == "auto" else choices.stored_as,
        choices.eval_epochs,
    )


def make_plan(
    choices: Choices,
    may_take_encoder: bool = True,
    hold_root: Callable[[], object] = lambda: None,
    kept: Found | None = None,
) -> Plan:
    """Looks for what the choices name, writes the recipe's data set if it is not there, and checks
    every row of every list.

    Args:
      choices: of a person.
      may_take_encoder: False continues a run that found none at its `--pretrain_save_path`: the one
        that is there by now is its own.
      hold_root: called before lists are written into the pipeline root, those of a folder of
        images; without it the caller holds the root.
      kept: an encoder that is taken whatever lies where the choices look for one (resumed.py).

    Raises:
      InputError: naming what breaks a rule; all bad rows together.
    """
    found = encoder_of(choices, may_take_encoder, kept)
    lists = lists_of(choices, hold_root)
    checked = checked_rows(choices, lists)
    if checked.findings:
        print(table(checked.findings))
    return decided(choices, lists, checked, found)


def decided(choices: Choices, lists: Lists, checked: Checked, found: Found) -> Plan:
    """Returns the plan of a run on lists that are checked.

    Args:
      choices: of a person.
      lists: that they name.
      checked: what these name.
      found: the encoder of the run, and where it comes from.

    Raises:
      InputError: if something chosen does not fit them.
    """
    (encoder, saved), task, parts = found, checked.task, checked.parts
    pretrained_on = parts.get("pretrain", parts["train"])
    pretrains = not (saved.replaces_pretraining or choices.from_scratch)
    finetuning, labelled = choices.finetuning, len(parts["train"])
    learned = round(finetuning.label_fraction * labelled)
    reads_features = task.has_target and task.on_features and not saved.path
    situation = Situation(
        pretrained_on,
        has_gpu(),
        pretrains,
        encoder.stem,
        learned if task.learns_by_steps(finetuning) else 0,
        labelled if reads_features else 0,
    )
    choices = with_data_defaults(choices, situation)
    if saved.path:
        refuse_small_images(encoder, saved.path, choices.image_size)
    else:
        encoder = choices.encoder
    if saved.from_weights:
        saved = for_images(saved, choices.image_size)
    eval_epochs = kept_epochs(choices, saved)
    judged_by = parts.get("eval", parts["train"])
    gate = gate_above_chance(choices.gate, task, judged_by)
    for line in idle(choices, task, pretrains):
        print(line)
    pretraining = choices.pretraining
    if pretrains:
        pretraining = pretraining_that_fits(choices, len(pretrained_on))
    stored_as = how_to_store(choices, sum(map(len, parts.values())), total_memory())
    return Plan(
        choices=choices,
        task=task,
        lists=lists,
        encoder=encoder,
        pretraining=pretraining,
        gate=gate,
        stored_as=stored_as,
        eval_epochs=eval_epochs,
        saved_encoder=saved,
        findings=checked.findings,
    )


def encoder_of(choices: Choices, may_take_encoder: bool = True, kept: Found | None = None) -> Found:
    """Returns the encoder of a run and where it comes from, and tells it if that is elsewhere; the
    one that was `kept` as it is.

    Raises:
      InputError: if a save path cannot be one, or the encoder is not the one asked for.
    """
    check_save_paths(choices)
    if kept:
        return kept
    if choices.weights.file:
        if may_take_encoder:
            refuse_two_encoders(choices)
        encoder, saved = find_weights(choices)
        begins = saved.begins_pretraining
        further = "pretraining begins with it" if begins else "not pretrained further"
        print(f"Encoder: {saved.mapping}; {further}")
        return encoder, saved
    found = find_encoder(choices) if may_take_encoder else (choices.encoder, SavedEncoder())
    encoder, saved = found
    if saved.path:
        print(
            f"Encoder: {encoder_name(encoder)} from {saved.path}, not pretrained again"
            f"{_taught(saved.path)}"
        )
    return encoder, saved


def _taught(path: str) -> str:
    """Returns what to tell of an encoder whose folder is that of a final model; '' of others."""
    file = Path(path, EXTRAS, TASK_FILE)
    try:
        task = task_from_json(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""
    if not task.has_target:
        return ""
    return (
        f". Note: a final model of the task {task.name} lies there, not what pretraining left; "
        f"its encoder may have learned from labels"
    )


def kept_epochs(choices: Choices, saved: SavedEncoder) -> tuple[int, ...]:
    """Returns those epochs to evaluate whose encoder there is or will be; a recipe's own others are
    left out.

    Raises:
      InputError: if the person named one that there will not be.
    """
    last, task = choices.pretraining.epochs, TASKS[choices.task]
    if choices.pretraining.minutes and choices.eval_epochs and not saved.replaces_pretraining:
        if "eval_epochs" in choices.named:
            raise InputError(
                f"`--eval_epochs` needs a number of epochs, which `--minutes` leaves open. "
                f"Received: {', '.join(map(str, choices.eval_epochs))}. Fix: leave one out"
            )
        return ()
    possible = {
        epoch
        for epoch in choices.eval_epochs
        if (epoch in saved.milestones if saved.replaces_pretraining else epoch <= last)
    }
    possible = possible if task.one_class_an_image or task is Unlabelled else set()
    absent = [epoch for epoch in choices.eval_epochs if epoch not in possible]
    if absent and "eval_epochs" in choices.named:
        there = (
            f"{saved.path} holds {', '.join(map(str, saved.milestones)) or 'none'}"
            if saved.replaces_pretraining
            else f"pretraining ends after {last}"
        )
        named = ", ".join(map(str, absent))
        raise InputError(
            f"`--eval_epochs` must name epochs of pretraining whose encoder is kept, of tasks "
            f"with a class an image. Received: {named} of {choices.task}, while {there}. Fix: "
            f"leave them out, or pretrain with these epochs"
        )
    return tuple(sorted(possible))


def gate_above_chance(gate: Gate, task: Task, rows: Sequence[Row]) -> Gate:
    """Returns a gate that asks for no less than the best constant answer to the targets of these
    rows, to four digits.
    """
    constant = float(f"{task.constant_score([row.target for row in rows]):.4g}")
    return gate.beating(constant, task.higher_is_better)


def threshold_from(plan: Plan) -> str:
    """Returns whose number it is that the gate asks of the metric."""
    way = plan.task.higher_is_better
    setting = "gate.min_metric" if way else "gate.max_error"
    if plan.gate.limit(way) != plan.choices.gate.limit(way):
        less = f", which is more than {setting}" if setting in plan.choices.named else ""
        return f"a constant answer{less}"
    return setting if setting in plan.choices.named else f"the recipe {plan.choices.recipe}"


def pretraining_that_fits(choices: Choices, images: int) -> Pretraining:
    """Returns pretraining with a batch of at most `images`.

    Raises:
      InputError: if there are too few images for any batch, or for the one that the person named.
    """
    pretraining = choices.pretraining
    if images >= pretraining.batch_size:
        return pretraining
    if "pretraining.batch_size" in choices.named or images < 2:
        rule = "`pretraining.batch_size` must be from 2 to the number of images to pretrain on"
        fix = "a smaller batch or more images" if images >= 2 else "more images"
        raise InputError(
            f"{rule}. Received: batch_size={pretraining.batch_size}, {counted(images, 'image')}. "
            f"Fix: {fix}"
        )
    fitting = with_batch_for(pretraining, images)
    print(
        f"Only {counted(images, 'image')} to pretrain on: batches of {fitting.batch_size} instead "
        f"of {pretraining.batch_size}"
    )
    return fitting


def how_to_store(choices: Choices, images: int, memory: int) -> str:
    """Returns how images are to lie after Transform.

    As pixels, unless these would take more than half of the machine's memory: then encoded, an
    eighth of that, but for small ones, which JPEG spoils; they are paged in and out of a file.

    Args:
      choices: what the person wants; 'auto' asks for this rule.
      images: of all lists.
      memory: bytes, of the machine or its container.
    """
    if choices.stored_as != "auto":
        return choices.stored_as
    height, width = choices.image_size
    needed = images * height * width * 3
    if needed <= MOST_OF_MEMORY * memory or min(height, width) < LEAST_JPEG_SIDE:
        return "pixels"
    print(
        f"The pixels of {images:,} images would take {needed / 1e9:.1f} GB, more than half of this "
        f"machine's {memory / 1e9:.1f}: stored as JPEG, decoded batch by batch (--set "
        f"stored_as=pixels keeps pixels, in a file)"
    )
    return "jpeg"


def to_dict(plan: Plan) -> Mapping:
    """Returns the settings that a run has, as plain JSON-able values; what a person chose is in the
    run's own file (config_file.py).
    """
    settings = dataclasses.asdict(plan.choices)
    for name in ("named", "pipeline_root", "metadata"):  # of the place, and not of the run
        del settings[name]
    decided = dataclasses.asdict(plan)
    del decided["choices"], decided["task"], decided["findings"]
    return {**settings, **decided, "name": plan.name}
