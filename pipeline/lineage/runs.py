"""The runs of a store as a table: when, how long, how it ended, what worked and what was cached."""

from components.metadata.names import BASELINE
from components.metadata.stored_run import GOOD, STOPPED, StoredRun
from pipeline.lineage.models import moment
from pipeline.lineage.table import aligned

RESOLVERS = (BASELINE,)  # looks something up in every run; no work


def describe_run(run: StoredRun) -> dict:
    """Returns a run as plain data.

    Its `seconds` are those from its first node's start to its last node's end.
    """
    states = [(execution.node, execution.state) for execution in run.executions]
    return {
        "run": run.id,
        "pipeline": run.row.pipeline,
        "started": moment(run.started) if states else "",
        "state": run.state,
        **({"stopped_by": run.row.facts["stopped_by"]} if run.state == STOPPED else {}),
        "seconds": round(run.ended - run.started, 3),
        "ran": [node for node, state in states if state == "done" and node not in RESOLVERS],
        "cached": [node for node, state in states if state == "cached"],
        "other": {node: state for node, state in states if state not in GOOD},
        "metrics": run.row.metrics,
        "facts": run.row.facts,
    }


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
                " by ".join([run["state"], *filter(None, [run.get("stopped_by")])]),
                f"{run['seconds']:.1f}",
                str(len(run["cached"])),
                work,
            )
        )
    return aligned(rows)
