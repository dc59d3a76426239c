"""Plots as Plotly figures in plain values.

Page.js gives them the colours of the theme and the pictures under the pointer.

Names come from files and labels: Plotly reads some HTML in texts, so every name passes `text`.
"""

import html
import math
from collections.abc import Mapping, Sequence

import numpy as np

# Okabe & Ito's colours without black, then tints: told apart by colour-blind readers, and seen on
# white as on black.
COLOURS = (
    "#0072b2",
    "#e69f00",
    "#009e73",
    "#cc79a7",
    "#56b4e9",
    "#d55e00",
    "#9a8700",
    "#8c6bb1",
    "#7f7f7f",
    "#b2182b",
)
SYMBOLS = (
    "circle",
    "square",
    "diamond",
    "cross",
    "triangle-up",
    "star",
)  # one for each round through the colours
# Lines that lie on one another, as where all is right, are seen between the dashes of those above.
DASHES = ("solid", "dash", "dot")
POINT_SIZE = 6  # pixels
MOST_NAMED_CLASSES = 40  # in the legend of a map
FEW_EPOCHS = 10
LONGEST_NAME = 24  # characters in a legend or on an axis


def text(name: str) -> str:
    """Returns a name that Plotly shows as it is, shortened."""
    short = name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…"
    return html.escape(short, quote=False)


def curves(
    series: dict[str, Sequence[float | None]],
    y_title: str,
    percent: bool = False,
    log: bool = False,
    ends: Mapping[str, Sequence] | None = None,
) -> dict:
    """Returns lines over epochs.

    Args:
      series: name -> one value an epoch, None where it was not measured; what is no finite number
        is left out, too.
      y_title: what the values are, with their unit.
      percent: values are shares in [0, 1].
      log: whether the axis is logarithmic.
      ends: name -> the interval of each value, drawn as a bar; None where there is none.
    """
    traces, epochs = [], 1
    for index, (name, values) in enumerate(series.items()):
        found = [(epoch + 1, value) for epoch, value in enumerate(values) if value is not None]
        measured = [(epoch, value) for epoch, value in found if math.isfinite(value)]
        epochs = max(epochs, len(values))
        traces.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": text(name),
                "x": [epoch for epoch, _ in measured],
                "y": [value for _, value in measured],
                "line": {
                    "color": COLOURS[index % len(COLOURS)],
                    "width": 2,
                    "dash": DASHES[index % len(DASHES)],
                },
                "marker": {"size": 5 + 3 * (len(series) - 1 - index)},
                "hovertemplate": "epoch %{x}: %{y"
                + (":.1%" if percent else ":.4g")
                + "}<extra>"
                + text(name)
                + "</extra>",
                **_bars(measured, (ends or {}).get(name, ())),
            }
        )
    axis = {
        "title": {"text": y_title},
        "tickformat": ".0%" if percent else "",
        "type": "log" if log else "linear",
    }
    if percent or min((value for trace in traces for value in trace["y"]), default=-1) == 0:
        axis["rangemode"] = "tozero"
    ticks = {"dtick": 1} if epochs <= FEW_EPOCHS else {"tickformat": "d"}
    epoch_axis = {"title": {"text": "epoch"}, "range": [0.5, epochs + 0.5], **ticks}
    return figure(traces, {"xaxis": epoch_axis, "yaxis": axis, "showlegend": len(series) > 1}, 260)


def _bars(measured: Sequence[tuple[int, float]], ends: Sequence) -> dict:
    """Returns the bars of values over epochs, {} where not each of them has an interval."""
    found = [ends[epoch - 1] if epoch <= len(ends) else None for epoch, _ in measured]
    if not found or None in found:
        return {}
    pairs = [(value, *interval) for (_, value), interval in zip(measured, found, strict=True)]
    up, down = [high - value for value, _, high in pairs], [value - low for value, low, _ in pairs]
    return {"error_y": {"array": up, "arrayminus": down, "symmetric": False, "thickness": 1}}


def flat_map(points: np.ndarray, kinds: Sequence[str] | np.ndarray | None) -> dict:
    """Returns a map of points in the plane; `customdata` is the index of the point.

    Args:
      points: float [N, 2].
      kinds: what colours the points: N names, N numbers, or None.
    """
    # Distances count the same in every direction; the plane has no axes of its own.
    axis = {
        "showticklabels": False,
        "zeroline": False,
        "showgrid": False,
        "constrain": "domain",
        "mirror": True,
        "showline": True,
    }
    layout = {"xaxis": axis, "yaxis": axis | {"scaleanchor": "x"}, "hovermode": "closest"}
    if isinstance(kinds, np.ndarray):
        traces = [
            _points(
                points,
                np.arange(len(points)),
                "",
                {"color": kinds.tolist(), "colorscale": "Viridis", "showscale": True},
            )
        ]
    else:
        traces = _named_points(points, kinds or [""] * len(points))
    return figure(traces, layout | {"showlegend": 1 < len(traces) <= MOST_NAMED_CLASSES}, 420) | {
        "pictures": True
    }


def _named_points(points: np.ndarray, groups: Sequence[str]) -> list[dict]:
    """Returns one trace a name."""
    traces = []
    names = sorted(set(groups), key=natural)
    members = np.array([names.index(group) for group in groups])
    for number, name in enumerate(names):
        chosen = np.flatnonzero(members == number)
        look = {
            "color": COLOURS[number % len(COLOURS)],
            "symbol": SYMBOLS[number // len(COLOURS) % len(SYMBOLS)],
        }
        traces.append(_points(points, chosen, name, look))
    return traces


def _points(points: np.ndarray, chosen: np.ndarray, name: str, look: dict) -> dict:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": text(name),
        "x": np.round(points[chosen, 0].astype(float), 3).tolist(),
        "y": np.round(points[chosen, 1].astype(float), 3).tolist(),
        "customdata": chosen.tolist(),
        "hoverinfo": "none",  # page.js shows the picture instead
        "marker": {"size": POINT_SIZE, "opacity": 0.8} | look,
    }


def confusion(counts: np.ndarray, names: Sequence[str]) -> dict:
    """Returns a confusion matrix: a row a true class, coloured by the share of the row, with counts
    in small matrices.

    Args:
      counts: integers [C, C], images of true class (row) that were given a class (column).
      names: C names.
    """
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axis = [text(name) for name in names]
    few = len(names) <= 12
    trace = {
        "type": "heatmap",
        "x": list(range(len(names))),
        "y": list(range(len(names))),
        "z": np.round(shares, 4).tolist(),
        "text": counts.tolist(),
        "customdata": [[[row, column] for column in axis] for row in axis],
        "zmin": 0,
        "zmax": 1,
        "colorscale": [
            [0, "rgba(0,114,178,0.04)"],
            [0.5, "rgba(0,114,178,0.55)"],
            [1, "rgba(0,114,178,0.95)"],
        ],
        "showscale": False,
        "xgap": 1,
        "ygap": 1,
        "hovertemplate": "true %{customdata[0]}, said to be %{customdata[1]}:<br>%{text} images, "
        "%{z:.1%} of the class<extra></extra>",
    } | ({"texttemplate": "%{text}"} if few else {})
    ticks = {
        "tickvals": list(range(len(names))),
        "ticktext": axis,
        "showgrid": False,
        "zeroline": False,
    }
    layout = {
        "xaxis": ticks | {"title": {"text": "what the model says"}, "tickangle": -45},
        "yaxis": ticks | {"title": {"text": "true class"}, "autorange": "reversed"},
    }
    return figure([trace], layout, max(320, min(900, 120 + 34 * len(names))))


def bars(counts: dict[str, dict[str, int]], x_title: str) -> dict:
    """Returns one bar a class and split; `counts` is split -> class name -> images."""
    names = sorted({name for split in counts.values() for name in split}, key=natural)
    traces = [
        {
            "type": "bar",
            "name": text(split),
            "x": list(range(len(names))),
            "y": [found.get(name, 0) for name in names],
            "marker": {"color": COLOURS[index]},
            "customdata": [text(name) for name in names],
            "hovertemplate": "%{customdata}: %{y} images<extra>" + text(split) + "</extra>",
        }
        for index, (split, found) in enumerate(counts.items())
    ]
    ticks = (
        {"tickvals": list(range(len(names))), "ticktext": [text(name) for name in names]}
        if len(names) <= MOST_NAMED_CLASSES
        else {}
    )
    layout = {
        "xaxis": {"title": {"text": x_title}, **ticks},
        "yaxis": {"title": {"text": "images"}},
        "showlegend": len(counts) > 1,
    }
    return figure(traces, layout, 280)


def against_truth(truth: np.ndarray, predicted: np.ndarray, unit: str) -> dict:
    """Returns predictions [N] against true values [N], with the line on which they would all lie.

    Hovering shows the image.

    The line spans what is finite; there is none where nothing is.
    """
    both = np.concatenate([truth, predicted])
    finite = both[np.isfinite(both)]
    ends = [float(finite.min()), float(finite.max())] if finite.size else []
    line = {
        "type": "scatter",
        "mode": "lines",
        "x": ends,
        "y": ends,
        "hoverinfo": "skip",
        "name": "prediction = truth",
    }
    points = {
        "type": "scatter",
        "mode": "markers",
        "name": "an image",
        "x": np.round(truth, 4).tolist(),
        "y": np.round(predicted, 4).tolist(),
        "customdata": list(range(len(truth))),
        "hoverinfo": "none",
        "marker": {"size": POINT_SIZE, "opacity": 0.7, "color": COLOURS[0]},
    }
    layout = {
        "xaxis": {"title": {"text": f"true {unit}"}},
        "yaxis": {"title": {"text": f"predicted {unit}"}},
        "hovermode": "closest",
    }
    return figure([line | {"line": {"color": COLOURS[1], "dash": "dash"}}, points], layout, 420) | {
        "pictures": True
    }


def figure(traces: list[dict], layout: dict, height: int) -> dict:
    """Returns a figure; `height` is in CSS pixels."""
    return {"data": traces, "layout": layout | {"height": height}}


def natural(name: str) -> tuple:
    """Returns a key that sorts '10' behind '9' and names by letters."""
    return (0, int(name), "") if name.isascii() and name.isdigit() else (1, 0, name)
