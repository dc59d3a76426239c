"""Shows accuracy against epochs of pretraining: a table in Markdown, a chart in SVG. Standard library alone."""

from collections.abc import Sequence

COLUMNS = {  # of a row -> what a person reads, and the colour of its line
    "linear_accuracy_10_epochs": ("linear head, 10 epochs", "#9aa5b1"),
    "linear_accuracy": ("linear head, converged", "#1f6feb"),
    "knn_accuracy": ("10 nearest neighbours", "#bf5700"),
}
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 640, 360, 50, 20, 50, 40  # pixels
GRID_LINES = 5
FONT = 'font-family="sans-serif" font-size="12"'


def table(rows: Sequence[dict]) -> str:
    """Returns a Markdown table, one row an epoch, accuracies in percent."""
    lines = ["| epochs | " + " | ".join(title for title, _ in COLUMNS.values()) + " |", "|---" * (1 + len(COLUMNS)) + "|"]
    for row in rows:
        name = str(row["epoch"]) if row["epoch"] else "0 (untrained)"
        lines.append(f"| {name} | " + " | ".join(f"{100 * row[column]:.1f} %" for column in COLUMNS) + " |")
    return "\n".join(lines) + "\n"


def chart(rows: Sequence[dict]) -> str:
    """Returns an SVG chart, one line a column, with every measured point and its title for the mouse."""
    last = max(row["epoch"] for row in rows) or 1
    values = [row[column] for row in rows for column in COLUMNS]
    low, high = min(values), max(values)
    span = (high - low) or 1.0

    def place(epoch: float, value: float) -> tuple[float, float]:
        across, up = epoch / last, (value - low) / span
        return round(LEFT + across * (WIDTH - LEFT - RIGHT), 1), round(HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM), 1)

    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" {FONT}>']
    parts.append('<rect width="100%" height="100%" fill="white"/>')
    for step in range(GRID_LINES):
        value = low + span * step / (GRID_LINES - 1)
        _, y = place(0, value)
        parts.append(f'<line x1="{LEFT}" y1="{y}" x2="{WIDTH - RIGHT}" y2="{y}" stroke="#dddddd"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4}" text-anchor="end">{100 * value:.0f} %</text>')
    for epoch in [row["epoch"] for row in rows]:
        x, y = place(epoch, low)
        parts.append(f'<text x="{x}" y="{y + 18}" text-anchor="middle">{epoch}</text>')
    parts.append(f'<text x="{WIDTH / 2}" y="{HEIGHT - 6}" text-anchor="middle">epochs of pretraining</text>')
    for index, (column, (title, colour)) in enumerate(COLUMNS.items()):
        points = [place(row["epoch"], row[column]) for row in rows]
        line = " ".join(f"{x},{y}" for x, y in points)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for row, (x, y) in zip(rows, points, strict=True):
            shown = f"{title}, {row['epoch']} epochs: {100 * row[column]:.1f} %"
            parts.append(f'<circle cx="{x}" cy="{y}" r="3.5" fill="{colour}"><title>{shown}</title></circle>')
        parts.append(f'<text x="{LEFT + index * 190}" y="24" fill="{colour}">{title}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"
