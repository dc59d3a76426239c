"""One of the processes that train together: `python -m trainer_module.trainer_process FOLDER`,
started by the chief's run and by `python -m pipeline.worker`, with its place in TF_CONFIG.

It joins the others, reads its part of every batch from the folder, and trains; the first of them
writes checkpoints and logs. Without TF_CONFIG it trains alone.
"""

import os
import sys
import threading
import time
from pathlib import Path

from trainer_module.cluster import BAD_INPUT, CLUSTER_VARIABLE, ERROR, JOB, cluster_of
from trainer_module.errors import InputError, TrainingDivergedError
from trainer_module.whole_files import read_json, write_json


def main(folder: Path) -> int:
    """Trains and returns the exit code; writes down why where it is not 0 and not a kill."""
    threading.Thread(target=_end_with_the_parent, args=(os.getppid(),), daemon=True).start()
    try:
        _train(folder)
    except InputError as error:
        write_json(folder / ERROR, {"why": str(error), "code": BAD_INPUT})
        return BAD_INPUT
    except TrainingDivergedError as error:
        write_json(folder / ERROR, {"why": str(error)})
        raise
    return 0


def _end_with_the_parent(parent: int) -> None:
    """Ends this process when the one that started it is gone; TensorFlow may be waiting then."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def _train(folder: Path) -> None:
    from trainer_module import dotted, replicas

    cluster = cluster_of(os.environ.get(CLUSTER_VARIABLE, ""))
    if cluster:
        replicas.join_others(cluster.rank)
        (folder / f"connected-{cluster.rank}").touch()
    job = read_json(folder / JOB)
    dotted.function(job["take_part"])(job, folder)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
