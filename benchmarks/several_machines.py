"""Weak scaling of pretraining: the same batch on each of 1, 2, ... processes, with one core each.

Every process is what a machine would run (trainer_module/trainer_process.py), on loopback. Told is
the median over epochs, the first left out, and the seconds of all processors, which other work on
the machine disturbs less. A line of JSON each.

    python benchmarks/several_machines.py --processes 1 2 --batch_size 64
"""

import argparse
import json
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
EPOCH = re.compile(r"^\d+/\d+ - ([\d.]+)s - ([\d.]+)(m?s)/step")


def main() -> None:
    """Measures each number of processes and prints a line for it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--batch_size", type=int, default=64, help="images of each process")
    parser.add_argument("--steps", type=int, default=4, help="of an epoch")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--width", type=float, default=0.25)
    options = parser.parse_args()
    for count in options.processes:
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps(measured(options, count, Path(folder))), flush=True)


def measured(options: argparse.Namespace, count: int, folder: Path) -> dict:
    """Returns the speed of `count` processes."""
    lay_out_work(options, count, folder)
    addresses = [f"127.0.0.1:{free_port()}" for _ in range(count)]
    before = os.times()
    processes = [start(folder, addresses, rank) for rank in range(count)]
    said = [process.communicate()[0] for process in processes]
    if any(process.returncode for process in processes):
        raise RuntimeError(f"A process failed. Received: {said}")
    after = os.times()
    epochs = [match for line in said[0].splitlines() if (match := EPOCH.match(line))]
    steps = [float(one[2]) / (1000 if one[3] == "ms" else 1) for one in epochs[1:]]
    seconds = statistics.median(steps)
    images = options.batch_size * count
    return {
        "processes": count,
        "batch_size": images,
        "seconds_a_step": seconds,
        "images_per_second": round(images / seconds, 1),
        "processor_seconds_in_all": round(
            after.children_user
            + after.children_system
            - before.children_user
            - before.children_system,
            1,
        ),
        "load": round(os.getloadavg()[0], 1),
    }


def lay_out_work(options: argparse.Namespace, count: int, folder: Path) -> None:
    """Writes what the processes need."""
    import numpy as np

    from trainer_module.cluster import JOB
    from trainer_module.encoded_images import digest_of
    from trainer_module.pretrain import Images, Places
    from trainer_module.pretrain_job import job_of, lay_out
    from trainer_module.settings import Augmentation, Encoder, Pretraining, PretrainingScience
    from trainer_module.whole_files import write_json

    size, batch = (32, 32), options.batch_size * count
    shape = (batch * options.steps, *size, 3)
    images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    data = Images(images, np.full(3, 0.5), np.full(3, 0.25), size, None, digest_of(images))
    settings = Pretraining(
        epochs=options.epochs,
        batch_size=batch,
        monitor_every_epochs=options.epochs,
        checkpoint_every_epochs=options.epochs,
    )
    encoder = Encoder(width=options.width)
    science = PretrainingScience("{}", size, size, encoder, Augmentation(), settings, "")
    lay_out(data, None, folder)
    places = Places(str(folder / "checkpoints"), str(folder / "logs"))
    write_json(folder / JOB, job_of(science, data, places, "float32"))


def start(folder: Path, addresses: list[str], rank: int) -> subprocess.Popen:
    """Starts a process on a core of its own."""
    cluster = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": rank}}
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TF_ENABLE_ONEDNN_OPTS": "1"}
    environment |= {"TF_CONFIG": json.dumps(cluster)} if len(addresses) > 1 else {}
    command = ["taskset", "-c", str(rank), sys.executable, "-m", "trainer_module.trainer_process"]
    return subprocess.Popen(
        [*command, str(folder)], env=environment, stdout=subprocess.PIPE, text=True
    )


def free_port() -> int:
    """Returns a port that nobody listens at."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


if __name__ == "__main__":
    main()
