"""One model of a store: which artifact is meant, how it was judged, what it was made from and what
it led to.
"""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from components.metadata.graph import model_graph
from components.metadata.names import INPUT_FINGERPRINT, PUSHED_DESTINATION, PUSHED_MODEL
from components.metadata.snapshot import Artifact, Execution, Snapshot
from components.metadata.url import SQLITE_FILE

MODEL, BLESSINGS = "Model", ("ModelBlessing", "InfraBlessing")
SHOWN = 10  # models named in an error


@dataclass(frozen=True)
class Model:
    """A trained model: its artifact, the Trainer's execution that made it, and as what it was
    pushed, oldest first.
    """

    artifact: Artifact
    maker: Execution
    pushed: tuple[Artifact, ...] = ()

    @property
    def versions(self) -> list[str]:
        """The folders' names below serving/, oldest first.

        Empty where the model was refused or only handed on.
        """
        return [str(item.properties["pushed_version"]) for item in self.pushed]

    @property
    def name(self) -> str:
        """What a person calls it: its latest version, or its artifact id."""
        return f"version {self.versions[-1]}" if self.pushed else f"model {self.artifact.id}"


def all_models(snapshot: Snapshot) -> list[Model]:
    """Returns every trained model, oldest first."""
    pushed: dict[int, list[Artifact]] = {}
    for item in snapshot.artifacts.values():
        if (
            item.type == PUSHED_MODEL
            and item.properties.get("pushed")
            and item.maker in snapshot.executions
        ):
            for model_id in snapshot.executions[item.maker].inputs.get("model", []):
                pushed.setdefault(model_id, []).append(item)
    return [
        Model(item, snapshot.executions[item.maker], tuple(pushed.get(item.id, ())))
        for item in snapshot.artifacts.values()
        if item.type == MODEL and item.maker in snapshot.executions
    ]


def find_model(snapshot: Snapshot, wanted: str, root: Path | None = None) -> Model:
    """Returns the model that a folder, a pushed version, an artifact id or `latest` (the last
    pushed) means.

    Args:
      snapshot: of the store.
      wanted: what a person named.
      root: the pipeline root below which the latest was pushed, where others share the store.

    Raises:
      ValueError: if there is no such model; the message names those there are.
    """
    models = all_models(snapshot)
    if wanted == "latest":
        pushed = {
            item.id: model
            for model in models
            for item in model.pushed
            if not root or _pushed_to(item).is_relative_to(root.resolve())
        }
        if pushed:
            return pushed[max(pushed)]
    path = str(Path(wanted).resolve())
    for matches in (
        lambda model: wanted in model.versions,
        lambda model: path in _folders(model),
        lambda model: wanted in [str(item.id) for item in (model.artifact, *model.pushed)],
    ):
        found = [model for model in models if matches(model)]
        if found:
            return found[-1]
    if wanted == "latest" and models:
        ids = ", ".join(str(model.artifact.id) for model in models[-SHOWN:])
        where = f"of {root}" if root else "of this store"
        raise ValueError(f"No model {where} was pushed. Ask by an artifact id: {ids}")
    if Path(wanted, SQLITE_FILE).is_file():
        raise ValueError(f"{wanted} is a pipeline root. Fix: --pipeline_root {wanted} latest")
    raise ValueError(f"No model {wanted!r} in this store. {_known(models)}")


def _pushed_to(item: Artifact) -> Path:
    return Path(str(item.properties.get(PUSHED_DESTINATION, item.uri))).resolve()


def _folders(model: Model) -> list[str]:
    uris = [item.uri for item in (model.artifact, *model.pushed)]
    return uris + [str(item.properties.get(PUSHED_DESTINATION, "")) for item in model.pushed]


def _known(models: list[Model]) -> str:
    if not models:
        return "No model was trained yet"
    versions = [version for model in models for version in model.versions]
    shown = ", ".join(versions[-SHOWN:]) or "none"
    ids = ", ".join(str(model.artifact.id) for model in models[-SHOWN:])
    return f"Pushed versions: {shown}; artifact ids of models: {ids}; or `latest`"


@dataclass(frozen=True)
class Judgement:
    """What was measured of a model, by node, and which node blessed it or not."""

    metrics: dict[str, dict[str, float]]
    blessed: dict[str, bool]


def judgement(snapshot: Snapshot, model: Model) -> Judgement:
    """Returns what was measured while the model was made, and by those who looked at it without
    training on.
    """
    judges = [user for user in snapshot.users(model.maker) if not _trains(snapshot, user)]
    measured = [*snapshot.ancestors(model.maker).values(), *judges]
    blessed = {}
    for judge in judges:
        verdicts = [
            bool(item.properties["blessed"])
            for item in snapshot.made_by(judge)
            if item.type in BLESSINGS and "blessed" in item.properties
        ]
        if verdicts:
            blessed[judge.node] = verdicts[-1]
    return Judgement(
        {execution.node: execution.metrics for execution in measured if execution.metrics}, blessed
    )


def _trains(snapshot: Snapshot, execution: Execution) -> bool:
    return any(item.type == MODEL for item in snapshot.made_by(execution))


def lists_of(execution: Execution) -> dict[str, str]:
    """Returns split -> list file of an execution of FileListExampleGen, {} for any other node."""
    names = {
        name: value
        for name, value in execution.parameters.items()
        if name.startswith("input_config.splits.")
    }
    base = str(execution.parameters.get("input_base", "")).rstrip("/")
    return {
        name.split(".")[2]: f"{base}/{value}"
        for name, value in names.items()
        if name.endswith(".pattern")
    }


def fingerprints_of(execution: Execution) -> dict[str, str]:
    """Returns split -> `rows:N,sha256:DIGEST` of what an execution of FileListExampleGen read."""
    text = str(execution.parameters.get(INPUT_FINGERPRINT, ""))
    return dict(part.split(":", 1) for part in text.split(";") if ":" in part)


def describe(snapshot: Snapshot, model: Model) -> dict:
    """Returns all that is known of a model as plain data: `--json` prints it."""
    seen, judged = snapshot.ancestors(model.maker), judgement(snapshot, model)
    run = snapshot.runs[model.maker.run_id]
    return {
        "model": model.artifact.id,
        "uri": model.artifact.uri,
        "pushed": [
            {
                "version": version,
                "folder": item.properties.get(PUSHED_DESTINATION, item.uri),
                "artifact": item.id,
            }
            for version, item in zip(model.versions, model.pushed, strict=True)
        ],
        "made": moment(model.maker.started),
        "run": {"id": run.id, "pipeline": run.pipeline, **run.facts},
        "metrics": judged.metrics,
        "blessed": judged.blessed,
        "lists": {
            split: path
            for execution in seen.values()
            for split, path in lists_of(execution).items()
        },
        "input_fingerprints": {
            split: digest
            for execution in seen.values()
            for split, digest in fingerprints_of(execution).items()
        },
        "code_fingerprints": {
            execution.node: execution.parameters["fingerprint"]
            for execution in seen.values()
            if "fingerprint" in execution.parameters
        },
        "graph": model_graph(snapshot, model.artifact.id),
    }


def moment(seconds: float) -> str:
    """Returns seconds since 1970 as local date and time, as in 2026-11-24 03:40:51."""
    return datetime.fromtimestamp(seconds).isoformat(sep=" ", timespec="seconds")
