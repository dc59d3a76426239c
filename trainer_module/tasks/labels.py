"""What a person should know about the labels of a training list.

Standard library alone.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

from trainer_module.errors import InputError
from trainer_module.findings import NOTE, REFUSED, WARNING, Finding, counted, first
from trainer_module.image_headers import has_ending

DECIMAL = re.compile(r"[+-]?(\d+\.\d*|\.\d+|\d+)([eE][+-]?\d+)?")
MISSING = {"nan", "null", "none", "n/a", "na", "#n/a", "<na>"}  # as pandas and others write it
INVISIBLE = "Cf"  # category of the characters that only steer how others are shown
MOST_UNEVEN = 10  # times as many images of the largest class as of the smallest


def noticed(
    images: Counter, classes: Counter, names: Sequence[str], num_classes: int
) -> list[Finding]:
    """Returns findings about labels.

    Args:
      images: label -> images.
      classes: name of a class, or its id in one spelling -> images.
      names: of classes, in the order of their ids; () where labels are ids in [0, num_classes).
      num_classes: C.
    """
    if len(classes) == 1:
        told = one_class(images)
        return [Finding(REFUSED, "one class", told)]  # where rows of the others are skipped
    return [
        *_numbers_as_names(images, names),
        *_decimals_as_names(images, names),
        *_near(images, names),
        *_look_missing(images, names),
        *_without_images(classes, names, num_classes),
        *_uneven(classes),
    ]


def one_class(images: Counter) -> str:
    """Returns why labels that all are one cannot be learned; label -> images."""
    return (
        f"The training list has the label {next(iter(images))!r} in "
        f"{counted(images.total(), 'row')} and no other, but a classifier needs two. Fix: images "
        f"of another class; to learn without labels, drop the column, or --task=pretrain"
    )


def one_answer(kind: str, answer: str, images: int) -> list[Finding]:
    """Returns a warning about held out images, all of which want one answer."""
    told = (
        f"{counted(images, 'held out image')} and no other target than {answer}: the score says "
        f"little, since always answering that is right"
    )
    fix = "images with other targets, too, to judge a model by"
    return [Finding(WARNING, f"one {kind} held out", told, images, fix=fix)]


def refuse_files(targets: Sequence[str], task: str) -> None:
    """Refuses targets of a task that all are names of image files, as label maps are.

    Raises:
      InputError: naming the task that takes them.
    """
    if targets and all(map(has_ending, targets)):
        raise InputError(
            f"The targets of --task={task} must not be image files. Received: {targets[0]!r} and "
            f"so on in {counted(len(targets), 'row')} of the training list. Fix: of label maps "
            f"--task=segmentation --num_classes=C; of classes with such names, names without an "
            f"ending"
        )


def _shown(images: Counter) -> list[str]:
    return [f"{label!r}: {counted(count, 'image')}" for label, count in images.items()]


def _are_integers(names: Sequence[str]) -> bool:
    return all(name.removeprefix("-").isdecimal() for name in names)


def _numbers_as_names(images: Counter, names: Sequence[str]) -> list[Finding]:
    if not names or not _are_integers(names):
        return []
    told = (
        f"The labels are integers from {names[0]} to {names[-1]}, but not ids from 0: they are "
        f"taken as the names of {counted(len(names), 'class', 'classes')}"
    )
    fix = "nothing, if that is meant; ids are 0, 1, 2, ..., or any below --num_classes"
    ordered = Counter({name: images[name] for name in names})
    return [Finding(NOTE, "numbers as names", told, len(names), first(_shown(ordered)), fix)]


def _decimals_as_names(images: Counter, names: Sequence[str]) -> list[Finding]:
    are_numbers = all(DECIMAL.fullmatch(name) for name in names)
    if not names or not are_numbers or _are_integers(names):
        return []
    told = (
        f"The labels are numbers with decimals, from {names[0]} to {names[-1]}: they are taken as "
        f"the names of {counted(len(names), 'class', 'classes')}"
    )
    fix = "nothing, if that is meant; numbers to be predicted are --task=regression"
    is_measured = 2 * len(names) > images.total()
    severity = WARNING if is_measured else NOTE
    ordered = Counter({name: images[name] for name in names})
    return [Finding(severity, "decimals as names", told, len(names), first(_shown(ordered)), fix)]


def _near(images: Counter, names: Sequence[str]) -> list[Finding]:
    """Returns labels that a person would take for one: another case, spaces, characters that nobody
    sees, or another way to write a number.
    """
    alike = {}
    for label in sorted(images):
        alike.setdefault(_plain(label), []).append(label)
    pairs = [labels for labels in alike.values() if len(labels) > 1]
    if not pairs:
        return []
    what = "are taken as different classes" if names else "are taken as one class"
    told = f"{counted(len(pairs), 'label')} in several spellings, which {what}"
    examples = (", ".join(_shown(Counter({one: images[one] for one in some}))) for some in pairs)
    fix = "write each class in one way"
    severity = WARNING if names else NOTE
    return [Finding(severity, "spellings of a label", told, len(pairs), first(examples), fix)]


def _plain(label: str) -> str:
    """Returns what a person sees in a label, numbers in one spelling."""
    seen = "".join(one for one in label if unicodedata.category(one) != INVISIBLE)
    plain = " ".join(unicodedata.normalize("NFKC", seen).casefold().split())
    if plain.isdecimal():
        return str(int(plain))
    if not DECIMAL.fullmatch(plain):
        return plain
    number = float(plain)
    return str(int(number)) if number.is_integer() else str(number)


def _look_missing(images: Counter, names: Sequence[str]) -> list[Finding]:
    found = Counter({name: images[name] for name in names if _plain(name) in MISSING})
    if not found:
        return []
    told = (
        f"{counted(found.total(), 'image')} with a label that programs write where there is none: "
        f"{'it is' if len(found) == 1 else 'they are'} taken as the name of a class"
    )
    fix = "nothing, if that is meant; else take these rows out of the list"
    kind = "labels that look missing"
    return [Finding(WARNING, kind, told, len(found), first(_shown(found)), fix)]


def _without_images(classes: Counter, names: Sequence[str], num_classes: int) -> list[Finding]:
    there = set(range(len(names))) if names else set(map(int, classes))
    absent = [number for number in range(num_classes) if number not in there]
    if not absent:
        return []
    told = (
        f"{len(absent):,} of {num_classes:,} classes have no training image: outputs that are "
        f"never seen"
    )
    fix = "number the classes 0, 1, 2, ... without gaps, or another --num_classes"
    examples = first(f"class {number}" for number in absent)
    return [Finding(WARNING, "classes without images", told, len(absent), examples, fix)]


def _uneven(classes: Counter) -> list[Finding]:
    (most, largest), *_, (least, smallest) = classes.most_common()
    if largest <= MOST_UNEVEN * smallest:
        return []
    told = (
        f"Classes differ in size: {largest:,} images of {most!r}, {smallest:,} of {least!r}; "
        f"accuracy says little about the rare ones"
    )
    fix = "look at the accuracy of each class, or more images of the rare ones"
    rarest = Counter(dict(classes.most_common()[::-1]))
    return [Finding(NOTE, "uneven classes", told, len(classes), first(_shown(rarest)), fix)]
