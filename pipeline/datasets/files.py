"""What every data set shares: files that are written only when they change, list files, and sources
that are read without extracting them.

A source is a folder or a tar archive; its members are named by their path inside it, with forward
slashes. Standard library alone, but for `encode_png`: a mistyped command line must not wait for
Pillow.
"""

import csv
import errno
import hashlib
import io
import json
import lzma
import os
import tarfile
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from components.metadata.names import ARTIFACTS, RUN_FILE
from trainer_module.errors import InputError
from trainer_module.findings import NOTE, WARNING, Finding, as_dicts, counted, first, from_dicts
from trainer_module.image_headers import has_ending
from trainer_module.whole_files import write_bytes

NOTICED = ".noticed.json"  # beside lists: what was noticed while they were written
# names, in lower case, of what systems keep beside files: previews, bins, snapshots
SYSTEMS_OWN = {
    "@eadir", "#recycle", "@recycle", "#snapshot", "$recycle.bin", "system volume information",
    "lost+found", "__macosx",
}  # fmt: skip


def write_file(path: Path, content: bytes) -> None:
    """Writes `content` whole or not at all, and leaves a file that already holds it untouched:
    caches look at its mtime.
    """
    if path.is_file() and path.stat().st_size == len(content) and path.read_bytes() == content:
        return
    write_bytes(path, content, durable=False)  # what a power cut spoils is written again


def encode_png(image: Any) -> bytes:
    """Returns the PNG file of an array.

    Args:
        image: uint8 array, [H, W, 3] for colours or [H, W] for grey values or class ids.
    """
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG")
    return buffer.getvalue()


def write_list(path: Path, rows: Iterable[Sequence[str]]) -> Path:
    """Writes a list file, one row an image: `path`, `path,label` or `path,labelmap`.

    No header, quoted where CSV needs it.

    Raises:
        InputError: naming a path that no list can hold.
    """
    rows = [*rows]
    for row in rows:
        require_listable(row[0])
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    write_file(path, text.getvalue().encode("utf-8"))
    return path


def read_list(path: Path) -> list[list[str]]:
    """Reads back what `write_list` wrote."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def stable_fraction(text: str) -> float:
    """Returns a number in [0, 1) that depends on `text` alone, today and on every machine."""
    return int.from_bytes(hashlib.sha256(text.encode("utf-8")).digest()[:8], "big") / 2**64


def balanced_subset(labels: dict[str, str], count: int, seed: int) -> dict[str, str]:
    """Returns `count` of the labelled names in their order, equally many a class (the first ones
    have one more where it does not divide).

    The larger subset of a seed contains the smaller one.
    """
    classes = sorted(set(labels.values()))
    chosen = set()
    for index, label in enumerate(classes):
        wanted = count // len(classes) + (index < count % len(classes))
        names = [name for name in labels if labels[name] == label]
        if wanted > len(names):
            raise InputError(
                f"{count:,} images need {wanted:,} of class '{label}', but the source has "
                f"{len(names):,}: ask for fewer"
            )
        chosen.update(sorted(names, key=lambda name: stable_fraction(f"{seed}/{name}"))[:wanted])
    return {name: label for name, label in labels.items() if name in chosen}


class FolderSource:
    """The files below a folder that are not passed over; links to folders are followed, but for
    those that lead back.
    """

    def __init__(self, folder: Path):
        self._folder = folder
        self.names = sorted(
            PurePosixPath(os.path.relpath(path, folder)).as_posix()
            for path in _files_below(str(folder), (os.path.realpath(folder),))
        )

    def read(self, name: str) -> bytes:
        """Returns the content of one file."""
        return (self._folder / name).read_bytes()


def _files_below(folder: str, above: tuple[str, ...]) -> Iterator[str]:
    """Yields every file below a folder that is not passed over, and every link that leads nowhere:
    what it was meant to be is missing.

    Args:
      folder: where to look.
      above: real paths of this folder and of those that it was reached through.

    Raises:
      InputError: naming a folder, or a link, that cannot be read.
    """
    try:
        with os.scandir(folder) as entries:
            found = [entry for entry in entries if not is_hidden(entry.name)]
    except OSError as error:
        raise _unreadable(folder, error) from error
    for entry in found:
        if not _is_folder(entry):
            yield entry.path
        elif (real := os.path.realpath(entry.path)) not in above and not _is_root(entry.path):
            yield from _files_below(entry.path, (*above, real))


def _is_folder(entry: os.DirEntry) -> bool:
    """Tells whether an entry is a folder, or a link to one and not to nowhere or to itself."""
    try:
        return entry.is_dir()
    except OSError as error:
        if error.errno == errno.ELOOP:
            return False
        raise _unreadable(entry.path, error) from error


def _unreadable(path: str, error: OSError) -> InputError:
    return InputError(
        f"'{path}' cannot be read ({error.strerror.lower()}). Fix: give yourself the right, as by "
        f"chmod u+rx, or move it elsewhere"
    )


class TarSource:
    """The files in a tar archive, compressed or not.

    Nothing is ever extracted, and a name that points outside is refused.
    """

    def __init__(self, archive: tarfile.TarFile):
        self._archive = archive
        self._members = {_safe_name(member): member for member in archive if not member.isdir()}
        self.names = list(self._members)

    def read(self, name: str) -> bytes:
        """Returns the content of one file; fast when names are asked for in the archive's order."""
        return self._archive.extractfile(self._members[name]).read()


def _safe_name(member: tarfile.TarInfo) -> str:
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts or "\\" in member.name:
        raise InputError(
            f"Refused: the archive member '{member.name}' points outside the archive. Use an "
            f"archive you trust"
        )
    if not member.isfile():
        raise InputError(
            f"Refused: the archive member '{member.name}' is a link or a device, not a file. Use "
            f"an archive of plain files"
        )
    return str(path)


Source = FolderSource | TarSource


@contextmanager
def open_source(path: Path) -> Iterator[Source]:
    """Opens a folder or a tar archive, whichever `path` is."""
    if path.is_dir():
        yield FolderSource(path)
        return
    if not path.exists():
        raise InputError(f"`source` must be a folder or a tar archive, but '{path}' does not exist")
    if not tarfile.is_tarfile(path):
        raise InputError(f"`source` must be a folder or a tar archive, but '{path}' is neither")
    try:
        with tarfile.open(path) as archive:
            yield TarSource(archive)
    except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, OSError) as error:
        if getattr(error, "errno", None):  # of the machine; what bz2 and gzip say of bytes has none
            raise
        raise InputError(f"The archive '{path}' is damaged: {error}. Fetch it again") from error


def is_image(name: str) -> bool:
    """Whether a name is that of an image; hidden files are not."""
    return has_ending(name) and not is_hidden(name)


def is_hidden(name: str) -> bool:
    """Whether a file, or a folder that it lies in, has a name that begins with a dot, as what
    macOS leaves (`._cat.png`), or is one that systems keep for themselves.
    """
    return any(part.startswith(".") or part.lower() in SYSTEMS_OWN for part in name.split("/"))


def is_passed_over(folder: str | Path) -> bool:
    """Whether a folder is not looked into for images: a hidden one, one that systems keep for
    themselves, or a pipeline root of ours, whose reports show pictures of images.
    """
    return is_hidden(os.path.basename(folder)) or _is_root(folder)


def _is_root(folder: str | Path) -> bool:
    parts = Path(folder, RUN_FILE), Path(folder, ARTIFACTS)
    return os.path.isfile(parts[0]) and os.path.isdir(parts[1])


def left_out(source: Path, names: Iterable[str], used: Iterable[str]) -> list[Finding]:
    """Returns what to tell of the files of a folder that are in no list.

    Args:
      source: the folder.
      names: of all its files that are not hidden.
      used: those in a list.
    """
    used = {*used, "train.csv", "eval.csv", "test.csv"}
    left = [name for name in names if name not in used]
    if not left:
        return []
    endings = Counter(PurePosixPath(name).suffix.lower() or "no ending" for name in left)
    shown = ", ".join(f"{count:,} with {end}" for end, count in endings.most_common(10))
    told = f"{source}: {counted(len(left), 'file')} left out: {shown}"
    fix = "images need an ending of images, and a place or a name that says what they show"
    severity = WARNING if any(map(is_image, left)) else NOTE
    return [Finding(severity, "files left out", told, len(left), first(left), fix)]


def leave_findings(folder: Path, lists: Iterable[Path], findings: Sequence[Finding]) -> None:
    """Writes beside lists what was noticed while they were made, for every run on them."""
    if not findings:
        (folder / NOTICED).unlink(missing_ok=True)
        return
    record = {"lists": {path.name: _digest(path) for path in lists}, "findings": as_dicts(findings)}
    write_file(folder / NOTICED, json.dumps(record, indent=1).encode())


def findings_left(list_path: str) -> tuple[Finding, ...]:
    """Returns what was noticed while a list was made; () of one that was not made here, or was
    edited since.
    """
    path = Path(list_path)
    try:
        record = json.loads((path.parent / NOTICED).read_text(encoding="utf-8"))
        same = record["lists"].get(path.name) == _digest(path)
        return from_dicts(record["findings"]) if same else ()
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return ()


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def require_listable(name: str) -> None:
    """Raises an InputError where no list can hold an image's name."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InputError(f"The name of the image {name!r} is not valid UTF-8: rename it") from error
    if "\n" in name or "\r" in name:
        raise InputError(
            f"The name of the image {name!r} has a line break, which no list can hold: rename it"
        )


def listed_path(image: Path, folder: Path) -> str:
    """Returns an image's path as a list in `folder` names it: relative where it lies below that
    folder, absolute elsewhere.
    """
    image, folder = Path(os.path.abspath(image)), Path(os.path.abspath(folder))
    return (image.relative_to(folder) if image.is_relative_to(folder) else image).as_posix()
