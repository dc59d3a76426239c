"""The model card says what a run's summary says, and lies in the folder that the run pushed to."""

import re
import resource
from dataclasses import replace

import pytest

from pipeline.choices import Choices, Lists
from pipeline.model_card import (
    CARD_FILE,
    THROUGH_JPEG,
    card_of_input,
    card_of_record,
    card_of_run,
    leave_card,
)
from pipeline.plan import as_chosen
from pipeline.save_paths import SavedEncoder
from trainer_module.saved_encoder import EXTRAS, EncoderRecord
from trainer_module.settings import Encoder
from trainer_module.tasks.classification import Classification
from trainer_module.tasks.segmentation import Segmentation

PLAN = as_chosen(Choices(lists=Lists("/lists/train.csv", "/lists/eval.csv")), Classification(2))
FLAGS = ["--train_file_path=/lists/train.csv", "--seed", "3"]


@pytest.fixture
def summary(tmp_path):
    (tmp_path / "17" / EXTRAS).mkdir(parents=True)
    return {
        "run_id": "2026-11-29T05:00:00.000",
        "pushed_model": str(tmp_path / "17"),
        "seconds": 61.0,
        "metrics": {"linear_accuracy": 0.9, "untrained_linear_accuracy": 0.5},
        "intervals": {"linear_accuracy": (0.85, 0.94), "untrained_linear_accuracy": (0.42, 0.58)},
        "gains": [{"told": "+40.0 points [+31.0, +49.0] over the untrained encoder"}],
        "eval_images": 150,
        "metrics_by_class": {"cat": 0.8, "dog": 1.0},
        "intervals_by_class": {"cat": (0.69, 0.88)},
        "findings": [{"severity": "warning", "told": "cats are few", "kind": "uneven"}],
        "versions": {"keras": "3.15"},
        "code_fingerprints": {"Pretrainer": "abc"},
        "git_commit": "",
        "hardware": "2 cores",
    }


def test_it_tells_data_recipe_scores_gain_and_origin(summary):
    card = card_of_run(summary, PLAN, FLAGS)
    for line in (
        "- train: `/lists/train.csv`",
        "- warning: cats are few",
        "`python local_runner.py --train_file_path=/lists/train.csv --seed 3`",
        "| linear accuracy | 90.00 % (85.0 to 94.0, 150 images) |",
        "| cat | 80.00 % (69 to 88) |",
        "| dog | 100.00 % |",
        "- +40.0 points [+31.0, +49.0] over the untrained encoder",
        "- linear accuracy: 90.00 % (85.0 to 94.0, 150 images), with the same network untrained "
        "50.00 % (42.0 to 58.0, 150 images)",
        "- code: Pretrainer abc",
    ):
        assert line in card


def test_of_label_maps_it_compares_the_final_model_with_the_untrained_one(summary):
    metrics = {"mean_iou": 0.6, "untrained_mean_iou": 0.5}
    plan = replace(PLAN, task=Segmentation(3))
    card = card_of_run(summary | {"metrics": metrics, "intervals": {}}, plan, FLAGS)
    assert "- mean iou: 60.00 %, with the same network untrained 50.00 %" in card
    assert "- then: a decoder, the encoder frozen, seed 0" in card


def test_it_tells_of_jpeg_where_the_model_learned_through_it(summary):
    assert THROUGH_JPEG in card_of_run(summary, replace(PLAN, stored_as="jpeg"), FLAGS)
    assert THROUGH_JPEG not in card_of_run(summary, replace(PLAN, stored_as="png"), FLAGS)


def test_it_names_the_weights_that_the_encoder_began_with(summary):
    saved = SavedEncoder("/w.safetensors", "abc", mapping="its tensors", begins_pretraining=True)
    card = card_of_run(summary, replace(PLAN, saved_encoder=saved), FLAGS)
    assert "begun with the weights in `/w.safetensors`" in card
    assert "What pretraining brought" not in card and "## What the encoder is worth" in card
    assert "- encoder: `/w.safetensors`, fingerprint abc\n- its weights: its tensors" in card


def test_a_network_of_ones_own_is_named_by_its_builder(summary):
    own = Encoder(builder="small_encoder.build")
    of_run = card_of_run(summary, replace(PLAN, encoder=own), FLAGS)
    of_record = card_of_record(EncoderRecord(own, (32, 32), (0.5,) * 3, (0.2,) * 3))
    assert "\n\nAn encoder of small_encoder.build for images of" in of_run
    assert of_record.startswith("# An encoder of small_encoder.build\n")
    assert "ResNet" not in of_run + of_record


IMAGE = "<img src=x onerror=alert(1)>"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a|b", r"a\|b"),
        (IMAGE, r"\<img src=x onerror=alert(1)>"),
        ("`rm`", r"\`rm\`"),
        ("**bold** [a](b)", r"\*\*bold\*\* \[a\](b)"),
        ("_red_ dark_red", r"\_red\_ dark_red"),
        ("&lt;", r"\&lt;"),
        ("\\|", r"\\\|"),
        ("two\nlines", r"two\\nlines"),
    ],
)
def test_the_name_of_a_class_stays_a_name_in_markdown(summary, name, shown):
    by_class = {"metrics_by_class": {name: 0.8}, "intervals_by_class": {}}
    assert f"\n| {shown} | 80.00 % |\n" in card_of_run(summary | by_class, PLAN, FLAGS)


def test_no_text_of_a_run_becomes_html_or_ends_its_code(summary):
    plan = replace(
        PLAN,
        lists=Lists(f"/lists/`{IMAGE}.csv"),
        saved_encoder=SavedEncoder(f"/`{IMAGE}", "abc", mapping=IMAGE, begins_pretraining=True),
    )
    told = {"findings": [{"severity": "note", "told": IMAGE, "kind": "k"}]}
    card = card_of_run(summary | told, plan, [f"--weights=`{IMAGE}"])
    lines = [line for line in card.splitlines() if "<img" in line]
    in_code = [line for line in lines if re.search(r"``.*`<img.*``", line)]
    escaped = [line for line in lines if r"\<img" in line]
    assert (len(in_code), len(escaped), len(lines)) == (4, 2, 6)


def test_classes_are_quoted_so_that_commas_and_numbers_in_them_are_theirs():
    record = EncoderRecord(Encoder(), (32, 32), (0.5,) * 3, (0.2,) * 3)
    card = card_of_input(record, ["cat, 1 dog", 'the "fox"', "a|b"], "", pixels=False)
    assert r'logits: 0 "cat, 1 dog", 1 "the \\"fox\\"", 2 "a\|b".' in card


def test_it_lies_in_the_pushed_folder_and_stays_that_of_the_run_that_pushed(summary, tmp_path):
    leave_card(summary, PLAN, FLAGS)
    card = tmp_path / "17" / EXTRAS / CARD_FILE
    first = card.read_text()
    leave_card(summary | {"run_id": "a later run"}, PLAN, FLAGS)
    assert first.startswith("# lists-") and card.read_text() == first


def test_a_card_that_could_not_be_written_whole_is_not_there(summary, tmp_path):
    most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, most[1]))  # bytes
    try:
        with pytest.raises(OSError, match="too large"):
            leave_card(summary, PLAN, FLAGS)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, most)
    assert not (tmp_path / "17" / EXTRAS / CARD_FILE).exists()


def test_a_run_that_pushed_nothing_leaves_no_card(summary, tmp_path):
    leave_card(summary | {"pushed_model": ""}, PLAN, FLAGS)
    assert list(tmp_path.rglob(CARD_FILE)) == []
