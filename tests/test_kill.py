"""What the benchmark of kills holds against a run: each kind of damage is named, none made up."""

import math

import pytest

from benchmarks.kill import faults, gap

WHOLE = {
    "state": "done",
    "metrics": {"accuracy": 0.75},
    "history": {"loss": [3.5, 3.25], "knn_accuracy": [None, 0.5]},
    "finished": True,
    "running": 0,
    "gone": [],
    "left": ["encoder", "model"],
}


def test_two_equal_runs_have_no_gap_and_no_fault():
    assert (gap(WHOLE, WHOLE), faults(WHOLE, WHOLE)) == (0.0, [])


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        ({"metrics": {"accuracy": 0.5}}, 0.25),
        ({"metrics": {}}, math.inf),
        ({"history": {"loss": [3.5, 3.375], "knn_accuracy": [None, 0.5]}}, 0.125),
        ({"history": {"loss": [3.5], "knn_accuracy": [None]}}, math.inf),
        ({"history": {"loss": [3.5, 3.25], "knn_accuracy": [0.5, 0.5]}}, math.inf),
    ],
)
def test_the_gap_is_the_greatest_difference_and_has_no_end_where_something_is_missing(
    changed, found
):
    assert gap(WHOLE | changed, WHOLE) == gap(WHOLE, WHOLE | changed) == found


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        ({"metrics": {"accuracy": 0.7499}}, "gap"),
        ({"running": 2}, "2 rows"),
        ({"gone": ["/root/model/7"]}, "/root/model/7"),
        ({"finished": False}, "finished"),
        ({"left": ["encoder"]}, "left"),
        ({"state": "failed"}, "state"),
    ],
)
def test_every_kind_of_damage_is_one_fault(changed, word):
    (found,) = faults(WHOLE | changed, WHOLE)
    assert word in found
