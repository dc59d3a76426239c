"""What a run tells at its end."""

import pytest

from pipeline.summary import look_next, table
from trainer_module.tasks.classification import Classification

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
    summary = {
        "metrics": {},
        "intervals": {},
        "metrics_by_class": {"cat": 1.0, 'dog, "big"': 0.5},
        "intervals_by_class": {"cat": (0.51, 1.0)},
        "gains": [],
        "blessed": None,
        "configuration": {"gate": {}},
        "threshold_from": "",
        "refused_because": [],
        "pushed_model": "",
        "saved": {},
        "seconds": 1.0,
        "accuracy_by_epoch": [],
        "findings": [],
    }
    line = r'by class      "cat" 100.00 % (51 to 100), "dog, \"big\"" 50.00 %'
    assert line in table(summary, Classification(2))
