"""Images per second of one whole training step, in turns with the step that stock Keras makes.

Ours: two augmented views, forward, backward, update, as `pretrain` runs it. Stock: the same network with Keras' own batch
normalization, float32, no XLA, and no augmentation at all. The last line is JSON.

    python benchmarks/train_step.py --depth 18 --image_size 32 --batch_size 128 --steps 10
"""

import argparse
import json
import os
import resource
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from keras import ops

from trainer_module.augment import augment
from trainer_module.heads import build_projection_head
from trainer_module.learner import SimCLR, Views, contrastive_loss
from trainer_module.normalize import normalize
from trainer_module.precision import compiles_with_xla
from trainer_module.pretrain import Images, build_learner
from trainer_module.resnet import build_encoder
from trainer_module.settings import Augmentation, Encoder, Pretraining

MEAN, STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)


def main() -> None:
    """Measures and prints."""
    options = parse(sys.argv[1:])
    size = (options.image_size, options.image_size)
    images = np.random.default_rng(0).integers(0, 256, (options.batch_size, *size, 3), dtype=np.uint8)
    encoder = Encoder(options.depth, options.width)
    ours = build_learner(
        Images(images, MEAN, STD, size), encoder, Augmentation(), Pretraining(batch_size=options.batch_size, precision=options.precision)
    )
    stock = stock_learner(encoder, size)
    views = Augmenter(size, keras.random.SeedGenerator(0))
    views.compile(jit_compile=compiles_with_xla())
    both = np.concatenate([images, images])
    seconds = in_turns(
        {
            "ours": lambda: ours.train_on_batch(images),
            "stock": lambda: stock.train_on_batch(images),
            "augmentation": lambda: views.predict_on_batch(both),
        },
        options.steps,
    )
    print(json.dumps(report(options, seconds, ours.dtype_policy.name)))


def parse(arguments: list[str]) -> argparse.Namespace:
    """Returns the options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--depth", type=int, default=18)
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--image_size", type=int, default=32, help="pixels")
    parser.add_argument("--batch_size", type=int, default=128, help="images; the encoder sees 2 views of each")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--precision", default="auto")
    return parser.parse_args(arguments)


class Unaugmented(SimCLR):
    """SimCLR whose two views are the image itself."""

    def call(self, images, training=False):
        """Returns the embedding [2B, P] of every image, twice."""
        both = normalize(ops.concatenate([images, images], axis=0), self.views.channel_mean, self.views.channel_std)
        return self.head(self.encoder(both, training=training), training=training)


class Augmenter(keras.Model):
    """The augmentation of a step, alone."""

    def __init__(self, size, chance):
        """Takes the views' size and the seed."""
        super().__init__(name="augmenter")
        self.size, self.chance, self.built = size, chance, True

    def call(self, images):
        """Returns normalized views, summed so that fetching them costs nothing."""
        return ops.sum(normalize(augment(images, Augmentation(), self.size, self.chance), MEAN, STD), axis=(1, 2, 3))


def stock_learner(settings: Encoder, size: tuple[int, int]) -> keras.Model:
    """Returns what a straightforward Keras program would train."""
    encoder = keras.models.clone_model(build_encoder(settings, size), clone_function=with_stock_batch_norm)
    learner = Unaugmented(
        encoder, build_projection_head(encoder.output_shape[-1]), Views(size, Augmentation(), MEAN, STD), contrastive_loss(0.5, False)
    )
    learner.compile(keras.optimizers.SGD(0.1, momentum=0.9), jit_compile=False)
    return learner


def with_stock_batch_norm(layer):
    """Returns a copy of a layer, Keras' own where it is ours."""
    kind = keras.layers.BatchNormalization if isinstance(layer, keras.layers.BatchNormalization) else type(layer)
    return kind.from_config(layer.get_config())


def in_turns(functions: dict, steps: int) -> dict[str, float]:
    """Returns the median seconds of each function; they take turns, so that a busy machine slows all alike."""
    for function in functions.values():
        function()
        function()
    seconds = {name: [] for name in functions}
    for _ in range(steps):
        for name, function in functions.items():
            started = time.perf_counter()
            function()
            seconds[name].append(time.perf_counter() - started)
    return {name: statistics.median(values) for name, values in seconds.items()}


def report(options: argparse.Namespace, seconds: dict[str, float], precision: str) -> dict:
    """Returns what is printed."""
    return vars(options) | {
        "backend": keras.backend.backend(),
        "precision": precision,
        "images_per_second": round(options.batch_size / seconds["ours"], 2),
        "stock_keras_images_per_second": round(options.batch_size / seconds["stock"], 2),
        "ratio": round(seconds["stock"] / seconds["ours"], 3),
        "augmentation_share": round(seconds["augmentation"] / seconds["ours"], 4),
        "peak_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "cpus": os.cpu_count(),
        "onednn": os.environ.get("TF_ENABLE_ONEDNN_OPTS", "default"),
    }


if __name__ == "__main__":
    main()
