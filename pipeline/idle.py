"""What a person set that changes nothing in the run at hand: told, never silent.

Settings are named as `--set` names them. Those that a recipe or a fit to the data brings are
nobody's wish, and are not told.
"""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence

from pipeline.choices import Choices
from trainer_module.findings import counted
from trainer_module.tasks.task import Task

OPERATIONS = {  # of an augmentation -> what is said about it, of no meaning at a probability of 0
    "crop": ("crop_area", "crop_aspect"),
    "jitter": ("brightness", "contrast", "saturation", "hue"),
    "noise": ("noise_stddev",),
    "rotation": ("rotation_degrees",),
    "cutout": ("cutout_area",),
    "blur": ("blur_sigma",),
}
NEEDED_WITHOUT_PRETRAINING = "pretraining.seed"  # of an encoder's first weights
SEGMENTATION_ALONE = (
    "finetuning.dice",
    "finetuning.class_balance",
    "target.ignored_class",
    "target.values",
)
SHOWN = 6

Idle = tuple[str, tuple[str, ...]]  # why, and the settings; one that ends in '.' is a section


def idle(choices: Choices, task: Task, pretrains: bool) -> list[str]:
    """Returns a sentence for each reason why settings that a person named change nothing.

    Args:
      choices: with what the person named.
      task: of the run.
      pretrains: whether there will be pretraining.
    """
    told, lines = {NEEDED_WITHOUT_PRETRAINING}, []
    if choices.weights.file and not choices.pretraining.epochs:
        told.add("pretraining.epochs")  # that nothing is pretrained is its effect
    for reason, settings in (*_of_the_run(choices, task, pretrains), *_of_views(choices)):
        of_no_effect = sorted(_among(settings, choices.named) - told)
        told |= set(of_no_effect)
        if of_no_effect:
            lines.append(f"Note: {_listed(of_no_effect)} of no effect here: {reason}")
    return lines


def _of_the_run(choices: Choices, task: Task, pretrains: bool) -> Iterator[Idle]:
    if choices.task == "pretrain":
        yield "nothing is fine-tuned without a task", ("finetuning.", "target.", "gate.")
        return
    if not pretrains:
        yield "nothing is pretrained", ("pretraining.", "augmentation.", "eval_epochs")
    yield from _of_finetuning(choices, task)
    if task.name != "segmentation":
        yield "it is for segmentation", SEGMENTATION_ALONE
    if task.name == "regression":
        yield "numbers have no classes", ("target.num_classes",)
    unread = "max_error" if task.higher_is_better else "min_metric"
    yield f"the metric is {task.metric}", (f"gate.{unread}",)


def _of_finetuning(choices: Choices, task: Task) -> Iterator[Idle]:
    finetuning, alone = choices.finetuning, choices.from_scratch
    # measured beside whatever is fine-tuned
    linear = dataclasses.replace(finetuning, head="linear", freeze=True)
    whole = task.learns_from_views(finetuning) or finetuning.beside_scratch
    if not task.learns_by_steps(finetuning):
        how = "epochs", "batch_size", "learning_rate", "weight_decay", "precision"
        reason = "a linear head on a frozen encoder is fitted until it converges"
        yield reason, tuple(f"finetuning.{name}" for name in how)
    if alone or not task.learns_from_copies(linear):
        solved = task.solves_head(linear) and not alone
        of_what = "classes" if solved else "a linear head on a frozen encoder"
        yield f"copies are for {of_what}", ("finetuning.copies",)
    if not whole:
        reason = "a head on a frozen encoder learns from the features of whole images"
        yield reason, ("finetuning.views.", "finetuning.precision")
    if alone or not (task.on_features or finetuning.freeze):
        reason = "the whole network is trained from the labels alone already"
        yield reason, ("finetuning.beside_scratch",)
    if not task.on_features:
        yield f"{task.name} has one kind of head", ("finetuning.head",)


def _of_views(choices: Choices) -> Iterator[Idle]:
    if choices.pretraining.loss == "vicreg":
        yield "vicreg has no temperature", ("pretraining.temperature",)
    views = {"augmentation": choices.augmentation, "finetuning.views": choices.finetuning.views}
    for section, settings in views.items():
        for operation, details in OPERATIONS.items():
            if not getattr(settings, f"{operation}_probability"):
                reason = f"{section}.{operation}_probability is 0"
                yield reason, tuple(f"{section}.{name}" for name in details)


def _among(settings: Iterable[str], named: Iterable[str]) -> set[str]:
    sections = tuple(one for one in settings if one.endswith("."))
    return {name for name in named if name in settings or name.startswith(sections)}


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:SHOWN])
    more = f" and {counted(len(names) - SHOWN, 'other')}" if len(names) > SHOWN else ""
    return f"{shown}{more} {'is' if len(names) == 1 else 'are'}"
