"""What to try where pretraining has not beaten the untrained encoder: of what mostly helps, that
which a run does not do already.

Settings are JSON-able values by their names, as runs record them.
"""

from collections.abc import Mapping
from typing import Any

from trainer_module.resnets import SMALL_SIDE, last_side, with_stem
from trainer_module.settings import SHORT_RUN, Encoder

LOW_TEMPERATURE, HIGH_RATE = SHORT_RUN["temperature"], SHORT_RUN["learning_rate"]
GRID = 4  # cells along a side, where there are so many
TOO_EASY = (
    "  It answers all of the held-out images as it is: harder ones, or more, can tell what "
    "pretraining brings"
)


def what_to_try(settings: Mapping[str, Any], score: float, pixels_ahead: bool = False) -> str:
    """Returns lines for a person.

    Args:
      settings: of the run, with `pretraining`, `encoder`, `image_size` and `view_size`; {} where
        they are not known.
      score: of the untrained encoder where 1 is the best that can be; nan elsewhere.
      pixels_ahead: whether a linear model of pixels is better, as where the same things lie at the
        same place in every image.
    """
    if score >= 1:
        return TOO_EASY
    pretraining = settings.get("pretraining", {})
    epochs, minutes = pretraining.get("epochs"), pretraining.get("minutes")
    longer = f"--pretrain_epochs={2 * epochs if epochs else 'N'} or --minutes=N"
    # the epochs of a run that had minutes are others than its settings name
    rows = [("more epochs", f"--minutes={2 * minutes:g}" if minutes else longer)]
    if pretraining.get("temperature", 1) > LOW_TEMPERATURE:
        rows.append(("a smaller temperature", f"--temperature={LOW_TEMPERATURE}"))
    is_sgd = pretraining.get("optimizer", "sgd") == "sgd"
    if is_sgd and pretraining.get("learning_rate", 0) < HIGH_RATE:
        rows.append(("a higher rate", f"--set pretraining.learning_rate={HIGH_RATE}"))
    if not pretraining.get("warmup_epochs"):
        rows.append(("warmed up", "--set pretraining.warmup_epochs=1"))
    rows.append(("other views", "--set augmentation.crop_area=0.5,1 or --strength=0.5"))
    views, stem = settings.get("view_size"), settings.get("encoder", {}).get("stem")
    if pixels_ahead and settings.get("encoder", {}).get("grid", 1) == 1:
        images = settings.get("image_size")
        most = last_side(with_stem(Encoder(stem=stem), views), min(images)) if images else GRID
        if most > 1:
            grid = f"--set encoder.grid={min(GRID, most)}, where images are aligned"
            rows.append(("places kept", grid))
    if stem == "imagenet" and max(views) <= SMALL_SIDE:
        rows.append(("the small stem", "--set encoder.stem=small"))
    width = 1 + max(len(name) for name, _ in rows)
    lines = [f"    {name + ':':<{width}}  {flag}" for name, flag in rows]
    return "\n".join(["  What to try (docs/own-images.md, What pretraining brought):", *lines])
