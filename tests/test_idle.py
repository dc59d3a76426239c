"""What a person sets and a run never reads is told, with the reason; what it reads is not."""

import pytest

from pipeline.flags import build_parser, choices_of
from pipeline.idle import idle
from trainer_module.tasks.classification import Classification
from trainer_module.tasks.regression import Regression
from trainer_module.tasks.segmentation import Segmentation
from trainer_module.tasks.unlabelled import Unlabelled

TASKS = {
    "classification": Classification(2),
    "regression": Regression(),
    "segmentation": Segmentation(2),
    "pretrain": Unlabelled(),
}
LISTS = ("--train_file_path=train.csv", "--val_file_path=val.csv")
BESIDE_SCRATCH = ("--set", "finetuning.beside_scratch=true")
CONVERGES = "a linear head on a frozen encoder is fitted until it converges"


def told(flags, pretrains=True):
    choices = choices_of(build_parser().parse_args([*LISTS, *flags]))
    return idle(choices, TASKS[choices.task], pretrains)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--num_epochs=3"], f"finetuning.epochs is of no effect here: {CONVERGES}"),
        (
            ["--num_epochs=3", "--batch_size=8"],
            f"finetuning.batch_size, finetuning.epochs are of no effect here: {CONVERGES}",
        ),
        (
            ["--set", "finetuning.views.hue=0.1"],
            "finetuning.views.hue is of no effect here: a head on a frozen encoder learns from the "
            "features of whole images",
        ),
        (
            ["--from_scratch", "--set", "finetuning.copies=2"],
            "finetuning.copies is of no effect here: copies are for a linear head on a frozen "
            "encoder",
        ),
        (
            ["--from_scratch", "--set", "finetuning.beside_scratch=true"],
            "finetuning.beside_scratch is of no effect here: the whole network is trained from the "
            "labels alone already",
        ),
        (
            ["--task=regression", "--set", "finetuning.copies=2"],
            "finetuning.copies is of no effect here: copies are for classes",
        ),
        (
            ["--set", "finetuning.dice=0.5"],
            "finetuning.dice is of no effect here: it is for segmentation",
        ),
        (
            ["--task=segmentation", "--num_classes=2", "--head=mlp"],
            "finetuning.head is of no effect here: segmentation has one kind of head",
        ),
        (
            ["--task=regression", "--num_classes=3"],
            "target.num_classes is of no effect here: numbers have no classes",
        ),
        (
            ["--task=regression", "--set", "gate.min_metric=0.5"],
            "gate.min_metric is of no effect here: the metric is mean_absolute_error",
        ),
        (
            ["--task=pretrain", "--freeze=False", "--num_classes=3"],
            "finetuning.freeze, target.num_classes are of no effect here: nothing is fine-tuned "
            "without a task",
        ),
        (
            ["--set", "augmentation.blur_sigma=0.1 0.2"],
            "augmentation.blur_sigma is of no effect here: augmentation.blur_probability is 0",
        ),
        (
            ["--set", "pretraining.loss=vicreg", "--temperature=0.1"],
            "pretraining.temperature is of no effect here: vicreg has no temperature",
        ),
    ],
)
def test_a_setting_that_changes_nothing_is_told_with_the_reason(flags, said):
    assert told(flags) == [f"Note: {said}"]


@pytest.mark.parametrize(
    "flags",
    [
        [],
        ["--freeze=False", "--num_epochs=3", "--set", "finetuning.views.crop_area=0.3 1"],
        ["--head=mlp", "--num_epochs=3"],
        ["--set", "finetuning.copies=2"],
        ["--freeze=False", "--set", "finetuning.copies=4"],
        ["--head=mlp", "--set", "finetuning.copies=4"],
        [*BESIDE_SCRATCH, "--num_epochs=3", "--batch_size=8"],
        [*BESIDE_SCRATCH, "--set", "finetuning.views.crop_area=0.3 1"],
        [*BESIDE_SCRATCH, "--learning_rate=0.01", "--set", "finetuning.precision=float32"],
        ["--task=segmentation", "--num_classes=2", "--num_epochs=3", "--set", "finetuning.dice=1"],
        ["--task=regression", "--set", "gate.max_error=0.5"],
        ["--task=pretrain", "--num_epochs=3", "--batch_size=8", "--temperature=0.1"],
        ["--set", "augmentation.blur_probability=0.5", "--set", "augmentation.blur_sigma=0.1 0.2"],
        ["--seed=3", "--strength=0.5", "--input_size=48 48", "--label_fraction=0.5"],
        ["--recipe=camvid", "--task=segmentation", "--num_classes=2"],
    ],
)
def test_nothing_is_told_of_settings_that_count(flags):
    assert told(flags) == []


def test_an_encoder_that_is_there_leaves_nothing_to_pretraining_but_the_seed():
    flags = ["--temperature=0.1", "--set", "augmentation.hue=0.2", "--set", "pretraining.seed=3"]
    assert told(flags, pretrains=False) == [
        "Note: augmentation.hue, pretraining.temperature are of no effect here: nothing is "
        "pretrained"
    ]


def test_many_settings_are_counted():
    names = ["epochs", "batch_size", "copies", "dice", "class_balance", "learning_rate", "seed"]
    flags = [part for name in names for part in ("--set", f"finetuning.{name}=1")]
    (line,) = told(["--task=pretrain", *flags, "--set", "gate.min_metric=0.5"])
    assert "finetuning.epochs, finetuning.learning_rate and 2 others are of no effect" in line


def test_no_epochs_beside_weights_are_why_nothing_is_pretrained_and_not_of_no_effect():
    flags = ["--encoder_weights=w.safetensors", "--pretrain_epochs=0"]
    assert told(flags, pretrains=False) == []
