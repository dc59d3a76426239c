"""Fine-tuning: the whole network learns in the precision of the hardware, and what is served is
float32.
"""

import json
from contextlib import suppress
from dataclasses import asdict, replace
from functools import partial

import keras
import numpy as np
import pytest
from small_encoder import build_with_norms

from components.report.event_file import scalars
from trainer_module import checkpoint
from trainer_module.errors import InputError, TrainingDivergedError
from trainer_module.event_log import EventLog
from trainer_module.examples import Examples
from trainer_module.finetune import Finetuner, Kept, finetune, in_precision
from trainer_module.log_files import LOGS, SCRATCH_LOGS, UNTRAINED_LOGS
from trainer_module.resnet import build_encoder
from trainer_module.settings import (
    MILD,
    Augmentation,
    Encoder,
    Finetuning,
    FinetuningScience,
    Pretraining,
    from_json,
)
from trainer_module.tasks.classification import Classification
from trainer_module.tasks.regression import STD as STD_OF_NUMBERS
from trainer_module.tasks.regression import Regression

MEAN, STD = np.full(3, 0.5, np.float32), np.full(3, 0.25, np.float32)
SETTINGS = Finetuning(epochs=6, batch_size=16, freeze=False, learning_rate=3e-3)


@pytest.fixture(scope="module")
def train():
    """Bright and dark images."""
    rng, labels = np.random.default_rng(0), np.arange(64) % 2
    images = rng.integers(0, 128, (64, 16, 16, 3)) + 128 * labels[:, None, None, None]
    return Examples(images.astype(np.uint8), labels, MEAN, STD)


@pytest.fixture
def encoder():
    return build_encoder(Encoder(width=0.125), (16, 16))


@pytest.fixture
def small():
    """An encoder where it matters less, which encoder."""
    return build_with_norms(Encoder(width=0.125), (16, 16))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_whole_network_learns_in_either_precision(train, encoder, precision):
    before = [weight.copy() for weight in encoder.get_weights()]
    model = finetune(encoder, Classification(2), train, replace(SETTINGS, precision=precision))
    answers = model.predict((train.images / 255 - MEAN) / STD, verbose=0).argmax(axis=1)
    assert (answers == train.targets).mean() == 1.0
    assert {weight.dtype for weight in model.weights} == {
        "float32"
    } and model.compute_dtype == "float32"
    assert not all(
        np.array_equal(*pair) for pair in zip(before, encoder.get_weights(), strict=True)
    )


def test_kernels_alone_decay(train, small):
    model = Classification(2).head(small, "linear")
    settings = replace(SETTINGS, learning_rate=1e-9, weight_decay=1e8, epochs=1, batch_size=64)
    before = {weight.path: np.array(weight) for weight in model.trainable_weights}
    finetuned = finetune(small, Classification(2), train, settings)
    shrunk = {
        weight.path
        for weight in finetuned.trainable_weights
        if weight.path in before
        and np.linalg.norm(weight) < 0.95 * np.linalg.norm(before[weight.path])
    }
    assert shrunk == {path for path in before if before[path].ndim > 1}


def test_a_single_step_is_enough_to_learn_from(train, encoder):
    one_step = replace(SETTINGS, epochs=1, batch_size=len(train.images))
    before = [weight.copy() for weight in encoder.get_weights()]
    model = finetune(encoder, Classification(2), train, one_step)
    assert all(np.isfinite(weight).all() for weight in model.get_weights())
    assert not np.array_equal(before[0], encoder.get_weights()[0])


@pytest.mark.parametrize(
    "freeze, head",
    [(False, "linear"), (True, "mlp")],
    ids=["the whole network", "a head on features"],
)
@pytest.mark.parametrize("epochs", [1, 3], ids=["in its only step", "before its end"])
def test_a_run_that_diverges_stops_and_says_where_and_what_to_change(
    train, small, tmp_path, freeze, head, epochs
):
    batch = len(train.images) // epochs
    diverging = replace(SETTINGS, epochs=epochs, batch_size=batch, learning_rate=9e37)
    diverging = replace(diverging, freeze=freeze, head=head, weight_decay=1e3)
    told = r"Received: .* at step \d+, learning rate .*Fix: a lower `finetuning.learning_rate`"
    with pytest.raises(TrainingDivergedError, match=told):
        finetune(small, Classification(2), train, diverging, kept=Kept([], str(tmp_path)))


def test_every_epoch_of_finetuning_is_logged_and_read_back(train, small, tmp_path):
    finetune(small, Classification(2), train, SETTINGS, kept=Kept([EventLog(str(tmp_path))]))
    logged = scalars(tmp_path)
    assert {name: len(values) for name, values in logged.items()} == dict.fromkeys(
        ["learning_rate", "loss", "accuracy"], SETTINGS.epochs
    )
    assert logged["loss"][-1] < logged["loss"][0] and logged["accuracy"][-1] > 0.9


def test_what_was_logged_from_a_later_epoch_on_stands_at_its_epochs(tmp_path):
    import tensorflow as tf

    metadata = tf.compat.v1.SummaryMetadata(plugin_data={"plugin_name": "scalars"})
    with tf.summary.create_file_writer(str(tmp_path)).as_default():
        for step, value in ((3, 0.5), (5, 0.25)):
            tf.summary.write("loss", tf.constant(value), step=step, metadata=metadata)
    assert scalars(tmp_path) == {"loss": [None, None, 0.5, None, 0.25]}


@pytest.mark.tfx
def test_each_training_of_a_run_has_curves_of_its_own(train, small, tmp_path):
    from trainer_module import finetune_run_fn

    untrained = build_with_norms(Encoder(width=0.125), (16, 16), seed=1)
    settings = replace(SETTINGS, epochs=2, freeze=True, head="mlp", beside_scratch=True)
    told = "{}", (16, 16), (16, 16), Encoder(), Augmentation(), Pretraining(), ""
    science, folders = FinetuningScience(*told, settings), (tmp_path / "kept", tmp_path / "logs")
    task, splits = Classification(2), (train, train)
    run = finetune_run_fn._Run(science, task, splits, small, untrained, *folders)
    finetune_run_fn._beside_an_untrained_twin(run)
    files = {folder.name: len(list(folder.iterdir())) for folder in run.logs.iterdir()}
    assert files == {LOGS: 1, UNTRAINED_LOGS: 1, SCRATCH_LOGS: 1}


def test_a_linear_head_that_is_solved_for_has_no_epochs_to_log(train, small, tmp_path):
    finetune(
        small,
        Classification(2),
        train,
        replace(SETTINGS, freeze=True),
        kept=Kept([EventLog(str(tmp_path))]),
    )
    assert scalars(tmp_path) == {} == scalars("")


def test_a_twin_in_another_precision_answers_nearly_the_same(train, encoder):
    images = ((train.images / 255 - MEAN) / STD).astype(np.float32)
    twin = in_precision(encoder, "bfloat16")
    assert twin.get_layer("stage1").compute_dtype == "bfloat16"
    assert np.asarray(twin(images)).dtype == np.float32
    np.testing.assert_allclose(
        np.asarray(twin(images)), np.asarray(encoder(images)), rtol=0.1, atol=0.05
    )


def test_the_means_of_a_grid_stay_float32_in_a_twin():
    twin = in_precision(build_encoder(Encoder(width=0.125, grid=2), (16, 16)), "bfloat16")
    assert [layer.compute_dtype for layer in twin.layers[-3:]] == ["bfloat16", "float32", "float32"]


def test_the_views_that_were_set_are_learned_from(train):
    # The network returns the brightness of what it sees; of one grey image all mild views are
    # equally bright.
    inputs = keras.Input((16, 16, 3))
    brightness = keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(inputs))
    grey = np.full((8, 16, 16, 3), 100, np.uint8), np.zeros(8, int)
    spread = {}
    for name, views in (
        ("mild", MILD),
        ("jittered", replace(MILD, jitter_probability=1.0, brightness=0.8)),
    ):
        learner = Finetuner(brightness, Classification(2), train, replace(SETTINGS, views=views))
        spread[name] = np.std(np.asarray(learner(grey, training=True)[0]))
    assert spread["mild"] < 1e-4 and spread["jittered"] > 0.1


def test_views_that_are_another_tasks_are_learned_from_too(train):
    # The mean of a gradient tells a crop, which classification takes and regression leaves alone.
    inputs = keras.Input((16, 16, 3))
    brightness = keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(inputs))
    rising = np.broadcast_to(np.arange(16, dtype=np.uint8)[:, None, None] * 16, (8, 16, 16, 3))
    settings = replace(SETTINGS, views=MILD)
    numbers = replace(train, statistics={STD_OF_NUMBERS: np.float32(1)})
    learner = Finetuner(brightness, Regression(), numbers, settings)
    views, _ = learner((np.array(rising), np.zeros(8, np.float32)), training=True)
    assert np.std(np.asarray(views)) > 0.01


def test_settings_survive_json():
    settings = replace(SETTINGS, views=replace(MILD, crop_area=(0.3, 0.9)))
    assert from_json(Finetuning, json.loads(json.dumps(asdict(settings)))) == settings


class KilledError(Exception):
    """Stands for a kill."""


class Kill(keras.callbacks.Callback):
    """Kills a training in the middle of its third epoch."""

    def on_train_batch_begin(self, batch, logs=None):
        if self.model.optimizer.iterations.numpy() == 2 * 5 + 3:
            raise KilledError


OFTEN = replace(SETTINGS, batch_size=15, precision="float32", checkpoint_every_minutes=1e-6)


def history(folder):
    with np.load(folder / checkpoint.FILE) as file:
        return json.loads(str(file["record"]))["history"]


def test_a_training_that_was_killed_ends_as_an_unbroken_one(train, tmp_path):
    ended = {}
    for name, callbacks in (("unbroken", []), ("killed", [Kill()])):
        kept = Kept(callbacks, str(tmp_path / name))
        small = partial(build_with_norms, Encoder(width=0.125), (16, 16))
        with suppress(KilledError):
            finetune(small(), Classification(2), train, OFTEN, kept=kept)
        ended[name] = finetune(
            small(), Classification(2), train, OFTEN, kept=replace(kept, callbacks=[])
        )
    for one, other in zip(*(model.get_weights() for model in ended.values()), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
    told = [history(tmp_path / name) for name in ended]
    assert all(len(values) == OFTEN.epochs for values in told[1].values())
    for name in ("loss", "accuracy"):
        np.testing.assert_allclose(told[0][name], told[1][name], rtol=1e-5)


def test_the_checkpoint_of_other_targets_or_of_another_encoder_is_refused(train, small, tmp_path):
    kept, brief = Kept([], str(tmp_path)), replace(SETTINGS, epochs=1)
    finetune(small, Classification(2), train, brief, kept=kept)  # so that it is another encoder
    other = replace(train, targets=1 - train.targets)
    with pytest.raises(InputError, match=r"belongs to another run.*start: .*sha256: "):
        finetune(small, Classification(2), other, brief, kept=kept)
