"""Accuracy against epochs of pretraining as a table in Markdown; the report draws the curves.

Standard library alone.
"""

from collections.abc import Sequence

from trainer_module.intervals import of_share
from trainer_module.metric_names import (
    HEAD_EPOCHS,
    KNN,
    LINEAR_CONVERGED,
    LINEAR_OF_FEW_EPOCHS,
    NEIGHBOURS,
)

COLUMNS = {  # of a row -> what a person reads
    LINEAR_OF_FEW_EPOCHS: f"linear head, {HEAD_EPOCHS} epochs",
    LINEAR_CONVERGED: "linear head, converged",
    KNN: f"{NEIGHBOURS} nearest neighbours",
}


def with_intervals(rows: Sequence[dict], images: int) -> list[dict]:
    """Returns the rows, each with the 95 % `intervals` of its columns, by how many images were held
    out; without any where that is not known.
    """
    if not images:
        return list(rows)
    return [
        row | {"intervals": {column: of_share(row[column], images) for column in COLUMNS}}
        for row in rows
    ]


def table(rows: Sequence[dict]) -> str:
    """Returns a Markdown table, one row an epoch, accuracies in percent with their intervals."""
    lines = [f"| epochs | {' | '.join(COLUMNS.values())} |", "|---" * (1 + len(COLUMNS)) + "|"]
    for row in rows:
        epochs = str(row["epoch"]) if row["epoch"] else "0 (before pretraining)"
        lines.append(f"| {epochs} | {' | '.join(shown(row, column) for column in COLUMNS)} |")
    return "\n".join(lines) + "\n"


def shown(row: dict, column: str) -> str:
    """Returns an accuracy of a row for a person, with its interval where it has one."""
    ends = row.get("intervals", {}).get(column)
    interval = f" ({100 * ends[0]:.1f} to {100 * ends[1]:.1f})" if ends else ""
    return f"{100 * row[column]:.1f} %{interval}"
