"""Predictions from a pushed model: `python -m pipeline.predict MODEL IMAGE...`, one line an image.

MODEL is a SavedModel folder, a folder of numbered versions (the newest is taken), or a pipeline
root. IMAGE is an image file, or a folder of them. An image that cannot be read is named on stderr,
and the others are answered; the exit code is then 4.
"""

import argparse
import base64
import itertools
import json
import os
import sys
from collections.abc import Iterator
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
    """Asks the model for each image.

    Args:
      model_dir: a SavedModel with the signature `from_images`.
      images: image files.

    Yields:
      One answer an image, in their order.

    Raises:
      InputError: as `loaded`.
    """
    signature = loaded(model_dir, "from_images")
    import tensorflow as tf

    for start in range(0, len(images), BATCH):
        chosen = images[start : start + BATCH]
        contents = [content_of(str(path)) for path in chosen]
        encoded = [content for content, reason in contents if not reason]
        served = signature(image_bytes=tf.constant(encoded)) if encoded else {}
        outputs = {name: iter(value.numpy()) for name, value in served.items()}
        for path, (content, reason) in zip(chosen, contents, strict=True):
            yield (
                Unread(path, reason)
                if reason
                else Answer(path, content, {name: next(rows) for name, rows in outputs.items()})
            )


def as_json(answer: Answer) -> str:
    """Returns path and outputs as one JSON object.

    Bytes that are no text stand as base64 below `b64`, as TensorFlow Serving has it.
    """
    return json.dumps(
        {"path": str(answer.path)} | {name: _plain(value) for name, value in answer.outputs.items()}
    )


def _plain(value):
    if not isinstance(value, bytes):
        return value.tolist()
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"b64": base64.b64encode(value).decode()}


def write_pictures(answer: Answer, task: Task, folder: Path, taken: set[Path]) -> list[Path]:
    """Writes what the task draws of an answer, named after the image, and returns the files.

    `taken` keeps names of one call apart.
    """
    written = []
    for ending, content in task.drawn(answer.outputs, answer.encoded).items():
        names = (
            folder / f"{answer.path.stem}{number}_{ending}"
            for number in itertools.chain([""], (f"-{count}" for count in itertools.count(2)))
        )
        file = next(name for name in names if name not in taken)
        folder.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        taken.add(file)
        written.append(file)
    return written


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
        with libraries_to_log(os.devnull):
            found = list(predict(model_dir, images))
    except ValueError as error:
        print(f"pipeline.predict: {error}", file=sys.stderr)
        return BAD_INPUT
    answers = [answer for answer in found if isinstance(answer, Answer)]
    _tell(answers, task, flags)
    for unread in (answer for answer in found if isinstance(answer, Unread)):
        path = visible(str(unread.path), kept="")
        print(f"pipeline.predict: {path}: {unread.reason}", file=sys.stderr)
    return DONE if len(answers) == len(found) else IN_PART if answers else BAD_INPUT


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


def _tell(answers: list[Answer], task: Task, flags: argparse.Namespace) -> None:
    """Prints a line for each answer, and writes the pictures of tasks that draw."""
    taken: set[Path] = set()
    for answer in answers:
        pictures = [] if flags.json else write_pictures(answer, task, flags.output_dir, taken)
        told = [str(answer.path), task.line(answer.outputs), *map(str, pictures)]
        told = (visible(one, kept="") for one in told)
        print(as_json(answer) if flags.json else "  ".join(told))


if __name__ == "__main__":
    run_tool(main)
