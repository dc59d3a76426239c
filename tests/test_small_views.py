"""Views begin small and grow: every step sees the size that its epoch has, and a run that is broken
off ends as an unbroken one.
"""

import keras
import numpy as np
import pytest
import test_pretrain as runs

from trainer_module.duration import Estimate, costs
from trainer_module.errors import InputError
from trainer_module.growth import Growth, set_view_size
from trainer_module.pretrain import build_learner
from trainer_module.settings import Augmentation, Encoder, Pretraining
from trainer_module.small_views import growth_epoch, small_size

HALF = {"small_views": 0.5, "epochs": 4}


@pytest.mark.parametrize(
    ("whole", "small"),
    [
        ((24, 24), (16, 16)),
        ((32, 32), (24, 24)),
        ((96, 128), (64, 88)),
        ((224, 224), (152, 152)),
        ((8, 8), (8, 8)),
        ((4, 40), (4, 24)),
    ],
)
def test_small_views_have_two_thirds_of_the_side_in_whole_eights(whole, small):
    assert small_size(whole) == small


@pytest.mark.parametrize(("share", "epoch"), [(0.0, 0), (0.5, 5), (0.04, 0), (0.99, 9)])
def test_views_grow_behind_their_share_of_the_epochs(share, epoch):
    assert growth_epoch(Pretraining(epochs=10, small_views=share)) == epoch


@pytest.mark.parametrize("share", [-0.1, 1.0, float("nan")])
def test_a_share_that_leaves_no_whole_views_is_refused(share):
    with pytest.raises(InputError, match="small_views"):
        Pretraining(small_views=share)


class Sizes(keras.callbacks.Callback):
    """Notes the sizes of the views that steps were compiled for."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def on_epoch_end(self, epoch, logs=None):
        self.seen.append(self.model.views.size)


def learner_of(**changes):
    settings = runs.settings(**changes)
    return build_learner(runs.data(), runs.TINY, Augmentation(), settings)


def test_each_epoch_has_its_size_wherever_a_run_begins():
    settings = runs.settings(**HALF)
    for first, sizes in ((0, [8, 8, 16, 16]), (1, [8, 16, 16]), (3, [16])):
        noted = Sizes()
        learner_of(**HALF).fit(
            runs.data().images[:32],
            batch_size=32,
            initial_epoch=first,
            epochs=4,
            verbose=0,
            callbacks=[Growth(settings, runs.VIEW_SIZE), noted],
        )
        assert noted.seen == [(side, side) for side in sizes]


def test_a_step_of_grown_views_is_that_of_a_learner_which_never_saw_others():
    batch = runs.data().images[:32]
    grown, plain = learner_of(**HALF), learner_of(epochs=4)
    set_view_size(grown, (8, 8))
    grown.train_on_batch(batch)
    for mine, theirs in zip(everything(plain), everything(grown), strict=True):
        mine.assign(np.array(theirs.value))
    set_view_size(grown, runs.VIEW_SIZE)
    losses = []
    for learner in (grown, plain):
        learner.reset_metrics()
        losses.append(float(learner.train_on_batch(batch)))
    assert losses[0] == pytest.approx(losses[1], abs=1e-6)
    for mine, theirs in zip(everything(plain), everything(grown), strict=True):
        np.testing.assert_allclose(mine.value, theirs.value, atol=1e-6)


def everything(learner):
    """Returns all that the future of a learner depends on."""
    return [*learner.variables, *learner.optimizer.variables]


@pytest.mark.parametrize("broken", [1, 3])
def test_a_run_broken_off_at_either_size_ends_as_an_unbroken_one(tmp_path, monkeypatch, broken):
    unbroken = runs.run(tmp_path / "unbroken", **HALF)[0]

    def breaking(growth, epoch, logs=None, begin=Growth.on_epoch_begin):
        if epoch == broken:
            raise KeyboardInterrupt
        begin(growth, epoch)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Growth, "on_epoch_begin", breaking)
        runs.run(tmp_path / "broken", **HALF)
    continued = runs.run(tmp_path / "broken", **HALF)[0]
    for one, other in zip(unbroken.get_weights(), continued.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_small_views_learn_something_else_than_whole_ones(tmp_path):
    losses = [
        runs.run(tmp_path / str(share), epochs=2, small_views=share)[2]["history"]["loss"]
        for share in (0.0, 0.5)
    ]
    assert losses[0][0] != pytest.approx(losses[1][0], abs=1e-4)


def test_minutes_count_the_small_views(tmp_path, capsys):
    *_, report = runs.run(tmp_path, minutes=1e-4, small_views=0.5)
    assert (report["epochs"], report["steps"]) == (1, 3)
    assert "0.0001 minutes: 1 epoch, at " in capsys.readouterr().out


def test_a_resnet_takes_views_of_both_sizes(tmp_path):
    report = runs.run(tmp_path, encoder=Encoder(width=0.0625), epochs=2, small_views=0.5)[2]
    assert np.isfinite(report["history"]["loss"]).all()


def test_what_is_left_counts_pixels_and_is_told_again_when_views_grow(monkeypatch, capsys):
    clock = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    relative = costs(Pretraining(epochs=4, small_views=0.5), (16, 16))
    assert relative == [0.25, 0.25, 1.0, 1.0]
    estimate = Estimate(10, relative)
    for epoch, cost in enumerate(relative):
        estimate.on_epoch_begin(epoch)
        for batch in range(10):
            clock[0] += 20 * cost
            estimate.on_train_batch_end(batch)
    # 5 s a step: 4 steps are left of this epoch, 10 of the next, and 20 of four times the cost
    # 20 s a step: 4 are left, and 10
    assert capsys.readouterr().out.splitlines() == [
        "About 8 minutes left for 4 epochs of 10 steps, 5 s each while views are small",
        "About 5 minutes left for 2 epochs of 10 steps, 20 s each",
    ]
