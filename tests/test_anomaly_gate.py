from pathlib import Path

import pytest
from tensorflow_metadata.proto.v0 import anomalies_pb2
from tfx.types.artifact_utils import encode_split_names
from tfx.types.standard_artifacts import ExampleAnomalies

from components.anomaly_gate import AnomalyGate
from trainer_module.errors import InputError

pytestmark = pytest.mark.tfx


def gate(tmp_path, anomalies):
    artifact = ExampleAnomalies()
    artifact.uri = str(tmp_path)
    artifact.split_names = encode_split_names(["eval"])
    folder = Path(tmp_path, "Split-eval")
    folder.mkdir()
    (folder / "SchemaDiff.pb").write_bytes(anomalies.SerializeToString())
    executor = AnomalyGate.EXECUTOR_SPEC.executor_class()
    executor.Do({"anomalies": [artifact]}, {}, {"fingerprint": "x"})


def test_sound_data_passes(tmp_path):
    gate(tmp_path, anomalies_pb2.Anomalies())


def test_anomalies_stop_the_run_with_a_readable_list(tmp_path):
    found = anomalies_pb2.Anomalies()
    found.anomaly_info["label"].reason.add(
        description="Examples contain values missing from the schema: bird"
    )
    found.anomaly_info["label"].reason.add(
        description="The feature was present in fewer examples than expected."
    )
    with pytest.raises(InputError) as error:
        gate(tmp_path, found)
    assert str(error.value).splitlines() == [
        "2 anomalies in the data:",
        "eval: label: Examples contain values missing from the schema: bird",
        "eval: label: The feature was present in fewer examples than expected.",
    ]


def test_what_is_wrong_with_a_whole_split_stands_first(tmp_path):
    found = anomalies_pb2.Anomalies()
    found.anomaly_info["label"].reason.add(description="Column dropped")
    found.dataset_anomaly_info.description = "Low num examples"
    with pytest.raises(InputError) as error:
        gate(tmp_path, found)
    assert str(error.value).splitlines()[1:] == [
        "eval: data set: Low num examples",
        "eval: label: Column dropped",
    ]


def test_features_are_told_in_the_order_of_their_names(tmp_path):
    found = anomalies_pb2.Anomalies()
    for name in ("width", "label", "height"):
        found.anomaly_info[name].reason.add(description="Column dropped")
    with pytest.raises(InputError) as error:
        gate(tmp_path, found)
    assert [line.split(": ")[1] for line in str(error.value).splitlines()[1:]] == [
        "height",
        "label",
        "width",
    ]
