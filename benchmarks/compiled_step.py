"""Whether the training step that a GPU compiles with XLA computes what the uncompiled step computes, and how long compiling takes.

TensorFlow compiles the step on a GPU alone, but XLA compiles for a CPU, too. So TensorFlow is told of a GPU that is not there:
everything is then built by the functions, and from the operations, that a GPU run uses, and computes on the CPU. Two steps each,
compiled and not, from the same weights on the same images. A tiny network, because what is asked is the same at any size.
The last line is JSON.

    python benchmarks/compiled_step.py                    # the table of docs/training-speed.md, half an hour
    python benchmarks/compiled_step.py --precisions float32 --losses dcl --optimizers sgd --augmentations all --tasks
"""

import argparse
import inspect
import itertools
import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf

from trainer_module.batch_norm import BatchNormalization
from trainer_module.batches import EpochBatches
from trainer_module.convolution import Conv2D
from trainer_module.examples import Examples
from trainer_module.finetune import finetune
from trainer_module.pretrain import Images, build_learner
from trainer_module.settings import LOSSES, OPTIMIZERS, PRECISIONS, Augmentation, Encoder, Finetuning, Pretraining
from trainer_module.tasks.classification import Classification
from trainer_module.tasks.regression import MEAN, STD, Regression
from trainer_module.tasks.segmentation import Segmentation

STEPS = 2  # the second sees what the first learned
COUNT, SIDE, CLASSES = 8, 16, 3  # images, which are one batch; pixels; classes
CHANNEL_MEAN, CHANNEL_STD = np.full(3, 0.5, np.float32), np.full(3, 0.25, np.float32)
PROBABILITIES = [name for name in Augmentation.__dataclass_fields__ if name.endswith("_probability")]
AUGMENTATIONS = {"default": Augmentation(), "all": Augmentation(**dict.fromkeys(PROBABILITIES, 0.5))}
TASKS = ("classification", "segmentation", "regression")
BUILDER = "benchmarks.compiled_step.tiny_encoder"


def main() -> None:
    """Compares every combination asked for and prints."""
    options = parse(sys.argv[1:])
    rows = []
    for row, step in steps_of(options):
        rows.append(row | compared(step))
        print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    print(json.dumps({"tensorflow": tf.__version__, "keras": keras.__version__, "cpus": os.cpu_count(), "rows": rows}))


def parse(arguments: list[str]) -> argparse.Namespace:
    """Returns the options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    choices = {"precisions": PRECISIONS[1:], "losses": LOSSES, "optimizers": OPTIMIZERS, "augmentations": tuple(AUGMENTATIONS), "tasks": TASKS}
    for name, values in choices.items():
        parser.add_argument(f"--{name}", nargs="*", choices=values, default=values)
    return parser.parse_args(arguments)


def steps_of(options: argparse.Namespace) -> Iterator:
    """Yields what a combination is called, and the function that trains it with an observer."""
    names = ("precision", "loss", "optimizer", "augmentation")
    for values in itertools.product(options.precisions, options.losses, options.optimizers, options.augmentations):
        yield dict(zip(names, values, strict=True)), lambda observer, values=values: pretraining(observer, *values)
    for task, frozen, precision in itertools.product(options.tasks, (True, False), options.precisions):
        row = {"task": task, "frozen": frozen, "precision": precision}
        yield row, lambda observer, row=row: finetuning(observer, **row)


@contextmanager
def a_gpu() -> Iterator[None]:
    """Lets TensorFlow report a GPU of 2022, on which nothing is ever placed."""
    here, gpu = tf.config.list_physical_devices, tf.config.PhysicalDevice("/physical_device:GPU:0", "GPU")
    reported = lambda kind=None: here(kind) + [gpu] * (kind in (None, "GPU"))  # noqa: E731
    with (
        mock.patch.object(tf.config, "list_physical_devices", reported),
        mock.patch.object(tf.config.experimental, "get_device_details", lambda _: {"compute_capability": (9, 0)}),
    ):
        yield


def tiny_encoder(settings: Encoder, image_size: tuple[int, int], dtype: str = "float32", seed: int = 0) -> keras.Model:
    """Builds a network of the encoder's layers and stages with one convolution each, for `Encoder.builder`."""
    del settings
    tensor = images = keras.Input((*image_size, 3))
    for number, (name, stride) in enumerate({"stem": 1, "stage1": 1, "stage2": 2, "stage3": 2, "stage4": 2}.items()):
        initializer = keras.initializers.HeNormal(seed=1000 * seed + number)
        tensor = Conv2D(8, 3, stride, "same", use_bias=False, dtype=dtype, kernel_initializer=initializer)(tensor)
        tensor = BatchNormalization(epsilon=1.001e-5, dtype=dtype)(tensor)
        tensor = keras.layers.ReLU(dtype=dtype, name=name)(tensor)
    return keras.Model(images, keras.layers.GlobalAveragePooling2D(dtype="float32", name="features")(tensor))


@dataclass
class Observer(keras.callbacks.Callback):
    """Keeps what training did; where `compiles` is false, has the very model that would compile do its steps without XLA."""

    compiles: bool = True
    losses: list[float] = field(default_factory=list)  # mean of the steps so far, after each
    seconds: list[float] = field(default_factory=list)  # of each step

    def __post_init__(self):
        """Makes it a callback."""
        super().__init__()

    def on_train_begin(self, logs=None):
        """Keeps the initial weights."""
        if not self.model.jit_compile:
            raise RuntimeError("A GPU run must compile its step. Received: a model that does not")
        if not self.compiles:
            self.model.jit_compile = False
            self.model.make_train_function(force=True)
        self._before = self._weights()

    def on_train_batch_begin(self, batch, logs=None):
        """Starts the watch."""
        self._started = time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        """Keeps loss and time."""
        self.losses.append(float(logs["loss"]))
        self.seconds.append(time.perf_counter() - self._started)

    def on_train_end(self, logs=None):
        """Keeps how the weights moved, and the graph that was executed."""
        self.update = self._weights() - self._before  # float64 [weights]
        steps = inspect.getclosurevars(self.model.train_function).nonlocals["multi_step_on_iterator"]
        self.graph = steps._list_all_concrete_functions()[0].graph.as_graph_def()

    def _weights(self) -> np.ndarray:
        return np.concatenate([np.ravel(variable.numpy()).astype(np.float64) for variable in self.model.trainable_variables])


def pretraining(observer: Observer, precision: str, loss: str, optimizer: str, augmentation: str, builder: str = BUILDER) -> None:
    """Pretrains for two steps, built and fed as `pretrain` does."""
    images = drawn().integers(0, 256, (COUNT, SIDE, SIDE, 3), dtype=np.uint8)
    settings = Pretraining(epochs=STEPS, batch_size=COUNT, precision=precision, loss=loss, optimizer=optimizer, projection_hidden=16)
    encoder = Encoder(width=0.0625, builder=builder)
    learner = build_learner(Images(images, CHANNEL_MEAN, CHANNEL_STD, (SIDE, SIDE)), encoder, AUGMENTATIONS[augmentation], settings)
    batches = EpochBatches(images, COUNT, settings.seed)
    learner.fit(batches, epochs=STEPS, steps_per_epoch=1, shuffle=False, verbose=0, callbacks=[observer])


def finetuning(observer: Observer, task: str, frozen: bool, precision: str) -> None:
    """Fine-tunes for two steps; a head on a frozen encoder has a hidden layer, because a linear one is solved for without steps."""
    images = drawn().integers(0, 256, (COUNT, SIDE, SIDE, 3), dtype=np.uint8)
    encoder = tiny_encoder(Encoder(), (SIDE, SIDE))
    settings = Finetuning(epochs=STEPS, batch_size=COUNT, freeze=frozen, head="mlp" if frozen else "linear", precision=precision, dice=0.5)
    kind, targets, statistics = {
        "classification": (Classification(CLASSES), np.arange(COUNT) % CLASSES, {}),
        "segmentation": (Segmentation(CLASSES), drawn().integers(0, CLASSES, (COUNT, SIDE, SIDE), np.uint8), {"class_pixels": np.ones(CLASSES)}),
        "regression": (Regression(), np.linspace(-1, 1, COUNT, dtype=np.float32), {MEAN: np.float32(3), STD: np.float32(2)}),
    }[task]
    train = Examples(images, targets, CHANNEL_MEAN, CHANNEL_STD, statistics)
    finetune(encoder, kind, train, settings, callbacks=[observer])


def drawn() -> np.random.Generator:
    """Returns random numbers that are the same at every call."""
    return np.random.default_rng(0)


def observed(step, compiles: bool = True) -> Observer:
    """Returns what a combination's training did on a machine with a GPU, compiled as there or not."""
    observer = Observer(compiles)
    with a_gpu():
        step(observer)
    keras.backend.clear_session()
    return observer


def compared(step) -> dict:
    """Returns seconds of the first compiled step, which compiles, and how far the compiled steps are from the uncompiled ones."""
    compiled, plain = observed(step), observed(step, compiles=False)
    return {"compile_seconds": round(compiled.seconds[0], 1), **{name: float(f"{gap:.2g}") for name, gap in gaps(compiled, plain).items()}}


def gaps(one: Observer, other: Observer) -> dict[str, float]:
    """Returns the largest difference of a loss and the length of the difference of the weights' updates, as shares of the other's."""
    losses = np.abs(np.subtract(one.losses, other.losses) / other.losses)
    return {"loss_gap": losses.max(), "update_gap": np.linalg.norm(one.update - other.update) / np.linalg.norm(other.update)}


if __name__ == "__main__":
    main()
