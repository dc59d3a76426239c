"""How a frozen encoder's features are best read out, by how many cells of its last stage.

The means of 1 x 1, 2 x 2 and more cells, each under the same linear head and nearest neighbours,
before and after pretraining.

No weight of an encoder depends on the cells, so that of any model of ours will do. `--images` takes
that many of the training list alone, the first of a fixed order: where labels are few, many numbers
an image may be too many. Every answer is a line of JSON on stderr; the last line, on stdout, is all
of them.

    python benchmarks/cells.py MODEL TRAIN_LIST EVAL_LIST --cells 1 2 3 4 --images 1000 10000
"""

import argparse
import dataclasses
import json
import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ |= {"TF_ENABLE_ONEDNN_OPTS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}

import keras
import numpy as np
import tensorflow as tf
from pipeline_run import tell

from components.file_list_example_gen.rows import read_list
from trainer_module.examples import Examples
from trainer_module.export import load_encoder
from trainer_module.linear_eval import fit_linear, linear_accuracy
from trainer_module.neighbours import knn_accuracy
from trainer_module.preprocessing import decode_images
from trainer_module.pretrain import untrained_encoder
from trainer_module.resnet import build_encoder
from trainer_module.saved_encoder import EncoderRecord, read_record

DECODED_AT_ONCE = 256


def main(arguments: list[str]) -> None:
    """Judges every number of cells with every number of images, and prints what came out."""
    options = parse(arguments)
    record = read_record(options.model)
    known, asked = (read(path, record) for path in (options.train, options.held_out))
    names = sorted(set(known[1]))
    known, asked = (
        Examples(images, np.searchsorted(names, labels), record.channel_mean, record.channel_std)
        for images, labels in (known, asked)
    )
    order = np.random.default_rng(0).permutation(len(known.images))
    rows = []
    for cells in options.cells:
        for kind, encoder in encoders(options.model, record, cells).items():
            features, unseen = known.features(encoder), asked.features(encoder)
            for images in options.images or [len(order)]:
                some = order[:images]
                row = judged(features[some], known.targets[some], unseen, asked.targets)
                place = {"cells": cells, "numbers": features.shape[1], "encoder": kind}
                rows.append(place | {"images": len(some)} | row)
                tell(rows[-1])
    print(json.dumps(rows))


def parse(arguments: list[str]) -> argparse.Namespace:
    """Returns the options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, help="a SavedModel of ours")
    parser.add_argument("train", help="list file")
    parser.add_argument("held_out", help="list file")
    parser.add_argument("--cells", type=int, nargs="+", default=[1, 2, 3], help="along a side")
    parser.add_argument("--images", type=int, nargs="+", default=[], help="to learn from")
    return parser.parse_args(arguments)


def read(path: str, record: EncoderRecord) -> tuple[np.ndarray, list[str]]:
    """Returns the images of a list, uint8 [N, H, W, 3] as the encoder takes them, and their
    labels [N].
    """
    rows, parts = read_list(path).rows, []
    for start in range(0, len(rows), DECODED_AT_ONCE):
        some = [Path(row.path).read_bytes() for row in rows[start : start + DECODED_AT_ONCE]]
        parts.append(decode_images(tf.constant(some), *record.image_size).numpy())
    return np.concatenate(parts), [row.target for row in rows]


def encoders(model: Path, record: EncoderRecord, cells: int) -> dict[str, keras.Model]:
    """Returns the encoder before pretraining and after, whose features are the means of cells."""
    settings = dataclasses.replace(record.encoder, grid=cells)
    pretrained = build_encoder(settings, record.image_size)
    pretrained.set_weights(load_encoder(str(model)).get_weights())
    return {
        "untrained": untrained_encoder(settings, record.image_size, 0),
        "pretrained": pretrained,
    }


def judged(features, labels, unseen, asked) -> dict:
    """Returns the accuracies of a linear head and of neighbours, and the head's seconds."""
    started = time.perf_counter()
    head = fit_linear(features, labels, int(labels.max()) + 1)
    seconds = time.perf_counter() - started
    return {
        "linear": round(linear_accuracy(*head, unseen, asked), 4),
        "neighbours": round(knn_accuracy(features, labels, unseen, asked), 4),
        "head_seconds": round(seconds, 1),
    }


if __name__ == "__main__":
    main(sys.argv[1:])
