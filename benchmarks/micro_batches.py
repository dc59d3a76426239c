"""Memory and seconds of one training step with and without micro-batches, each in a process of its
own, which makes memory comparable. A line of JSON each.

    python benchmarks/micro_batches.py --batch_size 4096 --micro_batch 0 1024 256
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
MEAN, STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)


def main() -> None:
    """Measures each size of micro-batch and prints a line for it."""
    options = parse(sys.argv[1:])
    if options.one:
        print(json.dumps(measured(options, options.micro_batch[0])))
        return
    for micro_batch in options.micro_batch:
        given = [f"--{name}={getattr(options, name)}" for name in ("width", "batch_size", "steps")]
        given += [f"--image_size={options.image_size}", f"--precision={options.precision}"]
        command = [sys.executable, __file__, "--one", f"--micro_batch={micro_batch}", *given]
        finished = subprocess.run(command, stdout=subprocess.PIPE, text=True)
        # A step that does not fit is killed; that is an answer, too.
        said = finished.stdout.splitlines()[-1:]
        failed = {"micro_batch": micro_batch, "exit_code": finished.returncode}
        print(said[0] if said and not finished.returncode else json.dumps(failed), flush=True)


def parse(arguments: list[str]) -> argparse.Namespace:
    """Returns the options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--width", type=float, default=0.25)
    parser.add_argument("--image_size", type=int, default=32, help="pixels")
    parser.add_argument("--batch_size", type=int, default=4096)
    parser.add_argument("--micro_batch", type=int, nargs="+", default=[0, 1024, 256])
    parser.add_argument("--steps", type=int, default=2, help="behind a first one, which compiles")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def measured(options: argparse.Namespace, micro_batch: int) -> dict:
    """Returns seconds, processor seconds and memory of steps in this process."""
    import numpy as np

    from pipeline.compiled import ENVIRONMENT
    from trainer_module.pretrain import Images, build_learner
    from trainer_module.settings import Augmentation, Encoder, Pretraining

    os.environ.update(ENVIRONMENT)
    size = (options.image_size, options.image_size)
    shape = (options.batch_size, *size, 3)
    images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    settings = Pretraining(
        batch_size=options.batch_size, micro_batch=micro_batch, precision=options.precision
    )
    data = Images(images, MEAN, STD, size)
    learner = build_learner(data, Encoder(width=options.width), Augmentation(), settings)
    seconds, busy = [], []
    for _ in range(1 + options.steps):
        started, worked = time.perf_counter(), time.process_time()
        learner.train_on_batch(images)
        seconds.append(round(time.perf_counter() - started, 2))
        busy.append(round(time.process_time() - worked, 2))
    return {
        "batch_size": options.batch_size,
        "micro_batch": micro_batch,
        "width": options.width,
        "image_size": options.image_size,
        "precision": learner.dtype_policy.name,
        "seconds": statistics.median(seconds[1:]),
        "processor_seconds": statistics.median(busy[1:]),
        "first_step_seconds": seconds[0],
        "peak_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "load": round(os.getloadavg()[0], 1),
    }


if __name__ == "__main__":
    main()
