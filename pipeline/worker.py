"""Trains beside a run on another machine: `python -m pipeline.worker --pipeline_root=DIR`.

DIR is the pipeline root of that run, on a folder that both machines see, and TF_CONFIG says which
worker this is. It waits for the run, trains with it, and ends when the run ends.
"""

import argparse
import os
import sys
import time
from pathlib import Path

from components.metadata.names import FINETUNER, PRETRAINER
from pipeline.arguments import BAD_INPUT, DONE, FAILED, path_of
from pipeline.stopping import run_tool
from trainer_module.cluster import (
    CLUSTER_VARIABLE,
    ERROR,
    EXAMPLE,
    FINETUNING,
    JOB,
    PRETRAINING,
    Beat,
    Cluster,
    Watch,
    cluster_of,
    seconds_to_be_lost,
    seconds_to_join,
)
from trainer_module.errors import InputError
from trainer_module.together import CHIEF, PAUSE, TOGETHER, Place, child, end
from trainer_module.whole_files import read_json

NODES = {PRETRAINING: PRETRAINER, FINETUNING: FINETUNER}  # by the kind of training


def main(arguments: list[str]) -> int:
    """Runs one command line and returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m pipeline.worker",
        description=__doc__,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--pipeline_root", type=path_of, required=True, help="that of the run, on a shared folder"
    )
    root = parser.parse_args(arguments).pipeline_root
    try:
        return _work(Place((root / TOGETHER).resolve(), _as_worker()))
    except InputError as error:
        print(f"pipeline.worker: {error}", file=sys.stderr)
        return BAD_INPUT


def _as_worker() -> Cluster:
    """Returns the cluster of which this process is a worker."""
    cluster = cluster_of(os.environ.get(CLUSTER_VARIABLE, ""))
    if cluster is None or cluster.rank == 0:
        raise InputError(
            f"`{CLUSTER_VARIABLE}` must name several machines, and this one as a worker. Received: "
            f"{os.environ.get(CLUSTER_VARIABLE) or 'nothing'}. Fix: {CLUSTER_VARIABLE}='{EXAMPLE}' "
            f"(docs/several-machines.md); on the chief, or with one machine, local_runner.py"
        )
    return cluster


def _work(place: Place) -> int:
    """Waits for the chief's trainings and takes part in each."""
    watch, done = Watch(place.folder / CHIEF), ""
    print(f"Worker {place.cluster.rank}: waiting for a run in {place.folder.parent}", flush=True)
    while True:
        told = watch.look()
        if watch.came and told.get("state") == "ended":
            print("The run has ended.")
            return DONE
        if watch.still_for > (seconds_to_be_lost() if watch.came else seconds_to_join()):
            print(_silent(place, watch), file=sys.stderr)
            return FAILED
        if watch.came and told.get("job") not in ("", done):
            done = told["job"]
            if not _take_part(place, done, watch):
                return FAILED
        time.sleep(PAUSE)


def _silent(place: Place, watch: Watch) -> str:
    if watch.came:
        return (
            f"pipeline.worker: the run in {place.folder.parent} was not heard of for "
            f"{watch.still_for:.0f} s. Fix: start it again, and this worker"
        )
    return (
        f"pipeline.worker: no run began in {place.folder.parent} within {seconds_to_join():g} s. "
        f"Fix: start local_runner.py on the chief with this --pipeline_root, on a folder that "
        f"both machines see, and {CLUSTER_VARIABLE}"
    )


def _take_part(place: Place, job: str, watch: Watch) -> bool:
    """Trains in one training, until it is over for the chief; returns whether this worker's process
    did not fail.

    Raises:
      InputError: if this worker's code or images are not the chief's, or the training is refused.
    """
    folder, rank = place.folder / job, place.cluster.rank
    with Beat(place.of_worker(rank, job), state="comes") as beat:
        try:
            _refuse_other_work(folder)
        except InputError as error:
            beat.tell(state="refused", why=str(error))
            raise
        beat.tell(state="joined")
        print("Training together", flush=True)
        process, failure = child(folder, os.environ[CLUSTER_VARIABLE]), {}
        try:
            while watch.look().get("job") == job and watch.still_for <= seconds_to_be_lost():
                if process.poll() not in (None, 0) and not failure:
                    code = process.returncode
                    failure = {"why": f"its process ended with {code}", "code": code}
                    failure |= read_json(folder / ERROR)
                    beat.tell(state="failed", **failure)
                time.sleep(PAUSE)
        finally:
            end(process)
    if refused := watch.look().get("refused"):
        raise InputError(refused)
    return not failure


def _refuse_other_work(folder: Path) -> None:
    """Refuses a training whose result this worker's code would change, or other images."""
    from pipeline.fingerprint import node_fingerprint
    from trainer_module.shared_images import few_bytes, images_of
    from trainer_module.tasks.registry import task_from_json

    job = read_json(folder / JOB)
    try:
        task, node = task_from_json(job["task"]), NODES[job["kind"]]
    except (InputError, KeyError):  # of another version, which this one does not know
        code = "none"
    else:
        code = node_fingerprint(node, type(task), *job["chosen"])
    if code != job.get("fingerprint"):
        raise InputError(
            f"All machines must have the same code and versions of libraries. Received: "
            f"fingerprint {code} here, {job.get('fingerprint')} on the chief. Fix: the chief's "
            f"checkout and lock file on this machine"
        )
    if few_bytes(images_of(folder, tuple(job["image_size"]))) != job["few_bytes"]:
        raise InputError(
            f"All machines must see the same images. Received: others in {folder} than the chief "
            f"wrote there. Fix: one shared folder for --pipeline_root"
        )


if __name__ == "__main__":
    run_tool(main)
