"""The whole check of lists and images without a run: `python -m pipeline.check TRAIN [EVAL
[PRETRAIN]] [flags]`, or `--images DIR` instead of lists.

Flags are those of local_runner.py, as in `--task=segmentation --num_classes=5`. Rows, doubles and
leaks are checked as before a run, every image and label map is read and decoded as ingest does it,
by the same code. Exit code 0, or 2 where a run would be refused by what the command line names;
what lies in its pipeline root already, a run looks at itself.
"""

import argparse
import dataclasses
import os
import re
import sys
from contextlib import redirect_stdout
from io import StringIO
from tempfile import TemporaryDirectory

from components.file_list_example_gen.remote import BEAM_ARGS_VARIABLE
from pipeline.arguments import BAD_INPUT, DONE
from pipeline.choices import IMAGES_FOLDER, Choices, Lists
from pipeline.data_check import Checked, checked_rows
from pipeline.datasets.of_recipe import LISTS, lists_of
from pipeline.engines.check import refuse_unread_flags
from pipeline.engines.engine import engine_asked_for
from pipeline.flags import build_parser, choices_of
from pipeline.lock import refuse_place
from pipeline.plan import decided, encoder_of
from pipeline.read_images import Show, read_images
from pipeline.stopping import run_tool
from pipeline.terminal import libraries_to_log, line_on_terminal
from trainer_module.errors import InputError
from trainer_module.findings import (
    NOTE,
    REFUSED,
    Finding,
    counted,
    merged,
    refuse_worst,
    table,
)

SPLITS = ("train_file_path", "val_file_path", "pretrain_file_path")


def main(arguments: list[str]) -> int:
    """Runs one command line and returns its exit code."""
    flags = _parsed(arguments)
    # the lists of `--images DIR` lie in a run's folder, and there is no run
    with TemporaryDirectory() as place, StringIO() as said:
        root = {"pipeline_root": place} if flags.images else {}
        try:
            choices = choices_of(flags)
            _refuse_place(choices, flags)
            choices = dataclasses.replace(choices, **root)
            with line_on_terminal() as show, libraries_to_log(os.devnull), redirect_stdout(said):
                found, images = check(choices, show)
        except ValueError as error:
            refused, told = f"pipeline.check: {error}", ""
        else:
            warnings = sum(finding.severity != NOTE for finding in found)
            counts = counted(warnings, "warning"), counted(len(found) - warnings, "note")
            of_recipe = choices.dataset.name not in ("", IMAGES_FOLDER)
            whose = f" of the recipe {choices.name}" if of_recipe else ""
            can_be_used = f"{counted(images, 'image')}{whose} can be used; {', '.join(counts)}"
            refused, told = "", "\n".join(filter(None, (table(found), can_be_used)))
        told = _without_lists(said.getvalue() + told, place).strip()
    if told:
        print(told)
    if refused:
        print(_without_lists(refused, place), file=sys.stderr)
    return BAD_INPUT if refused else DONE


def _parsed(arguments: list[str]) -> argparse.Namespace:
    """Returns the flags, with the lists in their places."""
    parser = build_parser()
    parser.prog, parser.usage = "python -m pipeline.check", None
    parser.description, parser.epilog = __doc__, None
    what = "list files: to train on, to evaluate on, to pretrain on"
    parser.add_argument("lists", nargs="*", default=[], metavar="LIST", help=what)
    flags = parser.parse_args(arguments)
    if len(flags.lists) > len(SPLITS):
        parser.error(f"at most {len(SPLITS)} lists. Received: {' '.join(flags.lists)}")
    for name, path in zip(SPLITS, flags.lists, strict=False):
        if getattr(flags, name) not in (None, path):
            parser.error(f"--{name} and the list {path} are one thing: leave one out")
        setattr(flags, name, path)
    return flags


def _refuse_place(choices: Choices, flags: argparse.Namespace) -> None:
    """Refuses where a run cannot be, and what its data nodes cannot run on."""
    engine = engine_asked_for(flags.beam_runner)
    if os.environ.get(BEAM_ARGS_VARIABLE):
        refuse_unread_flags(engine)
    refuse_place(choices.root.resolve())


def _without_lists(text: str, place: str) -> str:
    """Returns what is told without the names of lists that are gone afterwards."""
    kept_for_a_run = re.escape(os.path.join(place, LISTS))
    text = re.sub(rf"{kept_for_a_run}/\w+\.csv(:\d+)?: ", "", text)
    return re.sub(rf"{kept_for_a_run}/(\w+)\.csv", r"the list \1", text)


def check(choices: Choices, show: Show = lambda text: None) -> tuple[tuple[Finding, ...], int]:
    """Checks what choices name; returns the findings, and how many images can be used. `show` is
    told how far it is.

    Raises:
      InputError: as a run would, but naming all rows at once that cannot be used.
    """
    with redirect_stdout(StringIO()):  # what a run chooses is told by the run
        found = encoder_of(choices)
    with redirect_stdout(StringIO() if choices.dataset.name == IMAGES_FOLDER else sys.stdout):
        lists = lists_of(choices)
    checked = _all_rows(choices, lists)
    if choices.on_bad_row == "skip" or not checked.problems:
        with redirect_stdout(StringIO()):
            decided(choices, lists, checked, found)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from components.file_list_example_gen import image_index
    from components.file_list_example_gen.noticed import noticed
    from components.file_list_example_gen.rows import refuse_of_run
    from trainer_module.decoding import REMARKS

    tallies, problems, records = read_images(checked, show)
    indexes = {
        split: image_index.Index(b"".join(sorted(found))) for split, found in records.items()
    }
    problems += checked.problems
    ingest = noticed(tallies, problems, indexes, lists.given(), checked.task, REMARKS)
    others = [finding for finding in ingest if finding.severity != REFUSED]
    if choices.on_bad_row == "fail":
        ordered = sorted(problems, key=lambda one: (one.list_path, one.line))
        refuse_of_run(ordered, rest_will_do=len(others) == len(ingest))
    if len(others) < len(ingest) and others:
        print(table(others))
    refuse_worst(ingest)
    return merged(checked.findings, ingest), sum(tally.images for tally in tallies.values())


def _all_rows(choices: Choices, lists: Lists) -> Checked:
    """Returns the rows that can be read, also where a run would end with those that cannot."""
    try:
        return checked_rows(dataclasses.replace(choices, on_bad_row="skip"), lists)
    except InputError:
        checked_rows(choices, lists)  # which says it as the run does
        raise


if __name__ == "__main__":
    run_tool(main)
