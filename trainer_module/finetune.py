"""Puts a task's head on an encoder: on features computed once while the encoder is frozen, or training both.

B images, H x W pixels, D feature dims, C classes. Randomness comes from `settings.seed` alone.
"""

import sys
from dataclasses import dataclass

import keras
import numpy as np

from trainer_module.augment import augment
from trainer_module.features import encode
from trainer_module.linear_eval import fit_linear
from trainer_module.normalize import normalize
from trainer_module.settings import Augmentation, Finetuning

WARMUP_SHARE = 0.05  # of the steps
# Mild views: a label must survive them.
VIEWS = Augmentation(crop_area=(0.5, 1.0), jitter_probability=0.0, colour_drop_probability=0.0)


@dataclass(frozen=True)
class Labelled:
    """One split: images uint8 [N, H, W, 3], labels [N, ...], and the statistics that normalize images."""

    images: np.ndarray
    labels: np.ndarray
    channel_mean: np.ndarray
    channel_std: np.ndarray

    def features(self, encoder: keras.Model) -> np.ndarray:
        """Returns float32 [N, D], each image encoded once, without augmentation."""
        return encode(encoder, self.images, self.channel_mean, self.channel_std)


class Finetuner(keras.Model):
    """Encoder and head learning together from mildly augmented uint8 images; only `call` differs from plain Keras."""

    def __init__(self, finetuned: keras.Model, train: Labelled, seed: int):
        """Takes the model to train and the statistics of its data."""
        super().__init__(name="finetuner")
        self.finetuned = finetuned
        self._mean, self._std = train.channel_mean, train.channel_std
        self._size = train.images.shape[1:3]
        self._chance = keras.random.SeedGenerator(seed, name="chance")

    def call(self, images, training=False):
        """Returns the head's output for uint8 images [B, H, W, 3]."""
        if training:
            images = augment(images, VIEWS, self._size, self._chance)
        return self.finetuned(normalize(images, self._mean, self._std), training=training)


def finetune(encoder: keras.Model, task, train: Labelled, settings: Finetuning, features: np.ndarray) -> keras.Model:
    """Trains the task's head, and the encoder too unless it is frozen.

    Args:
      encoder: normalized images [B, H, W, 3] -> features [B, D].
      task: gives head, loss and metrics (trainer_module/tasks).
      train: the labelled training images.
      settings: how.
      features: float32 [N, D] of the training images; a frozen encoder's head learns from these alone.

    Returns:
      A model from normalized images to the head's output; it shares the encoder's weights.
    """
    keras.utils.set_random_seed(settings.seed)
    head = task.head(settings.head)
    finetuned = attach_head(encoder, head)
    if not settings.freeze:
        _fit(Finetuner(finetuned, train, settings.seed), task, train.images, train.labels, settings)
    elif settings.head == "linear" and task.name == "classification":
        kernel, bias = fit_linear(features, train.labels, task.num_classes)
        head[0].set_weights([kernel, bias])
    else:
        _fit(keras.Sequential(head, name="head"), task, features, train.labels, settings)
    return finetuned


def attach_head(encoder: keras.Model, head: list[keras.layers.Layer]) -> keras.Model:
    """Returns a model from normalized images [B, H, W, 3] to the head's output; it shares the encoder's weights."""
    outputs = encoder.output
    for layer in head:
        outputs = layer(outputs)
    return keras.Model(encoder.input, outputs, name="finetuned")


def _fit(model: keras.Model, task, inputs: np.ndarray, labels: np.ndarray, settings: Finetuning) -> None:
    steps = settings.epochs * -(-len(inputs) // settings.batch_size)
    warmup = max(1, int(WARMUP_SHARE * steps))
    rate = keras.optimizers.schedules.CosineDecay(0.0, steps - warmup, warmup_target=settings.learning_rate, warmup_steps=warmup)
    optimizer = keras.optimizers.AdamW(rate, weight_decay=settings.weight_decay)
    model.compile(optimizer=optimizer, loss=task.loss(), metrics=task.metrics())
    model.fit(inputs, labels, batch_size=settings.batch_size, epochs=settings.epochs, verbose=1 if sys.stdout.isatty() else 2)
