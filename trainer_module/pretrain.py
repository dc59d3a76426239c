"""Pretraining, start to end: images in, an encoder out that has learned features from them without
labels.

N images of H x W pixels, views of h x w pixels, D feature dims.
"""

import dataclasses
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import keras
import numpy as np

from trainer_module import checkpoint, dotted, duration
from trainer_module.batches import EpochBatches, refuse_unfit_batch
from trainer_module.checkpoint import Milestones
from trainer_module.devices import compiles_with_xla, dtype_policy
from trainer_module.divergence import StopDiverged
from trainer_module.encoded_images import EncodedImages, digest_of
from trainer_module.epoch_loop import fit_epochs
from trainer_module.event_log import EventLog
from trainer_module.heads import build_projection_head, of_mean
from trainer_module.learner import SimCLR, Views
from trainer_module.learning_rate import cosine_schedule, scaled_learning_rate
from trainer_module.loss import pretraining_loss
from trainer_module.monitor import Monitor, Watched
from trainer_module.optimizer import build_optimizer
from trainer_module.replicas import all_devices, leads, replica_count
from trainer_module.resnet import cells_of
from trainer_module.resnets import with_stem
from trainer_module.settings import Augmentation, Encoder, Pretraining, without_free
from trainer_module.weights_checksum import weights_checksum

# What to try where training diverges.
FIX = "a lower `learning_rate`, longer `warmup_epochs`, or precision float32 (now {})"


@dataclass(frozen=True)
class Images:
    """What to learn from."""

    images: np.ndarray | EncodedImages  # uint8 [N, H, W, 3]
    channel_mean: np.ndarray  # [3], in units of [0, 1] pixels
    channel_std: np.ndarray  # [3], likewise
    view_size: tuple[int, int]  # (h, w) in pixels
    start: keras.Model | None = None  # an encoder whose weights to begin with, not random ones
    sha256: str = ""  # of the images, where it is known


@dataclass(frozen=True)
class Places:
    """Where a run leaves things; both folders are made where they are missing."""

    checkpoints: str  # found again by a run that continues this one
    logs: str  # for TensorBoard
    # epochs, counted from 1, whose encoders are kept beside the checkpoint
    milestones: tuple[int, ...] = ()


def pretrain(
    data: Images,
    encoder: Encoder,
    augmentation: Augmentation,
    settings: Pretraining,
    places: Places,
    watched: Watched | None = None,
) -> tuple[keras.Model, keras.Model, dict]:
    """Trains an encoder with SimCLR; continues from a checkpoint of the same run if one is there.

    Args:
        data: the images, the statistics that normalize them, the size of a view.
        encoder: its architecture.
        augmentation: how views come about.
        settings: how long, how fast, with which loss.
        places: folders for checkpoints and logs.
        watched: labelled images on which to measure accuracy on the way, or None.

    Returns:
        The encoder, float32, from normalized images [B, H, W, 3] to features [B, D]; the projection
        head, float32, from features to embedding [B, P]; and a dict for JSON: `history` (quantity
        -> one value an epoch, None where not measured), `precision`, `seconds` of this call,
        `steps`, `epochs`, and the `minutes` that these were chosen for, 0 if they were not.

    Raises:
        InputError: if a batch is larger than the data, or a checkpoint belongs to another run.
        TrainingDivergedError: if the loss or a weight is no longer a number; the last good
          checkpoint stays.
    """
    started = time.monotonic()
    encoder = with_stem(encoder, data.view_size)
    # float32 and of the images' size: it takes over the weights for measuring, and at the end
    result = untrained_encoder(encoder, data.images.shape[1:3], settings.seed)
    told = {
        "encoder": dataclasses.asdict(encoder),
        "pretraining": dataclasses.asdict(settings),
        "view_size": data.view_size,
        "brought": data.start is not None,
    }
    monitor = Monitor(result, data.images, settings.monitor_every_epochs, watched, told)
    with all_devices():
        refuse_unfit_batch(settings, len(data.images), replica_count())
        if settings.minutes:
            trial = partial(build_learner, data, encoder, augmentation, settings)
            settings = duration.of_minutes(
                settings, data.images, trial, monitor, places.checkpoints, started
            )
        learner = build_learner(data, encoder, augmentation, settings)
    path = Path(places.checkpoints, checkpoint.FILE)
    identity = run_identity(data, encoder, augmentation, settings)
    if data.start:
        learner.encoder.set_weights(data.start.get_weights())
    progress = checkpoint.load(learner, path, identity)
    rhythm = checkpoint.Rhythm(settings.checkpoint_every_epochs, settings.checkpoint_every_minutes)
    batches = EpochBatches(data.images, settings.batch_size, settings.seed, progress.step)
    fix = FIX.format(learner.dtype_policy.name)
    saved = path, identity, progress, rhythm, fix
    callbacks = [checkpoint.Follower(*saved)]
    if leads():
        callbacks = [
            monitor,
            *_event_log(places.logs),
            Milestones(places.checkpoints, places.milestones),
            checkpoint.Checkpoint(*saved),
            duration.Estimate(batches.steps_per_epoch, settings.epochs),
        ]
    fit_epochs(learner, batches, settings.epochs, [StopDiverged(fix, path), *callbacks])
    report = {
        "history": progress.history,
        "precision": learner.dtype_policy.name,
        "seconds": round(time.monotonic() - started, 2),
        "steps": progress.step,
        "epochs": settings.epochs,
        "minutes": settings.minutes,
    }
    head = _with_weights(_head(result, settings), learner.head)
    return _with_weights(result, learner.encoder), head, report


def untrained_encoder(
    encoder: Encoder, image_size: tuple[int, int], seed: int, dtype: str = "float32"
) -> keras.Model:
    """Returns the encoder that `pretrain` starts from with this seed, weight for weight.

    Args:
        encoder: its architecture; with 'auto', the stem follows from `image_size`.
        image_size: (H, W) in pixels.
        seed: that of the pretraining settings.
        dtype: Keras dtype policy.
    """
    return dotted.function(encoder.builder)(encoder, image_size, dtype, seed)


def build_learner(
    data: Images, encoder: Encoder, augmentation: Augmentation, settings: Pretraining
) -> SimCLR:
    """Returns the compiled model that `fit` trains, its optimizer's variables made."""
    dtype = dtype_policy(settings.precision)
    # in a crop, a thing may lie in any cell
    whole = dataclasses.replace(with_stem(encoder, data.view_size), grid=1)
    network = untrained_encoder(whole, data.view_size, settings.seed, dtype)
    head = _head(network, settings, dtype)
    views = Views(
        tuple(data.view_size),
        augmentation,
        tuple(map(float, data.channel_mean)),
        tuple(map(float, data.channel_std)),
    )
    loss = pretraining_loss(settings.loss, settings.temperature)
    parts = settings.batch_size // (settings.micro_batch or settings.batch_size)
    learner = SimCLR(network, head, views, loss, settings.seed, parts, dtype=dtype)
    steps_per_epoch = EpochBatches(data.images, settings.batch_size, settings.seed).steps_per_epoch
    learner.compile(
        build_optimizer(
            settings.optimizer, _schedule(settings, steps_per_epoch), settings.weight_decay
        ),
        steps_per_execution=_divisor(steps_per_epoch, settings.steps_per_execution),
        # TensorFlow's XLA knows no collectives over a mirrored step.
        jit_compile=compiles_with_xla() and replica_count() == 1,
    )
    learner.optimizer.build(learner.trainable_variables)
    return learner


def _head(encoder: keras.Model, settings: Pretraining, dtype: str = "float32") -> keras.Model:
    """Returns an untrained projection head for the encoder's features."""
    cells = cells_of(encoder)
    shape = settings.projection_layers, settings.projection_hidden, settings.projection_dim
    head = build_projection_head(encoder.output_shape[-1] // cells, *shape, dtype, settings.seed)
    return head if cells == 1 else of_mean(head, cells)


def run_identity(
    data: Images, encoder: Encoder, augmentation: Augmentation, settings: Pretraining
) -> dict:
    """Returns what two runs must have in common to end with the same weights, as JSON values."""
    pretraining = without_free("pretraining", dataclasses.asdict(settings))
    return {
        "encoder": dataclasses.asdict(encoder),
        "augmentation": dataclasses.asdict(augmentation),
        "pretraining": pretraining | {"precision": dtype_policy(settings.precision)},
        "view_size": [int(side) for side in data.view_size],
        "images": list(data.images.shape),
        "images_sha256": data.sha256 or digest_of(data.images),
        "channel_mean": [float(value) for value in data.channel_mean],
        "channel_std": [float(value) for value in data.channel_std],
        "start": weights_checksum(data.start) if data.start else "",
    }


def _with_weights(model: keras.Model, of: keras.Model) -> keras.Model:
    model.set_weights(of.get_weights())
    return model


def _schedule(settings: Pretraining, steps_per_epoch: int):
    learning_rate = scaled_learning_rate(
        settings.learning_rate, settings.batch_size, settings.learning_rate_scaling
    )
    steps = settings.epochs * steps_per_epoch
    warmup = min(round(settings.warmup_epochs * steps_per_epoch), steps - 1)
    return cosine_schedule(learning_rate, steps, warmup)


def _divisor(steps: int, wanted: int) -> int:
    """Returns the largest divisor of `steps` that is at most `wanted`, so that an epoch is a whole
    number of executions.
    """
    return max(number for number in range(1, min(steps, wanted) + 1) if steps % number == 0)


def _event_log(folder: str) -> list:
    """Returns the callback that logs for TensorBoard, which needs TensorFlow."""
    return [EventLog(folder)] if keras.backend.backend() == "tensorflow" else []
