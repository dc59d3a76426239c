"""How long the report of a run takes and how large it is: `python benchmarks/report.py
--pipeline_root DIR`.

Makes the report of the root's latest run in a folder of its own, as the component RunReport does:
what the nodes before it have imported is imported before the clock starts. The last line is JSON:
seconds, megabytes, images in the run's splits, images on the maps.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))


def measure(pipeline_root: Path) -> dict:
    """Returns the numbers of one report."""
    import tensorflow_model_analysis  # noqa: F401 (the Evaluator has imported it)

    from components.metadata.stored_run import StoredRun
    from components.report.page import write_report
    from components.report.tensorboard import write_tensorboard
    from pipeline.lineage.snapshots import metadata_of, snapshot_at

    snapshot = snapshot_at(metadata_of(pipeline_root))
    run = StoredRun(snapshot, [*snapshot.runs][-1])
    with tempfile.TemporaryDirectory() as folder:
        started, used = time.perf_counter(), time.process_time()
        page = Path(folder, "report.html")
        contents = write_report(run, page)
        write_tensorboard(contents, Path(folder, "tensorboard"))
        return {
            "seconds": round(time.perf_counter() - started, 1),
            "cpu_seconds": round(time.process_time() - used, 1),
            "megabytes": round(page.stat().st_size / 1e6, 1),
            "images": {split.name: split.images for split in contents.splits},
            "images_on_maps": len(contents.sample.names) if contents.sample else 0,
        }


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pipeline_root", type=Path, default=Path("runs/demo"))
    print(json.dumps(measure(parser.parse_args().pipeline_root)))


if __name__ == "__main__":
    main()
