"""A run on several machines: this process is the chief's, which runs the pipeline; the workers
(pipeline/worker.py) come to its trainings. Standard library alone.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from trainer_module.cluster import CLUSTER_VARIABLE, Beat, cluster_of
from trainer_module.errors import InputError
from trainer_module.together import CHIEF, FOLDER_VARIABLE, KEPT_VARIABLE, TOGETHER, beating


@contextmanager
def with_workers(root, minutes: float = 0) -> Iterator[None]:
    """Makes this run known to workers while its block runs; does nothing on one machine.

    Args:
      root: the pipeline root (pipeline/root.py).
      minutes: of pretraining, 0 where epochs were chosen.

    Raises:
      InputError: if this process is a worker's, or the epochs are to follow from minutes.
    """
    text = os.environ.get(CLUSTER_VARIABLE, "")
    cluster = cluster_of(text)
    if cluster is None:
        yield
        return
    if cluster.rank:
        raise InputError(
            f"Only the chief runs the pipeline. Received: {text}. Fix: on a worker run "
            f"`python -m pipeline.worker --pipeline_root={root.path}`"
        )
    if minutes:
        raise InputError(
            f"`--minutes` measures one machine, and {CLUSTER_VARIABLE} names "
            f"{len(cluster.addresses)}. Received: minutes={minutes:g}. Fix: --pretrain_epochs=N"
        )
    # Not for the libraries of other components, which read it, too.
    del os.environ[CLUSTER_VARIABLE]
    os.environ[KEPT_VARIABLE], os.environ[FOLDER_VARIABLE] = text, str(root.path / TOGETHER)
    try:
        with Beat(root.path / TOGETHER / CHIEF, state="runs", job="") as beat:
            beating(beat)
            try:
                yield
            finally:
                beat.tell(state="ended")
    finally:
        os.environ[CLUSTER_VARIABLE] = text
        del os.environ[KEPT_VARIABLE], os.environ[FOLDER_VARIABLE]
