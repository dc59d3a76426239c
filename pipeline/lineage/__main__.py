"""Where did this model come from: `python -m pipeline.lineage [--pipeline_root DIR] [MODEL] [--json]`.

Without MODEL: the runs and what each node did in them. With a MODEL (a pushed folder, its version number, an artifact id,
or `latest`): how it was judged, the tree of executions from it back to the list files with parameters and fingerprints,
and what came of it. Reads ML Metadata alone, so it answers at once and is safe while a run goes on.
"""

import argparse
import json
import sys
from pathlib import Path

from components.snapshot import Snapshot, read
from components.store import open_store
from pipeline.lineage.models import describe, find_model
from pipeline.lineage.runs import describe_run, run_lines
from pipeline.lineage.tree import model_lines


def main(arguments: list[str]) -> int:
    """Runs one command line and returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m pipeline.lineage", description=__doc__, allow_abbrev=False)
    parser.add_argument("model", nargs="?", help="pushed folder, version, artifact id or `latest`; without it the runs are listed")
    parser.add_argument("--pipeline_root", type=Path, default=Path("runs/demo"))
    parser.add_argument("--json", action="store_true")
    flags = parser.parse_args(arguments)
    metadata = flags.pipeline_root / "metadata.sqlite"
    if not metadata.is_file():
        print(f"pipeline.lineage: {metadata}: no such file; name the run's folder with --pipeline_root", file=sys.stderr)
        return 2
    try:
        result, lines = answer(read(open_store(str(metadata))), flags)
    except ValueError as error:
        print(f"pipeline.lineage: {error}", file=sys.stderr)
        return 2
    print(json.dumps(result, indent=1) if flags.json else "\n".join(lines))
    return 0


def answer(snapshot: Snapshot, flags: argparse.Namespace) -> tuple[dict | list, list[str]]:
    """Returns what was asked for, as plain data and as lines for a person.

    Raises:
      ValueError: if what was asked for is not in the store.
    """
    if flags.model:
        model = find_model(snapshot, flags.model)
        return describe(snapshot, model), model_lines(snapshot, model)
    runs = [describe_run(snapshot, run) for run in snapshot.runs.values()]
    return runs, run_lines(runs)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
