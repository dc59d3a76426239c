"""The data of a run: how many images, how large, how many of each class, and what is odd about
them; from TFDV's statistics.
"""

import json
from collections import Counter
from dataclasses import dataclass

from tensorflow_metadata.proto.v0 import anomalies_pb2, statistics_pb2

from components.anomaly_gate import describe
from components.file_list_example_gen.noticed import FINDINGS_FILE
from components.metadata.names import EXAMPLE_GEN, EXAMPLE_VALIDATOR, RUN_REPORT, STATISTICS_GEN
from components.metadata.stored_run import StoredRun
from components.report import plots
from trainer_module.findings import SEVERITIES, Finding, from_dicts, merged
from trainer_module.tasks.task import Task

ORDER = ("pretrain", "train", "eval")
SIZES = ("height", "width")


@dataclass(frozen=True)
class SplitRow:
    """One split: number of images, least / mean / largest of `height` and `width` in pixels, mean
    bytes of a file.
    """

    name: str
    images: int
    sizes: dict[str, tuple[float, float, float]]
    bytes: float


def describe_splits(run: StoredRun) -> list[SplitRow]:
    """Returns what StatisticsGen measured on each split."""
    return [_split(name, found) for name, found in _statistics(run).items()]


def class_balance(run: StoredRun, task: Task | None) -> dict | None:
    """Returns bars of images a class and split, where targets are class names."""
    counts = class_counts(run, task.target) if task and task.one_class_an_image else {}
    return plots.bars(counts, "class") if counts else None


def class_counts(run: StoredRun, target: str) -> dict[str, Counter]:
    """Returns, for each split, class name -> images, where the target is a text.

    {} where it is not.
    """
    counts = {}
    for name, found in _statistics(run).items():
        for feature in found.features:
            if (
                list(feature.path.step) == [target]
                and feature.HasField("string_stats")
                and name != "pretrain"
            ):
                buckets = feature.string_stats.rank_histogram.buckets
                counts[name] = Counter(
                    {bucket.label: int(bucket.sample_count) for bucket in buckets}
                )
    return counts


def anomalies(run: StoredRun) -> list[str]:
    """Returns what ExampleValidator found at odds with the schema, one line each."""
    lines = []
    for path in sorted(run.folder(EXAMPLE_VALIDATOR, "anomalies").glob("Split-*/SchemaDiff.pb")):
        found = anomalies_pb2.Anomalies.FromString(path.read_bytes())
        lines += describe(path.parent.name.removeprefix("Split-"), found)
    return lines


def findings(run: StoredRun) -> list[Finding]:
    """Returns what was noticed about the images and lists, the worst first."""
    node = run.nodes.get(RUN_REPORT)
    before = json.loads(node.properties.get("findings", "[]")) if node else []
    ingest = run.json_file(EXAMPLE_GEN, "examples", FINDINGS_FILE).get("findings", [])
    found = merged(from_dicts(before), from_dicts(ingest))
    return sorted(found, key=lambda finding: SEVERITIES.index(finding.severity))


def _statistics(run: StoredRun) -> dict[str, statistics_pb2.DatasetFeatureStatistics]:
    found = {}
    for path in run.folder(STATISTICS_GEN, "statistics").glob("Split-*/FeatureStats.pb"):
        whole = statistics_pb2.DatasetFeatureStatisticsList.FromString(path.read_bytes())
        found[path.parent.name.removeprefix("Split-")] = whole.datasets[0]
    return {
        name: found[name]
        for name in sorted(
            found, key=lambda name: (ORDER.index(name) if name in ORDER else len(ORDER), name)
        )
    }


def _split(name: str, found: statistics_pb2.DatasetFeatureStatistics) -> SplitRow:
    features = {"/".join(feature.path.step): feature for feature in found.features}
    sizes = {side: features[side].num_stats for side in SIZES if side in features}
    sizes = {side: (stats.min, stats.mean, stats.max) for side, stats in sizes.items()}
    return SplitRow(name, found.num_examples, sizes, _mean_bytes(features.get("image")))


def _mean_bytes(feature) -> float:
    if feature is None:
        return 0.0
    return (
        feature.bytes_stats.avg_num_bytes
        if feature.HasField("bytes_stats")
        else feature.string_stats.avg_length
    )
