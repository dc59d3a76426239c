"""Every choice about the science is checked before anything heavy is loaded."""

import pytest

from trainer_module.settings import Augmentation, Encoder, Pretraining


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        (lambda: Encoder(depth=50), "depth=50"),
        (lambda: Encoder(width=0), "width=0"),
        (lambda: Encoder(stem="tiny"), "stem='tiny'"),
        (lambda: Augmentation(crop_area=(0.9, 0.1)), "crop_area=(0.9, 0.1)"),
        (lambda: Augmentation(blur_probability=1.5), "blur_probability=1.5"),
        (lambda: Augmentation(hue=0.6), "hue=0.6"),
        (lambda: Pretraining(batch_size=0), "batch_size=0"),
        (lambda: Pretraining(batch_size=1), "batch_size=1"),
        (lambda: Pretraining(temperature=0.0), "temperature=0.0"),
        (lambda: Pretraining(optimizer="adam"), "optimizer='adam'"),
        (lambda: Pretraining(epochs=2, warmup_epochs=3), "warmup_epochs=3"),
    ],
)
def test_a_wrong_setting_is_named_with_the_value_received(settings, field):
    with pytest.raises(ValueError, match="must") as error:
        settings()
    assert field in str(error.value)
