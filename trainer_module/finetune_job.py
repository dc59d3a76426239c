"""A fine-tuning that learns from views, laid out in a folder, so that processes on several machines
can take part in it.
"""

import dataclasses
from pathlib import Path

import keras
import numpy as np

from trainer_module import dotted
from trainer_module.cluster import ENCODER, FINETUNING, STATISTICS, TARGETS
from trainer_module.event_log import EventLog
from trainer_module.examples import Examples
from trainer_module.finetune import Kept, finetune, trained_precision
from trainer_module.replicas import leads
from trainer_module.settings import Finetuning, FinetuningScience, from_json
from trainer_module.shared_images import data_of, told_of, write_images
from trainer_module.tasks.registry import task_from_json


def job_of(science: FinetuningScience, train: Examples, kept: Kept, logs: str) -> dict:
    """Returns what every process needs besides the arrays, as JSON values.

    Args:
        science: the settings.
        train: the training images and their targets.
        kept: where checkpoints go, a folder that all machines see, and the digest of the data.
        logs: folder for TensorBoard.
    """
    # that of the chief, because `auto` may be another one elsewhere
    precision = {"precision": trained_precision(science.finetuning.precision)}
    return {
        "kind": FINETUNING,
        "take_part": "trainer_module.finetune_job.take_part",
        "task": science.task,
        "fingerprint": science.fingerprint,
        "chosen": [science.encoder.builder],
        "finetuning": dataclasses.asdict(science.finetuning) | precision,
        "sha256": kept.sha256,
        "checkpoints": kept.checkpoints,
        "logs": logs,
    } | told_of(train)


def lay_out(encoder: keras.Model, train: Examples, folder: Path) -> None:
    """Writes the encoder to begin with, the images and their targets, where every process reads
    what it needs of them.
    """
    encoder.save(folder / ENCODER)
    write_images(train.images, folder)
    np.save(folder / TARGETS, train.targets)
    np.savez(folder / STATISTICS, **train.statistics)


def take_part(job: dict, folder: Path) -> None:
    """Fine-tunes as one of the processes.

    Args:
        job: what `job_of` returned.
        folder: where `lay_out` wrote.
    """
    for path in job["chosen"]:
        dotted.function(path)  # whose module may register layers, without which nothing is loaded
    encoder = keras.models.load_model(folder / ENCODER, compile=False)
    images, mean, std = data_of(job, folder)
    targets = np.load(folder / TARGETS, mmap_mode="r")
    train = Examples(images, targets, mean, std, dict(np.load(folder / STATISTICS)))
    callbacks = [EventLog(job["logs"])] if leads() else []
    kept = Kept(callbacks, job["checkpoints"], job["sha256"])
    settings = from_json(Finetuning, job["finetuning"])
    finetune(encoder, task_from_json(job["task"]), train, settings, kept=kept)
