"""Whether an engine makes what this process makes: `python benchmarks/engines.py
--train_file_path LIST --val_file_path LIST --beam_runner NAME [--model ROOT]`, with more of Beam's
flags in SIMCLR_BEAM_ARGS.

Runs ExampleGen, StatisticsGen and Transform, and with `--model` the Evaluator on the model of a
finished run in that pipeline root, and prints digests of what came out as one JSON line: examples
as sets, statistics, channel means, metrics. The lines of two engines must be equal, but for
`engine`, `flags`, `nodes` (seconds by node) and `seconds`.
"""

import argparse
import hashlib
import json
import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def run(nodes: list, folder: str, engine) -> dict[str, float]:
    """Runs nodes on an engine; returns seconds by node."""
    from tfx.dsl.compiler import compiler
    from tfx.orchestration.local.local_dag_runner import LocalDagRunner
    from tfx.orchestration.metadata import sqlite_metadata_connection_config
    from tfx.orchestration.pipeline import Pipeline

    from components.metadata.snapshot import read
    from components.metadata.store import open_store
    from pipeline.engines.check import refuse_unfit_workers, refuse_unread_flags
    from pipeline.engines.use import use_engine
    from pipeline.pipeline import BEAM_ARGS

    store = f"{folder}/metadata.sqlite"
    graph = compiler.Compiler().compile(
        Pipeline(
            pipeline_name="engines",
            pipeline_root=folder,
            components=nodes,
            metadata_connection_config=sqlite_metadata_connection_config(store),
            beam_pipeline_args=BEAM_ARGS,
        )
    )
    refuse_unread_flags(engine)
    use_engine(graph, engine)
    if engine.is_elsewhere:
        refuse_unfit_workers(engine, Path(folder), [])
    LocalDagRunner().run_with_ir(graph)
    executions = read(open_store(store)).executions.values()
    return {item.node: round(item.seconds, 1) for item in executions}


def ingest_nodes(train: str, evaluation: str) -> list:
    """Returns the nodes from lists to transformed examples."""
    from pipeline.flags import build_parser, choices_of
    from pipeline.pipeline import ingest
    from pipeline.plan import make_plan

    flags = [f"--train_file_path={train}", f"--val_file_path={evaluation}", "--input_size=32 32"]
    return list(ingest(make_plan(choices_of(build_parser().parse_args(flags)))).nodes)


def evaluator_nodes(root: str) -> list:
    """Returns an Evaluator of the latest model of a pipeline root, and what brings its inputs."""
    import tensorflow_model_analysis as tfma
    from google.protobuf import json_format
    from tfx.components import Evaluator
    from tfx.dsl.components.common.importer import Importer
    from tfx.types.standard_artifacts import Examples, Model

    from components.metadata.store import open_store

    store = open_store(f"{root}/metadata.sqlite")
    uris = {
        "Examples": store.get_artifacts_by_type("Examples")[0].uri,  # ExampleGen's, not Transform's
        "Model": store.get_artifacts_by_type("Model")[-1].uri,  # the latest
    }
    judged = store.get_executions_by_type("tfx.components.evaluator.component.Evaluator")[-1]
    config = json_format.Parse(
        judged.custom_properties["eval_config"].string_value, tfma.EvalConfig()
    )
    for spec in config.metrics_specs:  # there is no baseline to be held against
        for metric in spec.metrics:
            metric.threshold.ClearField("change_threshold")
    kinds = {"Examples": Examples, "Model": Model}
    about = {"Examples": {"split_names": '["train", "eval"]'}, "Model": {}}
    examples, model = (
        Importer(source_uri=uris[name], artifact_type=kind, properties=about[name]).with_id(name)
        for name, kind in kinds.items()
    )
    given = {"examples": examples.outputs["result"], "model": model.outputs["result"]}
    return [examples, model, Evaluator(**given, eval_config=config, example_splits=["eval"])]


def digests(folder: Path) -> dict:
    """Returns what the nodes made in their pipeline root, in a form that does not depend on the
    order of records.
    """
    return _examples(folder) | _statistics(folder) | _channel_mean(folder) | _metrics(folder)


def _examples(folder: Path) -> dict[str, str]:
    """Returns how many examples each split of ExampleGen and Transform has, and their digest."""
    import tensorflow as tf

    made = {}
    for split in sorted(folder.glob("*/*examples/*/Split-*")):
        files = [str(file) for file in split.glob("*.gz")]
        records = tf.data.TFRecordDataset(files, "GZIP").as_numpy_iterator()
        rows = sorted(_row(tf.train.Example.FromString(one)) for one in records)
        made[f"{split.parts[-4]} {split.name}"] = f"{len(rows)} {_digest(b''.join(rows))}"
    return made


def _statistics(folder: Path) -> dict[str, str]:
    """Returns the digest of each split's statistics, whose features come in any order."""
    from tensorflow_metadata.proto.v0 import statistics_pb2

    made = {}
    for file in sorted(folder.glob("StatisticsGen/*/*/Split-*/FeatureStats.pb")):
        found = statistics_pb2.DatasetFeatureStatisticsList.FromString(file.read_bytes())
        texts = sorted(str(one) for one in found.datasets[0].features)
        made[f"StatisticsGen {file.parent.name}"] = _digest("".join(texts).encode())
    return made


def _channel_mean(folder: Path) -> dict[str, list[float]]:
    """Returns the mean of red, green and blue, which Transform writes into every example."""
    import tensorflow as tf

    made = {}
    for split in sorted(folder.glob("Transform/transformed_examples/*/Split-train")):
        files = [str(next(split.glob("*.gz")))]
        record = next(tf.data.TFRecordDataset(files, "GZIP").as_numpy_iterator())
        mean = tf.train.Example.FromString(record).features.feature["channel_mean"]
        made["channel mean"] = [round(value, 5) for value in mean.float_list.value]
    return made


def _metrics(folder: Path) -> dict[str, dict[str, float]]:
    """Returns the Evaluator's metrics over all images; {} where it did not run."""
    import tensorflow_model_analysis as tfma

    made = {}
    for place in sorted(folder.glob("Evaluator/evaluation/*")):
        slices = dict(tfma.load_eval_result(str(place)).slicing_metrics)
        made["metrics"] = {
            name: round(value["doubleValue"], 5)
            for name, value in sorted(slices[()][""][""].items())
            if "doubleValue" in value
        }
    return made


def _row(example) -> bytes:
    """Returns the digest of an example without the channel means, whose last bit has the order of
    sums in it.
    """
    for name in ("channel_mean", "channel_std"):
        example.features.feature.pop(name, None)
    return hashlib.sha256(example.SerializeToString(deterministic=True)).digest()


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def main() -> None:
    """Parses the command line and prints one JSON line."""
    from pipeline.engines.engine import IN_PROCESS, engine_asked_for

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--train_file_path", required=True)
    parser.add_argument("--val_file_path", required=True)
    parser.add_argument("--beam_runner", default=IN_PROCESS)
    parser.add_argument("--model", help="pipeline root of a finished run")
    parser.add_argument("--folder", help="pipeline root of this one; default: one in TMPDIR")
    flags = parser.parse_args()
    sys.argv = sys.argv[:1]  # TFX hands it to absl
    engine = engine_asked_for(flags.beam_runner)
    with tempfile.TemporaryDirectory() as temporary:
        folder = flags.folder or temporary
        started = time.perf_counter()
        nodes = ingest_nodes(flags.train_file_path, flags.val_file_path)
        if flags.model:
            nodes += evaluator_nodes(flags.model)
        seconds = run(nodes, folder, engine)
        told = {"engine": flags.beam_runner, "flags": engine.flags, "nodes": seconds}
        told |= {"seconds": round(time.perf_counter() - started, 1)}
        print(json.dumps(told | digests(Path(folder))))


if __name__ == "__main__":
    main()
