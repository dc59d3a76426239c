"""AnomalyGate: stops the run when ExampleValidator found the data at odds with the schema.

ExampleValidator alone writes its findings and lets the run go on; training must wait for this gate.
"""

import os

from tensorflow_metadata.proto.v0 import anomalies_pb2
from tfx.dsl.component.experimental.annotations import InputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.types.artifact_utils import decode_split_names
from tfx.types.standard_artifacts import ExampleAnomalies

from trainer_module.errors import InputError
from trainer_module.findings import counted


@component
def AnomalyGate(  # noqa: N802 (a TFX component)
    anomalies: InputArtifact[ExampleAnomalies],
    fingerprint: Parameter[str],
) -> None:
    """Raises an InputError with a readable list of anomalies, if there are any.

    Args:
      anomalies: what ExampleValidator found, one file a split.
      fingerprint: digest of the gate's code.
    """
    del fingerprint
    lines = []
    for split in decode_split_names(anomalies.split_names):
        with open(os.path.join(anomalies.uri, f"Split-{split}", "SchemaDiff.pb"), "rb") as file:
            found = anomalies_pb2.Anomalies.FromString(file.read())
        lines += describe(split, found)
    if lines:
        raise InputError(
            "\n".join([f"{counted(len(lines), 'anomaly', 'anomalies')} in the data:", *lines])
        )


def describe(split: str, anomalies: anomalies_pb2.Anomalies) -> list[str]:
    """Returns one line an anomaly: `split: feature: what is wrong`."""
    lines = []
    if anomalies.HasField("dataset_anomaly_info"):
        lines.append(f"{split}: data set: {anomalies.dataset_anomaly_info.description}")
    for feature, info in sorted(anomalies.anomaly_info.items()):
        lines += [f"{split}: {feature}: {reason.description}" for reason in info.reason]
    return lines
