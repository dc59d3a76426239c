"""What a run tells at its end."""

import dataclasses

import pytest

from pipeline.summary import look_next, table
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
PUSHED = "/a root/serving/17"


def told(root, task, **ended):
    summary = {
        "report": "",
        "configuration": {"task": task},
        "pushed_model": PUSHED,
        "saved": {"Pretrainer": ""},
    }
    return look_next(summary | ended, root).splitlines()


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The working folder, beside the pipeline root."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_end_of_pretraining_alone_says_how_to_use_the_encoder(here):
    *_, features, labels = told(here / "root", "pretrain", pushed_model=f"{here}/root/serving/17")
    assert features.endswith(" -m pipeline.embed root IMAGES --neighbours 5")
    assert labels.endswith(" local_runner.py --images=DIR --pretrain_save_path=root/serving/17")


def test_an_encoder_that_was_left_where_the_user_wants_it_is_used_from_there(here):
    left = {"Pretrainer": f"{here}/my encoder"}
    assert told(here, "pretrain", saved=left)[-1].endswith("--pretrain_save_path='my encoder'")


@pytest.mark.parametrize(("task", "pushed"), [("classification", PUSHED), ("pretrain", "")])
def test_a_run_that_left_no_encoder_alone_names_its_lineage_last(here, task, pushed):
    assert "Where it is from:" in told(here, task, pushed_model=pushed)[-1]


def test_classes_are_quoted_in_their_line_where_one_holds_a_comma_or_a_quote():
    judged = {
        "metrics_by_class": {"cat": 1.0, 'dog, "big"': 0.5},
        "intervals_by_class": {"cat": (0.51, 1.0)},
        "gains": [],
    }
    line = r'by class      "cat" 100.00 % (51 to 100), "dog, \"big\"" 50.00 %'
    assert line in table(SUMMARY | judged, Classification(2))


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
