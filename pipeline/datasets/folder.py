"""Images of one's own in a folder: lists alone, which point to the images where they are.

SOURCE/CLASS/NAME.png is one folder a class. A tree SOURCE/train/CLASS/NAME.png beside SOURCE/val
(or test) is read as the splits that it shows. Without labels, every image below SOURCE is one row.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from pipeline.datasets import files
from pipeline.datasets.folder_names import SPLITS, is_of_maps, is_segmentation_set, split_named
from trainer_module.errors import InputError, require
from trainer_module.findings import NOTE, WARNING, Finding, counted, first, in_line
from trainer_module.image_headers import ENDINGS

LISTS_ALONE = True  # images stay at their source, which may change between two runs
SHOWN_CLASSES = 20


def write(
    output_dir: str | Path,
    source: str | Path,
    eval_fraction: float = 0.2,
    labelled: bool = True,
) -> dict[str, Path]:
    """Writes the lists train.csv and eval.csv; copies and changes no image.

    An image's split hangs on a hash of its path below `source` alone, so images that are added
    later move no other one; or on its folder, where there are folders train and val. A class that
    the hash would leave nothing of to train on is trained on whole, until it has more images. Paths
    in the lists are relative where the images lie below `output_dir`, absolute elsewhere. What is
    left out is told in every run on these lists.

    Args:
        output_dir: where the lists go.
        source: folder of class folders; folders inside a class folder belong to the class.
        eval_fraction: share of the images for evaluation, between 0 and 1; of no meaning where the
          folders are splits, and without labels.
        labelled: whether folders are classes; else there is one list, of all images, but for those
          in a folder val or test beside a folder train.

    Returns:
        Paths of the lists `train` and `eval` (path,label), and `test` where there are folders
        train, val and test; without labels of `train` (path) alone.

    Raises:
        InputError: where there are no images, no two class folders with images, folders of label
          maps in their place, classes that train/ does not have, or a split would be empty.
    """
    require(
        0 < eval_fraction < 1,
        "`eval_fraction` must satisfy 0 < eval_fraction < 1",
        eval_fraction=eval_fraction,
    )
    source, folder = Path(source), Path(output_dir)
    names = _names(source)
    images = [name for name in names if files.is_image(name)]
    if not images:
        raise InputError(
            f"'{source}' holds no image: {counted(len(names), 'file')} in it and the folders "
            f"below. Images are files that end in {', '.join(ENDINGS)}"
        )
    splits = _splits(images, labelled)
    if not labelled:
        return _write_unlabelled(folder, source, names, splits)
    _refuse_splits_without_classes(source, images, splits)
    every, images = images, _in_class_folders(source, images, splits)
    depth = 1 if splits else 0  # of the class folders
    labels = _labels(source, sorted({PurePosixPath(name).parts[depth] for name in images}))
    label_of = {name: labels[PurePosixPath(name).parts[depth]] for name in images}
    split_of = (
        {name: splits[name.split("/")[0]] for name in images}
        if splits
        else _by_hash(label_of, eval_fraction)
    )
    rows = {list_name: [] for list_name in dict.fromkeys([*splits.values(), "train", "eval"])}
    for name, split in split_of.items():
        rows[split].append((files.listed_path(source / name, folder), label_of[name]))
    for split in rows:
        if not rows[split]:
            raise InputError(
                f"None of the {counted(len(images), 'image')} fell into the {split} split: add "
                f"images or change `--eval_fraction`"
            )
    found = _classes_of_splits(source, rows) if splits else _too_few_to_judge(source, rows)
    lists = {split: files.write_list(folder / f"{split}.csv", rows[split]) for split in rows}
    found += [_in_order(source, labels), *_merged(source, labels)]
    found += _beside_splits(source, every, splits) if splits else _like_splits(source, images)
    found += _maps_as_pictures(source, images, depth + 1)
    found += _noticed(source, names, every, splits)
    files.leave_findings(folder, lists.values(), found)
    return lists


def _write_unlabelled(
    folder: Path, source: Path, names: list[str], splits: Mapping[str, str]
) -> dict[str, Path]:
    """Writes train.csv: every image, but for those in folders that are held out."""
    images = [name for name in names if files.is_image(name)]
    kept = [name for name in images if splits.get(name.split("/")[0], "train") == "train"]
    for name in kept:
        files.require_listable(name)
    rows = [(files.listed_path(source / name, folder),) for name in kept]
    lists = {"train": files.write_list(folder / "train.csv", rows)}
    found = files.left_out(source, names, images)
    tops = {name.split("/")[0] for name in kept if "/" in name}
    found += _maps_as_pictures(source, kept, depth=0 if is_segmentation_set(tops) else 1)
    if len(kept) < len(images):
        held_out = ", ".join(f"{top}/" for top, split in sorted(splits.items()) if split != "train")
        told = (
            f"{source}: {counted(len(images) - len(kept), 'image')} in {held_out} "
            f"beside train/ count as held out, and are not pretrained on"
        )
        found.append(Finding(NOTE, "folders as splits", told, len(splits)))
    files.leave_findings(folder, lists.values(), found)
    return lists


def _by_hash(label_of: Mapping[str, str], eval_fraction: float) -> dict[str, str]:
    """Returns name -> list by a hash of the name; of a class that would be held out whole, and that
    no model could answer, all images are trained on.
    """
    held_out = {name for name in label_of if files.stable_fraction(name) < eval_fraction}
    learned = {label for name, label in label_of.items() if name not in held_out}
    return {
        name: "eval" if name in held_out and label in learned else "train"
        for name, label in label_of.items()
    }


def _names(source: Path) -> list[str]:
    """Returns the names of all files, relative to the source."""
    if not source.is_dir():
        raise InputError(
            f"A folder of images is wanted, but '{source}' "
            + (
                "is a file. Fix: of a list, --train_file_path"
                if source.exists()
                else "does not exist"
            )
        )
    return files.FolderSource(source).names


def _splits(images: Sequence[str], labelled: bool) -> dict[str, str]:
    """Returns top folder -> list, where the top folders are splits; else {}.

    With labels they must hold class folders.
    """
    tops = {name.split("/")[0] for name in images if "/" in name}
    meant = {top: split for split in SPLITS for top in tops if split_named(top) == split}
    deeper = {tuple(name.split("/")[:2]) for name in images if name.count("/") > 1}
    with_classes = {top for top, folder in deeper if not split_named(folder)}
    is_split = len({*meant.values()}) > 1 and "train" in meant.values()
    if not is_split or (labelled and not with_classes.issuperset(meant)):
        return {}
    if "eval" in meant.values():
        return meant
    return {top: "eval" if split == "test" else split for top, split in meant.items()}


def _refuse_splits_without_classes(
    source: Path, images: Sequence[str], splits: Mapping[str, str]
) -> None:
    """Refuses folders that are all named as splits, but are none: as class folders they would make
    a classifier of train and val.
    """
    tops = sorted({name.split("/")[0] for name in images if "/" in name})
    named = {*map(split_named, tops)}
    if splits or len(named) < 2 or "" in named:
        return
    none = "" if "train" in named else ", and there is none to train on"
    raise InputError(
        f"'{source}' has the folders {', '.join(tops)}, which are splits and no classes: each must "
        f"hold one folder a class, as in train/CLASS/NAME.png{none}. Without labels: "
        f"--task=pretrain"
    )


def _in_class_folders(source: Path, images: Sequence[str], splits: Mapping[str, str]) -> list[str]:
    """Returns the names of all images in class folders."""
    depth = 1 if splits else 0
    inside = [
        name
        for name in images
        if name.count("/") > depth and (not splits or name.split("/")[0] in splits)
    ]
    classes = {name.split("/")[depth] for name in inside}
    if len(classes) < 2:
        deeper = {name.split("/")[1] for name in inside if name.count("/") > depth + 1}
        one = next(iter(classes), "")
        hint = f" Or do you mean '{source / one}'?" if len(deeper) > 1 and not splits else ""
        raise InputError(
            f"'{source}' must hold at least two folders with images, one a class "
            f"(CLASS/NAME.png). Received: {counted(len(images), 'image')} in all and "
            f"{counted(len(classes), 'such folder')}. Images without labels: --task=pretrain.{hint}"
        )
    if is_segmentation_set(classes):
        raise InputError(
            f"'{source}' has the folders {', '.join(sorted(classes))}, which are named as the "
            f"pictures and label maps of one set, and are no classes. Fix: --task=segmentation "
            f"with lists of `path,labelmap` rows; or rename them, if they are classes"
        )
    for name in inside:
        files.require_listable(name)
    return inside


def _labels(source: Path, classes: list[str]) -> dict[str, str]:
    """Class names as labels, which have no spaces at their ends; where they are not 0 to N-1, all
    of them, numbers would be taken for class ids, or names for errors, so `7` becomes `class_7`.
    """
    labels = {name: name.strip() for name in classes}
    if set(classes) != {str(number) for number in range(len(classes))}:
        numbers = {name for name in classes if labels[name].removeprefix("-").isdecimal()}
        labels |= {name: f"class_{labels[name]}" for name in numbers}
    if not all(name.strip() for name in classes) or len(set(labels.values())) < 2:
        shown = ", ".join(map(repr, classes[:SHOWN_CLASSES]))
        raise InputError(
            f"'{source}' must hold folders whose names differ in more than spaces at their ends, "
            f"one a class. Received: {shown}. Fix: rename them"
        )
    return labels


def _in_order(source: Path, labels: Mapping[str, str]) -> Finding:
    """Returns a note that names the classes in the order of their ids."""
    ids = all(label.isdecimal() for label in labels.values())
    classes = sorted(set(labels.values()), key=int if ids else None)
    more = ", ..." if len(classes) > SHOWN_CLASSES else ""
    told = f"{source}: its folders are {len(classes)} classes, ids 0 to {len(classes) - 1} in "
    told += f"this order: {', '.join(in_line(classes[:SHOWN_CLASSES]))}{more}"
    return Finding(NOTE, "folders as classes", told, len(classes))


def _merged(source: Path, labels: Mapping[str, str]) -> list[Finding]:
    """Returns a warning about folders that are one class, since their labels are the same."""
    of_label: dict[str, list[str]] = {}
    for folder, label in labels.items():
        of_label.setdefault(label, []).append(folder)
    several = [", ".join(map(repr, some)) for some in of_label.values() if len(some) > 1]
    if not several:
        return []
    told = f"{source}: folders are one class whose names differ in spaces at their ends alone, "
    told += "or in class_ before a number"
    fix = "rename these folders, or move their images together"
    kind = "folders as one class"
    return [Finding(WARNING, kind, told, len(several), first(several), fix)]


def _classes_of_splits(source: Path, rows: Mapping[str, list[tuple[str, str]]]) -> list[Finding]:
    """Returns what is odd about classes that not every split has.

    Raises:
      InputError: if a split has classes that are not trained on.
    """
    of_split = {split: {label for _, label in listed} for split, listed in rows.items()}
    found = []
    for split in [split for split in rows if split != "train"]:
        if unknown := sorted(of_split[split] - of_split["train"]):
            raise InputError(
                f"'{source}': the folder that becomes {split}.csv has classes that the training "
                f"folder has not: {', '.join(in_line(unknown[:SHOWN_CLASSES]))}. Fix: the same "
                f"class folders in both"
            )
        if absent := sorted(of_split["train"] - of_split[split]):
            why, fix = f"without an image in {split}.csv", "images of these classes in that folder"
            found.append(_unjudged(source, absent, why, fix))
    return found


def _unjudged(source: Path, absent: Sequence[str], why: str, fix: str) -> Finding:
    """Returns a warning about classes that are trained on and not held out, with the reason."""
    told = f"{source}: {counted(len(absent), 'class', 'classes')} {why}: nothing judges them"
    kind = "classes without held out images"
    return Finding(WARNING, kind, told, len(absent), first(absent), fix)


def _too_few_to_judge(source: Path, rows: Mapping[str, list[tuple[str, str]]]) -> list[Finding]:
    """Returns a warning about classes of so few images that a hash holds none out."""
    of_split = {split: {label for _, label in listed} for split, listed in rows.items()}
    absent = sorted(of_split["train"] - of_split["eval"])
    if not absent:
        return []
    why = "of too few images to hold any out, so all are trained on"
    fix = "more images of these classes, or folders train/CLASS and val/CLASS"
    return [_unjudged(source, absent, why, fix)]


def _beside_splits(source: Path, images: Sequence[str], splits: Mapping[str, str]) -> list[Finding]:
    """Returns a warning about images in folders that lie beside the splits, and are in no list."""
    beside = [name for name in images if "/" in name and name.split("/")[0] not in splits]
    if not beside:
        return []
    tops = sorted({f"{name.split('/')[0]}/" for name in beside})
    told = f"{source}: {counted(len(beside), 'image')} in {', '.join(in_line(tops))} "
    told += f"beside {', '.join(f'{top}/' for top in sorted(splits))} are in no list"
    fix = "if these are classes, move them into the folders of the splits"
    return [Finding(WARNING, "folders beside splits", told, len(beside), first(beside), fix)]


def _like_splits(source: Path, images: Sequence[str]) -> list[Finding]:
    """Returns warnings about class folders that are named as splits, or hold folders named so."""
    classes = sorted({name.split("/")[0] for name in images})
    named = [name for name in classes if split_named(name)]
    deeper = sorted({tuple(name.split("/")[:2]) for name in images if name.count("/") > 1})
    within: dict[str, list[str]] = {}
    for top, folder in deeper:
        if split_named(folder):
            within.setdefault(top, []).append(folder)
    mixed = [
        ", ".join(in_line([f"{top}/{folder}" for folder in folders]))
        for top, folders in within.items()
        if len({*map(split_named, folders)}) > 1
    ]
    told = {
        "classes named as splits": (
            named,
            "taken as a class, though named as a split",
            "nothing, if it is one; else a folder train/ and one for evaluation, each with one "
            "folder a class",
        ),
        "splits within classes": (
            mixed,
            "with folders named as splits within, whose images are mixed: a hash of each path "
            "decides what is held out",
            "train/CLASS and val/CLASS, or lists of your own",
        ),
    }
    return [
        Finding(
            WARNING,
            kind,
            f"{source}: {counted(len(some), 'class folder')} {what}",
            len(some),
            first(some),
            fix,
        )
        for kind, (some, what, fix) in told.items()
        if some
    ]


def _maps_as_pictures(source: Path, images: Sequence[str], depth: int) -> list[Finding]:
    """Returns a warning about images in folders that are named as those of label maps.

    Args:
      source: the folder.
      images: names of those that are learned from.
      depth: of the topmost folders that may hold label maps; 0 is right below the source.
    """
    counts = Counter(name.rpartition("/")[0] for name in images)
    maps = sorted(folder for folder in counts if any(map(is_of_maps, folder.split("/")[depth:])))
    if not maps:
        return []
    told = f"{source}: {counted(sum(counts[folder] for folder in maps), 'image')} in "
    told += f"{counted(len(maps), 'folder')} named as those of label maps are taken as pictures"
    fix = "if they are label maps, move them elsewhere; lists of them are for --task=segmentation"
    return [Finding(WARNING, "label maps as pictures", told, len(maps), first(maps), fix)]


def _noticed(
    source: Path, names: list[str], images: list[str], splits: Mapping[str, str]
) -> list[Finding]:
    """Returns what a person should know about the files of a folder.

    Args:
      source: the folder.
      names: of all its files.
      images: those that are images, in class folders or not.
      splits: folder -> list.
    """
    # in a class folder, or told as lying beside the splits
    used = [name for name in images if name.count("/") > (name.split("/")[0] in splits)]
    found = files.left_out(source, names, used)
    if splits:
        became = ", ".join(f"{top}/ becomes {split}.csv" for top, split in sorted(splits.items()))
        told = f"{source}: its folders are splits and hold the class folders: {became}"
        found.append(Finding(NOTE, "folders as splits", told, len(splits)))
    places = [source, *(source / top for top in splits)]
    folders = {path.relative_to(source).as_posix() for place in places for path in place.iterdir()
               if path.is_dir() and not files.is_passed_over(path)}  # fmt: skip
    without = sorted(folders - {str(up) for name in images for up in PurePosixPath(name).parents})
    if without:
        told = f"{source}: {counted(len(without), 'folder')} without an image: no classes"
        kind = "folders without images"
        found.append(Finding(NOTE, kind, told, len(without), first(without)))
    return found
