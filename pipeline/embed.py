"""Features of images from a pushed model: `python -m pipeline.embed MODEL IMAGES... --output
features.npz [--neighbours K]`.

MODEL is a SavedModel folder, a folder of numbered versions (the newest is taken), or a pipeline
root. IMAGES are image files, folders (searched to the bottom) or list files, `path` or
`path,target` a row. An image that cannot be read is named on stderr, and the others are stored; the
exit code is then 4. The served model decodes, resizes, normalizes and encodes: what is stored is
what the model sees. With --neighbours, the most similar images of each image by cosine.

N images, D feature dims, K neighbours.
"""

import argparse
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from components.file_list_example_gen.rows import (
    MEND_ALL,
    Problem,
    Row,
    read_list,
    refuse,
)
from pipeline.arguments import BAD_INPUT, DONE, IN_PART, model_parser, path_of, require_utf8
from pipeline.asked_model import asked_model, loaded, refuse_within
from pipeline.choices import absolute
from pipeline.data_check import tell_layout
from pipeline.image_files import content_of, in_folder, is_image
from pipeline.stopping import run_tool
from pipeline.terminal import libraries_to_log
from trainer_module.errors import InputError, visible
from trainer_module.findings import counted
from trainer_module.image_headers import ENDINGS, has_ending

FORMATS = (".npz", ".parquet")
SIGNATURE = "features"  # trainer_module/export.py serves it
BATCH = 256  # images in memory at once, and as many again that are being read
READERS = 8  # threads
SHOWN = 10  # images whose neighbours are printed


def find_images(places: list[str]) -> list[Row]:
    """Returns the images that files, folders and lists name, in order, each with its target if a
    list has one. How a list was understood is told on stderr where that is not plain.

    Raises:
      InputError: if a list is missing, or a folder holds no image.
    """
    rows = []
    for place in places:
        if os.path.isdir(place):
            files = in_folder(place)
            if not files:
                raise InputError(
                    f"{place}: no image in this folder; images end in {', '.join(ENDINGS)}"
                )
            rows += [Row(place, 0, os.path.abspath(file), "") for file in files]
        elif is_image(place):
            rows.append(Row(place, 0, absolute(place), ""))
        else:
            listed = read_list(place)
            refuse(listed.problems)
            tell_layout(place, listed)
            rows += listed.rows
    return rows


@dataclass(frozen=True)
class Embedding:
    """Features of images: float32 [N, D], paths [N], targets as written in their lists [N] (''
    without one).
    """

    features: object
    paths: list[str]
    targets: list[str]


def embed(model_dir: Path, rows: list[Row]) -> tuple[Embedding, list[Problem]]:
    """Asks the model for the features of every image, and returns them with what could not be read.

    Args:
      model_dir: a SavedModel with the signature `features`.
      rows: the images.

    Raises:
      InputError: naming all images if none can be read, or the model, as `loaded`.
    """
    signature = loaded(model_dir, SIGNATURE)
    import numpy as np
    import tensorflow as tf

    parts, problems, good = [], [], []
    for batch, contents in _read(rows):
        read = [content for content, reason in contents if not reason]
        for row, (_, reason) in zip(batch, contents, strict=True):
            if reason:
                problems.append(Problem(row.list_path, row.line, row.path, reason))
            else:
                good.append(row)
        if read:
            served = signature(image_bytes=tf.constant(read))
            parts.append(served["features"].numpy())
    if not parts:
        refuse(problems, MEND_ALL)
    paths, targets = [row.path for row in good], [row.target for row in good]
    return Embedding(np.concatenate(parts), paths, targets), problems


def _read(rows: list[Row]) -> Iterator[tuple[list[Row], list[tuple[bytes, str]]]]:
    """Yields rows and their pictures batch by batch, the next batch being read meanwhile."""
    batches = [rows[start : start + BATCH] for start in range(0, len(rows), BATCH)]
    with ThreadPoolExecutor(READERS) as readers, ThreadPoolExecutor(1) as ahead:

        def read(batch: list[Row]) -> list[tuple[bytes, str]]:
            return list(readers.map(content_of, [row.path for row in batch]))

        waiting = ahead.submit(read, batches[0])
        for number, batch in enumerate(batches):
            encoded = waiting.result()
            if number + 1 < len(batches):
                waiting = ahead.submit(read, batches[number + 1])
            yield batch, encoded


def write(path: Path, embedding: Embedding, neighbours=None, similarities=None) -> None:
    """Writes features, paths and targets, and the neighbours where they were asked for.

    Args:
      path: a .npz (arrays `features`, `paths`, `targets`, `neighbours`, `similarities`) or .parquet
        file (a row an image).
      embedding: what to write.
      neighbours: integers [N, K], row numbers, or None.
      similarities: float32 [N, K], or None.
    """
    columns = {"path": embedding.paths, "target": embedding.targets}
    if path.suffix == ".npz":
        import numpy as np

        found = (
            {} if neighbours is None else {"neighbours": neighbours, "similarities": similarities}
        )
        np.savez(
            path,
            features=embedding.features,
            paths=np.array(columns["path"]),
            targets=np.array(columns["target"]),
            **found,
        )
        return
    import pyarrow
    from pyarrow import parquet

    columns["features"] = _fixed_lists(embedding.features)
    if neighbours is not None:
        columns |= {
            "neighbours": _fixed_lists(neighbours),
            "similarities": _fixed_lists(similarities),
        }
    parquet.write_table(pyarrow.table(columns), path)


def _fixed_lists(values):
    """Returns an array [N, M] as a column of lists of M values."""
    import pyarrow

    return pyarrow.FixedSizeListArray.from_arrays(
        pyarrow.array(values.reshape(-1)), values.shape[1]
    )


def neighbour_lines(embedding: Embedding, neighbours, similarities) -> list[str]:
    """Returns the first images with their neighbours, and how often the nearest one has the same
    target.
    """
    lines = []
    for row in range(min(SHOWN, len(neighbours))):
        lines.append(_named(embedding, row))
        pairs = zip(neighbours[row], similarities[row], strict=True)
        lines += [
            f"   {similarity:6.3f}  {_named(embedding, other)}" for other, similarity in pairs
        ]
    if len(neighbours) > SHOWN:
        lines.append(f"... and {len(neighbours) - SHOWN:,} more")
    if all(embedding.targets) and not all(map(has_ending, embedding.targets)):  # label maps
        same = sum(
            embedding.targets[row] == embedding.targets[nearest]
            for row, nearest in enumerate(neighbours[:, 0])
        )
        lines.append(
            f"The nearest image has the same target {100 * same / len(neighbours):.1f} % of the "
            f"time"
        )
    return lines


def _named(embedding: Embedding, row: int) -> str:
    target = embedding.targets[row]
    place = embedding.paths[row]
    return visible(f"{place}  {target}" if target else place, kept="")


def main(arguments: list[str]) -> int:
    """Runs one command line and returns its exit code."""
    parser = model_parser("embed", __doc__)
    parser.add_argument(
        "images", nargs="+", metavar="IMAGES", help="image files, folders or list files"
    )
    parser.add_argument(
        "--output", type=path_of, help=f"file to write, one of {', '.join(FORMATS)}"
    )
    parser.add_argument(
        "--neighbours",
        type=int,
        default=0,
        metavar="K",
        help="find the K most similar images of each image; default: 0, none",
    )
    flags = parser.parse_args(arguments)
    try:
        lines, problems = _run(flags)
    except ValueError as error:
        print(f"pipeline.embed: {error}", file=sys.stderr)
        return BAD_INPUT
    print("\n".join(lines))
    for problem in problems:
        print(f"pipeline.embed: {problem}", file=sys.stderr)
    return IN_PART if problems else DONE


def _run(flags: argparse.Namespace) -> tuple[list[str], list[Problem]]:
    """Returns what is to be told, and the images that could not be read."""
    _check(flags)
    model_dir = asked_model(flags.model)
    if flags.output:
        refuse_within(model_dir, flags.output)
    rows = find_images(flags.images)
    _check_neighbours(flags.neighbours, len(rows))
    if flags.output and flags.output.suffix == ".parquet":
        require_utf8(str(flags.output), "`--output`")
        for row in rows:
            require_utf8(row.path, "An image in a .parquet file")
    with libraries_to_log(os.devnull):
        started = time.perf_counter()
        embedding, problems = embed(model_dir, rows)
        seconds = time.perf_counter() - started
    _check_neighbours(flags.neighbours, len(embedding.paths))
    lines, found = [], ()
    if flags.neighbours:
        from trainer_module.neighbours import nearest

        found = nearest(embedding.features, flags.neighbours)
        lines += neighbour_lines(embedding, *found)
    if flags.output:
        write(flags.output, embedding, *found)
    count, dims = embedding.features.shape
    stored = f" -> {flags.output}" if flags.output else ""
    return [
        *lines,
        f"{counted(count, 'image')}, {counted(dims, 'feature')} each, {seconds:.1f} s "
        f"({count / seconds:,.0f} images/s, loading included){stored}",
    ], problems


def _check_neighbours(neighbours: int, images: int) -> None:
    if neighbours and not 1 <= neighbours < images:
        raise InputError(
            f"`--neighbours` must be from 1 to the number of images minus 1. Received: "
            f"{neighbours}, {counted(images, 'image')}"
        )


def _check(flags: argparse.Namespace) -> None:
    if not flags.output and not flags.neighbours:
        raise InputError("nothing asked for: give --output FILE, --neighbours K, or both")
    if flags.output and flags.output.suffix not in FORMATS:
        raise InputError(
            f"`--output` must end in one of {', '.join(FORMATS)}. Received: {flags.output}"
        )
    if flags.output and not flags.output.absolute().parent.is_dir():
        raise InputError(f"`--output` must lie in a folder that exists. Received: {flags.output}")
    if flags.output and os.path.lexists(flags.output):
        raise InputError(
            f"`--output` must be new. Received: {flags.output}, which is there. Fix: another "
            f"--output"
        )
    if flags.neighbours < 0:
        raise InputError(
            f"`--neighbours` must be at least 1, or 0 for none. Received: {flags.neighbours}"
        )


if __name__ == "__main__":
    run_tool(main)
