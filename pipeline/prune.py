"""Removes what no kept model needs: `python -m pipeline.prune --pipeline_root DIR --keep N`.

Kept is all that the newest N pushed models were made from and judged by, all that the newest
finished run and the latest run read or made, all that runs of other roots in the same store read or
made, and what no run has written. The rest is shown first,
and removed with --yes: artifacts, pushed models before the newest N, what killed nodes left. ML
Metadata keeps every row, marked as deleted: lineage answers as before, and a node whose output is
gone runs again.
"""

import argparse
import sys

from components.metadata.url import FORM, is_mysql
from pipeline.arguments import BAD_INPUT, DONE, FAILED, path_of
from pipeline.faults import fault
from pipeline.stopping import run_tool
from trainer_module.errors import InputError


def main(arguments: list[str]) -> int:
    """Runs one command line and returns its exit code."""
    flags = _parser().parse_args(arguments)
    try:
        return _prune(flags)
    except InputError as error:
        print(f"pipeline.prune: {error}", file=sys.stderr)
        return BAD_INPUT
    except Exception as error:
        told = fault(error, flags.pipeline_root) or (isinstance(error, OSError) and error)
        if not told:
            raise
        told = str(told).rstrip(".")
        print(f"pipeline.prune: {told}. The same command goes on", file=sys.stderr)
        return FAILED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pipeline.prune",
        description=__doc__,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--pipeline_root", type=path_of, required=True, help="folder of a pipeline, as runs/demo"
    )
    parser.add_argument(
        "--keep", type=int, required=True, metavar="N", help="pushed models to keep, at least 1"
    )
    parser.add_argument("--yes", action="store_true", help="remove; else it is only shown")
    parser.add_argument(
        "--metadata",
        default="",
        metavar=FORM,
        help="the metadata store, where it is not in the pipeline root",
    )
    return parser


def _prune(flags: argparse.Namespace) -> int:
    # heavy, all of them
    from pipeline.lineage.snapshots import metadata_of
    from pipeline.lock import lock
    from pipeline.root import Root, refuse_unfit
    from pipeline.unneeded import lines, removals, remove

    if flags.keep < 1:
        raise InputError(f"`--keep` must be at least 1. Received: {flags.keep}")
    metadata = flags.metadata or metadata_of(flags.pipeline_root)
    root = Root(flags.pipeline_root.resolve(), metadata if is_mysql(metadata) else "")
    with lock(root.path):
        refuse_unfit(root)
        store = root.open_store()
        found = removals(root, store, flags.keep)
        if not found:
            print(f"Nothing to remove: all of {root.path} is needed by what is kept.")
        for line in lines(found, root.path) if found else ():
            print(line)
        if found and not flags.yes:
            print("Nothing is removed yet: add --yes.")
        elif found:
            remove(found, root)
            print("Removed. Lineage answers as before; what is needed again is made again.")
    return DONE


if __name__ == "__main__":
    run_tool(main)
