"""SimCLR as a Keras model: `fit` does the loop, and augmentation, both networks and the loss are
one compiled step.

B images, 2B views, D feature dims, P embedding dims.
"""

from dataclasses import dataclass

import keras
from keras import ops

from trainer_module import micro_batches
from trainer_module.augment import augment
from trainer_module.chance import Chance, both_views
from trainer_module.normalize import normalize
from trainer_module.replicas import gathered, replica_count, rows_of_replica, share_of_replica
from trainer_module.settings import Augmentation


@dataclass(frozen=True)
class Views:
    """How two views come about: the size in pixels, the random operations, the statistics that
    normalize them.
    """

    size: tuple[int, int]  # (h, w)
    augmentation: Augmentation
    channel_mean: tuple[float, ...]
    channel_std: tuple[float, ...]


@keras.saving.register_keras_serializable("simclr")
class SimCLR(keras.Model):
    """Learns features by telling the two views of an image from the views of other images (Chen et
    al. 2020, arXiv:2002.05709).

    Train it with `fit` on batches of images, uint8 [B, H, W, 3]; no labels. Calling it gives the
    embedding of both views, [2B, P].
    """

    def __init__(self, encoder, head, views: Views, loss, seed=0, micro_batches=1, **kwargs):
        """Takes over the two networks.

        Args:
            encoder: keras.Model, normalized views [2B, h, w, 3] -> features [2B, D].
            head: keras.Model, features -> embedding [2B, P].
            views: size, augmentation and normalization.
            loss: function of the embeddings of first and second views, [B, P] each.
            seed: of the augmentation.
            micro_batches: how many a batch is cut into (trainer_module/micro_batches.py).
            **kwargs: of keras.Model; `dtype` decides about loss scaling.
        """
        super().__init__(name="simclr", **kwargs)
        self.encoder = encoder
        self.head = head
        self.views = views
        self.loss_of_views = loss
        self.chance = Chance(seed, name="chance")
        self.micro_batches = micro_batches
        self.built = True

    @property
    def view_size(self) -> tuple[int, int]:
        """(h, w) in pixels."""
        return self.views.size

    def call(self, images, training=False):
        """Returns the embedding of two random views of every image.

        Args:
            images: [B, H, W, 3], uint8.
            training: whether batch normalization uses this batch's statistics.

        Returns:
            [2B, P]; rows i and B + i belong to the same image.
        """
        if replica_count() == 1:
            return self.embed(images, self.chance, training)
        part = self.chance.of_rows(*both_views(*rows_of_replica(ops.shape(images)[0])))
        embedding = self.embed(images, part, training)
        self.chance.move_behind(part)
        return embedding

    def embed(self, images, chance, training):
        """Returns what `call` does, of views that `chance`, a keras.random.SeedGenerator, draws."""
        both = ops.concatenate([images, images], axis=0)  # [2B, H, W, 3]
        views = augment(both, self.views.augmentation, self.views.size, chance)  # [2B, h, w, 3]
        views = normalize(views, self.views.channel_mean, self.views.channel_std)
        return self.head(self.encoder(views, training=training), training=training)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """Returns the loss of the embedding `y_pred`, float32 scalar; there are no targets `y`."""
        first, second = (gathered(view) for view in ops.split(y_pred, 2, axis=0))  # [B, P] each
        return share_of_replica(self.loss_of_views(first, second))

    def train_step(self, *arguments):
        """Takes a step of Keras' loop, whose arguments differ between backends."""
        if self.micro_batches == 1:
            return super().train_step(*arguments)
        return micro_batches.train_step(self, *arguments)
