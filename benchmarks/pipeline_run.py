"""Runs of the whole pipeline, as a person begins them, for benchmarks that compare results."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from components.metadata.names import PRETRAINER  # noqa: E402
from pipeline.arguments import DONE, REFUSED  # noqa: E402
from pipeline.root import Root  # noqa: E402
from trainer_module.log_files import HISTORY_FILE  # noqa: E402

PRETRAINING_SECONDS = "pretraining_seconds"


def run(flags: list[str], pipeline_root: Path) -> dict:
    """Runs local_runner.py and returns the run's summary with PRETRAINING_SECONDS, those of the run
    that trained where this one took it from the cache; a model that the gate refuses has its
    accuracy all the same.

    Raises:
      SystemExit: if it fails, with what it said.
    """
    from pipeline.summary import SUMMARY_FILE

    root = pipeline_root.resolve()
    asked([sys.executable, "local_runner.py", *flags, f"--pipeline_root={root}"])
    summary = json.loads((root / SUMMARY_FILE).read_text(encoding="utf-8"))
    stored = Root(root).stored_run(summary["run_id"])
    history = stored.json_file(PRETRAINER, "model_run", HISTORY_FILE)
    return summary | {PRETRAINING_SECONDS: history["seconds"]}


def asked(command: list[str]) -> str:
    """Returns what a command prints that is run in the repository.

    Raises:
      SystemExit: if it fails, with the end of what it said.
    """
    finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if finished.returncode not in (DONE, REFUSED):
        raise SystemExit(f"{' '.join(command)}\n{finished.stdout[-2000:]}{finished.stderr[-2000:]}")
    return finished.stdout


def tell(row: dict) -> None:
    """Tells a result as soon as it is there, beside what is printed last."""
    print(json.dumps(row), file=sys.stderr, flush=True)
