"""Is it learning? What the features are good for, measured while the loss alone says little, and
shown beside it.

N images, M held-out ones, D feature dims, C classes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from trainer_module.augment import augment
from trainer_module.features import at_once, encode
from trainer_module.findings import counted
from trainer_module.gains import (
    BETTER,
    OVER_UNTRAINED,
    Judged,
    compared,
    gain_of,
    is_open,
    with_origin,
)
from trainer_module.learner import SimCLR
from trainer_module.loss import alignment, uniformity
from trainer_module.metric_names import KNN, PROBE, UNTRAINED_KNN
from trainer_module.neighbours import knn_right
from trainer_module.normalize import normalize
from trainer_module.origin import PRETRAINING, brought_and
from trainer_module.replicas import machine_count
from trainer_module.to_try import Seen, what_to_try

RIDGE = 1e-2  # times the mean squared feature
MOST_TRAIN_IMAGES = 10_000  # so that watching costs little beside training
MOST_EVAL_IMAGES = 2_000
MOST_UNLABELLED_IMAGES = 512
EARLY = 0.1  # of the epochs, after which labelled images are looked at for the first time
MOST_WARNINGS = 3


@dataclass(frozen=True)
class Watched:
    """Labelled images to measure on: neighbours and probe come from the first two, accuracy from
    the last two.
    """

    train_images: np.ndarray  # uint8 [N, H, W, 3]
    train_labels: np.ndarray  # integers [N]
    eval_images: np.ndarray  # uint8 [M, H, W, 3]
    eval_labels: np.ndarray  # integers [M]


def ridge_accuracy(train_features, train_labels, eval_features, eval_labels) -> float:
    """Accuracy of the linear classifier with the least squared error, in closed form.

    Args:
        train_features: float [N, D].
        train_labels: integers [N], not negative.
        eval_features: float [M, D].
        eval_labels: integers [M].

    Returns:
        Share of held-out images classified as labelled, in [0, 1].
    """
    mean = train_features.mean(axis=0)
    centred = (train_features - mean).astype(np.float64)  # [N, D]
    targets = np.eye(int(np.max(train_labels)) + 1)[train_labels]  # [N, C]
    frequency = targets.mean(axis=0)
    covariance = centred.T @ centred / len(centred)  # [D, D]
    covariance += np.eye(len(covariance)) * max(
        RIDGE * np.trace(covariance) / len(covariance), 1e-12
    )
    kernel = np.linalg.solve(covariance, centred.T @ (targets - frequency) / len(centred))
    scores = (eval_features - mean) @ kernel + frequency
    return float(np.mean(scores.argmax(axis=1) == np.asarray(eval_labels)))


class Monitor(keras.callbacks.Callback):
    """Adds what the features are good for to the logs of `fit`, every few epochs and after the
    last.

    With labels: `knn_accuracy` and `probe_accuracy`, also early on, and beside the first that of
    the encoder with random weights; while that is not beaten, a person is told. Without labels:
    `alignment` and `uniformity` of the embedding.
    """

    def __init__(
        self,
        encoder: keras.Model,
        images,
        every_epochs: int,
        watched: Watched | None,
        settings: Mapping[str, Any] | None = None,
    ):
        """Takes over what to measure on.

        Args:
            encoder: float32 twin of the encoder with random weights; it receives the weights of
              the one that is training before every measurement.
            images: uint8 [N, H, W, 3] that training uses, for measuring without labels.
            every_epochs: how often.
            watched: labelled images, or None where there are no labels.
            settings: of the run, for what to try (to_try.py); `brought` is whether it began with
              other weights.
        """
        super().__init__()
        self.encoder = encoder
        self.images = _Chosen(images, np.arange(len(images))[:MOST_UNLABELLED_IMAGES])
        self.every_epochs = every_epochs
        self.watched = watched
        self.settings = settings or {}
        self.untrained = None  # whether its neighbours name each held-out image's label, [M]
        self._warnings = 0

    def on_train_begin(self, logs=None):
        """Measures the encoder before training, also where a run is continued."""
        if self.watched is not None and self.untrained is None:
            self.untrained = knn_right(*self._columns(self.watched))

    def look(self) -> None:
        """Looks at the features once, as often as it must, for whoever takes the time of that."""
        if self.watched is None:
            self._unlabelled()
        self.on_train_begin()

    def on_epoch_end(self, epoch, logs=None):
        """Measures and adds to `logs`; later callbacks show and record them."""
        done, epochs = epoch + 1, self.params["epochs"]
        early = self.watched is not None and done == max(1, round(EARLY * epochs))
        if logs is None or not (early or done == epochs or done % self.every_epochs == 0):
            return
        if self.watched is None:
            logs.update(self._unlabelled())
            return
        self.encoder.set_weights(self.model.encoder.get_weights())
        columns = self._columns(self.watched)
        right = knn_right(*columns)
        logs[KNN] = float(np.mean(right))
        if self.untrained is not None:
            logs[UNTRAINED_KNN] = float(np.mean(self.untrained))
            self._warn(done, right)
        logs[PROBE] = ridge_accuracy(*columns)

    def _warn(self, epoch: int, right) -> None:
        """Tells where random weights are not beaten, with what to try the first time."""
        judged = tuple(
            Judged(float(np.mean(one)), one[:, None].astype(int)) for one in (right, self.untrained)
        )
        names = KNN, UNTRAINED_KNN
        of = brought_and(epoch) if self.settings.get("brought") else PRETRAINING
        gain = gain_of(names, OVER_UNTRAINED, judged, lambda sums, images: sums[..., 0] / images)
        gain = with_origin(gain, of)
        if gain.verdict == BETTER or self._warnings == MOST_WARNINGS:
            return
        few, told = is_open(gain, judged[1].score), "not better than random weights yet"
        if few:
            images = counted(gain.images, "held-out image")
            told = f"{images} cannot tell yet whether it is better than random weights"
        print(f"Epoch {epoch}: {told}, by the nearest neighbours: {compared(gain)}", flush=True)
        if not self._warnings:
            print(what_to_try(self.settings, judged[1].score, Seen(of, few)), flush=True)
        self._warnings += 1

    def _columns(self, watched: Watched) -> tuple:
        """Returns features and labels to learn from, features and labels to measure on."""
        few = (
            thinned(len(watched.train_images), MOST_TRAIN_IMAGES),
            thinned(len(watched.eval_images), MOST_EVAL_IMAGES),
        )
        views = self.model.views
        train, held_out = (
            encode(self.encoder, _Chosen(images, chosen), views.channel_mean, views.channel_std)
            for images, chosen in zip((watched.train_images, watched.eval_images), few, strict=True)
        )
        return train, watched.train_labels[few[0]], held_out, watched.eval_labels[few[1]]

    def _unlabelled(self):
        first, second = view_embeddings(self.model, self.images)
        return {
            "alignment": float(alignment(first, second)),
            "uniformity": float(uniformity(first)),
        }


class _Chosen:
    """Some of many images, read or decoded when they are asked for: they may be more than memory
    holds.
    """

    def __init__(self, images, chosen: np.ndarray):
        """Takes uint8 [N, H, W, 3], or encoded, and which of them, integers [n]."""
        self._images, self._chosen = images, chosen
        self.shape = (len(chosen), *images.shape[1:])

    def __len__(self) -> int:
        """Returns n."""
        return len(self._chosen)

    def __getitem__(self, index: slice) -> np.ndarray:
        """Returns some of the chosen, uint8 [m, H, W, 3]."""
        return self._images[self._chosen[index]]


def thinned(count: int, most: int) -> np.ndarray:
    """Returns at most `most` indices spread evenly over range(count), always the same ones."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int))


def view_embeddings(learner: SimCLR, images):
    """Returns the embedding of two random views of each image, [B, P] each.

    The same views at every call.
    """
    chance, some = keras.random.SeedGenerator(0), at_once(*learner.views.size) // 2
    parts = [
        _view_embeddings(learner, images[start : start + some], chance)
        for start in range(0, len(images), some)
    ]
    return tuple(ops.concatenate(side) for side in zip(*parts, strict=True))


def _view_embeddings(learner: SimCLR, images, chance):
    """Returns those of as many images as the encoder takes at once."""
    views, both = learner.views, np.concatenate([images, images])
    seen = normalize(
        augment(both, views.augmentation, views.size, chance), views.channel_mean, views.channel_std
    )
    if machine_count() > 1:  # the others do not measure, and `predict` would ask them
        return ops.split(learner.head(learner.encoder(seen)), 2, axis=0)
    # with several replicas each answers for the whole batch
    features = learner.encoder.predict_on_batch(seen)[: len(both)]
    return ops.split(learner.head.predict_on_batch(features)[: len(both)], 2, axis=0)
