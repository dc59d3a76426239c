"""Puts a task's head on an encoder: on features computed once while the encoder is frozen, or
training on ever new views.

N images, B of them a batch, H x W pixels, D feature dims. Randomness comes from `settings.seed`
alone.
"""

import math
import sys
from collections.abc import Iterable, Iterator, Sequence

import keras
import numpy as np

from trainer_module.batches import LabelledBatches
from trainer_module.checkpoint import STEPS_BETWEEN_CHECKS, TrainingDivergedError
from trainer_module.devices import compiles_with_xla, dtype_policy
from trainer_module.examples import Examples
from trainer_module.features import encode, encode_crops
from trainer_module.gains import Judged
from trainer_module.learning_rate import cosine_schedule
from trainer_module.normalize import normalize
from trainer_module.resnet import CELLS
from trainer_module.settings import Finetuning
from trainer_module.tasks.task import Task

WARMUP_SHARE = 0.05  # of the steps
SCORED_AT_ONCE = 32  # images


class StopDiverged(keras.callbacks.Callback):
    """Stops `fit` once its loss, or at its end a weight, is no longer a number."""

    def on_train_batch_end(self, batch, logs=None):
        """Checks the loss now and then, since reading it makes a GPU wait."""
        if (batch + 1) % STEPS_BETWEEN_CHECKS == 0:
            self._check(logs)

    def on_epoch_end(self, epoch, logs=None):
        """Checks the loss of the epoch."""
        self._check(logs)

    def on_train_end(self, logs=None):
        """Checks what the last step, whose loss was taken before it, left behind."""
        if not all(np.isfinite(weight).all() for weight in self.model.get_weights()):
            self._stop("a weight that is not a number")

    def _check(self, logs):
        if not math.isfinite(float(logs["loss"])):
            self._stop(f"loss={float(logs['loss'])}")

    def _stop(self, received):
        optimizer = self.model.optimizer
        step = int(keras.ops.convert_to_numpy(optimizer.iterations))
        rate = float(keras.ops.convert_to_numpy(optimizer.learning_rate))
        raise TrainingDivergedError(
            f"Fine-tuning must stay finite. Received: {received} at step {step}, learning rate "
            f"{rate:.3g}. "
            "Fix: a lower `finetuning.learning_rate`, or `finetuning.precision` float32"
        )


class Finetuner(keras.Model):
    """A head, and the encoder unless it is frozen, learning from views of uint8 images.

    Views and their targets are one compiled step.

    Call it with images and targets; it returns outputs and the targets of the very views that the
    outputs belong to.
    """

    def __init__(self, finetuned: keras.Model, task: Task, train: Examples, settings: Finetuning):
        """Takes the model, the task, the statistics of its data, and how views come about."""
        super().__init__(name="finetuner")
        self.finetuned = finetuned
        self._task, self._views = task, settings.views
        self._mean, self._std = train.channel_mean, train.channel_std
        self._chance = keras.random.SeedGenerator(settings.seed, name="chance")

    def call(self, inputs, training=False):
        """Returns outputs [B, ...] and targets [B, ...] for uint8 images [B, H, W, 3] and their
        targets.
        """
        images, targets = inputs
        if training:
            images, targets = self._task.views(images, targets, self._chance, self._views)
        return self.finetuned(normalize(images, self._mean, self._std), training=training), targets

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """Returns the task's loss of the outputs against the targets of their views."""
        outputs, targets = y_pred
        return super().compute_loss(x, targets, outputs, sample_weight, training)

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        """Returns the task's metrics of the outputs against the targets of their views."""
        outputs, targets = y_pred
        return super().compute_metrics(x, targets, outputs, sample_weight)


def finetune(
    encoder: keras.Model,
    task: Task,
    train: Examples,
    settings: Finetuning,
    features: np.ndarray | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> keras.Model:
    """Trains the task's head, and the encoder too unless it is frozen.

    Args:
      encoder: normalized images [B, H, W, 3] -> features [B, D].
      task: gives head, views, loss and metrics (trainer_module/tasks/task.py).
      train: the training images and their targets.
      settings: how.
      features: what `features_to_learn` returned, where the caller has it; a head on a frozen
        encoder's features learns from these.
      callbacks: as `fit` takes them; a linear head that is solved for, without epochs, calls none.

    Returns:
      A model from normalized images to the head's output; it shares the encoder's weights.

    Raises:
      TrainingDivergedError: if the loss or a weight is no longer a number.
    """
    keras.utils.set_random_seed(settings.seed)
    finetuned = task.head(encoder, settings.head)
    if settings.freeze and task.on_features:
        features = (
            features_to_learn(encoder, task, train, settings) if features is None else features
        )
        fit_on_features(head_alone(encoder, finetuned), task, train, features, settings, callbacks)
        return finetuned
    twin = in_precision(encoder, settings.precision)
    trained = task.head(twin, settings.head)
    trained.set_weights(finetuned.get_weights())
    # batch normalization of a frozen encoder keeps its statistics, too
    twin.trainable = not settings.freeze
    batches = LabelledBatches(train.images, train.targets, settings.batch_size, settings.seed)
    _fit(
        Finetuner(trained, task, train, settings), task, train, {"x": batches}, settings, callbacks
    )
    twin.trainable = True  # a model lists its frozen weights last
    finetuned.set_weights(trained.get_weights())
    return finetuned


def features_to_learn(
    encoder: keras.Model, task: Task, train: Examples, settings: Finetuning
) -> np.ndarray:
    """Returns the features of the training images, float32 [N, D], followed by those of R copies,
    [(1 + R) * N, D], where copies help: a crop leaves a class as it is, and no number.
    """
    features = train.features(encoder)
    if not (settings.copies and task.fits_linear and task.one_class_an_image):
        return features
    copies = encode_crops(
        encoder, train.images, train.channel_mean, train.channel_std, settings.copies, settings.seed
    )
    return np.concatenate([features, copies])


def in_precision(encoder: keras.Model, precision: str) -> keras.Model:
    """Returns a twin of an encoder that computes in a precision of the settings.

    Features and weights are float32 in all of them.

    float16 would need a scaled loss; where 'auto' means it, on older GPUs, the twin computes in
    float32.
    """
    policy = dtype_policy(precision)
    policy = policy if policy == "mixed_bfloat16" else "float32"

    def twin_of(layer):
        config = layer.get_config()
        kept = isinstance(layer, keras.layers.InputLayer) or layer is encoder.layers[-1]
        kept = kept or layer.name == CELLS
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
    if task.fits_linear and settings.head == "linear":
        head.set_weights(task.fitted_linear(features, train.targets))
    else:
        data = {
            "x": features[: len(train.images)],
            "y": train.targets,
            "batch_size": settings.batch_size,
        }
        _fit(head, task, train, data, settings, callbacks)


def _fit(
    model: keras.Model,
    task: Task,
    train: Examples,
    data: dict,
    settings: Finetuning,
    callbacks: Sequence,
) -> None:
    """Trains on `data`, given as `fit` takes it."""
    steps = settings.epochs * -(-len(train.images) // settings.batch_size)
    # A single step that warms up would be one at learning rate 0.
    warmup = min(max(1, int(WARMUP_SHARE * steps)), steps - 1)
    rate = cosine_schedule(settings.learning_rate, steps, warmup)
    optimizer = keras.optimizers.AdamW(rate, weight_decay=settings.weight_decay)
    loss, metrics = task.loss(train.statistics, settings), task.metrics(train.statistics)
    model.compile(optimizer=optimizer, loss=loss, metrics=metrics, jit_compile=compiles_with_xla())
    verbose = 1 if sys.stdout.isatty() else 2
    model.fit(
        **data, epochs=settings.epochs, callbacks=[*callbacks, StopDiverged()], verbose=verbose
    )


def judge(task: Task, held_out: Examples, outputs: Iterable[np.ndarray]) -> Judged:
    """Returns the task's metric, the first of its Keras metrics, of outputs against the targets of
    the held-out images, and what each image adds to it.

    Args:
      task: gives the metric.
      held_out: the images' targets and what Transform learned about targets.
      outputs: batches of outputs, [B, ...] each, in the order of the images.
    """
    metric, start, added = task.metrics(held_out.statistics)[0], 0, []
    for batch in outputs:
        targets = held_out.targets[start : start + len(batch)]
        metric.update_state(targets, batch)
        added.append(task.contributions(np.asarray(targets), batch, held_out.statistics))
        start += len(batch)
    told = bool(added) and all(rows is not None for rows in added)
    return Judged(float(metric.result()), np.concatenate(added) if told else None)


def outputs_of(model: keras.Model, examples: Examples) -> Iterator[np.ndarray]:
    """Yields the outputs [B, ...] of a model from normalized images, batch by batch: all at once
    may be many pixels.
    """
    for start in range(0, len(examples.images), SCORED_AT_ONCE):
        batch = examples.images[start : start + SCORED_AT_ONCE]
        yield encode(model, batch, examples.channel_mean, examples.channel_std, SCORED_AT_ONCE)


def labelled_subset(labels, fraction: float, seed: int) -> np.ndarray:
    """Chooses the images whose labels count.

    What a smaller fraction chooses, a larger one of the same seed chooses too.

    Args:
        labels: class ids, integers [N]; of any other kind of target, [N, ...], images are chosen
          regardless of it.
        fraction: of the images of each class, in (0, 1]; rounded, and at least one.
        seed: which images.

    Returns:
        Their places, integers in rising order.
    """
    labels = np.asarray(labels)
    classes = (
        labels if labels.ndim == 1 and labels.dtype.kind in "iu" else np.zeros(len(labels), int)
    )
    chosen = []
    for label in np.unique(classes):
        places = np.flatnonzero(classes == label)
        order = np.random.default_rng([seed, int(label)]).permutation(places)
        chosen.append(order[: max(1, round(fraction * len(places)))])
    return np.sort(np.concatenate(chosen))
