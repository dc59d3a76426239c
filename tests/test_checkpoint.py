"""A checkpoint is whole or not there, and records every epoch."""

import keras
import numpy as np
import pytest

from trainer_module.checkpoint import Progress, TrainingDivergedError, load, save
from trainer_module.errors import InputError


@pytest.fixture
def model():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="dense")])
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), loss="mse")
    model.fit(np.ones((4, 3)), np.ones((4, 2)), verbose=0)
    return model


def state(model):
    return [keras.ops.convert_to_numpy(variable) for variable in model.variables + model.optimizer.variables]


def test_loading_restores_weights_optimizer_and_progress(model, tmp_path):
    path, before = tmp_path / "new" / "file.npz", state(model)
    save(model, path, Progress(7, {"loss": [1.5, None]}), {"depth": 18})
    model.fit(np.ones((4, 3)), np.ones((4, 2)), verbose=0)
    progress = load(model, path, {"depth": 18})
    assert (progress.step, progress.history) == (7, {"loss": [1.5, None]})
    assert all(np.array_equal(one, other) for one, other in zip(before, state(model), strict=True))


def test_no_unfinished_file_is_left(model, tmp_path):
    save(model, tmp_path / "file.npz", Progress(), {})
    assert [path.name for path in tmp_path.iterdir()] == ["file.npz"]


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
