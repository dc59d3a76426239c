"""Ours and lightly's SimCLR, as many minutes each, on the same images, machine and encoder, in
turns; scikit-learn's logistic regression judges the frozen features of both.

A recipe runs as a whole; the seconds of its pretraining are what lightly gets, in whole epochs,
with its own augmentation, loader and settings, or with the recipe's rate and temperature
(`--their_settings`). Lightly reads pictures that have the recipe's size already.

    python benchmarks/peers.py --torch_python PYTHON_WITH_LIGHTLY --seeds 0 1 \
        -- --recipe cifar10_small --source PATH_OF_CIFAR10

Every answer is a line of JSON on stderr; the last line, on stdout, is all of them.
"""

import argparse
import json
import math
import shutil
import sys
from pathlib import Path

import numpy as np
from PIL import Image
from pipeline_run import PRETRAINING_SECONDS, asked, run, tell
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

LIGHTLY = Path(__file__).with_name("lightly_simclr.py")
STRENGTH = 1000  # of the judge: a thousandth of half the squared weights per image, as here
SPLITS = "train", "eval"


def main(arguments: list[str]) -> None:
    """Runs both for every seed, and prints what they reached."""
    options = parse(arguments)
    for split in SPLITS:  # what an earlier comparison left may be of other images
        shutil.rmtree(options.folder / split, ignore_errors=True)
    rows = []
    for seed in options.seeds:
        summary = run([*options.flags, f"--seed={seed}"], options.folder / "ours")
        rows.append(ours(summary, seed, options))
        tell(rows[-1])
        for settings in options.their_settings:
            rows.append(lightly(settings, seed, summary, options))
            tell(rows[-1])
    print(json.dumps(rows))


def parse(arguments: list[str]) -> argparse.Namespace:
    """Returns the options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--torch_python", required=True, help="a Python that has lightly")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--folder", type=Path, default=Path("runs/peers"))
    parser.add_argument("--precision", default="bf16-mixed", help="lightly's; 32-true without bf16")
    parser.add_argument(
        "--their_settings", nargs="+", choices=("lightly", "ours"), default=["lightly", "ours"]
    )
    parser.add_argument("flags", nargs="+", help="of local_runner.py, behind `--`")
    options = parser.parse_args(arguments)
    options.folder = options.folder.resolve()
    return options


def ours(summary: dict, seed: int, options: argparse.Namespace) -> dict:
    """Returns what a run of the recipe reached; its images are written for lightly."""
    chosen, features = summary["configuration"], []
    for split in SPLITS:
        listed, stored = chosen["lists"][split], options.folder / f"{split}.npz"
        stored.unlink(missing_ok=True)
        embed = [sys.executable, "-m", "pipeline.embed", str(options.folder / "ours"), listed]
        asked([*embed, f"--output={stored}"])
        features.append(np.load(stored))
        write_folders(options, split, features[-1], chosen["image_size"])
    return {
        "who": "ours",
        "seed": seed,
        "seconds": summary[PRETRAINING_SECONDS],
        "epochs": chosen["pretraining"]["epochs"],
        "accuracy": judged(*((one["features"], one["targets"]) for one in features)),
    }


def lightly(settings: str, seed: int, summary: dict, options: argparse.Namespace) -> dict:
    """Returns what lightly reached in as many seconds as the pretraining of a run of ours took."""
    chosen = summary["configuration"]
    encoder, pretraining = chosen["encoder"], chosen["pretraining"]
    common = {
        "depth": encoder["depth"],
        "width": encoder["width"],
        "view": chosen["view_size"][0],
        "batch_size": pretraining["batch_size"],
        "precision": options.precision,
        "seed": seed,
        "checkpoint": options.folder / "lightly.ckpt",
        "images": options.folder / "train",
    }
    if settings == "ours":
        # theirs is named for a batch of 128, ours for one of 256
        common["learning_rate"] = pretraining["learning_rate"] / 2
        common["temperature"] = pretraining["temperature"]
    epoch = told_by_lightly("train", {**common, "epochs": 1}, options)["seconds"]
    epochs = max(1, math.floor(summary[PRETRAINING_SECONDS] / epoch))
    told = told_by_lightly("train", {**common, "epochs": epochs}, options)
    features = []
    for split in SPLITS:
        stored = options.folder / f"lightly_{split}.npz"
        places = {"images": options.folder / split, "output": stored}
        told_by_lightly("features", {**common, **places}, options)
        features.append(np.load(stored))
    return {
        "who": f"lightly, settings of {settings}",
        "seed": seed,
        "seconds": told["seconds"],
        "epochs": epochs,
        "accuracy": judged(*((one["features"], one["targets"]) for one in features)),
    }


def judged(train, held_out) -> float:
    """Returns the accuracy on held-out images of a logistic regression; both are features [N, D]
    and targets [N].
    """
    judge = LogisticRegression(C=STRENGTH / len(train[1]), max_iter=1000)
    return round(make_pipeline(StandardScaler(), judge).fit(*train).score(*held_out), 4)


def write_folders(options: argparse.Namespace, split: str, rows, size) -> None:
    """Writes the pictures of a list in the recipe's size, a folder a class, once."""
    folder = options.folder / split
    if folder.exists():
        return
    for number, (path, target) in enumerate(zip(rows["paths"], rows["targets"], strict=True)):
        place = folder / str(target) / f"{number:06d}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        picture = Image.open(str(path)).convert("RGB")
        picture.resize((size[1], size[0]), Image.Resampling.BILINEAR).save(place)


def told_by_lightly(what: str, values: dict, options: argparse.Namespace) -> dict:
    """Returns the JSON of a command of benchmarks/lightly_simclr.py."""
    flags = [f"--{name}={value}" for name, value in values.items()]
    return json.loads(asked([options.torch_python, str(LIGHTLY), what, *flags]).splitlines()[-1])


if __name__ == "__main__":
    main(sys.argv[1:])
