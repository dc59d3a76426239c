"""Makes the report of an existing run: `python -m pipeline.report [--pipeline_root DIR] [--run ID]
[--output FILE]`.

Each run makes its own at its end (components/report); this is for runs from before, and for runs
that failed.
"""

import argparse
import os
import sys
from pathlib import Path

from components.metadata.names import REPORT_FILE, RUN_FILE
from components.metadata.stored_run import StoredRun
from components.metadata.url import FORM
from pipeline.arguments import BAD_INPUT, path_of
from pipeline.lineage.snapshots import snapshot_at, snapshot_of
from pipeline.stopping import run_tool
from pipeline.terminal import libraries_to_log
from trainer_module.errors import InputError
from trainer_module.whole_files import read_json


def main(arguments: list[str]) -> int:
    """Runs one command line and returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m pipeline.report", description=__doc__, allow_abbrev=False
    )
    parser.add_argument("--pipeline_root", type=path_of, default=Path("runs/demo"))
    parser.add_argument(
        "--metadata",
        default="",
        metavar=FORM,
        help="the metadata store, where it is not in the pipeline root",
    )
    parser.add_argument(
        "--run", default="", help="id of the run; default: the latest of the pipeline root"
    )
    parser.add_argument(
        "--output",
        type=path_of,
        help="HTML file to write; default: report.html in the pipeline root",
    )
    flags = parser.parse_args(arguments)
    try:
        known = flags.metadata
        snapshot = snapshot_at(known) if known else snapshot_of(flags.pipeline_root)
        run_id = _run_id([*snapshot.runs], flags.run or _latest(flags.pipeline_root))
        output = _writable(flags.output or flags.pipeline_root / REPORT_FILE)
    except InputError as error:
        print(f"pipeline.report: {error}", file=sys.stderr)
        return BAD_INPUT
    with libraries_to_log(os.devnull):
        from components.report.page import write_report

        write_report(StoredRun(snapshot, run_id), output)
    print(output)
    return 0


def _latest(root: Path) -> str:
    """Returns the id of the root's latest run, or '' where none is recorded.

    Other roots may share the store.
    """
    return read_json(root / RUN_FILE).get("run_id", "")


def _run_id(known: list[str], wanted: str) -> str:
    chosen = wanted or (known[-1] if known else "")
    if chosen not in known:
        raise InputError(
            f"`--run` must be a run of this store. Received: {chosen!r}. There are: "
            f"{', '.join(known) or 'none'}"
        )
    return chosen


def _writable(path: Path) -> Path:
    if path.is_dir() or not path.parent.is_dir():
        raise InputError(f"`--output` must be a file in a folder that is there. Received: {path}")
    return path


if __name__ == "__main__":
    run_tool(main)
