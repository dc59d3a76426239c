"""What StatisticsGen says of features that are whole files, and what SchemaGen makes of that."""

import importlib

import pytest

from pipeline.describing import describing
from trainer_module.tasks.classification import Classification
from trainer_module.tasks.segmentation import Segmentation

pytestmark = pytest.mark.tfx


@pytest.mark.parametrize(
    ("task", "target", "files"),
    [
        (Classification(2), "label", {"image"}),
        (Segmentation(3), "label_map", {"image", "label_map"}),
    ],
)
def test_files_are_described_by_their_sizes_and_stay_in_the_schema(task, target, files):
    importlib.import_module("tfx")  # without which TFDV cannot be imported
    import pandas
    import tensorflow_data_validation as tfdv

    rows = [{"image": b"\x89P" * count, target: b"ab" * count, "height": 8} for count in (1, 2, 3)]
    found = tfdv.generate_statistics_from_dataframe(pandas.DataFrame(rows), describing(task))
    features = {one.path.step[0]: one for one in found.datasets[0].features}
    assert {name for name in features if features[name].HasField("bytes_stats")} == files
    assert features["image"].bytes_stats.avg_num_bytes == 4
    assert ("string_stats" if target == "label" else "bytes_stats") == features[target].WhichOneof(
        "stats"
    )
    schema = tfdv.infer_schema(found, infer_feature_shape=True)
    kinds = {one.name: (one.type, [dim.size for dim in one.shape.dim]) for one in schema.feature}
    assert kinds["image"] == kinds[target] == (1, [1]) and kinds["height"] == (2, [1])
    assert not tfdv.validate_statistics(found, schema).anomaly_info
