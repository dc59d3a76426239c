"""How long ingest, statistics and Transform take: `python benchmarks/ingest.py --train_file_path
LIST --val_file_path LIST`.

Runs the pipeline's own nodes up to Transform in a fresh folder. The last line is JSON: seconds of
each node, by the clock and of the processor (which other programs on the machine change less),
images/s and peak memory of the process.
"""

import argparse
import json
import logging
import os
import re
import resource
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
FINISHED = re.compile(r"Component (\S+) is finished")


class ProcessorClock(logging.Handler):
    """Notes the processor's seconds between the ends of nodes, as TFX logs them; Transform, the
    last one, silences the log.
    """

    def __init__(self):
        super().__init__(logging.INFO)
        self.nodes, self._last = {}, time.process_time()

    def emit(self, record: logging.LogRecord) -> None:
        """Notes what the node that ends here took."""
        if found := FINISHED.search(record.getMessage()):
            self.note(found.group(1))

    def note(self, node: str) -> None:
        """Notes that a node ends now."""
        now = time.process_time()
        self.nodes[node], self._last = round(now - self._last, 1), now


def measure(train: str, evaluation: str) -> dict:
    """Runs the nodes and returns what they cost."""
    from tfx.dsl.compiler import compiler
    from tfx.orchestration.local.local_dag_runner import LocalDagRunner
    from tfx.orchestration.metadata import sqlite_metadata_connection_config
    from tfx.orchestration.pipeline import Pipeline

    from components.file_list_example_gen.rows import read_rows
    from components.metadata.snapshot import read
    from components.metadata.store import open_store
    from pipeline.flags import build_parser, choices_of
    from pipeline.pipeline import BEAM_ARGS, ingest
    from pipeline.plan import make_plan

    flags = build_parser().parse_args(
        [f"--train_file_path={train}", f"--val_file_path={evaluation}", "--input_size=32 32"]
    )
    plan = make_plan(choices_of(flags))
    images = len(read_rows(train)) + len(read_rows(evaluation))
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        nodes = ingest(plan).nodes
        store = f"{folder}/metadata.sqlite"
        graph = Pipeline(
            pipeline_name="ingest",
            pipeline_root=folder,
            components=list(nodes),
            metadata_connection_config=sqlite_metadata_connection_config(store),
            beam_pipeline_args=BEAM_ARGS,
        )
        compiled = compiler.Compiler().compile(graph)
        clock = ProcessorClock()
        logging.getLogger("absl").addHandler(clock)
        logging.getLogger("absl").setLevel(logging.INFO)
        LocalDagRunner().run_with_ir(compiled)
        if nodes[-1].id not in clock.nodes:
            clock.note(nodes[-1].id)
        seconds = time.perf_counter() - started
        executions = read(open_store(store)).executions.values()
    return {
        "images": images,
        "seconds": round(seconds, 1),
        "images_per_second": round(images / seconds),
        "peak_gigabytes": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
        "processor_seconds": round(sum(clock.nodes.values()), 1),
        "nodes": {item.node: round(item.seconds, 1) for item in executions},
        "nodes_processor": clock.nodes,
    }


def main() -> None:
    """Parses the command line and prints one JSON line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--train_file_path", required=True)
    parser.add_argument("--val_file_path", required=True)
    flags = parser.parse_args()
    sys.argv = sys.argv[:1]  # TFX hands it to absl
    print(json.dumps(measure(flags.train_file_path, flags.val_file_path)))


if __name__ == "__main__":
    main()
