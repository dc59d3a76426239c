"""Shows accuracy against epochs of pretraining: a table in Markdown, a chart in SVG.

Standard library alone.
"""

from collections.abc import Iterator, Sequence

COLUMNS = {  # of a row -> what a person reads, and the colour of its line
    "linear_accuracy_10_epochs": ("linear head, 10 epochs", "#9aa5b1"),
    "linear_accuracy": ("linear head, converged", "#1f6feb"),
    "knn_accuracy": ("10 nearest neighbours", "#bf5700"),
}
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 640, 360, 50, 20, 50, 40  # pixels
LEGEND_WIDTH = 190  # pixels
GRID_LINES = 5
FONT = 'font-family="sans-serif" font-size="12"'


def table(rows: Sequence[dict]) -> str:
    """Returns a Markdown table, one row an epoch, accuracies in percent."""
    lines = [
        "| epochs | " + " | ".join(title for title, _ in COLUMNS.values()) + " |",
        "|---" * (1 + len(COLUMNS)) + "|",
    ]
    for row in rows:
        name = str(row["epoch"]) if row["epoch"] else "0 (untrained)"
        lines.append(
            f"| {name} | " + " | ".join(f"{100 * row[column]:.1f} %" for column in COLUMNS) + " |"
        )
    return "\n".join(lines) + "\n"


class _Scale:
    """Where an epoch and an accuracy lie in the picture."""

    def __init__(self, rows: Sequence[dict]):
        values = [row[column] for row in rows for column in COLUMNS]
        self.epochs = [row["epoch"] for row in rows]
        self.low, self.high = min(values), max(values)

    def place(self, epoch: int, value: float) -> tuple[float, float]:
        """Returns x and y in pixels."""
        across, up = (
            epoch / (max(self.epochs) or 1),
            (value - self.low) / ((self.high - self.low) or 1.0),
        )
        return round(LEFT + across * (WIDTH - LEFT - RIGHT), 1), round(
            HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM), 1
        )


def chart(rows: Sequence[dict]) -> str:
    """Returns an SVG chart: a line a column, each measured point with its numbers for the mouse."""
    scale = _Scale(rows)
    lines = [
        part for index, column in enumerate(COLUMNS) for part in _line(rows, column, index, scale)
    ]
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'width="{WIDTH}" height="{HEIGHT}" {FONT}>'
    )
    return (
        "\n".join(
            [
                head,
                '<rect width="100%" height="100%" fill="white"/>',
                *_grid(scale),
                *lines,
                "</svg>",
            ]
        )
        + "\n"
    )


def _grid(scale: _Scale) -> Iterator[str]:
    """Yields horizontal lines with accuracies, the epochs below them, and what they are."""
    for step in range(GRID_LINES):
        value = scale.low + (scale.high - scale.low) * step / (GRID_LINES - 1)
        _, y = scale.place(0, value)
        yield f'<line x1="{LEFT}" y1="{y}" x2="{WIDTH - RIGHT}" y2="{y}" stroke="#dddddd"/>'
        yield f'<text x="{LEFT - 6}" y="{y + 4}" text-anchor="end">{100 * value:.0f} %</text>'
    for epoch in scale.epochs:
        x, y = scale.place(epoch, scale.low)
        yield f'<text x="{x}" y="{y + 18}" text-anchor="middle">{epoch}</text>'
    yield (
        f'<text x="{WIDTH / 2}" y="{HEIGHT - 6}" text-anchor="middle">epochs of pretraining</text>'
    )


def _line(rows: Sequence[dict], column: str, index: int, scale: _Scale) -> Iterator[str]:
    """Yields the line of a column, its points, and its name above the chart."""
    title, colour = COLUMNS[column]
    points = [scale.place(row["epoch"], row[column]) for row in rows]
    path = " ".join(f"{x},{y}" for x, y in points)
    yield f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>'
    for row, (x, y) in zip(rows, points, strict=True):
        shown = f"{title}, {row['epoch']} epochs: {100 * row[column]:.1f} %"
        yield f'<circle cx="{x}" cy="{y}" r="3.5" fill="{colour}"><title>{shown}</title></circle>'
    yield f'<text x="{LEFT + index * LEGEND_WIDTH}" y="24" fill="{colour}">{title}</text>'
