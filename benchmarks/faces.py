"""What makes SimCLR learn from faces: trials of the recipe `utkface` with other settings, one after
another, each judged on gender, race, age group and age at once.

A trial is a line of settings as `--set` takes them; the encoder learns from the first faces of the
training list without labels, linear heads and nearest neighbours learn from the same faces, and
others are answered. A trial that is in the results already is not run again; one that was
interrupted continues from its checkpoint. Seconds are those of the processor, which a busy machine
does not change. Every trial adds one line of JSON to RESULTS.

    python benchmarks/faces.py FACES RESULTS --train 8000 --held_out 4000 \
        --trial "" --trial "encoder.grid=1" --trial "view_size=48 pretraining.epochs=16"

`--untrained` judges the trials' encoders before pretraining, `--pixels SIDE` thumbnails of so many
pixels in place of features, `--supervised FRACTION` networks that learned gender from that share of
the labels from scratch.
"""

import argparse
import dataclasses
import hashlib
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

from pipeline.choices import Choices
from pipeline.datasets import files, utkface
from pipeline.precedence import stacked
from pipeline.recipes import recipe_named
from pipeline.setting_types import from_text, kind_of
from trainer_module.checkpoint import load_weights, milestone_file
from trainer_module.examples import Examples
from trainer_module.finetune import finetune
from trainer_module.judging import outputs_of
from trainer_module.labelled_subset import labelled_subset
from trainer_module.linear_eval import fit_linear, fit_ridge, linear_accuracy
from trainer_module.neighbours import knn_accuracy
from trainer_module.preprocessing import decode_images
from trainer_module.pretrain import Images, Places, pretrain, untrained_encoder
from trainer_module.resnets import with_stem
from trainer_module.tasks.classification import Classification
from trainer_module.thumbnails import thumbnails

CLASSES = ("gender", "race", "age_group")
DECODED_AT_ONCE = 256


@dataclasses.dataclass(frozen=True)
class Faces:
    """Faces in memory.

    Attributes:
      images: uint8 [N, H, W, 3].
      targets: name -> integers [N]; class ids, and `age` in years.
    """

    images: np.ndarray
    targets: dict[str, np.ndarray]

    def first(self, count: int) -> "Faces":
        """Returns the first faces, all where there are fewer."""
        return Faces(
            self.images[:count], {name: values[:count] for name, values in self.targets.items()}
        )


def read_faces(source: Path, store: Path, side: int) -> tuple[Faces, Faces]:
    """Returns training and held-out faces of `side` pixels, each in the order of their hash, as the
    lists of the recipe split them; kept in `store` for the next time.
    """
    stored = store / f"faces_{side}.npz"
    if not stored.exists():
        _store(source, stored, side)
    columns = dict(np.load(stored))
    images, held_out = columns.pop("images"), columns.pop("held_out")
    return tuple(
        Faces(images[rows], {name: values[rows] for name, values in columns.items()})
        for rows in (~held_out, held_out)
    )


def _store(source: Path, stored: Path, side: int) -> None:
    names = sorted(os.listdir(source), key=files.stable_fraction)
    faces = {}
    for name in names:
        try:
            faces[name] = utkface.parse_name(name)
        except ValueError as error:
            print(f"{name}: {error}")
    names, parts = list(faces), []
    for start in range(0, len(names), DECODED_AT_ONCE):
        some = [(source / name).read_bytes() for name in names[start : start + DECODED_AT_ONCE]]
        parts.append(decode_images(tf.constant(some), side, side).numpy())
    groups = [group for _, group in utkface.AGE_GROUPS]
    np.savez(
        stored,
        images=np.concatenate(parts),
        held_out=[files.stable_fraction(name) < utkface.EVAL_FRACTION for name in names],
        gender=[face.gender for face in faces.values()],
        race=[face.race for face in faces.values()],
        age_group=[groups.index(face.target("age_group")) for face in faces.values()],
        age=[face.age for face in faces.values()],
    )


def choices_of(trial: str) -> Choices:
    """Returns the recipe's choices with what a trial sets, as in "view_size=48"."""
    settings = {}
    for setting in trial.split():
        name, _, text = setting.partition("=")
        settings[name] = from_text(kind_of(name), text, name)
    return stacked(recipe_named("utkface"), {}, settings)


def judged(encoder: keras.Model, train: Examples, held_out: Examples, known, asked) -> dict:
    """Returns how well linear heads and neighbours answer from an encoder's features: accuracies in
    [0, 1], and the mean absolute error of age in years.
    """
    features, unseen = train.features(encoder), held_out.features(encoder)  # [N, D], [M, D]
    scores = {}
    for name in CLASSES:
        head = fit_linear(features, known[name], int(known[name].max()) + 1)
        scores[f"{name}_linear"] = linear_accuracy(*head, unseen, asked[name])
        scores[f"{name}_knn"] = knn_accuracy(features, known[name], unseen, asked[name])
    kernel, bias = fit_ridge(features, known["age"])
    scores["age_error"] = float(np.abs(unseen @ kernel[:, 0] + bias - asked["age"]).mean())
    return {name: round(value, 4) for name, value in scores.items()}


def run_trial(choices: Choices, train: Faces, held_out: Faces, folder: Path) -> dict:
    """Pretrains and judges, after each of `eval_epochs` and at the end; returns what to record."""
    mean, std = statistics_of(train.images)
    data = Images(train.images, mean, std, choices.view_size)
    places = Places(str(folder), str(folder), choices.eval_epochs)
    science = choices.encoder, choices.augmentation, choices.pretraining
    started = time.process_time()
    encoder, _, record = pretrain(data, *science, places)
    seconds = time.process_time() - started
    splits = [Examples(faces.images, None, mean, std) for faces in (train, held_out)]
    targets = train.targets, held_out.targets
    scores = judged(encoder, *splits, *targets)
    by_epoch = {}
    for epoch in sorted({*choices.eval_epochs} - {choices.pretraining.epochs}):
        load_weights(encoder, milestone_file(str(folder), epoch))
        by_epoch[epoch] = judged(encoder, *splits, *targets)
    measured = {"cpu_seconds": round(seconds, 1), "seconds": record["seconds"]}
    measured["loss"] = round(record["history"]["loss"][-1], 4)
    return measured | scores | ({"by_epoch": by_epoch} if by_epoch else {})


def judge_encoder(encoder: keras.Model, train: Faces, held_out: Faces) -> dict:
    """Judges an encoder that learns nothing here."""
    mean, std = statistics_of(train.images)
    splits = [Examples(faces.images, None, mean, std) for faces in (train, held_out)]
    return judged(encoder, *splits, train.targets, held_out.targets)


def run_supervised(choices: Choices, train: Faces, held_out: Faces, fraction: float) -> dict:
    """Trains the same network from scratch on a share of the labels; returns its accuracy."""
    mean, std = statistics_of(train.images)
    labels = train.targets["gender"]
    chosen = labelled_subset(labels, fraction, choices.finetuning.seed)
    task = Classification(len(utkface.GENDERS))
    learned = Examples(train.images[chosen], labels[chosen], mean, std)
    settings = dataclasses.replace(choices.finetuning, freeze=False)
    started = time.process_time()
    model = finetune(_untrained(choices), task, learned, settings)
    seconds = time.process_time() - started
    asked = Examples(held_out.images, held_out.targets["gender"], mean, std)
    answers = np.concatenate(list(outputs_of(model, asked))).argmax(axis=1)
    accuracy = float(np.mean(answers == asked.targets))
    return {"cpu_seconds": round(seconds, 1), "gender": round(accuracy, 4)}


def _untrained(choices: Choices) -> keras.Model:
    encoder = with_stem(choices.encoder, choices.view_size)
    return untrained_encoder(encoder, choices.image_size, choices.pretraining.seed)


def statistics_of(images) -> tuple[np.ndarray, np.ndarray]:
    """Returns mean and deviation of each channel, [3] each, in units of [0, 1] pixels."""
    histograms = [np.bincount(images[..., channel].ravel(), minlength=256) for channel in range(3)]
    shares = np.array(histograms) / histograms[0].sum()  # [3, 256]
    levels = np.arange(256) / 255
    mean = shares @ levels
    return mean, np.sqrt(shares @ levels**2 - mean**2)


def parse(arguments: list[str]) -> argparse.Namespace:
    """Returns the options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("faces", type=Path, help="folder of UTKFace")
    parser.add_argument("results", type=Path, help="lines of JSON, added to; what is kept lies by")
    parser.add_argument("--trial", action="append", default=[], help='as in "view_size=48"')
    parser.add_argument("--train", type=int, default=8_000, help="faces; default: %(default)s")
    parser.add_argument("--held_out", type=int, default=4_000, help="faces; default: %(default)s")
    parser.add_argument("--threads", type=int, default=1, help="default: %(default)s")
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument("--untrained", action="store_true")
    instead.add_argument("--pixels", type=int, default=0, help="side of the thumbnails")
    instead.add_argument("--supervised", type=float, default=0.0, help="share of the labels")
    return parser.parse_args(arguments)


def kind_of_trial(options: argparse.Namespace) -> str:
    """Returns what is to be judged, in words."""
    if options.pixels:
        return f"pixels {options.pixels}"
    if options.supervised:
        return f"supervised {options.supervised:g}"
    return "untrained" if options.untrained else "pretrained"


def answer(options: argparse.Namespace, choices: Choices, folder: Path) -> dict:
    """Returns what to record of one trial, whose checkpoints go into `folder`."""
    splits = read_faces(options.faces, options.results.parent, choices.image_size[0])
    faces = splits[0].first(options.train), splits[1].first(options.held_out)
    if options.pixels:
        return judge_encoder(thumbnails(choices.image_size, options.pixels), *faces)
    if options.untrained:
        return judge_encoder(_untrained(choices), *faces)
    if options.supervised:
        return run_supervised(choices, *faces, options.supervised)
    return run_trial(choices, *faces, folder)


def main(arguments: list[str]) -> None:
    """Runs the trials that have no line yet."""
    options = parse(arguments)
    tf.config.threading.set_intra_op_parallelism_threads(options.threads)
    tf.config.threading.set_inter_op_parallelism_threads(options.threads)
    options.results.touch()
    key = {"kind": kind_of_trial(options), "train": options.train, "held_out": options.held_out}
    for trial in options.trial:
        key["trial"] = trial
        lines = options.results.read_text().splitlines()
        if any(key.items() <= json.loads(line).items() for line in lines):
            continue
        keras.utils.clear_session()
        name = hashlib.sha256(json.dumps(key).encode()).hexdigest()[:12]
        said = answer(options, choices_of(trial), options.results.parent / name)
        line = json.dumps(key | said)
        print(line, flush=True)
        with options.results.open("a") as file:
            file.write(line + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
