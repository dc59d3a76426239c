"""Predictions from a pushed model: `python -m pipeline.predict MODEL IMAGE...`, one line an image.

MODEL is a SavedModel folder, a folder of numbered versions (the newest is taken), or a pipeline
root. IMAGE is an image file, or a folder of them. An image that cannot be read is named on stderr,
and the others are answered, as they come; the exit code is then 4.
"""

import argparse
import base64
import itertools
import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.arguments import BAD_INPUT, DONE, IN_PART, model_parser, path_of
from pipeline.asked_model import asked_model, loaded, task_of
from pipeline.image_files import content_of, in_folder
from pipeline.stopping import run_tool
from pipeline.terminal import libraries_to_log
from trainer_module.errors import visible
from trainer_module.tasks.task import Task

BATCH = 64  # images sent at once
LONGEST_NAME = 255  # bytes of a file's name


@dataclass(frozen=True)
class Answer:
    """What the model says about one image."""

    path: Path
    encoded: bytes  # the picture, as ingest would store it
    outputs: dict[str, Any]  # what the task serves, as numpy values


@dataclass(frozen=True)
class Unread:
    """An image that there is no answer about, and why."""

    path: Path
    reason: str


def predict(model_dir: Path, images: list[Path]) -> Iterator[Answer | Unread]:
    """Asks the model for each image; what libraries print meanwhile is lost.

    Args:
      model_dir: a SavedModel with the signature `from_images`.
      images: image files, of which BATCH are read at once.

    Yields:
      One answer an image, in their order.

    Raises:
      InputError: as `loaded`.
    """
    with libraries_to_log(os.devnull):
        signature = loaded(model_dir, "from_images")
    for start in range(0, len(images), BATCH):
        with libraries_to_log(os.devnull):
            answers = _asked(signature, images[start : start + BATCH])
        yield from answers


def _asked(signature: Callable, images: list[Path]) -> list[Answer | Unread]:
    import tensorflow as tf

    contents = [content_of(str(path)) for path in images]
    encoded = [content for content, reason in contents if not reason]
    served = signature(image_bytes=tf.constant(encoded)) if encoded else {}
    outputs = {name: iter(value.numpy()) for name, value in served.items()}
    return [
        Unread(path, reason)
        if reason
        else Answer(path, content, {name: next(rows) for name, rows in outputs.items()})
        for path, (content, reason) in zip(images, contents, strict=True)
    ]


def as_json(answer: Answer, task: Task) -> str:
    """Returns path and outputs as one JSON object.

    Bytes that are no text stand as base64 below `b64`, as TensorFlow Serving has it.
    """
    outputs = task.unpadded(answer.outputs)
    return json.dumps(
        {"path": str(answer.path)} | {name: _plain(value) for name, value in outputs.items()}
    )


def _plain(value):
    if not isinstance(value, bytes):
        return value.tolist()
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"b64": base64.b64encode(value).decode()}


def write_pictures(answer: Answer, task: Task, folder: Path, taken: set[Path]) -> list[Path]:
    """Writes what the task draws of an answer, named after the image as far as a name may be long,
    and returns the files.

    `taken` keeps names of one call apart.
    """
    written = []
    for ending, content in task.drawn(answer.outputs, answer.encoded).items():
        names = (
            folder / _named(answer.path.stem, f"{number}_{ending}")
            for number in itertools.chain([""], (f"-{count}" for count in itertools.count(2)))
        )
        file = next(name for name in names if name not in taken)
        folder.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        taken.add(file)
        written.append(file)
    return written


def _named(stem: str, ending: str) -> str:
    """Returns a file's name, of whose stem what no name has room for is cut off."""
    room, encoded = LONGEST_NAME - len(ending.encode()), os.fsencode(stem)
    return (stem if len(encoded) <= room else encoded[:room].decode(errors="ignore")) + ending


def main(arguments: list[str]) -> int:
    """Runs one command line and returns its exit code."""
    parser = model_parser("predict", __doc__)
    parser.add_argument("images", type=path_of, nargs="+", metavar="IMAGE")
    parser.add_argument("--json", action="store_true", help="every output, one JSON object a line")
    parser.add_argument(
        "--output_dir",
        type=path_of,
        default=Path("predictions"),
        help="where pictures go, for tasks that draw; default: %(default)s",
    )
    flags = parser.parse_args(arguments)
    try:
        model_dir = asked_model(flags.model)
        task = task_of(model_dir)
        images = _files(flags.images)
        answered = _tell(predict(model_dir, images), task, flags)
    except ValueError as error:
        print(f"pipeline.predict: {error}", file=sys.stderr)
        return BAD_INPUT
    return DONE if answered == len(images) else IN_PART if answered else BAD_INPUT


def _files(places: list[Path]) -> list[Path]:
    """Returns the files that were named, and those in the folders that were.

    Raises:
      ValueError: naming a folder without images.
    """
    files = []
    for place in places:
        within = [Path(file) for file in in_folder(str(place))] if place.is_dir() else [place]
        if not within:
            raise ValueError(f"{place}: no image in this folder")
        files += within
    return files


def _tell(found: Iterator[Answer | Unread], task: Task, flags: argparse.Namespace) -> int:
    """Prints a line for each image as it is answered, and writes the pictures of tasks that draw;
    returns how many were answered.
    """
    answered, taken = 0, set()
    for one in found:
        if isinstance(one, Unread):
            path = visible(str(one.path), kept="")
            print(f"pipeline.predict: {path}: {one.reason}", file=sys.stderr)
        else:
            answered += 1
            print(_line(one, task, flags, taken), flush=True)
    return answered


def _line(answer: Answer, task: Task, flags: argparse.Namespace, taken: set[Path]) -> str:
    if flags.json:
        return as_json(answer, task)
    pictures = write_pictures(answer, task, flags.output_dir, taken)
    told = (str(answer.path), task.line(answer.outputs), *map(str, pictures))
    return "  ".join(visible(one, kept="") for one in told)


if __name__ == "__main__":
    run_tool(main)
