"""Runs of the whole pipeline, as a person begins them, for benchmarks that compare results."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from pipeline.arguments import DONE, REFUSED  # noqa: E402


def run(flags: list[str], pipeline_root: Path) -> dict:
    """Runs local_runner.py and returns the run's summary; a model that the gate refuses has its
    accuracy all the same.

    Raises:
      SystemExit: if it fails, with what it said.
    """
    from pipeline.summary import SUMMARY_FILE

    root = pipeline_root.resolve()
    asked([sys.executable, "local_runner.py", *flags, f"--pipeline_root={root}"])
    return json.loads((root / SUMMARY_FILE).read_text(encoding="utf-8"))


def asked(command: list[str]) -> str:
    """Returns what a command prints that is run in the repository.

    Raises:
      SystemExit: if it fails, with the end of what it said.
    """
    finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if finished.returncode not in (DONE, REFUSED):
        raise SystemExit(f"{' '.join(command)}\n{finished.stdout[-2000:]}{finished.stderr[-2000:]}")
    return finished.stdout


def seconds_of(summary: dict, component: str) -> float:
    """Returns how long a component of a run took."""
    return next(one["seconds"] for one in summary["components"] if one["id"] == component)


def tell(row: dict) -> None:
    """Tells a result as soon as it is there, beside what is printed last."""
    print(json.dumps(row), file=sys.stderr, flush=True)
