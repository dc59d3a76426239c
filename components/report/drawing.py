"""The run as a drawing: nodes in layers from the lists at the top to the pushed model below, lines
for the artifacts between them.

Only positions are computed here, in the units of an SVG; page.html draws them. A line that passes a
layer gets a place of its own in it, so that it goes round the nodes; lines of the same node share
it (Sugiyama, Tagawa & Toda 1981, simplified).
"""

from dataclasses import dataclass
from itertools import pairwise

from components.metadata.graph import run_graph
from components.metadata.names import BASELINE, EVALUATOR
from components.metadata.stored_run import StoredRun

WIDTH, HEIGHT = 168, 46  # of a node
PASSING_WIDTH = 14  # of a line that passes a layer
GAP_X, GAP_Y = 20, 40
SWEEPS = 8  # over the layers, to put each node below the nodes it reads from

# a node, or (node, layer): the line from that node as it passes that layer
Place = str | tuple[str, int]


@dataclass(frozen=True)
class Box:
    """A node of the run as it is drawn; `x` and `y` are its upper left corner."""

    name: str
    state: str
    seconds: float
    x: float
    y: float


@dataclass(frozen=True)
class Line:
    """An artifact's way from the node that made it to one that reads it, as an SVG path."""

    source: str
    target: str
    path: str


@dataclass(frozen=True)
class Drawing:
    """Everything to draw, and the size it takes."""

    boxes: list[Box]
    lines: list[Line]
    width: float
    height: float


def draw(run: StoredRun) -> Drawing:
    """Lays out the nodes of a run."""
    edges = edges_between(run_graph(run.snapshot, run.id))
    depth = depths(list(run.nodes), edges)
    layers = ordered_layers(depth, edges)
    left = _left_edges(layers)
    top = {level: level * (HEIGHT + GAP_Y) for level in range(len(layers))}
    boxes = [
        Box(name, node.state, node.seconds, left[name], top[depth[name]])
        for name, node in run.nodes.items()
    ]
    lines = []
    for source, target in sorted(edges):
        corners = [
            (left[place] + _width(place) / 2, top[level])
            for level, place in _road(source, target, depth)
        ]
        lines.append(Line(source, target, _path(corners)))
    width = max((left[place] + _width(place) for layer in layers for place in layer), default=0)
    return Drawing(boxes, lines, width, len(layers) * (HEIGHT + GAP_Y) - GAP_Y)


def edges_between(graph: dict) -> set[tuple[str, str]]:
    """Returns (maker, reader) for every artifact of a run's graph that one node made and a later
    one read.

    Of the Baseline, a Resolver, the store holds neither: it reads the Evaluator's model, and the
    Evaluator what it found.
    """
    names = {node["id"]: node["name"] for node in graph["nodes"] if node["kind"] == "execution"}
    order = {name: index for index, name in enumerate(names.values())}
    makers = {edge["to"]: names[edge["from"]] for edge in graph["edges"] if edge["from"] in names}
    read = [
        (makers.get(edge["from"]), names[edge["to"]])
        for edge in graph["edges"]
        if edge["to"] in names
    ]
    if {BASELINE, EVALUATOR} <= {*order}:
        ways = [edge for edge in graph["edges"] if edge["label"] == "model"]
        judged = [makers.get(edge["from"]) for edge in ways if names.get(edge["to"]) == EVALUATOR]
        read += [(BASELINE, EVALUATOR), *((maker, BASELINE) for maker in judged)]
    return {(maker, reader) for maker, reader in read if maker and order[maker] < order[reader]}


def depths(names: list[str], edges: set[tuple[str, str]]) -> dict[str, int]:
    """Returns each node's layer: one below the lowest that it reads from.

    One that reads nothing stands beside the node that ran before it.

    Args:
      names: nodes in the order of execution.
      edges: (maker, reader), the maker before the reader.
    """
    depth: dict[str, int] = {}
    beside = 0
    for name in names:
        beside = depth[name] = max(
            (depth[maker] + 1 for maker, reader in edges if reader == name), default=beside
        )
    return depth


def ordered_layers(depth: dict[str, int], edges: set[tuple[str, str]]) -> list[list[Place]]:
    """Returns the places of each layer from left to right, every one near those of the layers above
    and below that it is joined with.
    """
    layers: list[list[Place]] = [
        [name for name in depth if depth[name] == level]
        for level in range(max(depth.values(), default=-1) + 1)
    ]
    joined: set[tuple[Place, Place]] = set()
    for source, target in sorted(edges):
        road = _road(source, target, depth)
        joined |= {(one[1], other[1]) for one, other in pairwise(road)}
        for level, place in road:
            if place not in layers[level]:
                layers[level].append(place)
    neighbours: dict[Place, list[Place]] = {place: [] for layer in layers for place in layer}
    for one, other in joined:
        neighbours[one].append(other)
        neighbours[other].append(one)
    for _ in range(SWEEPS):
        for layer in layers:
            centre = _centres(layers)
            layer.sort(
                key=lambda place, at=centre: _mean(
                    [at[other] for other in neighbours[place]] or [at[place]]
                )
            )
    return layers


def _road(source: str, target: str, depth: dict[str, int]) -> list[tuple[int, Place]]:
    """Returns (layer, place) from one node to another."""
    passed = [(level, (source, level)) for level in range(depth[source] + 1, depth[target])]
    return [(depth[source], source), *passed, (depth[target], target)]


def _width(place: Place) -> float:
    return WIDTH if isinstance(place, str) else PASSING_WIDTH


def _left_edges(layers: list[list[Place]]) -> dict[Place, float]:
    """Returns where each place begins; every layer stands in the middle of the widest."""
    widths = [sum(_width(place) + GAP_X for place in layer) - GAP_X for layer in layers]
    left = {}
    for layer, width in zip(layers, widths, strict=True):
        x = (max(widths) - width) / 2
        for place in layer:
            left[place] = x
            x += _width(place) + GAP_X
    return left


def _centres(layers: list[list[Place]]) -> dict[Place, float]:
    return {place: edge + _width(place) / 2 for place, edge in _left_edges(layers).items()}


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def _path(corners: list[tuple[float, float]]) -> str:
    """Returns a line from below the first place, straight through those it passes, to the top of
    the last.
    """
    x, y = corners[0]
    path = f"M{x:.0f} {y + HEIGHT:.0f}"
    for (x1, y1), (x2, y2) in pairwise(corners):
        bend = GAP_Y / 2
        path += f" C{x1:.0f} {y1 + HEIGHT + bend:.0f} {x2:.0f} {y2 - bend:.0f} {x2:.0f} {y2:.0f}"
        if (x2, y2) != corners[-1]:
            path += f" V{y2 + HEIGHT:.0f}"
    return path
