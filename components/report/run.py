"""What ML Metadata knows about one run, as the report tells it: its nodes, where their artifacts
lie, its verdict, earlier runs.

Imports nothing heavier than ml_metadata.
"""

import json
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path

from ml_metadata.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as mlmd

from components.store import (
    PIPELINE_CONTEXT,
    RUN_CONTEXT,
    NodeRun,
    input_artifacts,
    node_runs,
    properties,
    run_ids,
)

PRETRAINER, FINETUNER, EVALUATOR, MODEL_CHECK, PUSHER = (
    "Pretrainer",
    "Finetuner",
    "Evaluator",
    "ModelCheck",
    "Pusher",
)
ENCODER = "Encoder"  # imported, where an earlier run pretrained it
EXAMPLE_GEN, TRANSFORM = "FileListExampleGen", "Transform"
EVALUATION_FILE = "linear_evaluation.json"  # see trainer_module/finetune_run_fn.py
EPOCHS_FILE = "accuracy_by_epoch.json"  # see components/epoch_evaluation/component.py
HISTORY_FILE = "history.json"  # see trainer_module/pretrain_run_fn.py
MOST_EARLIER_RUNS = 20


@dataclass(frozen=True)
class Run:
    """One run of a pipeline, read from its metadata store."""

    store: MetadataStore
    run_id: str

    @cached_property
    def nodes(self) -> dict[str, NodeRun]:
        """The nodes by id, in the order of execution."""
        return {node.node: node for node in node_runs(self.store, self.run_id)}

    @cached_property
    def parameters(self) -> dict[str, dict]:
        """What each node was told, by its id."""
        executions = self.store.get_executions_by_id(
            [node.execution_id for node in self.nodes.values()]
        )
        by_id = {execution.id: properties(execution) for execution in executions}
        return {name: by_id[node.execution_id] for name, node in self.nodes.items()}

    @cached_property
    def inputs(self) -> dict[str, dict[str, list[mlmd.Artifact]]]:
        """The artifacts that each node read, by its id and their key."""
        return {
            name: input_artifacts(self.store, node.execution_id)
            for name, node in self.nodes.items()
        }

    @property
    def facts(self) -> dict:
        """What the run noted about itself."""
        context = self.store.get_context_by_type_and_name(RUN_CONTEXT, self.run_id)
        return properties(context) if context else {}

    def artifact(self, node: str, key: str) -> mlmd.Artifact | None:
        """Returns the artifact that a node put out under a key, or None."""
        found = self.nodes[node].outputs.get(key, []) if node in self.nodes else []
        return found[0] if found else None

    def uri(self, node: str, key: str) -> str:
        """Returns where the artifact lies, or '' where there is none, or none any more."""
        artifact = self.artifact(node, key)
        return artifact.uri if artifact and Path(artifact.uri).exists() else ""

    @property
    def model_id(self) -> int | None:
        """The artifact id of the fine-tuned model, or None."""
        artifact = self.artifact(FINETUNER, "model")
        return artifact.id if artifact else None

    def settings(self, node: str) -> dict:
        """Returns a Trainer's settings (pipeline/pipeline.py), or {}."""
        return json.loads(self.parameters.get(node, {}).get("custom_config") or "{}")

    @property
    def encoder_uri(self) -> str:
        """Where the model lies whose features are shown: the pretrained one, or without pretraining
        the final one; '' for none.
        """
        return (
            self.uri(PRETRAINER, "model")
            or self.uri(ENCODER, "result")
            or self.uri(FINETUNER, "model")
        )

    @property
    def training_settings(self) -> dict:
        """The settings of the first Trainer that ran, or {}."""
        return self.settings(PRETRAINER) or self.settings(FINETUNER)

    def flag(self, node: str, key: str, name: str) -> int | None:
        """Returns a number among an artifact's properties, or None where there is no such artifact
        or number.
        """
        artifact = self.artifact(node, key)
        return properties(artifact).get(name) if artifact else None

    @property
    def name(self) -> str:
        """The name of the pipeline."""
        first = next((node.execution_id for node in self.nodes.values()), None)
        contexts = [] if first is None else self.store.get_contexts_by_execution(first)
        return next((context.name for context in contexts if context.type == PIPELINE_CONTEXT), "")

    @property
    def started(self) -> datetime | None:
        """When the first node began, in local time."""
        ids = [node.execution_id for node in self.nodes.values()]
        times = [
            execution.create_time_since_epoch for execution in self.store.get_executions_by_id(ids)
        ]
        return datetime.fromtimestamp(min(times) / 1e3) if times else None

    @property
    def pushed(self) -> str:
        """The folder that the model was pushed to, or ''."""
        artifact = self.artifact(PUSHER, "pushed_model")
        told = properties(artifact) if artifact else {}
        return told.get("pushed_destination", "") if told.get("pushed") else ""

    @property
    def blessed(self) -> bool | None:
        """Whether every gate accepted the model; None if a gate has not been asked."""
        gates = [node for node in (EVALUATOR, MODEL_CHECK) if node in self.nodes]
        verdicts = [self.flag(node, "blessing", "blessed") for node in gates]
        return None if not verdicts or None in verdicts else all(verdicts)

    def log(self, node: str, file: str) -> dict:
        """Returns a JSON file that a Trainer left in its log folder, or {}."""
        path = Path(self.uri(node, "model_run") or "/nonexistent", file)
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}

    @property
    def rows_by_epoch(self) -> list[dict]:
        """Accuracy of the encoders that were kept along the way, one row an epoch, [] where none
        were kept.
        """
        path = Path(self.uri("EpochEvaluation", "evaluation") or "/nonexistent", EPOCHS_FILE)
        return json.loads(path.read_text(encoding="utf-8"))["rows"] if path.exists() else []


def latest_run(store: MetadataStore) -> Run | None:
    """Returns the latest run of a store, or None if it has none."""
    ids = run_ids(store)
    return Run(store, ids[-1]) if ids else None


def runs_with_other_models(run: Run) -> list[Run]:
    """Returns the runs of the same pipeline before this one that made a model of their own, the
    latest first.
    """
    ids = run_ids(run.store)
    before = ids[: ids.index(run.run_id)] if run.run_id in ids else ids
    seen, others = {run.model_id}, []
    # oldest first: a model belongs to the run that made it, not to those that found it in the cache
    for run_id in before:
        other = Run(run.store, run_id)
        if other.model_id not in {None, *seen} and other.name == run.name:
            seen.add(other.model_id)
            others.append(other)
    return others[::-1][:MOST_EARLIER_RUNS]
