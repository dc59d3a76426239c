"""Images of one's own in one folder a class, SOURCE/CLASS/NAME.png: lists alone, which point to the
images where they are.
"""

from pathlib import Path

from pipeline.datasets import files
from trainer_module.errors import InputError, require
from trainer_module.image_headers import ENDINGS

LISTS_ALONE = True  # images stay at their source, which may change between two runs


def write(
    output_dir: str | Path, source: str | Path, eval_fraction: float = 0.2
) -> dict[str, Path]:
    """Writes the lists train.csv and eval.csv; copies and changes no image.

    An image's split hangs on a hash of its path below `source` alone, so images that are added
    later move no other one. Paths in the lists are relative where the images lie below
    `output_dir`, absolute elsewhere.

    Args:
        output_dir: where the lists go.
        source: folder of class folders; folders inside a class folder belong to the class.
        eval_fraction: share of the images for evaluation, between 0 and 1.

    Returns:
        Paths of the lists `train` and `eval` (path,label).

    Raises:
        InputError: where there are no two class folders with images, or a split would be empty.
    """
    require(
        0 < eval_fraction < 1,
        "`eval_fraction` must satisfy 0 < eval_fraction < 1",
        eval_fraction=eval_fraction,
    )
    folder, images = Path(output_dir), _images(Path(source))
    rows = {"train": [], "eval": []}
    labels = _labels(sorted({Path(name).parts[0] for name in images}))
    for name in images:
        split = "eval" if files.stable_fraction(name) < eval_fraction else "train"
        rows[split].append(
            (files.listed_path(Path(source) / name, folder), labels[Path(name).parts[0]])
        )
    for split in rows:
        if not rows[split]:
            raise InputError(
                f"None of the {len(images)} images fell into the {split} split: add images or "
                f"change `--eval_fraction`"
            )
    return {split: files.write_list(folder / f"{split}.csv", rows[split]) for split in rows}


def _images(source: Path) -> list[str]:
    """Names of all images in class folders, relative to the source."""
    if not source.is_dir():
        raise InputError(
            f"`source` must be a folder of class folders, but '{source}' "
            f"{'is a file' if source.exists() else 'does not exist'}"
        )
    names = [name for name in files.FolderSource(source).names if files.is_image(name)]
    images = [name for name in names if "/" in name]
    classes = {name.split("/")[0] for name in images}
    if len(classes) < 2:
        raise InputError(
            f"`source` must hold at least two folders with images, one a class "
            f"(SOURCE/CLASS/NAME.png). Received: '{source}' with "
            f"{len(names):,} images in all and {len(classes)} such folders. Images are files that "
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
