"""Batches are a function of the seed and the step alone."""

import numpy as np
import pytest

from trainer_module.batches import (
    EpochBatches,
    LabelledBatches,
    refuse_empty_parts,
    refuse_unfit_batch,
)
from trainer_module.errors import InputError
from trainer_module.settings import Pretraining


@pytest.fixture
def images():
    return np.arange(10, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 3), np.uint8)


def numbers(batches, index):
    return batches[index][0][:, 0, 0, 0].tolist()


def test_an_epoch_shows_every_image_at_most_once_and_drops_the_partial_batch(images):
    batches = EpochBatches(images, 3, seed=0)
    seen = [number for step in range(batches.steps_per_epoch) for number in numbers(batches, step)]
    assert len(seen) == len(set(seen)) == 9


def test_epochs_differ(images):
    batches = EpochBatches(images, 10, seed=0)
    assert numbers(batches, 0) != numbers(batches, 1)


def test_a_run_that_continues_sees_what_an_unbroken_run_sees(images):
    whole, rest = EpochBatches(images, 3, seed=0), EpochBatches(images, 3, seed=0, first_step=4)
    assert [numbers(rest, step) for step in range(5)] == [
        numbers(whole, step + 4) for step in range(5)
    ]


def test_batches_stay_uint8(images):
    assert EpochBatches(images, 3, seed=0)[0][0].dtype == np.uint8


def test_an_epoch_of_labelled_batches_holds_every_image_with_its_target_once_in_an_order_of_its_own(
    images,
):
    batches = LabelledBatches(images, np.arange(10), 4, seed=0)
    orders = []
    for epoch in range(2):
        parts = [batches[3 * epoch + step][0] for step in range(batches.steps_per_epoch)]
        assert [len(part[0]) for part in parts] == [4, 4, 2]
        for seen, targets in parts:
            np.testing.assert_array_equal(seen[:, 0, 0, 0], targets)
        orders.append(np.concatenate([targets for _, targets in parts]).tolist())
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(10))
    assert orders[0] != orders[1]


@pytest.mark.parametrize("index", [0, 2], ids=["a whole batch", "the rest of an epoch"])
def test_the_parts_of_a_batch_are_the_batch_and_differ_by_an_image_at_most(images, index):
    batches = LabelledBatches(images, np.arange(10), 4, seed=0)
    parts = [batches.part(index, number, 3)[1] for number in range(3)]
    assert np.concatenate(parts).tolist() == batches[index][0][1].tolist()
    assert np.ptp([len(part) for part in parts]) == 1


def test_labelled_batches_go_on_where_a_run_was_killed(images):
    whole, rest = (LabelledBatches(images, np.arange(10), 4, 0, first) for first in (0, 4))
    assert all(rest[step][0][1].tolist() == whole[4 + step][0][1].tolist() for step in range(5))


def test_a_batch_with_less_than_an_image_a_device_is_refused_with_one_that_fits():
    refuse_empty_parts(15, 47, replicas=2)
    refuse_empty_parts(15, 46, replicas=1)
    with pytest.raises(InputError, match=r"a last batch of 1; devices=2\. Fix: .*batch_size=14, "):
        refuse_empty_parts(15, 46, replicas=2)
    with pytest.raises(InputError, match=r"a last batch of 3; devices=4\. Fix: fewer machines"):
        refuse_empty_parts(8, 3, replicas=4)


@pytest.mark.parametrize(
    ("batch", "images", "devices", "fix"),
    [
        ({"batch_size": 2}, 1, 1, "Fix: more images"),
        ({"batch_size": 64}, 40, 1, "Fix: --set pretraining.batch_size=40, or more images"),
        (
            {"batch_size": 64, "micro_batch": 16},
            40,
            1,
            "Fix: --set pretraining.batch_size=32, or more images",
        ),
        (
            {"batch_size": 64, "micro_batch": 32},
            16,
            1,
            "Fix: --set pretraining.batch_size=16 --set pretraining.micro_batch=0, or more images",
        ),
        ({"batch_size": 3}, 3, 4, "Fix: fewer devices, or more images"),
        ({"batch_size": 3}, 4, 4, "Fix: --set pretraining.batch_size=4"),
    ],
)
def test_the_fix_of_a_batch_is_one_that_is_not_refused(batch, images, devices, fix):
    with pytest.raises(InputError) as refused:
        refuse_unfit_batch(Pretraining(**batch), images, devices)
    assert str(refused.value).endswith(fix)
