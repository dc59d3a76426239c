"""Predictions from a pushed model: `python -m pipeline.predict MODEL IMAGE...`, one line an image.

MODEL is a SavedModel folder, a folder of numbered versions (the newest is taken), or a pipeline root.
"""

import argparse
import json
import os
import sys
from pathlib import Path

from pipeline.terminal import libraries_to_log

BATCH = 64  # images sent at once


def newest_model(path: Path) -> Path:
    """Returns the SavedModel folder that `path` means.

    Raises:
      ValueError: if there is none.
    """
    candidates = [path, *_versions(path), *_versions(path / "serving")]
    found = [candidate for candidate in candidates if (candidate / "saved_model.pb").is_file()]
    if not found:
        raise ValueError(f"{path}: no model here; expected a SavedModel, a folder of versions, or a pipeline root with a pushed model")
    return found[0]


def _versions(folder: Path) -> list[Path]:
    names = [child for child in folder.iterdir() if child.name.isdigit()] if folder.is_dir() else []
    return sorted(names, key=lambda child: int(child.name), reverse=True)


def predict(model_dir: Path, images: list[Path]) -> list[dict]:
    """Asks the model for each image.

    Args:
      model_dir: a SavedModel with the signature `from_images`.
      images: image files.

    Returns:
      One dict an image: `path` and the model's outputs, arrays as lists.

    Raises:
      ValueError: naming an image that is missing or cannot be decoded.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow as tf

    signature = tf.saved_model.load(str(model_dir)).signatures["from_images"]
    answers = []
    for start in range(0, len(images), BATCH):
        chosen = images[start : start + BATCH]
        encoded = [_readable(path, tf) for path in chosen]
        outputs = {name: value.numpy() for name, value in signature(image_bytes=tf.constant(encoded)).items()}
        answers += [{"path": str(path)} | {name: _plain(value[row]) for name, value in outputs.items()} for row, path in enumerate(chosen)]
    return answers


def _readable(path: Path, tf) -> bytes:
    try:
        encoded = path.read_bytes()
        tf.io.decode_image(encoded, channels=3, expand_animations=False)
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from error
    except tf.errors.InvalidArgumentError as error:
        raise ValueError(f"{path}: cannot be decoded as an image") from error
    return encoded


def _plain(value):
    if isinstance(value, bytes):
        return value.decode()
    return value.tolist()


def line(answer: dict) -> str:
    """Returns one line for a person: the path, the class and its probability, or the first values of other outputs."""
    if "class_name" in answer:
        return f"{answer['path']}  {answer['class_name']}  {max(answer['probabilities']):.3f}"
    return f"{answer['path']}  {json.dumps({name: value for name, value in answer.items() if name != 'path'})}"


def main(arguments: list[str]) -> int:
    """Runs one command line and returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m pipeline.predict", description=__doc__, allow_abbrev=False)
    parser.add_argument("model", type=Path, help="SavedModel, folder of versions, or pipeline root")
    parser.add_argument("images", type=Path, nargs="+", metavar="IMAGE")
    parser.add_argument("--json", action="store_true", help="every output, one JSON object a line")
    flags = parser.parse_args(arguments)
    try:
        with libraries_to_log(os.devnull):
            answers = predict(newest_model(flags.model), flags.images)
    except ValueError as error:
        print(f"pipeline.predict: {error}", file=sys.stderr)
        return 2
    for answer in answers:
        print(json.dumps(answer) if flags.json else line(answer))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
