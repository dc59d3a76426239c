"""How long pretraining takes: told early, and turned into a number of epochs."""

import time

import pytest

from pipeline.flags import build_parser, choices_of
from pipeline.plan import kept_epochs
from pipeline.save_paths import SavedEncoder
from trainer_module.duration import Estimate, epochs_that_fit, of_choice, told
from trainer_module.errors import InputError


def choose(*flags):
    return choices_of(build_parser().parse_args(flags))


@pytest.mark.parametrize(
    ("seconds", "epoch", "watch", "every", "epochs"),
    [
        (100, 10, 0, 5, 10),
        (100, 10, 10, 5, 6),  # two looks, and 2 s an epoch for the others
        (100, 300, 0, 5, 1),
        (-5, 10, 0, 5, 1),  # compiling alone took longer
    ],
)
def test_as_many_epochs_as_fit_and_at_least_one(seconds, epoch, watch, every, epochs):
    assert epochs_that_fit(seconds, epoch, watch, every) == epochs


def test_an_epoch_that_takes_longer_than_the_minutes_is_told_to():
    assert of_choice(1, 2, 0.125, 20) == "1 minute: 2 epochs, at 0.125 s a step"
    assert of_choice(10, 1, 2.5, 900) == (
        "10 minutes: 1 epoch, at 2.5 s a step; it takes about 15 minutes, and one is the least"
    )


def test_what_is_left_is_told_once_from_steps_alone(monkeypatch, capsys):
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    estimate = Estimate(steps_per_epoch=4, epochs=10)
    estimate.set_params({"steps": 4})
    for epoch in range(10):
        clock[0] += 1000  # the first step compiles, later the features are looked at
        estimate.on_epoch_begin(epoch)
        for batch in range(4):
            clock[0] += 15
            estimate.on_train_batch_end(batch)
    # 3 steps are measured in the first epoch, 3 in the second, whose last is not trained yet
    assert capsys.readouterr().out == "About 8 minutes left for 9 epochs of 4 steps, 15 s each\n"


def test_of_an_epoch_that_was_interrupted_the_rest_alone_is_left(monkeypatch, capsys):
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    estimate = Estimate(steps_per_epoch=100, epochs=2)
    estimate.set_params({"steps": 10})  # of the second epoch, of which 90 were done
    estimate.on_epoch_begin(1)
    for batch in range(10):
        clock[0] += 30
        estimate.on_train_batch_end(batch)
    assert capsys.readouterr().out.startswith("About 2 minutes left for 1 epoch of 100 steps")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(1.2, "1 second"), (119, "119 seconds"), (130, "2 minutes"), (7200, "2 hours")],
)
def test_a_time_is_told_in_its_unit(seconds, text):
    assert told(seconds) == text


@pytest.mark.parametrize("minutes", ["0", "-1", "nan"])
def test_minutes_that_are_none_are_refused(minutes):
    with pytest.raises(InputError, match=r"`--minutes` must be greater than 0"):
        choose(f"--minutes={minutes}")


@pytest.mark.parametrize(
    "flags",
    [
        ["--pretrain_epochs=5"],
        ["--task=pretrain", "--num_epochs=5"],
        ["--set", "pretraining.epochs=5"],
        ["--from_scratch"],
    ],
)
def test_minutes_beside_what_contradicts_them_are_refused(flags):
    with pytest.raises(InputError, match=r"--minutes"):
        choose("--minutes=5", *flags)


def test_epochs_to_evaluate_are_left_out_of_a_recipe_and_refused_of_a_person():
    recipe = choose("--recipe=cifar10_original", "--minutes=5")
    assert recipe.pretraining.minutes == 5
    assert kept_epochs(recipe, SavedEncoder()) == ()
    with pytest.raises(InputError, match=r"`--minutes` leaves open"):
        kept_epochs(choose("--minutes=5", "--eval_epochs=1,2"), SavedEncoder())
