"""How long lineage takes on a store of many runs: `python benchmarks/lineage.py --runs 200`.

Writes the rows that TFX writes, through ML Metadata's own interface, and asks the command line each
kind of question. The last line is JSON: seconds of the whole process for each question (median),
rows in the store.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from ml_metadata.metadata_store import MetadataStore  # noqa: E402 (the project is not installed)
from ml_metadata.proto import metadata_store_pb2 as mlmd  # noqa: E402

from components.metadata.store import open_store  # noqa: E402
from trainer_module.settings import Augmentation, Encoder, Finetuning, Pretraining  # noqa: E402

NAME = "demo"
PARTS = ("pipeline", "pipeline_run", "node")  # the contexts that TFX files an execution under
NEW_DATA_EVERY, SAME_AGAIN_EVERY = 20, 5  # runs: most change one parameter
FIRST_VERSION = 1_700_000_001  # of the pushed models
TIMES = 5  # how often each question is asked


@dataclass(frozen=True)
class Node:
    """A node of the pipeline: what it reads, as `node.output`, and the types of what it writes."""

    name: str
    inputs: dict[str, str] = field(default_factory=dict)
    outputs: dict[str, str] = field(default_factory=dict)


NODES = (
    Node("FileListExampleGen", {}, {"examples": "Examples"}),
    Node(
        "StatisticsGen",
        {"examples": "FileListExampleGen.examples"},
        {"statistics": "ExampleStatistics"},
    ),
    Node("SchemaGen", {"statistics": "StatisticsGen.statistics"}, {"schema": "Schema"}),
    Node(
        "ExampleValidator",
        {"statistics": "StatisticsGen.statistics", "schema": "SchemaGen.schema"},
        {"anomalies": "ExampleAnomalies"},
    ),
    Node("AnomalyGate", {"anomalies": "ExampleValidator.anomalies"}),
    Node(
        "Transform",
        {"examples": "FileListExampleGen.examples", "schema": "SchemaGen.schema"},
        {"transformed_examples": "Examples", "transform_graph": "TransformGraph"},
    ),
    Node(
        "Pretrainer",
        {
            "examples": "Transform.transformed_examples",
            "transform_graph": "Transform.transform_graph",
        },
        {"model": "Model", "model_run": "ModelRun"},
    ),
    Node(
        "Finetuner",
        {
            "examples": "Transform.transformed_examples",
            "transform_graph": "Transform.transform_graph",
            "base_model": "Pretrainer.model",
        },
        {"model": "Model", "model_run": "ModelRun"},
    ),
    Node(
        "Evaluator",
        {"examples": "FileListExampleGen.examples", "model": "Finetuner.model"},
        {"evaluation": "ModelEvaluation", "blessing": "ModelBlessing"},
    ),
    Node(
        "ModelCheck",
        {"examples": "FileListExampleGen.examples", "model": "Finetuner.model"},
        {"blessing": "InfraBlessing"},
    ),
    Node(
        "Pusher",
        {
            "model": "Finetuner.model",
            "model_blessing": "Evaluator.blessing",
            "infra_blessing": "ModelCheck.blessing",
        },
        {"pushed_model": "PushedModel"},
    ),
)
FIRST_CHANGED = {"data": "FileListExampleGen", "parameter": "Pretrainer", "nothing": ""}


class Writer:
    """Writes runs as TFX does: an execution a node, its events, its contexts.

    Cached nodes point at earlier outputs.
    """

    def __init__(self, store: MetadataStore, folder: Path):
        """Takes an empty store and the folder that the artifacts would lie in."""
        self._store, self._folder = store, folder
        types = {kind for node in NODES for kind in node.outputs.values()}
        self._artifact_types = {
            kind: store.put_artifact_type(mlmd.ArtifactType(name=kind)) for kind in sorted(types)
        }
        self._execution_types = {
            node.name: store.put_execution_type(mlmd.ExecutionType(name=node.name))
            for node in NODES
        }
        self._context_types = {
            kind: store.put_context_type(mlmd.ContextType(name=kind)) for kind in PARTS
        }
        self._contexts = {kind: {} for kind in PARTS}
        self._latest: dict[str, mlmd.Artifact] = {}  # by `node.output`
        self._count = 0

    def run(self, run_id: str, change: str, temperature: float) -> None:
        """Writes one run.

        Args:
          run_id: its name.
          change: what differs from the run before, which decides where work begins anew: 'data',
            'parameter', 'nothing'.
          temperature: a parameter of the Pretrainer, new where a parameter changed.
        """
        self._count += 1
        fresh = False
        for node in NODES:
            fresh = fresh or node.name == FIRST_CHANGED[change]
            parameters = _parameters(node.name, self._folder, self._count, temperature)
            self._put(node, run_id, parameters, fresh)

    def _put(self, node: Node, run_id: str, parameters: dict, fresh: bool) -> None:
        contexts = [
            self._context(kind, name)
            for kind, name in zip(PARTS, (NAME, run_id, f"{NAME}.{node.name}"), strict=True)
        ]
        state = mlmd.Execution.COMPLETE if fresh else mlmd.Execution.CACHED
        execution = mlmd.Execution(type_id=self._execution_types[node.name], last_known_state=state)
        _set(execution.custom_properties, parameters)
        pairs = [
            (self._latest[source], _event(mlmd.Event.INPUT, key))
            for key, source in node.inputs.items()
        ]
        keys = [f"{node.name}.{key}" for key in node.outputs]
        if fresh:
            self._latest |= {
                f"{node.name}.{key}": self._artifact(node, key) for key in node.outputs
            }
        pairs += [(self._latest[key], _event(mlmd.Event.OUTPUT, key.split(".")[1])) for key in keys]
        _, artifact_ids, _ = self._store.put_execution(
            execution, pairs, contexts, force_reuse_context=True
        )
        for key, artifact_id in zip(keys, artifact_ids[len(node.inputs) :], strict=True):
            self._latest[key].id = artifact_id

    def _context(self, kind: str, name: str) -> mlmd.Context:
        known = self._contexts[kind]
        if name not in known:
            context = mlmd.Context(type_id=self._context_types[kind], name=name)
            context.id = self._store.put_contexts([context])[0]
            known[name] = context
        return known[name]

    def _artifact(self, node: Node, key: str) -> mlmd.Artifact:
        kind = node.outputs[key]
        uri = f"{self._folder}/artifacts/{node.name}/{key}/{self._count}"
        artifact = mlmd.Artifact(
            type_id=self._artifact_types[kind], uri=uri, state=mlmd.Artifact.LIVE
        )
        _set(artifact.custom_properties, {"tfx_version": "1.21.0", "is_external": 0})
        if kind in ("ModelBlessing", "InfraBlessing"):
            _set(artifact.custom_properties, {"blessed": 1})
        if kind == "PushedModel":
            version = str(FIRST_VERSION - 1 + self._count)
            pushed = {
                "pushed": 1,
                "pushed_version": version,
                "pushed_destination": f"{self._folder}/serving/{version}",
            }
            _set(artifact.custom_properties, pushed)
        return artifact


def _event(kind, key: str) -> mlmd.Event:
    return mlmd.Event(
        type=kind,
        path=mlmd.Event.Path(steps=[mlmd.Event.Path.Step(key=key), mlmd.Event.Path.Step(index=0)]),
    )


def _set(properties, values: dict) -> None:
    for name, value in values.items():
        kind = {int: "int_value", float: "double_value", str: "string_value"}[type(value)]
        setattr(properties[name], kind, value)


def _parameters(node: str, folder: Path, count: int, temperature: float) -> dict:
    """Returns what TFX records of a node, of the same length as in a real run."""
    if node == "FileListExampleGen":
        splits = [{"name": split, "pattern": f"{split}.csv"} for split in ("train", "eval")]
        fingerprint = f"train:rows:3200,sha256:{count:024x};eval:rows:800,sha256:{count:024x}"
        return {
            "input_base": str(folder),
            "input_config": json.dumps({"splits": splits}),
            "input_fingerprint": fingerprint,
            "span": 0,
        }
    if node in ("Pretrainer", "Finetuner"):
        pretraining = asdict(Pretraining()) | {"temperature": temperature}
        settings = {
            "augmentation": asdict(Augmentation()),
            "encoder": asdict(Encoder()),
            "finetuning": asdict(Finetuning()),
            "fingerprint": "0123456789abcdef",
            "image_size": [32, 32],
            "pretraining": pretraining,
            "task": json.dumps({"class_names": [], "num_classes": 8, "task": "classification"}),
        }
        splits = json.dumps({"splits": ["train"]})
        run_fn = f"trainer_module.{node.lower()}_run_fn.run_fn"
        return {
            "custom_config": json.dumps(settings),
            "train_args": splits,
            "eval_args": splits,
            "run_fn": run_fn,
        }
    return {"fingerprint": "0123456789abcdef", "split": "eval"}


def usual_changes(runs: int) -> list[str]:
    """Returns what changes from run to run: new data now and then, nothing now and then, else a
    parameter.
    """
    often = lambda index, every: index % every == 0  # noqa: E731
    return [
        "data"
        if often(run, NEW_DATA_EVERY)
        else "nothing"
        if often(run, SAME_AGAIN_EVERY)
        else "parameter"
        for run in range(runs)
    ]


def fill(url: str, folder: Path, changes: list[str]) -> None:
    """Writes a store with a run for each of `changes`, see Writer.run.

    The first must be new data.
    """
    writer = Writer(open_store(url, read_only=False), folder)
    for index, change in enumerate(changes):
        writer.run(f"2026-01-01T00:00:00.{index:06d}", change, temperature=0.1 + index / 1000)


def measure(runs: int) -> dict:
    """Fills a store and returns the seconds of each question, the whole process counted."""
    with tempfile.TemporaryDirectory() as folder:
        fill(f"{folder}/metadata.sqlite", Path(folder), usual_changes(runs))
        first, some_list = FIRST_VERSION, f"{folder}/train.csv"
        questions = {
            "runs": [],
            "model": ["latest"],
            "diff": ["--diff", str(first), "latest"],
            "downstream": ["--downstream", some_list],
        }
        seconds = {name: _seconds(folder, arguments) for name, arguments in questions.items()}
        megabytes = Path(folder, "metadata.sqlite").stat().st_size / 2**20
    return {
        "runs": runs,
        "executions": runs * len(NODES),
        "store_megabytes": round(megabytes, 1),
        "seconds": seconds,
    }


def _seconds(folder: str, arguments: list[str]) -> float:
    command = [sys.executable, "-m", "pipeline.lineage", "--pipeline_root", folder, *arguments]
    taken = []
    for _ in range(TIMES):
        started = time.perf_counter()
        subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        taken.append(time.perf_counter() - started)
    return round(statistics.median(taken), 3)


def main() -> None:
    """Parses the command line and prints one JSON line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=200)
    print(json.dumps(measure(parser.parse_args().runs)))


if __name__ == "__main__":
    main()
