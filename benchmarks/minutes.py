"""Accuracy against minutes: the same recipe with other settings, in turns over several seeds, each
a run of the whole pipeline.

All runs share one pipeline root, so images are read once, and a run that is done is taken from the
cache: a benchmark that was broken off goes on. Seconds are those of pretraining. The last line is
JSON.

    python benchmarks/minutes.py --seeds 0 1 2 --trial "" --trial "view_size=16" \
        -- --recipe cifar10_small --source PATH_OF_CIFAR10
"""

import argparse
import json
import statistics
import sys
from pathlib import Path

from pipeline_run import PRETRAINING_SECONDS, run, tell

METRICS = "linear_accuracy", "knn_accuracy", "untrained_linear_accuracy"


def main(arguments: list[str]) -> None:
    """Runs what is to be run, and prints how the trials compare."""
    options = parse(arguments)
    rows = []
    for seed in options.seeds:
        for trial in options.trial:  # in turns, so that a busy hour slows all alike
            rows.append(measured(trial, seed, options))
            tell(rows[-1])
    said = {
        trial: summed([row for row in rows if row["trial"] == trial]) for trial in options.trial
    }
    print(json.dumps({"rows": rows, "trials": said}))


def parse(arguments: list[str]) -> argparse.Namespace:
    """Returns the options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trial", action="append", required=True, help='as in "view_size=16"')
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--pipeline_root", type=Path, default=Path("runs/minutes"))
    parser.add_argument("flags", nargs="+", help="of local_runner.py, behind `--`")
    return parser.parse_args(arguments)


def measured(trial: str, seed: int, options: argparse.Namespace) -> dict:
    """Returns the seconds and the accuracies of one run."""
    changes = [part for setting in trial.split() for part in ("--set", setting)]
    summary = run([*options.flags, f"--seed={seed}", *changes], options.pipeline_root)
    accuracies = {name: round(summary["metrics"][name], 4) for name in METRICS}
    seconds = summary[PRETRAINING_SECONDS]
    return {"trial": trial, "seed": seed, "seconds": seconds} | accuracies


def summed(rows: list[dict]) -> dict:
    """Returns medians of the seconds, and mean and extremes of the accuracies."""
    accuracies = [row["linear_accuracy"] for row in rows]
    return {
        "seconds": statistics.median(row["seconds"] for row in rows),
        "linear_accuracy": round(statistics.mean(accuracies), 4),
        "lowest": min(accuracies),
        "highest": max(accuracies),
        "knn_accuracy": round(statistics.mean(row["knn_accuracy"] for row in rows), 4),
    }


if __name__ == "__main__":
    main(sys.argv[1:])
