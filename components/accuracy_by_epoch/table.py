"""Accuracy against epochs of pretraining as a table in Markdown; the report draws the curves.

Standard library alone.
"""

from collections.abc import Sequence

COLUMNS = {  # of a row -> what a person reads
    "linear_accuracy_10_epochs": "linear head, 10 epochs",
    "linear_accuracy": "linear head, converged",
    "knn_accuracy": "10 nearest neighbours",
}


def table(rows: Sequence[dict]) -> str:
    """Returns a Markdown table, one row an epoch, accuracies in percent."""
    lines = [f"| epochs | {' | '.join(COLUMNS.values())} |", "|---" * (1 + len(COLUMNS)) + "|"]
    for row in rows:
        epochs = str(row["epoch"]) if row["epoch"] else "0 (untrained)"
        shown = " | ".join(f"{100 * row[column]:.1f} %" for column in COLUMNS)
        lines.append(f"| {epochs} | {shown} |")
    return "\n".join(lines) + "\n"
