"""Makes the report of an existing run: `python -m pipeline.report [--pipeline_root DIR] [--run ID] [--output FILE]`.

Each run makes its own at its end (components/report); this is for runs from before, and for runs that failed.
"""

import argparse
import os
import sys
from pathlib import Path

from components.store import open_store, run_ids
from pipeline.terminal import libraries_to_log

FILE = "report.html"


def main(arguments: list[str]) -> int:
    """Runs one command line and returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m pipeline.report", description=__doc__, allow_abbrev=False)
    parser.add_argument("--pipeline_root", type=Path, default=Path("runs/demo"))
    parser.add_argument("--run", help="id of the run; default: the latest")
    parser.add_argument("--output", type=Path, help="HTML file to write; default: report.html in the pipeline root")
    flags = parser.parse_args(arguments)
    metadata = flags.pipeline_root / "metadata.sqlite"
    if not metadata.is_file():
        print(f"pipeline.report: {metadata}: no such file; name the run's folder with --pipeline_root", file=sys.stderr)
        return 2
    store = open_store(str(metadata))
    known = run_ids(store)
    run_id = flags.run or (known[-1] if known else "")
    if run_id not in known:
        print(f"pipeline.report: no run {run_id!r} in {metadata}. There are: {', '.join(known) or 'none'}", file=sys.stderr)
        return 2
    output = flags.output or flags.pipeline_root / FILE
    with libraries_to_log(os.devnull):
        from components.report.page import write_report

        write_report(store, run_id, output)
    print(output)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
