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
import signal
import sys
from pathlib import Path

from components.metadata.snapshot import Snapshot
from components.metadata.stored_run import StoredRun
from components.metadata.url import FORM, is_mysql
from pipeline.arguments import BAD_INPUT, path_of
from pipeline.lineage.diff import compare, diff_lines
from pipeline.lineage.downstream import downstream, downstream_lines
from pipeline.lineage.models import describe, find_model
from pipeline.lineage.runs import describe_run, run_lines
from pipeline.lineage.snapshots import metadata_of, snapshot_at, snapshot_of
from pipeline.lineage.tree import model_lines
from pipeline.stopping import run_tool


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
        result, lines = answer(*_asked(flags), flags)
    except ValueError as error:
        print(f"pipeline.lineage: {error}", file=sys.stderr)
        return BAD_INPUT
    # `| head` may close the pipe; MySQL's client has set this otherwise
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    print(json.dumps(result, indent=1) if flags.json else "\n".join(lines))
    return 0


def _asked(flags: argparse.Namespace) -> tuple[Snapshot, Path | None]:
    """Returns the store that is asked, and the pipeline root whose models alone are meant, of a
    store that holds others', too.
    """
    if flags.metadata:
        return snapshot_at(flags.metadata), flags.pipeline_root
    root = flags.pipeline_root or Path("runs/demo")
    return snapshot_of(root), root if is_mysql(metadata_of(root)) else None


def answer(
    snapshot: Snapshot, root: Path | None, flags: argparse.Namespace
) -> tuple[dict | list, list[str]]:
    """Returns what was asked for, as plain data and as lines for a person.

    Raises:
      ValueError: if what was asked for is not in the store.
    """
    if flags.model:
        model = find_model(snapshot, flags.model, root)
        return describe(snapshot, model), model_lines(snapshot, model)
    if flags.diff:
        models = (find_model(snapshot, one, root) for one in flags.diff)
        told = compare(snapshot, *models)
        return told, diff_lines(told)
    if flags.downstream:
        told = downstream(snapshot, flags.downstream)
        return told, downstream_lines(told)
    runs = [describe_run(StoredRun(snapshot, run_id)) for run_id in snapshot.runs]
    return runs, run_lines(runs)


if __name__ == "__main__":
    run_tool(main)
