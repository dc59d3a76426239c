"""CamVid (Brostow et al. 2009): 701 street scenes with label maps of 11 classes, 255 where a pixel
counts for nothing.

A source is a tar archive or folder with train.txt, val.txt and test.txt, one `image,labelmap` a
line, paths relative to the list.
"""

import csv
from pathlib import Path, PurePosixPath

from pipeline.datasets import files
from trainer_module.errors import InputError

LABEL_MAP_CLASSES = 11
LISTS = {
    "train_segmentation": "train.txt",
    "eval_segmentation": "val.txt",
    "test_segmentation": "test.txt",
}
LISTS_ALONE = False  # images are written, once


def write(output_dir: str | Path, source: str | Path) -> dict[str, Path]:
    """Writes images, label maps and the lists of the three published splits (367, 101 and 233
    scenes in the usual division).

    Args:
        output_dir: where images, label maps and lists go.
        source: archive or folder; see the top of this file.

    Returns:
        Paths of the lists `train_segmentation`, `eval_segmentation` and `test_segmentation`
        (path,labelmap).

    Raises:
        InputError: where a list is missing or no UTF-8 text, or a file that it names is missing.
    """
    with files.open_source(Path(source)) as opened:
        return {
            name: _write_split(Path(output_dir), opened, name, listed)
            for name, listed in LISTS.items()
        }


def _write_split(folder: Path, source: files.Source, name: str, listed: str) -> Path:
    found = [
        PurePosixPath(member) for member in source.names if PurePosixPath(member).name == listed
    ]
    if len(found) != 1:
        raise InputError(
            f"The source is no CamVid: it must hold one list {listed}, but has {len(found)}"
        )
    rows = _rows(source.read(str(found[0])), listed)
    members = set(source.names)
    for path in (path for row in rows for path in row):
        member = str(found[0].parent / path)
        if member not in members:
            raise InputError(
                f"{listed} names '{path}', which the source does not hold: fetch the archive again"
            )
        files.write_file(folder / path, source.read(member))
    return files.write_list(folder / f"{name}.csv", rows)


def _rows(content: bytes, listed: str) -> list[list[str]]:
    """Returns the cells of every line of a list that is not blank."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{listed} is not UTF-8 text ({error.reason} at byte {error.start}). Fix: save it as "
            f"UTF-8"
        ) from error
    return [
        [cell.strip() for cell in row]
        for row in csv.reader(text.splitlines())
        if "".join(row).strip()
    ]
