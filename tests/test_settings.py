"""Every choice about the science is checked before anything heavy is loaded, and comes out of JSON
as it went in.
"""

import json

import pytest

from trainer_module.settings import (
    Augmentation,
    Encoder,
    Finetuning,
    FinetuningScience,
    Pretraining,
    PretrainingScience,
    from_json,
    to_json,
    with_batch_for,
)

COMMON = {
    "task": "{}",
    "image_size": (32, 48),
    "view_size": (24, 24),
    "encoder": Encoder(34, 0.5),
    "augmentation": Augmentation(crop_area=(0.3, 0.9)),
    "pretraining": Pretraining(temperature=0.2),
    "fingerprint": "abc",
}


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        (lambda: Encoder(depth=20), "depth=20"),
        (lambda: Encoder(width=0), "width=0"),
        (lambda: Encoder(stem="tiny"), "stem='tiny'"),
        (lambda: Augmentation(crop_area=(0.9, 0.1)), "crop_area=(0.9, 0.1)"),
        (lambda: Augmentation(blur_probability=1.5), "blur_probability=1.5"),
        (lambda: Augmentation(hue=0.6), "hue=0.6"),
        (lambda: Pretraining(batch_size=0), "batch_size=0"),
        (lambda: Pretraining(batch_size=1), "batch_size=1"),
        (lambda: Pretraining(batch_size=32, micro_batch=12), "micro_batch=12, batch_size=32"),
        (lambda: Pretraining(micro_batch=-8), "micro_batch=-8"),
        (lambda: Pretraining(temperature=0.0), "temperature=0.0"),
        (lambda: Pretraining(optimizer="adam"), "optimizer='adam'"),
        (lambda: Pretraining(epochs=2, warmup_epochs=3), "warmup_epochs=3"),
        (lambda: Pretraining(checkpoint_every_minutes=0.0), "checkpoint_every_minutes=0.0"),
        (lambda: Finetuning(checkpoint_every_minutes=0.0), "checkpoint_every_minutes=0.0"),
        (lambda: Finetuning(precision="float16"), "precision='float16'"),
    ],
)
def test_a_wrong_setting_is_named_with_the_value_received(settings, field):
    with pytest.raises(ValueError, match="must") as error:
        settings()
    assert field in str(error.value)


@pytest.mark.parametrize(
    "science",
    [
        PretrainingScience(**COMMON, eval_epochs=(5, 10)),
        FinetuningScience(**COMMON, finetuning=Finetuning(views=Augmentation(hue=0.3))),
    ],
)
def test_what_a_trainer_is_told_comes_back_as_it_was(science):
    assert from_json(type(science), json.loads(json.dumps(to_json(science)))) == science


def test_the_pretrainer_is_told_nothing_of_fine_tuning():
    told = to_json(PretrainingScience(**COMMON))
    assert not {"finetuning", "gate", "target"} & set(told)


@pytest.mark.parametrize(
    ("images", "batch_and_micro_batch"),
    [(100, (64, 16)), (40, (32, 16)), (16, (16, 0)), (9, (9, 0))],
)
def test_a_batch_for_few_images_is_of_whole_micro_batches(images, batch_and_micro_batch):
    fitting = with_batch_for(Pretraining(batch_size=64, micro_batch=16), images)
    assert (fitting.batch_size, fitting.micro_batch) == batch_and_micro_batch
