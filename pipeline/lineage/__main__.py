"""Where did this model come from, and what came of these images?

`python -m pipeline.lineage [--pipeline_root DIR]` and

    (nothing)                   the runs, and what each node did in them
    MODEL                       how a model was judged, the tree from it back to the list files, and
                                what came of it
    --diff MODEL MODEL          what changed: inputs, parameters, code, metrics
    --downstream LIST_OR_IMAGE  which models saw it

A MODEL is a pushed folder, its version number, an artifact id, or `latest`, which is of
--pipeline_root where that is given or several share a store. Reads ML Metadata alone
(and for images the index beside the examples), so it answers at once and is safe while a run goes
on.
"""

import argparse
import json
import os
import signal
import sys
import time
from pathlib import Path

from ml_metadata.errors import StatusError

from components.metadata.snapshot import Snapshot, read
from components.metadata.store import open_store
from components.metadata.stored_run import StoredRun
from components.metadata.url import FORM, SQLITE_FILE, is_mysql, without_password
from pipeline.arguments import BAD_INPUT, path_of
from pipeline.lineage.at_home import at_home
from pipeline.lineage.diff import compare, diff_lines
from pipeline.lineage.downstream import downstream, downstream_lines
from pipeline.lineage.models import describe, find_model
from pipeline.lineage.runs import describe_run, run_lines
from pipeline.lineage.tree import model_lines
from pipeline.state_files import RUN_FILE, read_whole
from pipeline.stopping import run_tool
from pipeline.terminal import libraries_to_log
from trainer_module.errors import InputError

ATTEMPTS, PAUSE = 5, 0.1  # a run writes for milliseconds; seconds, doubled each time


def main(arguments: list[str]) -> int:
    """Runs one command line and returns its exit code."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="python -m pipeline.lineage",
        description=__doc__,
        allow_abbrev=False,
        formatter_class=raw,
    )
    question = parser.add_mutually_exclusive_group()
    question.add_argument(
        "model", nargs="?", metavar="MODEL", help="pushed folder, version, artifact id or `latest`"
    )
    question.add_argument("--diff", nargs=2, metavar="MODEL", help="two models to compare")
    question.add_argument(
        "--downstream", metavar="LIST_OR_IMAGE", help="path of a list or an image, or an image's id"
    )
    parser.add_argument(
        "--pipeline_root",
        type=path_of,
        help="folder of a pipeline; default: runs/demo",
    )
    parser.add_argument(
        "--metadata",
        default="",
        metavar=FORM,
        help="the metadata store, where it is not in the pipeline root",
    )
    parser.add_argument("--json", action="store_true", help="everything as JSON")
    flags = parser.parse_args(arguments)
    try:
        snapshot = _asked(flags)
        result, lines = answer(snapshot, flags)
    except ValueError as error:
        print(f"pipeline.lineage: {error}", file=sys.stderr)
        return BAD_INPUT
    # `| head` may close the pipe; MySQL's client has set this otherwise
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    print(json.dumps(result, indent=1) if flags.json else "\n".join(lines))
    return 0


def _asked(flags: argparse.Namespace) -> Snapshot:
    """Reads the store that is asked; the root whose models are meant stands in the flags then."""
    if flags.metadata:
        return snapshot_at(flags.metadata)
    flags.pipeline_root = flags.pipeline_root or Path("runs/demo")
    snapshot = snapshot_of(flags.pipeline_root)
    if not is_mysql(metadata_of(flags.pipeline_root)):  # all in the store is of that root
        flags.pipeline_root = None
    return snapshot


def snapshot_of(root: Path) -> Snapshot:
    """Reads the store of a pipeline root, which may have been moved.

    Raises:
      InputError: if there is none, or it cannot be read.
    """
    return at_home(snapshot_at(metadata_of(root)), root)


def snapshot_at(metadata: str) -> Snapshot:
    """Reads the store that lies there, again if a run is just writing to it.

    Raises:
      InputError: if it cannot be read.
    """
    for attempt in range(ATTEMPTS):
        try:
            with libraries_to_log(
                os.devnull
            ):  # ML Metadata's C++ part prints what its exceptions say
                return read(open_store(metadata))
        except StatusError as error:
            failure = error
            time.sleep(PAUSE * 2**attempt)
    raise InputError(f"{without_password(metadata)}: cannot be read: {failure}") from failure


def metadata_of(root: Path) -> str:
    """Returns where the metadata of a pipeline root lies: on the server that its latest run used,
    or in the root.

    Raises:
      InputError: if there is none.
    """
    server = read_whole(root / RUN_FILE).get("metadata", "")
    file = root / SQLITE_FILE
    if server or file.is_file():
        return server or str(file)
    others = [str(found.parent) for found in sorted(root.parent.glob(f"*/{SQLITE_FILE}"))]
    hint = f"There are {', '.join(others)}" if others else "Name the folder of a run"
    raise InputError(f"{root}: no pipeline root, it has no {SQLITE_FILE}. {hint}: --pipeline_root")


def answer(snapshot: Snapshot, flags: argparse.Namespace) -> tuple[dict | list, list[str]]:
    """Returns what was asked for, as plain data and as lines for a person.

    Raises:
      ValueError: if what was asked for is not in the store.
    """
    if flags.model:
        model = find_model(snapshot, flags.model, flags.pipeline_root)
        return describe(snapshot, model), model_lines(snapshot, model)
    if flags.diff:
        models = (find_model(snapshot, one, flags.pipeline_root) for one in flags.diff)
        told = compare(snapshot, *models)
        return told, diff_lines(told)
    if flags.downstream:
        told = downstream(snapshot, flags.downstream)
        return told, downstream_lines(told)
    runs = [describe_run(StoredRun(snapshot, run_id)) for run_id in snapshot.runs]
    return runs, run_lines(runs)


if __name__ == "__main__":
    run_tool(main)
