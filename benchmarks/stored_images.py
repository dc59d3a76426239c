"""What it costs to keep images encoded instead of as pixels: `python benchmarks/stored_images.py
FOLDER`, a folder of photographs.

Brings every image to one size as Transform does, keeps it each way, and draws the batches of epochs
of pretraining from it, the ways in turns. The last line is JSON: bytes an image, images a second of
processor time, and the share of an epoch that a training step would wait for its batch, if it takes
as long as `--step_seconds` says and the next batch is made meanwhile on other cores.
"""

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import tensorflow as tf

from trainer_module.batches import EpochBatches
from trainer_module.encoded_images import EncodedImages
from trainer_module.preprocessing import decode_images
from trainer_module.stored_images import JPEG, PIXELS, PNG, decoder_of, pack_images

BATCH = 64


def stored(images: np.ndarray, stored_as: str) -> np.ndarray | EncodedImages:
    """Returns images, uint8 [N, H, W, 3], as the Trainers hold what was stored this way."""
    if stored_as == PIXELS:
        return images
    packed = pack_images(tf.constant(images), stored_as).numpy()
    ends = np.cumsum(list(map(len, packed)))
    bounds = np.stack([np.concatenate([[0], ends[:-1]]), ends], axis=1)
    content = np.frombuffer(b"".join(packed), np.uint8)
    return EncodedImages(content, bounds, images.shape[1:3], decoder_of(*images.shape[1:3]))


def bytes_an_image(images: np.ndarray | EncodedImages) -> int:
    """Returns the mean room that an image takes."""
    held = images.content if isinstance(images, EncodedImages) else images
    return held.nbytes // len(images)


def epoch(batches: EpochBatches) -> tuple[float, float]:
    """Returns the seconds by the clock and of processor time of an epoch of batches."""
    started, used = time.perf_counter(), time.process_time()
    for step in range(batches.steps_per_epoch):
        batches[step]
    return time.perf_counter() - started, time.process_time() - used


def measure(images: np.ndarray, turns: int, step_seconds: float) -> dict:
    """Returns, for each way of storing, what the last line tells."""
    ways = {way: stored(images, way) for way in (PIXELS, PNG, JPEG)}
    batches = {way: EpochBatches(held, BATCH, seed=0) for way, held in ways.items()}
    seconds = {way: [] for way in ways}
    for turn in range(turns + 1):
        for way, drawn in batches.items():
            measured = epoch(drawn)
            if turn:  # the first builds the decoder
                seconds[way].append(measured)
    result = {}
    for way, measured in seconds.items():
        by_clock, used = (statistics.median(column) for column in zip(*measured, strict=True))
        steps = batches[way].steps_per_epoch
        waiting = max(0.0, by_clock / steps - step_seconds)
        result[way] = {
            "bytes_an_image": bytes_an_image(ways[way]),
            "images_a_cpu_second": round(steps * BATCH / used),
            "share_waited": round(waiting / max(step_seconds, by_clock / steps), 3),
        }
    return result


def main(arguments: list[str]) -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--side", type=int, default=256, help="pixels; default: %(default)s")
    parser.add_argument("--images", type=int, default=512, help="at most; default: %(default)s")
    parser.add_argument("--turns", type=int, default=5, help="default: %(default)s")
    parser.add_argument(
        "--step_seconds", type=float, default=0.5, help="of a batch of 64; default: %(default)s"
    )
    options = parser.parse_args(arguments)
    files = sorted(file for file in options.folder.iterdir() if file.suffix in (".jpg", ".jpeg"))
    encoded = tf.constant([file.read_bytes() for file in files[: options.images]])
    images = decode_images(encoded, options.side, options.side).numpy()
    measured = measure(images, options.turns, options.step_seconds)
    print(json.dumps({"images": len(images), "side": options.side, **measured}))


if __name__ == "__main__":
    main(sys.argv[1:])
