"""What a run amounted to, as the terminal has it."""

import dataclasses

import pytest

from pipeline.summary import table
from trainer_module.gains import OVER_RANDOM, OVER_UNTRAINED, Gain, as_dict
from trainer_module.origin import BROUGHT, PRETRAINING
from trainer_module.tasks.classification import Classification

GAIN = Gain("linear_accuracy", "untrained_linear_accuracy", OVER_UNTRAINED, 0.2, (0.1, 0.3), 100)
SUMMARY = {
    "metrics": {},
    "intervals": {},
    "metrics_by_class": {},
    "intervals_by_class": {},
    "blessed": None,
    "refused_because": [],
    "pushed_model": "",
    "saved": {},
    "seconds": 1.0,
    "accuracy_by_epoch": [],
    "findings": [],
    "configuration": {},
}


@pytest.mark.parametrize(
    ("gain", "row"),
    [
        (
            dataclasses.replace(GAIN, of=PRETRAINING),
            "  with pretraining  +20.0 points [+10.0, +30.0] over the untrained encoder",
        ),
        (
            dataclasses.replace(GAIN, of=BROUGHT, against=OVER_RANDOM),
            "  with this encoder  the encoder that was brought: +20.0 points [+10.0, +30.0] over "
            "random weights",
        ),
    ],
)
def test_no_row_calls_a_gain_that_of_pretraining_which_is_not(gain, row):
    rows = table(SUMMARY | {"gains": [as_dict(gain)]}, Classification(2)).splitlines()
    assert row in rows
