"""Pretraining learns, begins and continues where it should, and says what is wrong.

One run costs seconds, most of them for compiling the step: several claims look at the same unbroken
run.
"""

import dataclasses
import json
import signal
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from test_encoded_images import encoded

from trainer_module.batches import EpochBatches
from trainer_module.checkpoint import FILE
from trainer_module.duration import CHOSEN
from trainer_module.epoch_loop import fit_epochs
from trainer_module.errors import InputError, TrainingDivergedError
from trainer_module.monitor import Watched
from trainer_module.pretrain import Images, Places, build_learner, pretrain, untrained_encoder
from trainer_module.settings import Augmentation, Encoder, Pretraining

ROOT = Path(__file__).resolve().parent.parent
# A ResNet is begun, killed and continued in tests/test_epoch_evaluation.py.
TINY = Encoder(width=0.0625, builder="small_encoder.build_with_norms")
IMAGE_SIZE, VIEW_SIZE = (20, 20), (16, 16)


def striped_images(count=96):
    """Returns images of horizontal (label 0) and vertical (label 1) stripes in random colours, and
    the labels.
    """
    rng = np.random.default_rng(0)
    labels = np.arange(count) % 2
    wave = 0.5 + 0.5 * np.sin(
        2 * np.pi * (np.arange(IMAGE_SIZE[0])[None] / 4 + rng.uniform(size=(count, 1)))
    )  # [N, size]
    # [N, size, size]
    stripes = np.where(labels[:, None, None] == 1, wave[:, None, :], wave[:, :, None])
    pixels = stripes[..., None] * rng.uniform(80, 255, (count, 1, 1, 3))
    return np.broadcast_to(pixels, (count, *IMAGE_SIZE, 3)).astype(np.uint8), labels


def data():
    return Images(striped_images()[0], np.full(3, 0.4), np.full(3, 0.3), VIEW_SIZE)


def settings(**changes):
    standard = {
        "epochs": 8,  # of 3 steps: long enough to be killed on the way
        "batch_size": 32,
        "learning_rate": 0.5,
        "projection_hidden": 32,
        "projection_dim": 16,
        "precision": "float32",
        "monitor_every_epochs": 3,
        "seed": 3,
    }
    return Pretraining(**(standard | changes))


def run(folder, watched=None, encoder=TINY, images=None, **changes):
    return pretrain(
        images or data(),
        encoder,
        Augmentation(),
        settings(**changes),
        Places(str(folder), str(folder / "logs")),
        watched,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("unbroken")


@pytest.fixture(scope="module")
def unbroken(folder):
    """Returns encoder, projection head and report of one run.

    Its checkpoint and logs lie in `folder`.
    """
    return run(folder)


def test_it_begins_with_the_weights_of_an_encoder_that_is_given(tmp_path):
    start = untrained_encoder(TINY, IMAGE_SIZE, seed=7)
    changes = {"learning_rate": 1e-9, "epochs": 1, "weight_decay": 0.0}
    begun = dataclasses.replace(data(), start=start)
    places = Places(str(tmp_path), str(tmp_path / "logs"))
    encoder, *_ = pretrain(begun, TINY, Augmentation(), settings(**changes), places)
    for ended, given in zip(encoder.trainable_weights, start.trainable_weights, strict=True):
        np.testing.assert_allclose(ended, given, atol=1e-6)


def test_the_loss_falls_on_images_with_structure(unbroken):
    losses = unbroken[2]["history"]["loss"]
    assert losses[-1] < losses[0] - 0.05


def test_encoded_images_teach_what_their_pixels_teach(unbroken, tmp_path):
    images = dataclasses.replace(data(), images=encoded(data().images))
    _, _, report = run(tmp_path, images=images)
    assert report["history"]["loss"] == pytest.approx(unbroken[2]["history"]["loss"], abs=1e-4)


def test_without_labels_alignment_and_uniformity_are_measured_every_few_epochs_and_after_the_last(
    unbroken,
):
    history = unbroken[2]["history"]
    assert [value is not None for value in history["alignment"]] == [
        False,
        False,
        True,
        False,
        False,
        True,
        False,
        True,
    ]
    assert 0 <= history["alignment"][-1] <= 4
    assert -8 <= history["uniformity"][-1] <= 0


def test_minutes_become_epochs_before_the_first_step_and_a_continued_run_keeps_them(
    tmp_path, capsys
):
    (tmp_path / "minutes").mkdir()
    (tmp_path / "minutes" / CHOSEN).touch()  # as a full disk left it: chosen anew
    encoder, _, report = run(tmp_path / "minutes", minutes=1e-4)
    assert (report["epochs"], report["steps"], report["minutes"]) == (1, 3, 1e-4)
    assert "0.0001 minutes: 1 epoch, at " in capsys.readouterr().out
    continued = tmp_path / "continued"
    continued.mkdir()
    (continued / CHOSEN).write_text(json.dumps({"epochs": 1, "step_seconds": 9.0}))
    again = run(continued, minutes=1e-4)[0]
    assert "0.0001 minutes: 1 epoch, at 9 s a step" in capsys.readouterr().out
    for one, other in zip(encoder.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_a_run_of_minutes_is_continued_whatever_keras_names_the_layers(tmp_path):
    network = dataclasses.replace(TINY, builder="small_encoder.build_without_names")
    ended, again = (run(tmp_path, encoder=network, minutes=1e-4)[0] for _ in range(2))
    for one, other in zip(ended.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_views_may_be_smaller_than_images(unbroken):
    assert unbroken[0].input_shape == (None, *IMAGE_SIZE, 3)


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="TensorFlow writes the event file"
)
def test_logs_for_tensorboard_are_written(folder, unbroken):
    assert list((folder / "logs").glob("events.out.tfevents.*"))


def test_the_same_seed_gives_the_same_encoder_and_measuring_accuracy_changes_nothing(
    tmp_path, unbroken
):
    images, labels = striped_images()
    encoder, _, report = run(tmp_path, Watched(images[:64], labels[:64], images[64:], labels[64:]))
    assert report["history"]["knn_accuracy"][-1] is not None
    for one, other in zip(encoder.get_weights(), unbroken[0].get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_training_starts_from_the_untrained_encoder():
    learner = build_learner(data(), TINY, Augmentation(), settings())
    for one, other in zip(
        learner.encoder.get_weights(),
        untrained_encoder(TINY, VIEW_SIZE, 3).get_weights(),
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("epochs", [1, 2])
def test_a_run_that_warms_up_to_its_end_reaches_its_rate_by_the_last_step(epochs):
    chosen = settings(epochs=epochs, warmup_epochs=float(epochs), batch_size=96)
    rate = build_learner(data(), TINY, Augmentation(), chosen).optimizer._learning_rate
    assert float(rate(epochs - 1)) == pytest.approx(chosen.learning_rate * 96 / 256)


def test_the_rest_of_an_epoch_has_its_steps_however_many_are_one_execution():
    learner = build_learner(data(), TINY, Augmentation(), settings(steps_per_execution=3))
    batches = EpochBatches(data().images, batch_size=32, seed=3, first_step=4)  # 3 an epoch
    fit_epochs(learner, batches, 3, [])
    assert int(learner.optimizer.iterations) == 9 - 4
    assert learner.steps_per_execution == 3


def test_a_batch_larger_than_the_data_is_refused(tmp_path):
    with pytest.raises(
        InputError, match=r"batch_size=128, images=96.*--set pretraining.batch_size=96"
    ):
        run(tmp_path, batch_size=128)


def test_a_checkpoint_of_another_recipe_is_refused_and_the_difference_named(folder, unbroken):
    with pytest.raises(InputError, match=r"pretraining.temperature: 0.5 then, 0.1 now"):
        run(folder, temperature=0.1)


def test_a_checkpoint_of_another_architecture_is_refused(folder, unbroken):
    with pytest.raises(InputError, match=r"encoder.depth: 18 then, 34 now"):
        run(folder, encoder=dataclasses.replace(TINY, depth=34))


def test_a_diverging_run_stops_names_what_matters_and_keeps_the_good_checkpoint(tmp_path):
    diverging = {
        "learning_rate": 1e30,
        "warmup_epochs": 2.0,
    }  # the very first step, at learning rate 0, is still good
    with pytest.raises(
        TrainingDivergedError,
        match=r"at step \d.*learning rate .*last good checkpoint is kept.*\(now float32\)",
    ):
        run(tmp_path, **diverging, checkpoint_every_minutes=1e-6)
    with np.load(tmp_path / FILE) as kept:
        assert all(
            np.isfinite(kept[name]).all()
            for name in kept.files
            if name.startswith(("model", "optimizer"))
        )


def measured_epochs(report):
    """Returns for each quantity of a history the epochs at whose end it was measured."""
    return {
        name: [epoch for epoch, value in enumerate(values, 1) if value is not None]
        for name, values in report["history"].items()
    }


# Begins the run, and is killed once there is a checkpoint: from within, because on a busy machine
# another process would look too late.
KILLED = """
import os, signal, sys, threading, time
from pathlib import Path
sys.path[:0] = [".", "tests"]
import test_pretrain as t

def kill():
    while not Path(sys.argv[1], t.FILE).exists():
        time.sleep(0.001)
    os.kill(os.getpid(), signal.SIGKILL)

threading.Thread(target=kill, daemon=True).start()
t.run(Path(sys.argv[1]), checkpoint_every_minutes=float(sys.argv[2]))
"""


# A checkpoint every epoch; one after every step too.
@pytest.mark.parametrize("minutes", [15.0, 1e-6])
def test_a_run_killed_with_sigkill_continues_and_ends_as_an_unbroken_one(
    tmp_path, unbroken, minutes
):
    command = [sys.executable, "-c", KILLED, str(tmp_path), str(minutes)]
    process = subprocess.run(
        command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False
    )
    assert process.returncode == -signal.SIGKILL
    interrupted_at = int(json.loads(str(np.load(tmp_path / FILE)["record"]))["step"])
    encoder, _, report = run(tmp_path, steps_per_execution=3)
    assert 0 < interrupted_at < report["steps"] == unbroken[2]["steps"]
    np.testing.assert_allclose(report["history"]["loss"], unbroken[2]["history"]["loss"], rtol=1e-5)
    assert measured_epochs(report) == measured_epochs(unbroken[2])
    for one, other in zip(encoder.get_weights(), unbroken[0].get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
