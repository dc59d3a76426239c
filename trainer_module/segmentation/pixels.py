"""How many pixels each class has over all label maps, and what is wrong if one has none.

C classes.
"""

from collections.abc import Mapping

import numpy as np

from trainer_module.findings import NOTE, REFUSED, WARNING, Finding, counted, first

COLOUR = "colour"
WHITE_OF_1_BIT, WHITE_OF_8_BITS = "white of 1 bit", "white of 8 bits"
WHITE = 255
SPLITS = {"train": "training", "eval": "evaluation"}  # as the lists name them -> for a person
READ_WHITE = "if 255 (white) stands for a class: --set target.values=0,255"
IGNORED = "if these pixels stand for a class: --set target.ignored_class=-1, and ids below C"


def of_class(ids: np.ndarray) -> dict[str, int]:
    """Returns the pixels of each id that occurs.

    Args:
        ids: uint8 [H, W].
    """
    counts = np.bincount(ids.ravel())
    return {str(value): int(counts[value]) for value in np.flatnonzero(counts)}


def of_colour(colours: Mapping[int, str]) -> dict[str, int]:
    """Returns one label map for each colour that its palette gives an id."""
    return {f"{COLOUR} {value} {colour}": 1 for value, colour in colours.items()}


def of_white(ids: np.ndarray, bits: int) -> dict[str, int]:
    """Returns one grey label map in which white may stand for a class: class 1 where it has 1 bit a
    pixel, and where it has 8 the id 255, with none but 0 beside it.

    Args:
        ids: uint8 [H, W].
        bits: of a pixel.
    """
    there = set(np.flatnonzero(np.bincount(ids.ravel()))) - {0}
    if bits == 1 and there:
        return {WHITE_OF_1_BIT: 1}
    return {WHITE_OF_8_BITS: 1} if bits == 8 and there == {WHITE} else {}


def noticed(sums: Mapping[str, Mapping[str, int]], num_classes: int, ignored: int) -> list[Finding]:
    """Returns findings about the label maps of a run.

    Args:
        sums: split -> what `of_class`, `of_colour` and `of_white` gave, added up.
        num_classes: C.
        ignored: id of the pixels that count for nothing; -1 for none.
    """
    found = []
    for split, name in SPLITS.items():
        if split in sums:
            found += _pixels(sums[split], name, num_classes, ignored)
    return found + (_white(sums) if num_classes == 2 else []) + _colours(sums)


def _pixels(sums: Mapping[str, int], name: str, num_classes: int, ignored: int) -> list[Finding]:
    pixels = {number: sums.get(str(number), 0) for number in range(num_classes)}
    pixels.pop(ignored, None)
    there, absent = ([one for one in pixels if bool(pixels[one]) is has] for has in (True, False))
    passed = sums.get(str(ignored), 0)
    share = passed / max(1, passed + sum(pixels.values()))
    shown = first(f"class {number}: {counted(count, 'pixel')}" for number, count in pixels.items())
    beside = f"{100 * share:.0f} % of the pixels have the ignored id {ignored}"
    fix = READ_WHITE if ignored == WHITE and num_classes == 2 else IGNORED
    kind = "pixels by class"
    if not there:
        told = f"No pixel of the {name} label maps counts: {beside}"
        return [Finding(REFUSED, kind, told, num_classes, fix=fix)]
    if len(there) == 1 and name == SPLITS["train"]:
        told = f"All pixels of the {name} label maps that count are of class {there[0]}; {beside}"
        fix = fix if passed else "label maps with pixels of at least two classes"
        return [Finding(REFUSED, kind, told, len(absent), shown, fix)]
    if not absent:
        return []
    told = (
        f"{counted(len(absent), 'class', 'classes')} of {num_classes} without a pixel in the "
        f"{name} label maps: {', '.join(map(str, absent))}; {beside}"
    )
    if len(there) == 1:
        told += f". The score says little, since always answering class {there[0]} is right"
    severity = WARNING if name == SPLITS["train"] or len(there) == 1 else NOTE
    fix = "another --num_classes, or label maps that show these classes"
    return [Finding(severity, kind, told, len(pixels), shown, fix)]


def _white(sums: Mapping[str, Mapping[str, int]]) -> list[Finding]:
    """Returns a finding if white is a class in some label maps and ignored in others, as programs
    leave masks that save some with fewer bits.
    """
    few, many = (
        sum(counts.get(key, 0) for counts in sums.values())
        for key in (WHITE_OF_1_BIT, WHITE_OF_8_BITS)
    )
    if not (few and many):
        return []
    told = (
        f"White is class 1 in {counted(few, 'label map')} of 1 bit a pixel, but the ignored "
        f"{WHITE} in {many:,} of 8 bits"
    )
    fix = f"{READ_WHITE}; if not, save all label maps with 8 bits a pixel"
    return [Finding(REFUSED, "white of 1 and 8 bits", told, few + many, fix=fix)]


def _colours(sums: Mapping[str, Mapping[str, int]]) -> list[Finding]:
    """Returns a finding if an id is drawn in several colours: it may mean several things."""
    maps: dict[str, dict[str, int]] = {}
    for split in sums:
        for key, count in sums[split].items():
            if key.startswith(COLOUR):
                _, number, colour = key.split()
                of_id = maps.setdefault(number, {})
                of_id[colour] = of_id.get(colour, 0) + count
    mixed = {number: colours for number, colours in sorted(maps.items()) if len(colours) > 1}
    if not mixed:
        return []
    told = (
        f"Palettes differ between label maps: {counted(len(mixed), 'class id')} in several "
        f"colours. The id counts and not the colour, so one id may mean two classes"
    )
    examples = first(
        f"class {number}: "
        + ", ".join(f"#{colour} in {counted(count, 'file')}" for colour, count in colours.items())
        for number, colours in mixed.items()
    )
    fix = "write all label maps with one palette, or as grey PNGs of class ids"
    return [Finding(WARNING, "palettes", told, len(mixed), examples, fix)]
