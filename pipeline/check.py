"""The whole check of lists and images without a run: `python -m pipeline.check TRAIN [EVAL
[PRETRAIN]] [flags]`, or `--images DIR` instead of lists.

Flags are those of local_runner.py, as in `--task=segmentation --num_classes=5`. Rows, doubles and
leaks are checked as before a run, every image and label map is read and decoded as ingest does it,
by the same code. Exit code 0, or 2 where a run would be refused.
"""

import dataclasses
import os
import sys
from collections.abc import Mapping
from tempfile import TemporaryDirectory

from pipeline.arguments import BAD_INPUT, DONE
from pipeline.data_check import Checked, checked_rows
from pipeline.datasets.of_recipe import lists_of
from pipeline.flags import build_parser, choices_of
from pipeline.stopping import run_tool
from trainer_module.findings import NOTE, REFUSED, Finding, counted, merged, refuse_worst, table

SPLITS = ("train_file_path", "val_file_path", "pretrain_file_path")


def main(arguments: list[str]) -> int:
    """Runs one command line and returns its exit code."""
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
    try:
        # the lists of `--images DIR` lie in a run's folder, and there is no run
        with TemporaryDirectory() as place:
            root = {"pipeline_root": place} if flags.images else {}
            found, images = check(dataclasses.replace(choices_of(flags), **root))
    except ValueError as error:
        print(f"pipeline.check: {error}", file=sys.stderr)
        return BAD_INPUT
    if found:
        print(table(found))
    notes = sum(finding.severity == NOTE for finding in found)
    told = (counted(len(found) - notes, "warning"), counted(notes, "note"))
    print(f"{counted(images, 'image')} can be used; {', '.join(told)}")
    return DONE


def check(choices) -> tuple[tuple[Finding, ...], int]:
    """Checks what choices name; returns the findings, and how many images can be used.

    Raises:
      InputError: as a run would.
    """
    lists = lists_of(choices)
    checked = checked_rows(choices, lists)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from components.file_list_example_gen import image_index
    from components.file_list_example_gen.noticed import noticed
    from components.file_list_example_gen.rows import refuse
    from trainer_module.decoding import REMARKS

    tallies, problems, records = read_images(checked)
    if choices.on_bad_row == "fail":
        refuse(problems)
    indexes = {
        split: image_index.Index(b"".join(sorted(found))) for split, found in records.items()
    }
    problems += checked.problems
    ingest = noticed(tallies, problems, indexes, lists.given(), checked.task, REMARKS)
    others = [finding for finding in ingest if finding.severity != REFUSED]
    if len(others) < len(ingest) and others:
        print(table(others))
    refuse_worst(ingest)
    images = sum(tally.images for tally in tallies.values())
    return merged(checked.findings, ingest), images


def read_images(checked: Checked):
    """Reads all images; returns tallies by split of the lists, the bad rows, and records of the
    index by split of the examples.
    """
    from components.file_list_example_gen.held_out import is_held_out
    from components.file_list_example_gen.reading import example_of, index_record, read_counted
    from components.file_list_example_gen.tally import Tally

    task, problems = checked.task, []
    tallies = {split: Tally() for split in checked.rows}
    records: Mapping[str, list[bytes]] = {split: [] for split in checked.parts}
    is_split = set(records) > set(tallies)
    for split, rows in checked.rows.items():
        for made in read_counted(rows, task, split != "pretrain", tallies[split], problems):
            part = "eval" if is_split and is_held_out(made.features["image_id"]) else split
            records[part].append(index_record(example_of(made.features)))
    return tallies, problems, records


if __name__ == "__main__":
    run_tool(main)
