"""The runs of a store as a table: when, how long, how it ended, what worked and what was cached."""

import os
import socket

from components.snapshot import Execution, Run, Snapshot
from pipeline.lineage.models import moment
from pipeline.lineage.table import aligned

GOOD = ("done", "cached")
RESOLVERS = ("Baseline",)  # looks something up in every run; no work
INTERRUPTED = "interrupted"


def describe_run(snapshot: Snapshot, run: Run) -> dict:
    """Returns a run as plain data.

    Its `seconds` are those from its first node's start to its last node's end.
    """
    executions = [snapshot.executions[number] for number in run.executions]
    started = min((execution.started for execution in executions), default=0.0)
    ended = max((execution.started + execution.seconds for execution in executions), default=0.0)
    return {
        "run": run.id,
        "pipeline": run.pipeline,
        "started": moment(started) if executions else "",
        "state": _state(run, executions),
        "seconds": round(ended - started, 3),
        "ran": [
            execution.node
            for execution in executions
            if execution.state == "done" and execution.node not in RESOLVERS
        ],
        "cached": [execution.node for execution in executions if execution.state == "cached"],
        "other": {
            execution.node: execution.state
            for execution in executions
            if execution.state not in GOOD
        },
        "metrics": run.metrics,
        "facts": run.facts,
    }


def _state(run: Run, executions: list[Execution]) -> str:
    """Returns how a run ended, or whether it goes on.

    Where the runner left no word of it, what its nodes say.
    """
    if run.facts.get("state") == "running":
        return "running" if _is_alive(str(run.facts.get("process", ""))) else INTERRUPTED
    bad = [execution.state for execution in executions if execution.state not in GOOD]
    return str(run.facts.get("state") or (bad[0] if bad else "done"))


def _is_alive(process: str) -> bool:
    """Tells whether `host pid` still runs.

    What goes on at another host cannot be seen from here and is believed.
    """
    host, _, number = process.rpartition(" ")
    if host != socket.gethostname():
        return True
    try:
        os.kill(int(number), 0)  # signal 0 only asks
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # someone else's
    return True


def run_lines(runs: list[dict]) -> list[str]:
    """Returns the table, oldest run first."""
    if not runs:
        return ["No run yet"]
    rows = [("run", "started", "state", "seconds", "cached", "ran")]
    for run in runs:
        work = (
            ", ".join([*run["ran"], *(f"{node} ({state})" for node, state in run["other"].items())])
            or "nothing"
        )
        rows.append(
            (
                run["run"],
                run["started"],
                run["state"],
                f"{run['seconds']:.1f}",
                str(len(run["cached"])),
                work,
            )
        )
    return aligned(rows)
