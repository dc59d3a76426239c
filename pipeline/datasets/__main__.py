"""Writes a data set as image files and list files: `python -m pipeline.datasets NAME --output_dir
DIR`.

Standard library alone until the flags are known to be right, so that help and a typo answer at
once.
"""

import argparse
import importlib
import shlex
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from components.file_list_example_gen.rows import ON_BAD_ROW
from pipeline.arguments import BAD_INPUT, at_home, nearest, one_of, refuse_address, refuse_empty
from pipeline.datasets import files, utkface
from pipeline.stopping import run_tool
from trainer_module.errors import InputError
from trainer_module.findings import in_line, table

SPLITS = (("train", "train"), ("val", "eval"))  # flag of local_runner.py, list


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one message; argparse would print the usage first.

    No value is empty.
    """

    def __init__(self, **options):
        super().__init__(**options)
        refuse_empty(self)

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message[0].upper()}{message[1:]}. See `{self.prog} --help`")


def _shapes_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--train_images", type=int, default=4000, help="default: %(default)s")
    parser.add_argument("--eval_images", type=int, default=1000, help="default: %(default)s")
    parser.add_argument("--image_size", type=int, default=32, help="pixels, default: %(default)s")
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        help="the same seed gives the same files, default: %(default)s",
    )
    parser.add_argument(
        "--regions",
        type=int,
        default=1,
        help="in each image; with several there are label maps alone, default: %(default)s",
    )


def _cifar10_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--source",
        help="official archive or folder, or images in train/CLASS and test/CLASS, in a tar "
        "archive or folder",
    )
    parser.add_argument(
        "--download",
        action="store_true",
        help="fetch the official archive through keras.datasets, 170 MB",
    )
    parser.add_argument("--train_images", type=int, help="size of a balanced subset, default: all")
    parser.add_argument("--eval_images", type=int, help="size of a balanced subset, default: all")
    parser.add_argument(
        "--seed", type=int, default=0, help="which images a subset holds, default: %(default)s"
    )


def _elpv_flags(parser: argparse.ArgumentParser) -> None:
    """None of its own."""


def _folder_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--source", required=True, help="folder of class folders, SOURCE/CLASS/NAME.png"
    )
    parser.add_argument(
        "--eval_fraction",
        type=float,
        default=0.2,
        help="share for evaluation, default: %(default)s",
    )


def _camvid_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--source", required=True, help="tar archive or folder with train.txt, val.txt and test.txt"
    )


def _utkface_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--source", required=True, help="folder of images named AGE_GENDER_RACE_DATE.jpg"
    )
    parser.add_argument(
        "--target",
        default="gender",
        **one_of(utkface.TARGETS),
        help="default: %(default)s",
    )
    parser.add_argument(
        "--on_bad_row",
        default="fail",
        **one_of(ON_BAD_ROW),
        help="skip files whose name lacks a field",
    )


DATASETS: dict[str, tuple[Callable[[argparse.ArgumentParser], None], str]] = {
    "shapes": (_shapes_flags, "drawn here: the pattern in a region is the class; with label maps"),
    "cifar10": (_cifar10_flags, "CIFAR-10 from an archive, a folder or the network"),
    "elpv": (_elpv_flags, "functional and defective solar cells, from the package elpv-dataset"),
    "folder": (_folder_flags, "images of your own in one folder a class; writes lists alone"),
    "utkface": (
        _utkface_flags,
        "faces whose file names say gender, race and age; writes lists alone",
    ),
    "camvid": (_camvid_flags, "street scenes with label maps, from an archive or a folder"),
}


def main(arguments: list[str]) -> int:
    """Runs the command line; returns its exit code, 0 or 2."""
    started = time.monotonic()
    try:
        flags = vars(parse(arguments))
        name = flags.pop("name")
        there = "a folder here, and a copy of it there"
        refuse_address(flags["output_dir"], "--output_dir", "a folder", there)
        refuse_address(flags.get("source") or "", "--source", "a folder or an archive")
        for place in {"output_dir", "source"} & flags.keys():
            flags[place] = flags[place] and at_home(flags[place])
        _require_writable(Path(flags["output_dir"]))
        module = importlib.import_module(f"pipeline.datasets.{name}")
        lists = module.write(**flags)
    except InputError as error:
        print(f"pipeline.datasets: {error}", file=sys.stderr)
        return BAD_INPUT
    print(f"{name} is in {flags['output_dir']} after {time.monotonic() - started:.1f} s")
    if noticed := table(files.findings_left(str(next(iter(lists.values()))))):
        print(noticed)
    print(
        summary(
            lists,
            getattr(module, "LABEL_MAP_CLASSES", 0),
            flags.get("target") in getattr(module, "NUMBERS", ()),
        )
    )
    return 0


def parse(arguments: list[str]) -> argparse.Namespace:
    """Returns the flags, with the name of the data set as `name`.

    Raises:
        InputError: for an unknown name or flag, with the nearest known one; for a missing flag or a
          value of the wrong kind.
    """
    parser = _Parser(
        prog="python -m pipeline.datasets", description=__doc__.splitlines()[0], allow_abbrev=False
    )
    chosen = parser.add_subparsers(dest="name", metavar="NAME", required=True, parser_class=_Parser)
    known = {}
    for name, (add_flags, description) in DATASETS.items():
        subparser = chosen.add_parser(
            name, help=description, description=description, allow_abbrev=False
        )
        subparser.add_argument(
            "--output_dir", required=True, metavar="DIR", help="where images and lists go"
        )
        add_flags(subparser)
        known[name] = list(subparser._option_string_actions)
    if arguments and arguments[0] not in (*DATASETS, "-h", "--help"):
        raise InputError(f"No data set '{arguments[0]}'. {_hint(arguments[0], list(DATASETS))}")
    flags, unknown = parser.parse_known_args(arguments)
    if unknown:
        flag = unknown[0].split("=")[0]
        raise InputError(f"No flag '{flag}' of {flags.name}. {_hint(flag, known[flags.name])}")
    return flags


def _hint(word: str, known: list[str]) -> str:
    return nearest(word, known, f"There are {', '.join(known)}")


def _require_writable(output_dir: Path) -> None:
    """Fails before any work where the folder cannot be made or written to."""
    probe = output_dir / ".writable"
    try:
        output_dir.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise InputError(
            f"`output_dir` must be a folder that can be written to. Received: '{output_dir}' "
            f"({error.strerror})"
        ) from error


def summary(lists: dict[str, Path], label_map_classes: int, numbers: bool = False) -> str:
    """Says what each list holds and which command comes next.

    Args:
        lists: names and paths of list files; those whose name ends in `_segmentation` hold label
          maps.
        label_map_classes: how many classes label maps have, the ignored one left out.
        numbers: whether the targets are numbers, for regression, and not classes.
    """
    lines, labels = [], set()
    for name, path in lists.items():
        rows = files.read_list(path)
        counts = {} if name.endswith("_segmentation") else Counter(label for _, label in rows)
        labels.update(counts)
        classes = (
            _span(counts)
            if numbers
            else ", ".join(
                f"{label} {counts[key]:,}"
                for key, label in zip(sorted(counts), in_line(sorted(counts)), strict=True)
            )
        )
        images = "image" if len(rows) == 1 else "images"
        lines.append(f"  {path.name:<24} {len(rows):>7,} {images}  {classes or 'with label maps'}")
    if labels:
        chosen = " ".join(
            f"--{flag}_file_path={shlex.quote(str(lists[name]))}" for flag, name in SPLITS
        )
        task = (
            "--task=regression" if numbers else f"--task=classification --num_classes={len(labels)}"
        )
        lines.append(f"Next: python local_runner.py {chosen} {task}")
    if label_map_classes:
        chosen = " ".join(
            f"--{flag}_file_path={shlex.quote(str(lists[f'{split}_segmentation']))}"
            for flag, split in SPLITS
        )
        lines.append(
            f"Next, for label maps: python local_runner.py {chosen} --task=segmentation "
            f"--num_classes={label_map_classes}"
        )
    return "\n".join(lines)


def _span(counts: Counter) -> str:
    """Says where numbers lie; '' where there are none."""
    values = [float(label) for label in counts]
    return f"{min(values):g} to {max(values):g}" if values else ""


if __name__ == "__main__":
    run_tool(main)
