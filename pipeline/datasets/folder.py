"""Images of one's own in one folder a class, SOURCE/CLASS/NAME.png: lists alone, which point to the
images where they are.

A tree SOURCE/train/CLASS/NAME.png beside SOURCE/val (or test) is read as the splits that it shows.
"""

from pathlib import Path, PurePosixPath

from pipeline.datasets import files
from trainer_module.errors import InputError, require
from trainer_module.findings import NOTE, Finding, counted, first
from trainer_module.image_headers import ENDINGS

LISTS_ALONE = True  # images stay at their source, which may change between two runs
# names of folders that are splits, by the list that they become
SPLITS = {
    "train": ("train", "training", "train_images"),
    "eval": ("val", "valid", "validation", "eval", "dev"),
    "test": ("test", "testing"),
}


def write(
    output_dir: str | Path, source: str | Path, eval_fraction: float = 0.2
) -> dict[str, Path]:
    """Writes the lists train.csv and eval.csv; copies and changes no image.

    An image's split hangs on a hash of its path below `source` alone, so images that are added
    later move no other one; or on its folder, where there are folders train and val. Paths in the
    lists are relative where the images lie below `output_dir`, absolute elsewhere. What is left out
    is told in every run on these lists.

    Args:
        output_dir: where the lists go.
        source: folder of class folders; folders inside a class folder belong to the class.
        eval_fraction: share of the images for evaluation, between 0 and 1; of no meaning where the
          folders are splits.

    Returns:
        Paths of the lists `train` and `eval` (path,label), and `test` where there are folders
        train, val and test.

    Raises:
        InputError: where there are no two class folders with images, or a split would be empty.
    """
    require(
        0 < eval_fraction < 1,
        "`eval_fraction` must satisfy 0 < eval_fraction < 1",
        eval_fraction=eval_fraction,
    )
    source, folder = Path(source), Path(output_dir)
    names = _names(source)
    splits = _splits([name for name in names if files.is_image(name)])
    images = _images(source, names, bool(splits))
    depth = 1 if splits else 0  # of the class folders
    labels = _labels(sorted({PurePosixPath(name).parts[depth] for name in images}))
    rows = {list_name: [] for list_name in dict.fromkeys([*splits.values(), "train", "eval"])}
    for name in images:
        fraction = files.stable_fraction(name)
        by_hash = "eval" if fraction < eval_fraction else "train"
        split = splits[name.split("/")[0]] if splits else by_hash
        label = labels[PurePosixPath(name).parts[depth]]
        rows[split].append((files.listed_path(source / name, folder), label))
    for split in rows:
        if not rows[split]:
            raise InputError(
                f"None of the {len(images)} images fell into the {split} split: add images or "
                f"change `--eval_fraction`"
            )
    lists = {split: files.write_list(folder / f"{split}.csv", rows[split]) for split in rows}
    files.leave_findings(folder, lists.values(), _noticed(source, names, images, splits))
    return lists


def _names(source: Path) -> list[str]:
    """Returns the names of all files, relative to the source."""
    if not source.is_dir():
        raise InputError(
            f"`source` must be a folder of class folders, but '{source}' "
            f"{'is a file' if source.exists() else 'does not exist'}"
        )
    return files.FolderSource(source).names


def _splits(images: list[str]) -> dict[str, str]:
    """Returns top folder -> list, where the top folders are splits that hold class folders; else
    {}.
    """
    tops = {name.split("/")[0] for name in images if "/" in name}
    meant = {top: split for split, known in SPLITS.items() for top in tops if top.lower() in known}
    within = {top: {name.split("/")[1] for name in images if name.startswith(f"{top}/")
                    and name.count("/") > 1} for top in tops}  # fmt: skip
    is_split = len(meant) == len(tops) > 1 and "train" in meant.values()
    if not is_split or not all(within.values()):
        return {}
    if "eval" in meant.values():
        return meant
    return {top: "eval" if split == "test" else split for top, split in meant.items()}


def _images(source: Path, names: list[str], are_splits: bool) -> list[str]:
    """Returns the names of all images in class folders."""
    found = [name for name in names if files.is_image(name)]
    depth = 1 if are_splits else 0
    images = [name for name in found if name.count("/") > depth]
    classes = {name.split("/")[depth] for name in images}
    if len(classes) < 2:
        raise InputError(
            f"`source` must hold at least two folders with images, one a class "
            f"(SOURCE/CLASS/NAME.png). Received: '{source}' with "
            f"{len(found):,} images in all and {len(classes)} such folders. Images are files that "
            f"end in {', '.join(ENDINGS)}"
        )
    for name in images:
        files.require_listable(name)
    return images


def _labels(classes: list[str]) -> dict[str, str]:
    """Class names as labels; numbers that are not 0 to N-1 would be taken for class ids, so `7`
    becomes `class_7`.
    """
    numbers = all(name.isdecimal() for name in classes)
    ids = {str(number) for number in range(len(classes))}
    return {name: f"class_{name}" if numbers and set(classes) != ids else name for name in classes}


def _noticed(
    source: Path, names: list[str], images: list[str], splits: dict[str, str]
) -> list[Finding]:
    """Returns what a person should know about the files of a folder."""
    found = files.left_out(source, names, images)
    if splits:
        became = ", ".join(f"{top}/ becomes {split}.csv" for top, split in sorted(splits.items()))
        told = f"{source}: its folders are splits and hold the class folders: {became}"
        found.append(Finding(NOTE, "folders as splits", told, len(splits)))
    without = {name.split("/")[0] for name in names if "/" in name and not files.is_hidden(name)}
    without -= {name.split("/")[0] for name in images}
    if without:
        told = f"{source}: {counted(len(without), 'folder')} without an image: no classes"
        some = first(sorted(without))
        found.append(Finding(NOTE, "folders without images", told, len(without), some))
    return found
