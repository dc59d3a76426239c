"""Which models saw a list or an image: from the sets of examples that held it at the time, forward
to every model.

A list is known by its path; an image by its name in a list, by its id, or by its bytes under
another name, through the index that FileListExampleGen leaves beside its examples.
"""

import os
from dataclasses import dataclass

from components.file_list_example_gen import image_index
from components.file_list_example_gen.rows import Row
from components.metadata.snapshot import Artifact, Execution, Snapshot
from pipeline.choices import absolute
from pipeline.lineage.models import Model, all_models, lists_of, moment
from pipeline.lineage.table import aligned
from trainer_module.errors import InputError

TRAINED, EVALUATED = "trained on", "evaluated on"
TRAIN_SPLITS = "train_args.splits"
# The parameters in which a node names the splits that it reads, and what it does with them.
SPLITS = {TRAIN_SPLITS: TRAINED, "eval_args.splits": EVALUATED, "example_splits": EVALUATED}
SAME, OTHER, RENAMED = (
    "the file's bytes",
    "other bytes than the file has now",
    "the file's bytes under another name",
)


@dataclass(frozen=True)
class Holding:
    """Examples that hold what was asked for: in which splits, and how it was recognized."""

    examples: Artifact
    maker: Execution
    splits: tuple[str, ...]
    how: str = ""


def downstream(snapshot: Snapshot, asked: str) -> dict:
    """Returns who saw a list or an image.

    Args:
      snapshot: of the store.
      asked: path of a list, path of an image, or an image's id.

    Returns:
      `{'asked', 'kind', 'examples': [...], 'not_indexed': [...], 'models': [...]}`, all plain data.

    Raises:
      InputError: if it is neither in the store nor a file, or is a folder.
    """
    sets = [
        (item, snapshot.executions[item.maker])
        for item in snapshot.artifacts.values()
        if _is_ingested(snapshot, item)
    ]
    path = absolute(asked)
    holdings = [
        Holding(item, maker, _splits_of_list(maker, path))
        for item, maker in sets
        if path in lists_of(maker).values()
    ]
    kind, unknown = ("list" if holdings else "image"), []
    if not holdings:
        looked_at = [(item, maker, image_index.read(item.uri)) for item, maker in sets]
        unknown = [item.id for item, _, indexes in looked_at if not indexes]
        found = [
            _holding_of_image(item, maker, indexes, asked) for item, maker, indexes in looked_at
        ]
        holdings = [holding for holding in found if holding]
    if not holdings and os.path.isdir(path):
        raise InputError(f"{asked}: is a folder, and no list or image. Fix: name a file in it")
    if not holdings and not os.path.exists(path):
        lists = sorted({name for _, maker in sets for name in lists_of(maker).values()})
        raise InputError(
            f"{asked}: no list and no image of this store, and no such file. Lists: "
            f"{', '.join(lists) or 'none'}"
        )
    return {
        "asked": asked,
        "kind": kind,
        "examples": [_plain(holding) for holding in holdings],
        "not_indexed": unknown,
        "models": _models(snapshot, holdings),
    }


def _is_ingested(snapshot: Snapshot, item: Artifact) -> bool:
    return (
        item.type == "Examples"
        and item.maker in snapshot.executions
        and bool(lists_of(snapshot.executions[item.maker]))
    )


def _splits_of_list(maker: Execution, path: str) -> tuple[str, ...]:
    """Returns the splits that a list became: its own, or those that it was divided into."""
    divided = [
        name.split(".")[3]
        for name in maker.parameters
        if name.startswith("output_config.split_config.splits.")
    ]
    return tuple(dict.fromkeys(divided)) or tuple(
        split for split, name in lists_of(maker).items() if name == path
    )


def _holding_of_image(
    item: Artifact, maker: Execution, indexes: dict[str, image_index.Index], asked: str
) -> Holding | None:
    path = os.path.abspath(asked)
    digest = b""
    if os.path.isfile(path):
        with open(path, "rb") as file:
            digest = image_index.content_digest(file.read())
    numbers = (
        {int(asked)} if asked.isdecimal() else {_image_id(name) for name in _names(maker, asked)}
    )
    by_name = {
        split: index.digests(number)[0]
        for split, index in indexes.items()
        for number in numbers
        if index.digests(number)
    }
    if by_name:
        how = "" if not digest else SAME if digest in by_name.values() else OTHER
        return Holding(item, maker, tuple(by_name), how)
    copies = tuple(split for split, index in indexes.items() if digest and index.copies_of(digest))
    return Holding(item, maker, copies, RENAMED) if copies else None


def _names(maker: Execution, asked: str) -> set[str]:
    """Returns the names under which the lists of a set of examples may have told an image."""
    path = os.path.abspath(asked)
    return {
        asked,
        path,
        *(os.path.relpath(path, os.path.dirname(name)) for name in lists_of(maker).values()),
    }


def _image_id(name: str) -> int:
    return Row("", 0, name, "").image_id


def _plain(holding: Holding) -> dict:
    return {
        "artifact": holding.examples.id,
        "splits": list(holding.splits),
        "made": moment(holding.maker.started),
        "run": holding.maker.run_id,
        "how": holding.how,
    }


def _models(snapshot: Snapshot, holdings: list[Holding]) -> list[dict]:
    """Returns the models behind any of these sets of examples that used one of the splits, oldest
    first.
    """
    splits = {holding.maker.id: set(holding.splits) for holding in holdings}
    after = {number for holding in holdings for number in snapshot.descendants(holding.maker)}
    told = []
    for model in all_models(snapshot):
        uses = _uses(snapshot, model, splits) if model.maker.id in after else {}
        if uses:
            told.append(
                {
                    "model": model.artifact.id,
                    "versions": model.versions,
                    "node": model.maker.node,
                    "made": moment(model.maker.started),
                    "run": model.maker.run_id,
                    **uses,
                }
            )
    return told


def _uses(snapshot: Snapshot, model: Model, splits: dict[int, set[str]]) -> dict[str, list[str]]:
    """Returns 'trained on' and 'evaluated on' -> the nodes that did so with one of the splits, on
    the model's own road.
    """
    road = snapshot.ancestors(model.maker)
    held = set().union(*(names for number, names in splits.items() if number in road))
    judges = {
        user.id: user for user in snapshot.users(model.maker) if "example_splits" in user.parameters
    }
    uses: dict[str, list[str]] = {}
    for execution in (road | judges).values():
        for parameter, use in SPLITS.items():
            if held & set(
                execution.parameters.get(parameter, ())
            ) and execution.node not in uses.get(use, ()):
                uses.setdefault(use, []).append(execution.node)
    return uses


def downstream_lines(told: dict) -> list[str]:
    """Returns the answer for a person."""
    lines = [
        f"{told['asked']}: {told['kind']} in {len(told['examples'])} "
        f"{'set' if len(told['examples']) == 1 else 'sets'} of examples"
    ]
    if told["kind"] == "image" and not told["examples"]:
        lines.append("   (a label map is found by its image: ask for that)")
    rows = [
        (f"examples {item['artifact']}", " and ".join(item["splits"]), item["made"], item["how"])
        for item in told["examples"]
    ]
    lines += aligned(rows, indent="   ")
    if told["not_indexed"]:
        shown = ", ".join(map(str, told["not_indexed"]))
        lines.append(
            f"   (examples {shown} have no index of images: deleted since, or made before there "
            f"was one)"
        )
    trained = [model for model in told["models"] if TRAINED in model]
    lines += [
        "",
        f"trained on it: {_models_counted(len(trained))}; only evaluated on it: "
        f"{_models_counted(len(told['models']) - len(trained))}",
    ]
    if told["models"]:
        rows = [("model", "pushed as", "made by", "made", TRAINED, EVALUATED)]
        for model in told["models"]:
            uses = [", ".join(model.get(use, ())) for use in (TRAINED, EVALUATED)]
            rows.append(
                (
                    str(model["model"]),
                    ", ".join(model["versions"]) or "-",
                    model["node"],
                    model["made"],
                    *uses,
                )
            )
        lines += aligned(rows, indent="   ")
    return lines


def _models_counted(count: int) -> str:
    return f"{count} {'model' if count == 1 else 'models'}"
