"""Images per second of one whole training step, in turns with the step that stock Keras makes.

Ours: two augmented views, forward, backward, update, as `pretrain` runs it, in the environment the
pipeline's runner sets. Stock: the same network with Keras' own batch normalization, float32, no
XLA, and no augmentation at all, in the environment as it is (`--against stock`), or with oneDNN
switched on for it too (`--against stock-onednn`). Each runs in a process of its own, because
TensorFlow reads its environment once; they step in turns, so that a busy machine slows both alike.
The last line is JSON.

    python benchmarks/train_step.py --depth 18 --image_size 32 --batch_size 128 --steps 10

`--against torch --torch_python PYTHON` adds a PyTorch step (benchmarks/torch_step.py: bfloat16,
channels last, no augmentation).
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from keras import ops

from pipeline.compiled import ENVIRONMENT
from trainer_module.augment import augment
from trainer_module.devices import compiles_with_xla
from trainer_module.heads import build_projection_head
from trainer_module.learner import SimCLR, Views
from trainer_module.loss import nt_xent
from trainer_module.normalize import normalize
from trainer_module.pretrain import Images, build_learner
from trainer_module.resnet import build_encoder
from trainer_module.settings import Augmentation, Encoder, Pretraining

MEAN, STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)
WARM_UPS = 2  # the first step compiles, the second settles memory
KERAS_RIVALS = {
    "stock": {},
    "stock-onednn": {"TF_ENABLE_ONEDNN_OPTS": "1"},
}  # what each adds to the environment
HIDDEN = ("learner", "torch_python", "against")  # options that the answer does not repeat
OURSELVES = (sys.executable, __file__, *sys.argv[1:])


def main() -> None:
    """Measures and prints; or, in a child process, steps when told to."""
    options = parse(sys.argv[1:])
    if options.learner:
        obey(functions_of(options), sys.stdin)
    else:
        print(json.dumps(compare(options)))


def parse(arguments: list[str]) -> argparse.Namespace:
    """Returns the options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--depth", type=int, default=18)
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--image_size", type=int, default=32, help="pixels")
    parser.add_argument(
        "--batch_size", type=int, default=128, help="images; the encoder sees 2 views of each"
    )
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--precision", default="auto")
    parser.add_argument(
        "--against",
        nargs="*",
        choices=(*KERAS_RIVALS, "torch"),
        default=["stock"],
        help="none, one or several",
    )
    parser.add_argument("--torch_python", default=sys.executable, help="a Python that has PyTorch")
    # of a child process
    parser.add_argument("--learner", choices=("ours", "stock"), help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


# The parent: commands, and what it makes of the answers.


def compare(options: argparse.Namespace) -> dict:
    """Returns what is printed: median seconds of all learners, which step in turns."""
    learners = start_learners(options)
    for learner in learners.values():
        for _ in range(WARM_UPS):
            learner.ask("step")
    learners["ours"].ask("augment")
    seconds = {name: [] for name in learners}
    augmenting = []
    for _ in range(options.steps):
        for name, learner in learners.items():
            seconds[name].append(learner.ask("step"))
        augmenting.append(learners["ours"].ask("augment"))
    rates = {
        name: options.batch_size / statistics.median(values) for name, values in seconds.items()
    }
    return {
        **{name: value for name, value in vars(options).items() if name not in HIDDEN},
        **learners["ours"].ask("about"),
        "images_per_second": round(rates["ours"], 2),
        "augmentation_share": round(
            statistics.median(augmenting) / statistics.median(seconds["ours"]), 4
        ),
        "peak_memory_mib": learners["ours"].ask("memory"),
        "seconds": rounded(seconds["ours"]),
        "rivals": {
            name: {
                "images_per_second": round(rates[name], 2),
                "ratio": round(rates["ours"] / rates[name], 3),
                "peak_memory_mib": learners[name].ask("memory"),
                "seconds": rounded(seconds[name]),
            }
            for name in learners
            if name != "ours"
        },
    }


def rounded(seconds: list[float]) -> list[float]:
    """Returns seconds to a tenth of a millisecond."""
    return [round(value, 4) for value in seconds]


def start_learners(options: argparse.Namespace) -> dict:
    """Returns our learner and its rivals, each a process of its own."""
    learners = {"ours": Learner([*OURSELVES, "--learner", "ours"], ENVIRONMENT)}
    for rival in options.against:
        if rival == "torch":
            learners[rival] = torch_learner(options)
        else:
            learners[rival] = Learner([*OURSELVES, "--learner", "stock"], KERAS_RIVALS[rival])
    return learners


class Learner:
    """A child process that holds one learner and steps when asked."""

    def __init__(self, command: list[str], environment: dict[str, str]):
        """Starts the process, with `environment` added to this one's."""
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self._process = subprocess.Popen(
            command, env={**os.environ, **environment, "TF_CPP_MIN_LOG_LEVEL": "3"}, **pipes
        )

    def ask(self, command: str):
        """Returns the answer to a command."""
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


def torch_learner(options: argparse.Namespace) -> Learner:
    """Returns the PyTorch step of the same size."""
    sizes = [
        f"--{name}={getattr(options, name)}"
        for name in ("depth", "width", "image_size", "batch_size")
    ]
    return Learner(
        [options.torch_python, str(Path(__file__).with_name("torch_step.py")), "--obey", *sizes], {}
    )


# The child: one learner.


def obey(functions: dict, commands) -> None:
    """Answers commands until there are no more, one JSON line each."""
    for command in commands:
        print(json.dumps(functions[command.strip()]()), flush=True)


def functions_of(options: argparse.Namespace) -> dict:
    """Returns what this process can be asked for."""
    size = (options.image_size, options.image_size)
    images = np.random.default_rng(0).integers(
        0, 256, (options.batch_size, *size, 3), dtype=np.uint8
    )
    encoder = Encoder(options.depth, options.width)
    settings = Pretraining(batch_size=options.batch_size, precision=options.precision)
    if options.learner == "ours":
        learner = build_learner(Images(images, MEAN, STD, size), encoder, Augmentation(), settings)
    else:
        learner = stock_learner(encoder, size)
    views = Augmenter(size, keras.random.SeedGenerator(0))
    views.compile(jit_compile=compiles_with_xla())
    both = np.concatenate([images, images])
    return {
        "step": lambda: seconds_of(lambda: learner.train_on_batch(images)),
        "augment": lambda: seconds_of(lambda: views.predict_on_batch(both)),
        "memory": lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "about": lambda: {
            "backend": keras.backend.backend(),
            "precision": learner.dtype_policy.name,
            "onednn": os.environ.get("TF_ENABLE_ONEDNN_OPTS", "default"),
            "cpus": os.cpu_count(),
        },
    }


def seconds_of(function) -> float:
    """Returns how long a call takes."""
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


class Unaugmented(SimCLR):
    """SimCLR whose two views are the image itself."""

    def call(self, images, training=False):
        """Returns the embedding [2B, P] of every image, twice."""
        both = normalize(
            ops.concatenate([images, images], axis=0),
            self.views.channel_mean,
            self.views.channel_std,
        )
        return self.head(self.encoder(both, training=training), training=training)


class Augmenter(keras.Model):
    """The augmentation of a step, alone."""

    def __init__(self, size, chance):
        """Takes the views' size and the seed."""
        super().__init__(name="augmenter")
        self.size, self.chance, self.built = size, chance, True

    def call(self, images):
        """Returns normalized views, summed so that fetching them costs nothing."""
        return ops.sum(
            normalize(augment(images, Augmentation(), self.size, self.chance), MEAN, STD),
            axis=(1, 2, 3),
        )


def stock_learner(settings: Encoder, size: tuple[int, int]) -> keras.Model:
    """Returns what a straightforward Keras program would train."""
    encoder = keras.models.clone_model(
        build_encoder(settings, size), clone_function=with_stock_batch_norm
    )
    learner = Unaugmented(
        encoder,
        build_projection_head(encoder.output_shape[-1]),
        Views(size, Augmentation(), MEAN, STD),
        partial(nt_xent, temperature=0.5),
    )
    learner.compile(keras.optimizers.SGD(0.1, momentum=0.9), jit_compile=False)
    return learner


def with_stock_batch_norm(layer):
    """Returns a copy of a layer, Keras' own where it is ours."""
    kind = (
        keras.layers.BatchNormalization
        if isinstance(layer, keras.layers.BatchNormalization)
        else type(layer)
    )
    return kind.from_config(layer.get_config())


if __name__ == "__main__":
    main()
