"""A run as the inputs of RunReport tell it, for orchestrators whose metadata no container reads.

Known are the artifacts and who made them, and of ingest and training their parameters, which lie
beside the artifacts. When a node ran and what earlier runs came to is not known.
"""

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tfx.types.artifact import Artifact as TfxArtifact

from components.metadata import names
from components.metadata.snapshot import Artifact, Execution, Run, Snapshot
from components.metadata.stored_run import StoredRun

# Input of RunReport -> the node that makes it, and under which key.
MADE_BY = {
    "examples": (names.EXAMPLE_GEN, "examples"),
    "statistics": (names.STATISTICS_GEN, "statistics"),
    "anomalies": (names.EXAMPLE_VALIDATOR, "anomalies"),
    "transformed_examples": (names.TRANSFORM, "transformed_examples"),
    "transform_graph": (names.TRANSFORM, "transform_graph"),
    "pretrained_model": (names.PRETRAINER, "model"),
    "pretraining": (names.PRETRAINER, "model_run"),
    "by_epoch": (names.EPOCH_EVALUATION, "evaluation"),
    "model": (names.FINETUNER, "model"),
    "finetuning": (names.FINETUNER, "model_run"),
    "evaluation": (names.EVALUATOR, "evaluation"),
    "blessing": (names.EVALUATOR, "blessing"),
    "infra_blessing": (names.MODEL_CHECK, "blessing"),
    "pushed_model": (names.PUSHER, "pushed_model"),
}
RUN_ID = "this run"


def run_of(
    inputs: Mapping[str, Sequence[TfxArtifact]], parameters: Mapping[str, str | int | float]
) -> StoredRun:
    """Returns the run that RunReport is part of.

    Args:
      inputs: of RunReport; one artifact each.
      parameters: of RunReport.
    """
    made: dict[str, dict[str, TfxArtifact]] = {}
    for name, (node, key) in MADE_BY.items():
        for artifact in inputs.get(name, ()):
            made.setdefault(node, {})[key] = artifact
    made[names.RUN_REPORT] = {}
    executions, artifacts, now = {}, {}, time.time()
    for number, (node, outputs) in enumerate(made.items()):
        told = dict(parameters) if node == names.RUN_REPORT else {}
        numbers: dict[str, list[int]] = {}
        for key, one in outputs.items():
            numbers[key] = [len(artifacts)]
            told |= _parameters(one.uri)
            artifacts[len(artifacts)] = Artifact(
                len(artifacts), one.type_name, one.uri, _properties(one), number
            )
        executions[number] = Execution(
            number, node, RUN_ID, "done", now, 0.0, told, outputs=numbers
        )
    run = Run(RUN_ID, executions=tuple(executions))
    return StoredRun(Snapshot({RUN_ID: run}, executions, artifacts), RUN_ID)


def _properties(artifact: TfxArtifact) -> dict:
    """Returns an artifact's properties as plain values; orchestrators hand on those that TFX has no
    field for as JSON, which TFX's own reader takes for absent where they are 0.
    """
    mlmd = artifact.mlmd_artifact
    found = {name: getattr(artifact, name) for name in mlmd.properties}
    for name in mlmd.custom_properties:
        value = artifact.get_json_value_custom_property(name)
        found[name] = artifact.get_custom_property(name) if value is None else value
    return found


def _parameters(uri: str) -> dict:
    file = Path(uri, names.PARAMETERS_FILE)
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
