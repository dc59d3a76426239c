"""A pretraining laid out in a folder, so that processes on several machines can take part in it."""

import dataclasses
from pathlib import Path

import keras
import numpy as np

from trainer_module import checkpoint
from trainer_module.cluster import PRETRAINING, START, WATCHED
from trainer_module.features import at_once
from trainer_module.monitor import MOST_EVAL_IMAGES, MOST_TRAIN_IMAGES, Watched, thinned
from trainer_module.pretrain import Images, Places, pretrain, untrained_encoder
from trainer_module.resnets import with_stem
from trainer_module.settings import (
    Augmentation,
    Encoder,
    Pretraining,
    PretrainingScience,
    from_json,
)
from trainer_module.shared_images import data_of, told_of, write_images


def job_of(science: PretrainingScience, data: Images, places: Places, precision: str) -> dict:
    """Returns what every process needs besides the arrays, as JSON values.

    Args:
        science: the settings, with a batch that fits the data.
        data: the images, with their digest.
        places: folders that all machines see.
        precision: that of the chief, because `auto` may be another one elsewhere.
    """
    loss = science.pretraining.loss
    return {
        "kind": PRETRAINING,
        "take_part": "trainer_module.pretrain_job.take_part",
        "task": science.task,
        "fingerprint": science.fingerprint,
        "chosen": [science.encoder.builder, *([loss] if "." in loss else [])],
        "encoder": dataclasses.asdict(science.encoder),
        "augmentation": dataclasses.asdict(science.augmentation),
        "pretraining": dataclasses.asdict(science.pretraining) | {"precision": precision},
        "view_size": list(data.view_size),
        "sha256": data.sha256,
        "checkpoints": places.checkpoints,
        "logs": places.logs,
        "milestones": list(places.milestones),
    } | told_of(data)


def lay_out(data: Images, watched: Watched | None, folder: Path) -> None:
    """Writes the images, those to measure on, and the weights to begin with, where every process
    reads what it needs of them.
    """
    write_images(data.images, folder)
    if data.start:
        np.savez(folder / START, *data.start.get_weights())
    if watched is not None:
        (folder / WATCHED).mkdir()
        train = thinned(len(watched.train_images), MOST_TRAIN_IMAGES)
        held_out = thinned(len(watched.eval_images), MOST_EVAL_IMAGES)
        _write_some(watched.train_images, train, folder / WATCHED / "train_images.npy")
        _write_some(watched.eval_images, held_out, folder / WATCHED / "eval_images.npy")
        np.save(folder / WATCHED / "train_labels.npy", watched.train_labels[train])
        np.save(folder / WATCHED / "eval_labels.npy", watched.eval_labels[held_out])


def _write_some(images, chosen: np.ndarray, path: Path) -> None:
    """Writes some of the images as pixels: a part at a time, since all may be more than memory
    holds.
    """
    header = {"descr": "|u1", "fortran_order": False, "shape": (len(chosen), *images.shape[1:])}
    some = at_once(*images.shape[1:3])
    with open(path, "wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for start in range(0, len(chosen), some):
            file.write(images[chosen[start : start + some]].tobytes())


def watched_of(folder: Path) -> Watched | None:
    """Returns the labelled images of a folder, without reading them; None where `lay_out` wrote
    none.
    """
    if not (folder / WATCHED).exists():
        return None
    names = [field.name for field in dataclasses.fields(Watched)]
    return Watched(
        **{name: np.load(folder / WATCHED / f"{name}.npy", mmap_mode="r") for name in names}
    )


def take_part(job: dict, folder: Path) -> None:
    """Pretrains as one of the processes, of which a single one is a run of its own.

    Args:
        job: what `job_of` returned.
        folder: where `lay_out` wrote.
    """
    encoder, view_size = from_json(Encoder, job["encoder"]), tuple(job["view_size"])
    start = start_of(folder, encoder, view_size)
    data = Images(*data_of(job, folder), view_size, start, job["sha256"])
    pretrain(
        data,
        encoder,
        from_json(Augmentation, job["augmentation"]),
        from_json(Pretraining, job["pretraining"]),
        Places(job["checkpoints"], job["logs"], tuple(job["milestones"])),
        watched_of(folder),
    )


def start_of(folder: Path, encoder: Encoder, view_size: tuple[int, int]) -> keras.Model | None:
    """Returns the encoder that training begins with, of the weights that `lay_out` wrote; None
    where it wrote none.

    Args:
        folder: of the job.
        encoder: its settings; the grid of the features is not of views (pretrain.py).
        view_size: (H, W) in pixels.
    """
    if not (folder / START).exists():
        return None
    whole = dataclasses.replace(with_stem(encoder, view_size), grid=1)
    start = untrained_encoder(whole, view_size, 0)
    checkpoint.load_weights(start, folder / START)
    return start
