"""The runs of a store as a table: when, how long, how it ended, what did work and what was cached."""

from components.snapshot import Run, Snapshot
from pipeline.lineage.models import moment

GOOD = ("done", "cached")
RESOLVERS = ("Baseline",)  # looks something up in every run; no work


def describe_run(snapshot: Snapshot, run: Run) -> dict:
    """Returns a run as plain data; `seconds` of its executions lie on the wall clock, pauses between them included."""
    executions = [snapshot.executions[number] for number in run.executions]
    started = min((execution.started for execution in executions), default=0.0)
    ended = max((execution.started + execution.seconds for execution in executions), default=0.0)
    bad = [execution.state for execution in executions if execution.state not in GOOD]
    return {
        "run": run.id,
        "pipeline": run.pipeline,
        "started": moment(started) if executions else "",
        "state": bad[0] if bad else "done",
        "seconds": round(ended - started, 3),
        "ran": [execution.node for execution in executions if execution.state == "done" and execution.node not in RESOLVERS],
        "cached": [execution.node for execution in executions if execution.state == "cached"],
        "other": {execution.node: execution.state for execution in executions if execution.state not in GOOD},
        "facts": run.facts,
    }


def run_lines(runs: list[dict]) -> list[str]:
    """Returns the table, oldest run first."""
    if not runs:
        return ["No run yet"]
    rows = [("run", "started", "state", "seconds", "cached", "ran")]
    for run in runs:
        work = ", ".join(run["ran"]) if run["ran"] else "nothing"
        rows.append((run["run"], run["started"], run["state"], f"{run['seconds']:.1f}", str(len(run["cached"])), work))
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    return ["  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[5]]) for row in rows]
