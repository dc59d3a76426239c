"""CIFAR-10 (Krizhevsky 2009), 60,000 colour images of 32x32 pixels in ten classes, from any form in
which it travels.

A source is the official python or binary version, as its archive or its folder, or images in
train/CLASS/NAME.png and test/CLASS/NAME.png, in a tar archive or on disk. Both official versions
give the same files, named by their place in the official order.
"""

import io
import os
import pickle
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

from pipeline.datasets import files
from trainer_module.errors import InputError, require

CLASSES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)  # in the order of the official labels
BATCHES = {"train": [f"data_batch_{number}" for number in range(1, 6)], "test": ["test_batch"]}
PIXELS = 3 * 32 * 32  # bytes of an image: all its red, then all its green, then all its blue values
PICKLED = {  # what the arrays of the python version are made of, as numpy 1 and numpy 2 call it
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
}
BROKEN_PICKLE = (
    pickle.UnpicklingError,
    AttributeError,
    EOFError,
    ImportError,
    IndexError,
    KeyError,
    TypeError,
    ValueError,
)


class Half(NamedTuple):
    """Half of the data set, before it is written."""

    labels: dict[str, str]  # path of an image, train/CLASS/NAME.png -> its class
    load: Callable[[str], bytes]  # path of an image -> its file


ARCHIVE = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"  # where keras gets it
KEPT = "cifar-10-batches-py-target"  # its name where keras keeps it
PATIENCE = 10  # seconds
BY_HAND = f"Fetch {ARCHIVE} by hand and give it as `--source PATH`, or images of your own by lists"

LISTS_ALONE = False  # images are written, once


def write(
    output_dir: str | Path,
    source: str | Path | None = None,
    download: bool = False,
    train_images: int | None = None,
    eval_images: int | None = None,
    seed: int = 0,
) -> dict[str, Path]:
    """Writes images and the lists train.csv and eval.csv, which holds the official test images.

    Args:
        output_dir: where images and lists go.
        source: archive or folder; see the top of this file.
        download: fetch the official archive through keras.datasets (170 MB, kept in ~/.keras)
          instead.
        train_images: how many, equally many of each class; all where it is left out.
        eval_images: likewise.
        seed: which images a subset holds.

    Returns:
        Paths of the lists `train` and `eval` (path,label).

    Raises:
        InputError: where the source is missing, is not CIFAR-10 or not to be trusted.
    """
    counts = {"train": train_images, "eval": eval_images}
    for name, count in counts.items():
        require(
            count is None or count >= 1,
            f"`{name}_images` must be at least 1",
            **{f"{name}_images": count},
        )
    if (source is not None) == download:
        raise InputError(
            "CIFAR-10 comes either from `--source PATH`, an archive or a folder of it, or from "
            "`--download`: give one of the two"
        )
    if download:
        return _write_splits(Path(output_dir), _downloaded(), counts, seed)
    with files.open_source(Path(source)) as opened:
        return _write_splits(
            Path(output_dir), (_read_split(opened, split) for split in BATCHES), counts, seed
        )


def _write_splits(
    folder: Path, splits: Iterator[Half], counts: dict[str, int | None], seed: int
) -> dict[str, Path]:
    lists = {}
    for (name, count), split in zip(counts.items(), splits, strict=True):
        chosen = split.labels if count is None else files.balanced_subset(split.labels, count, seed)
        for path in chosen:
            files.write_file(folder / path, split.load(path))
        lists[name] = files.write_list(folder / f"{name}.csv", chosen.items())
    return lists


def _read_split(source: files.Source, split: str) -> Half:
    """Reads a split from whichever of the three forms the source has."""
    for suffix, parse in (("", parse_python_batch), (".bin", parse_binary_batch)):
        members = _batch_members(source, [name + suffix for name in BATCHES[split]])
        if members:
            batches = [parse(source.read(member), member) for member in members]
            images, labels = (np.concatenate(parts) for parts in zip(*batches, strict=True))
            return _split_of_arrays(split, images, labels)
    return _split_of_folders(source, split)


def _batch_members(source: files.Source, wanted: list[str]) -> list[str]:
    found = {PurePosixPath(name).name: name for name in source.names}
    missing = [name for name in wanted if name not in found]
    if 0 < len(missing) < len(wanted):
        raise InputError(
            f"The source lacks {', '.join(missing)}, which belong to the official CIFAR-10: fetch "
            f"it again"
        )
    return [] if missing else [found[name] for name in wanted]


class _BatchUnpickler(pickle.Unpickler):
    """Builds dicts, lists, bytes, numbers and arrays.

    A pickle that asks for anything else could run any program, and is refused.
    """

    def find_class(self, module: str, name: str) -> object:
        if (module, name) in PICKLED:
            return super().find_class(module, name)
        raise InputError(
            f"Refused: the pickle asks for '{module}.{name}', which no CIFAR-10 batch needs. Use "
            f"the official archive"
        )


def parse_python_batch(content: bytes, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Reads a batch of the python version, a pickled dict, without trusting it.

    Args:
        content: of the file.
        name: of the file, for error messages.

    Returns:
        images, [n, 32, 32, 3] uint8, and labels, [n] integers, places in CLASSES.

    Raises:
        InputError: where the pickle asks for anything but arrays, or is not a CIFAR-10 batch.
    """
    try:
        batch = _BatchUnpickler(io.BytesIO(content), encoding="bytes").load()
        return _checked_batch(batch[b"data"], np.asarray(batch[b"labels"]), name)
    except InputError:
        raise
    except BROKEN_PICKLE as error:
        raise InputError(
            f"'{name}' is no batch of the python version of CIFAR-10: {error!r}. Fetch the archive "
            f"again"
        ) from error


def parse_binary_batch(content: bytes, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Reads a batch of the binary version, one byte of label and 3,072 of pixels an image.

    As `parse_python_batch`.
    """
    if not content or len(content) % (1 + PIXELS):
        raise InputError(
            f"'{name}' has {len(content):,} bytes, no multiple of {1 + PIXELS:,} as in the binary "
            f"version: fetch the archive again"
        )
    records = np.frombuffer(content, np.uint8).reshape(-1, 1 + PIXELS)
    return _checked_batch(records[:, 1:], records[:, 0], name)


def _checked_batch(
    pixels: np.ndarray, labels: np.ndarray, name: str
) -> tuple[np.ndarray, np.ndarray]:
    sound = (
        isinstance(pixels, np.ndarray)
        and pixels.dtype == np.uint8
        and pixels.shape == (len(labels), PIXELS)
    )
    if not sound or labels.dtype.kind not in "iu" or not np.isin(labels, range(len(CLASSES))).all():
        raise InputError(
            f"'{name}' must hold [n, {PIXELS}] bytes of pixels and n labels from 0 to 9: fetch the "
            f"archive again"
        )
    return pixels.reshape(-1, 3, 32, 32).transpose(
        0, 2, 3, 1
    ), labels  # [n, channel, row, column] -> [n, row, column, channel]


def _split_of_arrays(split: str, images: np.ndarray, labels: np.ndarray) -> Half:
    paths = [f"{split}/{CLASSES[label]}/{place:05d}.png" for place, label in enumerate(labels)]
    places = {path: place for place, path in enumerate(paths)}
    classes = [CLASSES[label] for label in labels]
    return Half(
        dict(zip(paths, classes, strict=True)),
        lambda path: files.encode_png(np.ascontiguousarray(images[places[path]])),
    )


def _split_of_folders(source: files.Source, split: str) -> Half:
    """Finds the images in train/CLASS or test/CLASS, below whatever folder.

    Their files are copied as they are.
    """
    members = {}
    for name in source.names:
        parts = PurePosixPath(name).parts
        if len(parts) >= 3 and parts[-3] == split and parts[-2] in CLASSES and files.is_image(name):
            members["/".join(parts[-3:])] = name
    labels = {path: path.split("/")[1] for path in members}
    missing = [f"{split}/{label}" for label in CLASSES if label not in set(labels.values())]
    if missing:
        raise InputError(
            f"The source is no CIFAR-10: neither official batches nor images in "
            f"{', '.join(missing)}. For images of your own: `folder`"
        )
    return Half(labels, lambda path: source.read(members[path]))


def _downloaded() -> Iterator[Half]:
    """Fetches the official archive; keras checks its SHA-256."""
    kept = Path(os.environ.get("KERAS_HOME", Path.home() / ".keras"), "datasets", KEPT)
    if not kept.exists():
        _require_network()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from keras.datasets import cifar10

    try:
        halves = cifar10.load_data()
    except Exception as error:  # keras raises nothing narrower where the network fails
        raise InputError(f"The download failed: {error}. {BY_HAND}") from error
    for split, (images, labels) in zip(BATCHES, halves, strict=True):
        yield _split_of_arrays(split, images, labels.ravel())


def _require_network() -> None:
    """Refuses within seconds what cannot be downloaded; keras would wait for ever."""
    try:
        urllib.request.urlopen(urllib.request.Request(ARCHIVE, method="HEAD"), timeout=PATIENCE)
    except OSError as error:
        reason = getattr(error, "reason", error)
        raise InputError(
            f"CIFAR-10 cannot be downloaded, the network says: {reason}. {BY_HAND}"
        ) from error
