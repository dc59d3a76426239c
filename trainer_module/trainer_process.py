"""One of the processes that pretrain together: `python -m trainer_module.trainer_process FOLDER`,
started by the chief's run and by `python -m pipeline.worker`, with its place in TF_CONFIG.

It joins the others, reads its part of every batch from the folder, and trains; the first of them
writes checkpoints and logs. Without TF_CONFIG it trains alone.
"""

import dataclasses
import os
import sys
import threading
import time
from pathlib import Path

from trainer_module.cluster import (
    ERROR,
    JOB,
    START,
    VARIABLE,
    WATCHED,
    cluster_of,
    read_file,
    write_file,
)
from trainer_module.errors import InputError


def main(folder: Path) -> int:
    """Trains and returns the exit code; writes down why where it is not 0 and not a kill."""
    threading.Thread(target=_end_with_the_parent, args=(os.getppid(),), daemon=True).start()
    try:
        _train(folder)
    except InputError as error:
        write_file(folder / ERROR, {"why": str(error)})
        return 2
    except Exception as error:
        if type(error).__name__ == "TrainingDivergedError":
            write_file(folder / ERROR, {"why": str(error)})
        raise
    return 0


def _end_with_the_parent(parent: int) -> None:
    """Ends this process when the one that started it is gone; TensorFlow may be waiting then."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def _train(folder: Path) -> None:
    from trainer_module import devices

    cluster = cluster_of(os.environ.get(VARIABLE, ""))
    if cluster:
        devices.join_others(cluster.rank)
        (folder / f"connected-{cluster.rank}").touch()
    import numpy as np

    from trainer_module.monitor import Watched
    from trainer_module.pretrain import Images, Places, pretrain
    from trainer_module.settings import Augmentation, Encoder, Pretraining, from_json
    from trainer_module.shared_images import images_of

    job = read_file(folder / JOB)
    encoder, view_size = from_json(Encoder, job["encoder"]), tuple(job["view_size"])
    data = Images(
        images_of(folder, tuple(job["image_size"])),
        np.array(job["channel_mean"], np.float32),
        np.array(job["channel_std"], np.float32),
        view_size,
        start_of(folder, encoder, view_size),
        job["images_sha256"],
    )
    watched = Watched(**np.load(folder / WATCHED)) if (folder / WATCHED).exists() else None
    pretrain(
        data,
        encoder,
        from_json(Augmentation, job["augmentation"]),
        from_json(Pretraining, job["pretraining"]),
        Places(job["checkpoints"], job["logs"], tuple(job["milestones"])),
        watched,
    )


def start_of(folder: Path, encoder, view_size: tuple[int, int]):
    """Returns the encoder that training begins with, of the weights that `lay_out` wrote; None
    where it wrote none.

    Args:
        folder: of the job.
        encoder: its settings; the grid of the features is not of views (pretrain.py).
        view_size: (H, W) in pixels.
    """
    if not (folder / START).exists():
        return None
    from trainer_module import checkpoint
    from trainer_module.pretrain import untrained_encoder
    from trainer_module.resnets import with_stem

    whole = dataclasses.replace(with_stem(encoder, view_size), grid=1)
    start = untrained_encoder(whole, view_size, 0)
    checkpoint.load_weights(start, folder / START)
    return start


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
