"""Batches of images, in an order that is a function of the seed and the step alone.

Because batch number `step` is always the same, a run that continues at step k sees exactly what an
unbroken run sees there.

N images of H x W pixels, B images a batch.
"""

import keras
import numpy as np

from trainer_module.errors import InputError
from trainer_module.settings import Pretraining, with_batch_for


class _RandomBatches(keras.utils.PyDataset):
    """An endless sequence of random batches, every epoch of another permutation of the images; give
    `fit` its `steps_per_epoch`.
    """

    def __init__(self, images, batch_size: int, seed: int, first_step: int = 0):
        """Takes over the images, without a copy.

        Args:
            images: uint8 [N, H, W, 3], or encoded: those are decoded while the step before runs,
                since `fit` reads ahead.
            batch_size: B.
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
    def num_batches(self) -> None:
        """Tells Keras that there is no end, so that it asks for batch after batch instead of
        beginning anew.
        """
        return None

    def __getitem__(self, index: int):
        """Returns one batch as a tuple of inputs, of which there is one."""
        return (self.part(index, 0, 1),)

    def _places(self, index: int, number: int, count: int):
        """Returns where the images of part `number` of `count` parts of a batch lie among all,
        integers; parts differ by an image at most.
        """
        epoch, step = divmod(self.first_step + index, self.steps_per_epoch)
        first = step * self.batch_size
        places = self._permutation(epoch)[first : first + self.batch_size]
        first, end = (len(places) * one // count for one in (number, number + 1))
        return places[first:end]

    def _permutation(self, epoch: int):
        if self._permuted[0] != epoch:
            self._permuted = (
                epoch,
                np.random.default_rng([self.seed, epoch]).permutation(len(self.images)),
            )
        return self._permuted[1]


class EpochBatches(_RandomBatches):
    """Random batches of images alone.

    The last, partial batch of an epoch is dropped: the contrastive loss depends on the batch size,
    and the images dropped are others in the next epoch. A batch is no larger than the images, which
    is refused before one is made.
    """

    @property
    def steps_per_epoch(self) -> int:
        """Batches in an epoch, at least one."""
        return len(self.images) // self.batch_size

    def part(self, index: int, number: int, count: int):
        """Returns part `number` of `count` equal parts of a batch, uint8 [B / count, H, W, 3].

        Nothing else of it is read.
        """
        return self.images[self._places(index, number, count)]


class LabelledBatches(_RandomBatches):
    """Random batches of images with their targets; the last one of an epoch may be smaller."""

    def __init__(self, images, targets, batch_size: int, seed: int, first_step: int = 0):
        """Takes over the arrays, without a copy.

        Args:
            images: uint8 [N, H, W, 3], or encoded.
            targets: [N, ...].
            batch_size: B.
            seed: of the permutations.
            first_step: number of the batch to begin with.
        """
        super().__init__(images, batch_size, seed, first_step)
        self.targets = targets

    @property
    def steps_per_epoch(self) -> int:
        """Batches in an epoch."""
        return -(-len(self.images) // self.batch_size)

    def part(self, index: int, number: int, count: int):
        """Returns images and targets of part `number` of `count` parts of a batch.

        Nothing else of it is read.
        """
        places = self._places(index, number, count)
        return self.images[places], self.targets[places]


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
            f"batch_size={batch_size}, images={images}. Fix: {_smaller_batch(settings, images)}"
            f"more images"
        )
    name = "micro_batch" if settings.micro_batch else "batch_size"
    size = getattr(settings, name)
    if size % replicas:
        fitting = size - size % replicas or replicas
        fix = f"--set pretraining.{name}={fitting}"
        raise InputError(
            f"`{name}` must be a multiple of the number of devices (GPUs, or machines without "
            f"one). Received: {name}={size}, devices={replicas}. "
            f"Fix: {fix if fitting <= images else 'fewer devices, or more images'}"
        )


def _smaller_batch(settings: Pretraining, images: int) -> str:
    """Returns flags for a batch that so many images fill, and "or"; nothing where none is."""
    fitting = with_batch_for(settings, images)
    if fitting.batch_size > images:
        return ""
    flags = [
        f"--set pretraining.{name}={getattr(fitting, name)}"
        for name in ("batch_size", "micro_batch")
        if getattr(fitting, name) != getattr(settings, name)
    ]
    return f"{' '.join(flags)}, or "


def refuse_empty_parts(batch_size: int, images: int, replicas: int) -> None:
    """Refuses batches of which one of R devices would have no image: the devices' sums over them,
    of TensorFlow 2.21 on CPUs, then have other shapes, and none goes on.

    Args:
        batch_size: of fine-tuning.
        images: N; the last batch of an epoch holds what is left of them.
        replicas: R.

    Raises:
        InputError: if that is so.
    """
    smallest = images % batch_size or batch_size
    if smallest >= replicas:
        return
    fitting = next(size for size in range(batch_size, 0, -1) if not 0 < images % size < replicas)
    fix = f"--set finetuning.batch_size={fitting}, or " if fitting >= replicas else ""
    raise InputError(
        f"Every batch of fine-tuning must hold an image for each device (GPUs, or machines without "
        f"one). Received: batch_size={batch_size}, images={images}, so a last batch of {smallest}; "
        f"devices={replicas}. Fix: {fix}fewer machines"
    )
