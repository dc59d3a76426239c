"""Puts a task's head on an encoder: on features computed once while the encoder is frozen, or
training on ever new views.

N images, B of them a batch, H x W pixels, D feature dims. Randomness comes from `settings.seed`
alone.
"""

import dataclasses
import hashlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from keras import ops

from trainer_module import checkpoint
from trainer_module.batches import LabelledBatches, refuse_empty_parts
from trainer_module.chance import Chance
from trainer_module.devices import compiles_with_xla, dtype_policy, precision_here
from trainer_module.divergence import StopDiverged
from trainer_module.encoded_images import digest_of
from trainer_module.epoch_loop import fit_epochs
from trainer_module.examples import Examples
from trainer_module.features import encode_crops
from trainer_module.learning_rate import cosine_schedule
from trainer_module.normalize import normalize
from trainer_module.optimizer import AdamW
from trainer_module.replicas import (
    all_machines,
    gathered,
    leads,
    replica_count,
    rows_of_replica,
    share_of_replica,
)
from trainer_module.resnet import CELLS
from trainer_module.settings import Finetuning, without_free
from trainer_module.tasks.registry import task_to_json
from trainer_module.tasks.task import Task
from trainer_module.weights_checksum import weights_checksum

WARMUP_SHARE = 0.05  # of the steps
# What to try where training diverges.
FIX = "a lower `finetuning.learning_rate`"
FIX_OF_A_NETWORK = FIX + ", or `finetuning.precision` float32 (now {})"


@dataclass(frozen=True)
class Kept:
    """What is kept of a training on its way."""

    callbacks: Sequence[keras.callbacks.Callback] = ()  # as `fit` takes them
    # folder where a training that was killed finds its checkpoint again, '' for none
    checkpoints: str = ""
    sha256: str = ""  # of the images and targets, where it is known


NOTHING = Kept()


class Finetuner(keras.Model):
    """A head, and the encoder unless it is frozen, learning from views of uint8 images.

    Views and their targets are one compiled step. Replicas see parts of a batch, in the views that
    one device would draw; the loss is of the whole batch, however the task's sums up.

    Call it with images and targets; it returns outputs and the targets of the very views that the
    outputs belong to.
    """

    def __init__(self, finetuned: keras.Model, task: Task, train: Examples, settings: Finetuning):
        """Takes the model, the task, the statistics of its data, and how views come about."""
        super().__init__(name="finetuner")
        self.finetuned = finetuned
        self._task, self._views = task, settings.views
        self._mean, self._std = train.channel_mean, train.channel_std
        self._chance = Chance(settings.seed, name="chance")
        self._judges = task.metrics(train.statistics)
        self.built = True

    @property
    def view_size(self) -> tuple[int, int]:
        """(H, W) in pixels, that of the images."""
        return tuple(self.finetuned.input_shape[1:3])

    def call(self, inputs, training=False):
        """Returns outputs [B, ...] and targets [B, ...] for uint8 images [B, H, W, 3] and their
        targets.
        """
        images, targets = self._random_views(*inputs) if training else inputs
        return self.finetuned(normalize(images, self._mean, self._std), training=training), targets

    def _random_views(self, images, targets):
        if replica_count() == 1:
            return self._task.views(images, targets, self._chance, self._views)
        part = self._chance.of_rows(*rows_of_replica(ops.shape(images)[0], even=False))
        views = self._task.views(images, targets, part, self._views)
        self._chance.move_behind(part)
        return views

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """Returns the task's loss of the outputs against the targets of their views."""
        outputs, targets = y_pred
        if replica_count() == 1:
            return super().compute_loss(x, targets, outputs, sample_weight, training)
        losses = self.loss(gathered(targets), gathered(outputs))  # not reduced
        return share_of_replica(ops.mean(losses) + sum(self.losses))

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        """Returns the task's metrics of the outputs against the targets of their views."""
        outputs, targets = y_pred
        for judge_of_task in self._judges:
            judge_of_task.update_state(targets, outputs)
        return self.get_metrics_result()


def finetune(
    encoder: keras.Model,
    task: Task,
    train: Examples,
    settings: Finetuning,
    features: np.ndarray | None = None,
    kept: Kept = NOTHING,
) -> keras.Model:
    """Trains the task's head, and the encoder too unless it is frozen; what learns from views
    continues from a checkpoint of the same training if one is there.

    Args:
      encoder: normalized images [B, H, W, 3] -> features [B, D].
      task: gives head, views, loss and metrics (trainer_module/tasks/task.py).
      train: the training images and their targets.
      settings: how.
      features: what `features_to_learn` returned, where the caller has it; a head on a frozen
        encoder's features learns from these.
      kept: callbacks, and checkpoints of what learns from views; a linear head that is solved for,
        without epochs, has neither.

    Returns:
      A model from normalized images to the head's output; it shares the encoder's weights.

    Raises:
      InputError: if the checkpoint cannot be read, or a batch is too small for all devices.
      TrainingDivergedError: if the loss or a weight is no longer a number.
    """
    keras.utils.set_random_seed(settings.seed)
    finetuned = task.head(encoder, settings.head)
    if not task.learns_from_views(settings):
        features = (
            features_to_learn(encoder, task, train, settings) if features is None else features
        )
        head = head_alone(encoder, finetuned)
        fit_on_features(head, task, train, features, settings, kept.callbacks)
        return finetuned
    with all_machines():
        refuse_empty_parts(settings.batch_size, len(train.images), replica_count())
        twin = in_precision(encoder, settings.precision)
        trained = task.head(twin, settings.head)
        trained.set_weights(finetuned.get_weights())
        # batch normalization of a frozen encoder keeps its statistics, too
        twin.trainable = not settings.freeze
        learner = Finetuner(trained, task, train, settings)
        _compile(learner, task, train, settings)
        learner.optimizer.build(learner.trainable_variables)
    progress = checkpoint.Progress()
    fix = FIX_OF_A_NETWORK.format(trained_precision(settings.precision))
    last = [StopDiverged(fix)]
    if kept.checkpoints:
        identity = _identity(finetuned, task, train, settings, kept.sha256)
        progress, last = _continued(learner, identity, settings, kept.checkpoints, fix)
    batches = LabelledBatches(
        train.images, train.targets, settings.batch_size, settings.seed, progress.step
    )
    fit_epochs(learner, batches, settings.epochs, [*kept.callbacks, *last])
    twin.trainable = True  # a model lists its frozen weights last
    finetuned.set_weights(trained.get_weights())
    return finetuned


def digest_of_examples(train: Examples) -> str:
    """Returns the SHA-256 of images and targets."""
    both = digest_of(train.images) + digest_of(train.targets)
    return hashlib.sha256(both.encode()).hexdigest()


def _identity(
    start: keras.Model, task: Task, train: Examples, settings: Finetuning, sha256: str
) -> dict:
    """Returns what two trainings must have in common to end with the same weights, as JSON
    values.
    """
    precision = dtype_policy(trained_precision(settings.precision))
    named = dataclasses.asdict(settings) | {"precision": precision}
    return {
        "task": task_to_json(task),
        "finetuning": without_free("finetuning", named),
        "start": weights_checksum(start),
        "images": list(train.images.shape),
        "sha256": sha256 or digest_of_examples(train),
        "channel_mean": [float(value) for value in train.channel_mean],
        "channel_std": [float(value) for value in train.channel_std],
        "statistics": {name: np.asarray(one).tolist() for name, one in train.statistics.items()},
    }


def _continued(
    learner: Finetuner, identity: dict, settings: Finetuning, folder: str, fix: str
) -> tuple[checkpoint.Progress, list]:
    """Brings a learner to where the last checkpoint left it; returns how far that is, and the
    callbacks that go on saving, while it has not diverged.
    """
    path = Path(folder, checkpoint.FILE)
    progress = checkpoint.load(learner, path, identity)
    # The state of AdamW is twice as large as the network: saved by the clock, and at the end.
    rhythm = checkpoint.Rhythm(settings.epochs, settings.checkpoint_every_minutes)
    kind = checkpoint.Checkpoint if leads() else checkpoint.Follower
    return progress, [StopDiverged(fix, path), kind(path, identity, progress, rhythm, fix)]


def features_to_learn(
    encoder: keras.Model, task: Task, train: Examples, settings: Finetuning
) -> np.ndarray:
    """Returns the features of the training images, float32 [N, D], followed by those of R copies,
    [(1 + R) * N, D], where they are learned from.
    """
    features = train.features(encoder)
    if not (settings.copies and task.learns_from_copies(settings)):
        return features
    copies = encode_crops(
        encoder, train.images, train.channel_mean, train.channel_std, settings.copies, settings.seed
    )
    return np.concatenate([features, copies])


def trained_precision(precision: str) -> str:
    """Returns the precision that one of the settings means on this machine: where 'auto' would be
    float16, on older GPUs, float32, because the loss is not scaled.
    """
    here = precision_here(precision)
    return "float32" if precision == "auto" and here == "float16" else here


def in_precision(encoder: keras.Model, precision: str) -> keras.Model:
    """Returns a twin of an encoder that computes in a precision of the settings, with the
    statistics of all replicas where there are several.

    Features and weights are float32 in all precisions.
    """
    policy = dtype_policy(trained_precision(precision))

    def twin_of(layer):
        config = layer.get_config()
        kept = isinstance(layer, keras.layers.InputLayer) or layer is encoder.layers[-1]
        kept = kept or layer.name == CELLS
        if isinstance(layer, keras.layers.BatchNormalization):
            config |= {"synchronized": replica_count() > 1}
        return type(layer).from_config(config if kept else config | {"dtype": policy})

    twin = keras.models.clone_model(encoder, clone_function=twin_of)
    twin.set_weights(encoder.get_weights())
    return twin


def head_alone(encoder: keras.Model, finetuned: keras.Model) -> keras.Model:
    """Returns the part of a model that comes after the encoder's features, [B, D] -> outputs,
    sharing its weights.
    """
    return keras.Model(encoder.output, finetuned.output, name="head")


def fit_on_features(
    head: keras.Model,
    task: Task,
    train: Examples,
    features: np.ndarray,
    settings: Finetuning,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> None:
    """Trains a head [B, D] -> outputs on the features of the training images, float32 [N, D] or
    with copies [(1 + R) * N, D].
    """
    if task.solves_head(settings):
        head.set_weights(task.fitted_linear(features, train.targets))
    else:
        _compile(head, task, train, settings, task.metrics(train.statistics))
        head.fit(
            features[: len(train.images)],
            train.targets,
            batch_size=settings.batch_size,
            epochs=settings.epochs,
            callbacks=[*callbacks, StopDiverged(FIX)],
            verbose=1 if sys.stdout.isatty() else 2,
        )


def _compile(
    model: keras.Model,
    task: Task,
    train: Examples,
    settings: Finetuning,
    metrics: list | None = None,
) -> None:
    """Compiles a model for all steps of a training; for several replicas with a loss that is not
    reduced.
    """
    steps = settings.epochs * -(-len(train.images) // settings.batch_size)
    # A single step that warms up would be one at learning rate 0.
    warmup = min(max(1, int(WARMUP_SHARE * steps)), steps - 1)
    rate = cosine_schedule(settings.learning_rate, steps, warmup)
    optimizer = AdamW(rate, weight_decay=settings.weight_decay, name="adamw")
    loss, alone = task.loss(train.statistics, settings), replica_count() == 1
    if not alone:
        loss.reduction = "none"
    model.compile(optimizer, loss, metrics=metrics, jit_compile=compiles_with_xla() and alone)
