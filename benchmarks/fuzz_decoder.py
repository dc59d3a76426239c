"""Damages odd pictures at random and asks the room where they are decoded about each: `python
benchmarks/fuzz_decoder.py --inputs 20000 --seed 7`.

Right is: pixels of the size that ingest notes, the same from the served graph on the raw file, or a
refusal by a sentence, from the graph too. All else is a fault, printed with its input. The last
line is JSON: how many inputs ended how.
"""

import argparse
import json
import os
import random
import sys
import time
import warnings
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402
from strangers.odd_images import READ  # noqa: E402

from trainer_module.decoding import UnreadableError, prepared  # noqa: E402
from trainer_module.decoding_graph import decode_upright  # noqa: E402

LONGEST = 4000  # bytes of a picture that are kept
HEAD = 200  # bytes, where half of the damage is done
ENDS = {  # that are right
    "read",
    "refused",
    "read, refused by the graph",
    "read by the graph alone",
}
LOSSY = 2  # levels between what two calls make of a damaged JPEG


@tf.function(input_signature=[tf.TensorSpec([], tf.string)])
def served(content: tf.Tensor) -> tf.Tensor:
    """Decodes as the served model does."""
    return decode_upright(content)


def damaged(content: bytes, chance: random.Random) -> bytes:
    """Returns a picture with a few bytes changed, doubled or cut off."""
    found = bytearray(content[:LONGEST] if chance.random() < 0.3 else content)
    for _ in range(chance.randint(1, 4)):
        most = min(HEAD, len(found)) if chance.random() < 0.5 else len(found)
        found[chance.randrange(most)] = chance.choice([0, 1, 255, chance.randrange(256)])
    if chance.random() < 0.1:
        place = chance.randrange(len(found))
        found[place:place] = found[max(0, place - 40) : place]
    return bytes(found[: chance.randint(1, len(found))] if chance.random() < 0.1 else found)


def outcome(content: bytes) -> str:
    """Returns how a picture ends, in a word; `fault: ...` where it must not end so."""
    try:
        by_graph = served(content).numpy()
    except tf.errors.InvalidArgumentError:
        by_graph = None
    try:
        stored = prepared(content)
    except UnreadableError:
        return "refused" if by_graph is None else "read by the graph alone"
    pixels = served(stored.encoded).numpy()
    if pixels.shape != (stored.height, stored.width, 3):
        return f"fault: {pixels.shape} is not {stored.height} x {stored.width}"
    if by_graph is None:
        return "read, refused by the graph"
    same = by_graph.shape == pixels.shape
    same = same and np.abs(by_graph.astype(int) - pixels).max() <= LOSSY
    return "read" if same else "fault: the graph sees another picture"


def main() -> int:
    """Parses the command line and prints what happened; returns 1 if there was a fault."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=1e9, help="stop earlier")
    flags = parser.parse_args()
    warnings.simplefilter("ignore")
    chance, counts, started = random.Random(flags.seed), {}, time.monotonic()
    names, done = sorted(READ), 0
    while done < flags.inputs and time.monotonic() - started < flags.seconds:
        name = chance.choice(names)
        content = damaged(READ[name], chance)
        try:
            found = outcome(content)
        except Exception as error:  # noqa: BLE001 (any is a fault)
            found = f"fault: {type(error).__name__}: {str(error)[:200]}"
        if found.startswith("fault"):
            print(name, found, content.hex()[:4000], flush=True)
            found = "fault"
        counts[found] = counts.get(found, 0) + 1
        done += 1
    print(json.dumps({"inputs": done, "seed": flags.seed, "outcomes": counts}))
    return int("fault" in counts)


if __name__ == "__main__":
    sys.exit(main())
