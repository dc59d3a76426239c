"""Whether the training step that a GPU compiles with XLA computes what the uncompiled one does.

TensorFlow compiles the step on a GPU alone, but XLA compiles for a CPU, too. So TensorFlow is told
of a GPU that is not there: everything is then built by the functions, and from the operations, that
a GPU run uses, and computes on the CPU. The same steps, compiled and not, from the same weights on
the same images; a tiny network, because what is asked is the same at any size. A line of JSON each.

    python benchmarks/compiled_step.py [GROUP...]    # the table of docs/training-speed.md, an hour
"""

import inspect
import itertools
import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf

from trainer_module.batches import EpochBatches
from trainer_module.examples import Examples
from trainer_module.fast_layers import BatchNormalization, Conv2D
from trainer_module.finetune import Kept, finetune
from trainer_module.pretrain import Images, build_learner
from trainer_module.settings import (
    LOSSES,
    OPTIMIZERS,
    Augmentation,
    Encoder,
    Finetuning,
    Pretraining,
)
from trainer_module.tasks.classification import Classification
from trainer_module.tasks.registry import TASKS
from trainer_module.tasks.regression import MEAN, STD, Regression
from trainer_module.tasks.segmentation import Segmentation

COUNT, SIDE, CLASSES = 4, 16, 3  # images, which are one batch; pixels; classes
CHANNEL_MEAN, CHANNEL_STD = np.full(3, 0.5, np.float32), np.full(3, 0.25, np.float32)
PRECISIONS = ("float32", "bfloat16", "float16")
OPERATIONS = [
    name.removesuffix("_probability")
    for name in Augmentation.__dataclass_fields__
    if name.endswith("_probability")
]
NONE = {f"{name}_probability": 0.0 for name in OPERATIONS}
AUGMENTATIONS = {
    "all": Augmentation(**dict.fromkeys(NONE, 0.5)),
    "none": Augmentation(**NONE),
    "default": Augmentation(),
    **{name: Augmentation(**NONE | {f"{name}_probability": 0.5}) for name in OPERATIONS},
}
BUILDER = "benchmarks.compiled_step.tiny_encoder"
# What the tests compile: every loss, optimizer and task, all augmentations at once, each precision;
# not their product, because compiling one step takes 5 to 20 s.
PRETRAININGS = {
    "nt_xent": {"loss": "nt_xent", "optimizer": "sgd"},
    "nt_xent_bfloat16": {"loss": "nt_xent", "optimizer": "sgd", "precision": "bfloat16"},
    "nt_xent_float16": {"loss": "nt_xent", "optimizer": "sgd", "precision": "float16"},
    "dcl": {"loss": "dcl", "optimizer": "lars", "augmentation": "all"},
    "vicreg": {"loss": "vicreg", "optimizer": "adamw"},
}
FINETUNINGS = {
    "classification": {"task": "classification", "frozen": False},
    "classification_frozen": {"task": "classification", "frozen": True},
    "regression": {"task": "regression", "frozen": False},
    "regression_frozen": {"task": "regression", "frozen": True},
    "segmentation": {"task": "segmentation", "frozen": False, "augmentation": "mild"},
    "segmentation_frozen": {"task": "segmentation", "frozen": True},
}


# The table, group by group. Half precision stands behind the float32 that it is held against.
PLAIN = {"loss": "nt_xent", "optimizer": "sgd"}
GROUPS = {
    "tested": [
        {"precision": "float32", "augmentation": "none"} | made_of
        for made_of in (PRETRAININGS | FINETUNINGS).values()
    ],
    "loss and optimizer": [
        {"loss": loss, "optimizer": optimizer, "precision": precision, "augmentation": "default"}
        for loss, optimizer, precision in itertools.product(LOSSES, OPTIMIZERS, PRECISIONS)
    ],
    "augmentation": [
        *(PLAIN | {"precision": "float32", "augmentation": name} for name in OPERATIONS),
        *(PLAIN | {"precision": precision, "augmentation": "all"} for precision in PRECISIONS),
    ],
    "task": [
        {"task": task, "frozen": frozen, "precision": precision, "augmentation": "mild"}
        for task, frozen, precision in itertools.product(
            ("classification", "regression", "segmentation"), (False, True), PRECISIONS[:2]
        )
    ],
    "two steps": [  # the first of which has a learning rate of 0
        {"task": "classification", "frozen": False, "augmentation": "mild"}
        | {"epochs": 2, "seed": seed, "precision": precision}
        for seed, precision in itertools.product(range(3), PRECISIONS[:2])
    ],
}


def main(groups: list[str]) -> None:
    """Compares the steps of groups, or of all, and prints a line each."""
    versions = {"tensorflow": tf.__version__, "keras": keras.__version__}
    print(json.dumps({**versions, "cpus": os.cpu_count()}), flush=True)
    for group in groups or GROUPS:
        for made_of in GROUPS[group]:
            print(json.dumps({"group": group} | made_of | compared(made_of)), flush=True)


def compared(made_of: dict) -> dict[str, float]:
    """Returns what compiling a step costs and changes, and beside it what its precision does, to
    the uncompiled step and to the compiled one.
    """
    compiled, plain = step(made_of), _uncompiled(**made_of)
    far = gaps(compiled, plain)
    if made_of["precision"] != "float32":
        exact = _uncompiled(**made_of | {"precision": "float32"})
        far |= {f"precision_{name}": gap for name, gap in gaps(plain, exact).items()}
        far["compiled_precision_update_gap"] = gaps(compiled, exact)["update_gap"]
    seconds = {"compile_cpu_seconds": round(compiled.seconds, 1)}
    return seconds | {name: float(f"{gap:.2g}") for name, gap in far.items()}


@cache
def _uncompiled(**made_of) -> "Observer":
    return step(made_of, compiles=False)


@contextmanager
def a_gpu() -> Iterator[None]:
    """Lets TensorFlow report a GPU of 2022, on which nothing is ever placed."""
    here, gpu = (
        tf.config.list_physical_devices,
        tf.config.PhysicalDevice("/physical_device:GPU:0", "GPU"),
    )
    reported = lambda kind=None: here(kind) + [gpu] * (kind in (None, "GPU"))  # noqa: E731
    details = {"compute_capability": (9, 0)}
    with (
        mock.patch.object(tf.config, "list_physical_devices", reported),
        mock.patch.object(tf.config.experimental, "get_device_details", lambda _: details),
    ):
        yield


def tiny_encoder(settings: Encoder, image_size, dtype="float32", seed=0) -> keras.Model:
    """Builds the encoder's stages with one convolution each, for `Encoder.builder`."""
    del settings
    tensor = images = keras.Input((*image_size, 3))
    strides = {"stem": 1, "stage1": 1, "stage2": 2, "stage3": 2, "stage4": 2}
    for number, (name, stride) in enumerate(strides.items()):
        initializer = keras.initializers.HeNormal(seed=1000 * seed + number)
        shared = {"use_bias": False, "dtype": dtype, "kernel_initializer": initializer}
        tensor = Conv2D(8, 3, stride, "same", **shared)(tensor)
        tensor = BatchNormalization(epsilon=1.001e-5, dtype=dtype)(tensor)
        tensor = keras.layers.ReLU(dtype=dtype, name=name)(tensor)
    features = keras.layers.GlobalAveragePooling2D(dtype="float32", name="features")(tensor)
    return keras.Model(images, features)


@dataclass
class Observer(keras.callbacks.Callback):
    """Keeps what a step did; unless `compiles`, has the very model that would compile not do so."""

    compiles: bool = True

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
        self._started = time.process_time()

    def on_train_batch_end(self, batch, logs=None):
        """Keeps the loss and the seconds that the processors spent, mostly on compiling."""
        self.loss = float(logs["loss"])
        self.seconds = time.process_time() - self._started

    def on_train_end(self, logs=None):
        """Keeps how the weights moved, and the graph that was executed; lets the model go."""
        self.update = self._weights() - self._before  # float64 [weights]
        names = inspect.getclosurevars(self.model.train_function).nonlocals
        steps = names["multi_step_on_iterator"]
        self.graph = steps._list_all_concrete_functions()[0].graph.as_graph_def()
        self._model = None

    def _weights(self) -> np.ndarray:
        weights = [variable.numpy() for variable in self.model.trainable_variables]
        return np.concatenate([weight.ravel().astype(np.float64) for weight in weights])


def pretraining(observer, loss, optimizer, precision="float32", augmentation="none") -> None:
    """Pretrains for one step, built and fed as `pretrain` does."""
    images = drawn_images()
    settings = Pretraining(
        epochs=1,
        batch_size=COUNT,
        precision=precision,
        loss=loss,
        optimizer=optimizer,
        projection_hidden=16,
    )
    data = Images(images, CHANNEL_MEAN, CHANNEL_STD, (SIDE, SIDE))
    encoder = Encoder(width=0.0625, builder=BUILDER)
    learner = build_learner(data, encoder, AUGMENTATIONS[augmentation], settings)
    batches = EpochBatches(images, COUNT, settings.seed)
    quiet = {"shuffle": False, "verbose": 0, "callbacks": [observer]}
    learner.fit(batches, epochs=1, steps_per_epoch=1, **quiet)


def finetuning(observer: Observer, task: str, frozen: bool, augmentation="none", **chosen) -> None:
    """Fine-tunes for one step, or for as many as there are `epochs` among the settings chosen.

    A frozen encoder's linear head would be solved for without a step.
    """
    settings = Finetuning(
        **{"epochs": 1, "precision": "float32"} | chosen,
        batch_size=COUNT,
        freeze=frozen,
        head="mlp" if frozen else "linear",
        views=TASKS[task].mild if augmentation == "mild" else AUGMENTATIONS[augmentation],
        dice=0.5,
    )
    places = np.arange(COUNT * SIDE * SIDE, dtype=np.uint8).reshape(COUNT, SIDE, SIDE)
    kind, targets, statistics = {
        "classification": (Classification(CLASSES), np.arange(COUNT) % CLASSES, {}),
        "segmentation": (
            Segmentation(CLASSES),
            places % CLASSES,
            {"class_pixels": np.ones(CLASSES)},
        ),
        "regression": (
            Regression(),
            np.linspace(-1, 1, COUNT, dtype=np.float32),
            {MEAN: np.float32(3), STD: np.float32(2)},
        ),
    }[task]
    train = Examples(drawn_images(), targets, CHANNEL_MEAN, CHANNEL_STD, statistics)
    encoder = tiny_encoder(Encoder(), (SIDE, SIDE), seed=settings.seed)
    finetune(encoder, kind, train, settings, kept=Kept([observer]))


def drawn_images() -> np.ndarray:
    """Returns noise, uint8 [B, H, W, 3], the same at every call."""
    return np.random.default_rng(0).integers(0, 256, (COUNT, SIDE, SIDE, 3), dtype=np.uint8)


def step(made_of: dict, compiles: bool = True) -> Observer:
    """Returns what a step did on a machine with a GPU, compiled as there or not."""
    observer = Observer(compiles)
    with a_gpu(), redirect_stdout(sys.stderr):  # where Keras tells of its epochs
        (finetuning if "task" in made_of else pretraining)(observer, **made_of)
    keras.backend.clear_session()
    return observer


def gaps(one: Observer, other: Observer) -> dict[str, float]:
    """Returns the difference of the losses, and the length of that of the updates, as shares."""
    length = np.linalg.norm
    return {
        "loss_gap": abs(one.loss - other.loss) / abs(other.loss),
        "update_gap": length(one.update - other.update) / length(other.update),
    }


if __name__ == "__main__":
    main(sys.argv[1:])
