"""A pretraining laid out in a folder, so that processes on several machines can take part in it."""

import dataclasses
from pathlib import Path

import numpy as np

from trainer_module.cluster import START, WATCHED
from trainer_module.monitor import MOST_EVAL_IMAGES, MOST_TRAIN_IMAGES, Watched, thinned
from trainer_module.pretrain import Images, Places
from trainer_module.settings import PretrainingScience
from trainer_module.shared_images import few_bytes, write_images


def job_of(science: PretrainingScience, data: Images, places: Places, precision: str) -> dict:
    """Returns what every process needs besides the arrays, as JSON values.

    Args:
        science: the settings, with a batch that fits the data.
        data: the images, with their digest.
        places: folders that all machines see.
        precision: that of the chief, because `auto` may be another one elsewhere.
    """
    return {
        "task": science.task,
        "fingerprint": science.fingerprint,
        "encoder": dataclasses.asdict(science.encoder),
        "augmentation": dataclasses.asdict(science.augmentation),
        "pretraining": dataclasses.asdict(science.pretraining) | {"precision": precision},
        "channel_mean": [float(value) for value in data.channel_mean],
        "channel_std": [float(value) for value in data.channel_std],
        "view_size": list(data.view_size),
        "image_size": list(data.images.shape[1:3]),
        "images_sha256": data.sha256,
        "few_bytes": few_bytes(data.images),
        "checkpoints": places.checkpoints,
        "logs": places.logs,
        "milestones": list(places.milestones),
    }


def lay_out(data: Images, watched: Watched | None, folder: Path) -> None:
    """Writes the images, those to measure on, and the weights to begin with, where every process
    reads what it needs of them.
    """
    write_images(data.images, folder)
    if data.start:
        np.savez(folder / START, *data.start.get_weights())
    if watched is not None:
        train = thinned(len(watched.train_images), MOST_TRAIN_IMAGES)
        held_out = thinned(len(watched.eval_images), MOST_EVAL_IMAGES)
        arrays = {
            "train_images": watched.train_images[train],
            "train_labels": watched.train_labels[train],
            "eval_images": watched.eval_images[held_out],
            "eval_labels": watched.eval_labels[held_out],
        }
        np.savez(folder / WATCHED, **arrays)
