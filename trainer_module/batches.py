"""Batches of images, in an order that is a function of the seed and the step alone.

Because batch number `step` is always the same, a run that continues at step k sees exactly what an
unbroken run sees there.

N images of H x W pixels, B images a batch.
"""

import keras
import numpy as np

from trainer_module.errors import InputError
from trainer_module.settings import Pretraining


class EpochBatches(keras.utils.PyDataset):
    """An endless sequence of random batches; give `fit` its `steps_per_epoch`.

    Every epoch is a new permutation of the images. The last, partial batch of an epoch is dropped:
    the contrastive loss depends on the batch size, and the images dropped are others in the next
    epoch.
    """

    def __init__(self, images, batch_size: int, seed: int, first_step: int = 0):
        """Takes over the images, without a copy.

        Args:
            images: uint8 [N, H, W, 3], or encoded: those are decoded while the step before runs,
                since `fit` reads ahead.
            batch_size: B, at most N.
            seed: of the permutations.
            first_step: number of the batch to begin with.
        """
        super().__init__()
        self.images = images
        self.batch_size = batch_size
        self.seed = seed
        self.first_step = first_step
        self._permuted = (-1, np.empty(0, int))  # epoch and its permutation

    @property
    def steps_per_epoch(self) -> int:
        """Batches in an epoch, at least one."""
        return len(self.images) // self.batch_size

    @property
    def num_batches(self) -> None:
        """Tells Keras that there is no end, so that it asks for batch after batch instead of
        beginning anew.
        """
        return None

    def __getitem__(self, index: int):
        """Returns one batch, uint8 [B, H, W, 3], as a tuple of inputs."""
        return (self.part(index, 0, 1),)

    def part(self, index: int, number: int, count: int):
        """Returns part `number` of `count` equal parts of a batch, uint8 [B / count, H, W, 3].

        Nothing else of it is read.
        """
        epoch, step = divmod(self.first_step + index, self.steps_per_epoch)
        share = self.batch_size // count
        first = step * self.batch_size + number * share
        return self.images[self._permutation(epoch)[first : first + share]]

    def _permutation(self, epoch: int):
        if self._permuted[0] != epoch:
            self._permuted = (
                epoch,
                np.random.default_rng([self.seed, epoch]).permutation(len(self.images)),
            )
        return self._permuted[1]


class LabelledBatches(keras.utils.PyDataset):
    """Random batches of images with their targets, every epoch in a new order.

    Nothing but the batch is copied out of the arrays.
    """

    def __init__(self, images, targets, batch_size: int, seed: int):
        """Takes over the arrays, without a copy.

        Args:
            images: uint8 [N, H, W, 3].
            targets: [N, ...].
            batch_size: B; the last batch of an epoch may be smaller.
            seed: of the permutations.
        """
        super().__init__()
        self.images, self.targets = images, targets
        self.batch_size, self.seed, self.epoch = batch_size, seed, 0
        self.on_epoch_end()

    def __len__(self) -> int:
        """Returns the batches of an epoch."""
        return -(-len(self.images) // self.batch_size)

    def __getitem__(self, index: int):
        """Returns one batch as the inputs of a model that takes both: ((images, targets),)."""
        chosen = self._order[index * self.batch_size : (index + 1) * self.batch_size]
        return ((self.images[chosen], self.targets[chosen]),)

    def on_epoch_end(self):
        """Draws the order of the next epoch."""
        self._order = np.random.default_rng([self.seed, self.epoch]).permutation(len(self.images))
        self.epoch += 1


def refuse_unfit_batch(settings: Pretraining, images: int, replicas: int) -> None:
    """Refuses a batch larger than the data, or one that R devices cannot share evenly.

    Args:
        settings: of pretraining.
        images: N.
        replicas: R.

    Raises:
        InputError: if that is so.
    """
    batch_size = settings.batch_size
    if batch_size > images:
        raise InputError(
            f"`batch_size` must be at most the number of pretraining images. Received: "
            f"batch_size={batch_size}, images={images}. "
            f"Fix: --set pretraining.batch_size={max(2, images)}, or more images"
        )
    name = "micro_batch" if settings.micro_batch else "batch_size"
    size = getattr(settings, name)
    if size % replicas:
        fitting = size - size % replicas or replicas
        raise InputError(
            f"`{name}` must be a multiple of the number of devices (GPUs, or machines without "
            f"one). Received: {name}={size}, devices={replicas}. "
            f"Fix: --set pretraining.{name}={fitting}"
        )
