"""A checkpoint is whole or not there, and records every epoch."""

import os
from contextlib import suppress

import keras
import numpy as np
import pytest

from trainer_module.checkpoint import (
    Checkpoint,
    Progress,
    Rhythm,
    load,
    load_weights,
    milestone_file,
    save,
    save_weights,
)
from trainer_module.errors import InputError, TrainingDivergedError


@pytest.fixture
def model():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="dense")])
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), loss="mse")
    model.fit(np.ones((4, 3)), np.ones((4, 2)), verbose=0)
    return model


def state(model):
    return [
        keras.ops.convert_to_numpy(variable)
        for variable in model.variables + model.optimizer.variables
    ]


def test_loading_restores_weights_optimizer_and_progress(model, tmp_path):
    path, before = tmp_path / "new" / "file.npz", state(model)
    save(model, path, Progress(7, {"loss": [1.5, None]}), {"depth": 18})
    model.fit(np.ones((4, 3)), np.ones((4, 2)), verbose=0)
    progress = load(model, path, {"depth": 18})
    assert (progress.step, progress.history) == (7, {"loss": [1.5, None]})
    assert all(np.array_equal(one, other) for one, other in zip(before, state(model), strict=True))


def test_the_last_two_are_kept_and_no_unfinished_file(model, tmp_path):
    for step in range(4):
        save(model, tmp_path / "file.npz", Progress(step), {})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file.before.npz", "file.npz"]


def test_a_milestone_is_on_the_disk_before_it_has_its_name(model, tmp_path, monkeypatch):
    path, named = milestone_file(tmp_path, 1), []
    monkeypatch.setattr(os, "fsync", lambda _: named.append(path.exists()))
    save_weights(model, path)
    load_weights(model, path)
    assert named == [False] and [*path.parent.iterdir()] == [path]


def test_weights_that_are_no_numbers_do_not_replace_a_good_checkpoint(model, tmp_path):
    path = tmp_path / "file.npz"
    save(model, path, Progress(1), {})
    model.layers[0].bias.assign([np.nan, 0.0])
    with pytest.raises(TrainingDivergedError, match="last good checkpoint is kept"):
        save(model, path, Progress(2), {})
    assert load(model, path, {}).step == 1


def test_without_a_checkpoint_a_run_starts_at_step_0(model, tmp_path):
    assert load(model, tmp_path / "none.npz", {}).step == 0


def test_a_broken_checkpoint_is_refused_with_what_to_do(model, tmp_path):
    path = tmp_path / "file.npz"
    path.write_bytes(b"half a file")
    with pytest.raises(InputError, match=r"cannot be read.*Fix: remove it"):
        load(model, path, {})


def test_a_quantity_not_measured_in_an_epoch_leaves_a_gap():
    progress = Progress()
    for logs in ({"loss": 2.0}, {"loss": 1.0, "knn_accuracy": 0.5}, {"loss": 0.5}):
        progress.add_epoch(logs)
    assert progress.history == {"loss": [2.0, 1.0, 0.5], "knn_accuracy": [None, 0.5, None]}


def cut_short(content):
    return content[: len(content) // 2]


def emptied(content):
    return b""


def zeroed(content):
    return bytes(len(content))


def flipped(content):
    value = content.index(b"\x93NUMPY") + 128  # NumPy's header takes 128 bytes
    return content[:value] + bytes([content[value] ^ 0xFF]) + content[value + 1 :]


@pytest.mark.parametrize("damage", [cut_short, emptied, zeroed, flipped])
def test_the_checkpoint_before_a_damaged_one_is_taken_and_said_so(model, tmp_path, capsys, damage):
    path, before = tmp_path / "file.npz", state(model)
    save(model, path, Progress(1), {})
    model.fit(np.ones((4, 3)), np.ones((4, 2)), verbose=0)
    save(model, path, Progress(2), {})
    path.write_bytes(damage(path.read_bytes()))
    assert load(model, path, {}).step == 1
    assert all(np.array_equal(one, other) for one, other in zip(before, state(model), strict=True))
    told = capsys.readouterr().out
    assert "file.npz is damaged" in told
    assert "step 1" in told


def test_no_flipped_byte_ends_in_anything_but_a_whole_checkpoint(model, tmp_path):
    path, rng = tmp_path / "file.npz", np.random.default_rng(0)
    for step in (1, 2):
        save(model, path, Progress(step), {})
    files = {file: file.read_bytes() for file in tmp_path.iterdir()}
    steps = []
    for position in rng.integers(0, len(files[path]), 100):
        for file, content in files.items():
            file.write_bytes(content)
        damaged = bytearray(files[path])
        damaged[position] ^= int(rng.integers(1, 256))
        path.write_bytes(damaged)
        steps.append(load(model, path, {}).step)
    assert set(steps) == {1, 2}  # 2 where the byte was one that nothing reads


def test_a_kill_between_the_two_moves_of_a_save_leaves_the_checkpoint_before(model, tmp_path):
    path = tmp_path / "file.npz"
    for step in (1, 2):
        save(model, path, Progress(step), {})
    path.unlink()
    assert load(model, path, {}).step == 1


def test_a_damaged_checkpoint_does_not_push_out_the_good_one(model, tmp_path):
    path = tmp_path / "file.npz"
    for step in (1, 2):
        save(model, path, Progress(step), {})
    for step in (3, 4):
        path.write_bytes(b"")
        load(model, path, {})
        save(model, path, Progress(step), {})
    path.write_bytes(b"")
    assert load(model, path, {}).step == 1


def test_the_checkpoint_before_is_refused_too_where_it_belongs_to_another_run(model, tmp_path):
    path = tmp_path / "file.npz"
    for step in (1, 2):
        save(model, path, Progress(step), {"depth": 18})
    path.write_bytes(b"")
    with pytest.raises(InputError, match="depth: 18 then, 34 now"):
        load(model, path, {"depth": 34})


def test_two_damaged_checkpoints_are_refused_with_what_to_do(model, tmp_path):
    path = tmp_path / "file.npz"
    for step in (1, 2):
        save(model, path, Progress(step), {})
    for file in tmp_path.iterdir():
        file.write_bytes(cut_short(file.read_bytes()))
    with pytest.raises(InputError, match=r"Neither the checkpoint .*Fix: remove both"):
        load(model, path, {})


def linear_map(inputs):
    model = keras.Sequential([keras.Input((inputs,)), keras.layers.Dense(2)])
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), loss="mse")
    model.optimizer.build(model.trainable_variables)
    return model


def test_variables_are_found_again_whatever_keras_names_them(tmp_path):
    path, trained = tmp_path / "file.npz", linear_map(3)
    save(trained, path, Progress(1), {})
    again = linear_map(3)
    load(again, path, {})
    assert all(np.array_equal(*pair) for pair in zip(state(trained), state(again), strict=True))


def test_a_checkpoint_of_other_variables_is_refused_and_they_are_named(tmp_path):
    path = tmp_path / "file.npz"
    save(linear_map(3), path, Progress(1), {})
    rule = r"other variables.*model/0: \(3, 2\) then, \(4, 2\) now; .*Fix: remove it"
    with pytest.raises(InputError, match=rule):
        load(linear_map(4), path, {})


class KilledError(Exception):
    """As by the system."""


class Kill(keras.callbacks.Callback):
    """Kills a training before its third epoch."""

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 2:
            raise KilledError


@pytest.mark.parametrize("steps_per_execution", [1, 3])
def test_an_epoch_of_one_step_or_execution_is_saved_when_the_clock_says_so(
    model, tmp_path, steps_per_execution
):
    path, rhythm = tmp_path / "file.npz", Rhythm(every_epochs=100, every_minutes=1e-9)
    model.steps_per_execution = steps_per_execution
    saving = Checkpoint(path, {}, Progress(), rhythm, fix="")
    rows = np.ones((4 * steps_per_execution, 3)), np.ones((4 * steps_per_execution, 2))
    with suppress(KilledError):
        model.fit(*rows, batch_size=4, epochs=100, callbacks=[saving, Kill()], verbose=0)
    assert load(model, path, {}).step == 2 * steps_per_execution
