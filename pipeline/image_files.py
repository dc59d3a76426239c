"""Images that a person names on a command line: files, and all that lie in a folder; and their
pictures, or one sentence why not.

Standard library alone, but for `content_of`.
"""

import os
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from components.file_list_example_gen.rows import read_bytes
from pipeline.datasets.files import is_hidden, is_passed_over
from trainer_module.image_headers import ENDINGS, has_ending, is_picture

SHOWN = 5  # endings of what is left out
LONGEST_START = 32  # bytes by which the kind of a file is told


def is_image(place: str) -> bool:
    """Tells whether a place is an image and no list: by its ending, or by its first bytes. What
    cannot be read is told by who reads it as a list.
    """
    if has_ending(place):
        return True
    if not os.path.isfile(place):
        return False
    try:
        with open(place, "rb") as file:
            return is_picture(file.read(LONGEST_START))
    except OSError:
        return False


def in_folder(folder: str) -> list[str]:
    """Returns the images below a folder, and the folders that cannot be read, sorted; without
    hidden files, what systems keep for themselves, and pipeline roots. What else lies there is told
    on stderr.
    """
    unread: list[str] = []
    files = sorted(_files(folder, unread))
    left_out = Counter(Path(file).suffix.lower() or "no ending" for file in files)
    images = [file for file in files if has_ending(file)]
    left_out = {ending: count for ending, count in left_out.items() if ending not in ENDINGS}
    if left_out and images:
        shown = ", ".join(f"{ending} ({count:,})" for ending, count in [*left_out.items()][:SHOWN])
        print(f"{folder}: left out, as no image's name ends so: {shown}", file=sys.stderr)
    return sorted([*images, *unread])


def _files(folder: str, unread: list[str]) -> Iterator[str]:
    """Yields the files below a folder; `unread` takes the folders that cannot be read. Links to
    folders are followed, but for those that lead back.
    """
    above = {folder: (os.path.realpath(folder),)}  # real paths of a folder and of those it lies in
    note = lambda error: unread.append(error.filename)  # noqa: E731
    for place, folders, names in os.walk(folder, onerror=note, followlinks=True):
        for name in [*folders]:
            path = os.path.join(place, name)
            real = os.path.realpath(path)
            if is_passed_over(path) or real in above[place]:
                folders.remove(name)
            else:
                above[path] = (*above[place], real)
        yield from (os.path.join(place, name) for name in names if not is_hidden(name))


def content_of(path: str) -> tuple[bytes, str]:
    """Returns what a model is sent of an image file, or b'' and a sentence why there is nothing."""
    if os.path.isdir(path):
        return b"", _of_folder(path)
    from trainer_module.decoding import prepared

    try:
        return prepared(read_bytes(path)).encoded, ""
    except OSError as error:
        return b"", (error.strerror or str(error)).lower()
    except ValueError as error:
        return b"", str(error)


def _of_folder(folder: str) -> str:
    try:
        os.scandir(folder).close()
    except OSError as error:
        return f"the folder and the images in it cannot be read ({error.strerror.lower()})"
    return "is a directory"
