"""What to try where an encoder is not better than random weights: of what mostly helps, that which
a run does not do already and can do.

Settings are JSON-able values by their names, as runs record them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from trainer_module.origin import BROUGHT, PRETRAINING, SAVED, is_brought, pretrains
from trainer_module.resnets import SMALL_SIDE, last_side, with_stem
from trainer_module.settings import SHORT_RUN, Encoder

LOW_TEMPERATURE, HIGH_RATE = SHORT_RUN["temperature"], SHORT_RUN["learning_rate"]
GRID = 4  # cells along a side, where there are so many
Row = tuple[str, str]  # what, and the flag
HOLD_OUT = "more held out", "more images, or others in val/ or in the list of --val_file_path"
TOO_EASY = (
    "  It answers all of the held-out images as it is: harder ones, or more, can tell what "
    "pretraining brings"
)


# Of an encoder that no pretraining of the run made.
OTHERS = {
    BROUGHT: ("other weights", "--encoder_weights=FILE, learned from images more like these"),
    SAVED: ("another encoder", "--pretrain_save_path=DIR, learned from images more like these"),
}


@dataclass(frozen=True)
class Seen:
    """What a comparison showed.

    Attributes:
      of: what made the encoder (origin.py).
      few: whether the held-out images are too few to tell.
      pixels_ahead: whether a linear model of pixels is better, as where the same things lie at the
        same place in every image.
    """

    of: str = PRETRAINING
    few: bool = False
    pixels_ahead: bool = False


def what_to_try(settings: Mapping[str, Any], score: float, seen: Seen = Seen()) -> str:
    """Returns lines for a person.

    Args:
      settings: of the run, with `pretraining`, `encoder`, `image_size` and `view_size`; {} where
        they are not known.
      score: of random weights where 1 is the best that can be; nan elsewhere.
      seen: why there is something to try.
    """
    if score >= 1:
        return TOO_EASY
    rows = [HOLD_OUT] if seen.few else []
    rows += _of_pretraining(settings) if pretrains(seen.of) else []
    rows += [*_of_encoder(settings, seen), *([OTHERS[seen.of]] if seen.of in OTHERS else [])]
    width = 1 + max(len(name) for name, _ in rows)
    lines = [f"    {name + ':':<{width}}  {flag}" for name, flag in rows]
    return "\n".join(["  What to try (docs/own-images.md, What pretraining brought):", *lines])


def _of_pretraining(settings: Mapping[str, Any]) -> list[Row]:
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
    return [*rows, ("other views", "--set augmentation.crop_area=0.5,1 or --strength=0.5")]


def _of_encoder(settings: Mapping[str, Any], seen: Seen) -> list[Row]:
    """Returns what another shape of the encoder or of the images may do; the stem is that of a
    file or folder which brings one, and a folder's encoder has its grid, too.
    """
    rows, views, images = [], settings.get("view_size"), settings.get("image_size")
    encoder = settings.get("encoder", {})
    stem = encoder.get("stem")
    if seen.pixels_ahead and encoder.get("grid", 1) == 1 and seen.of != SAVED:
        most = last_side(with_stem(Encoder(stem=stem), views), min(images)) if images else GRID
        if most > 1:
            grid = f"--set encoder.grid={min(GRID, most)}, where images are aligned"
            rows.append(("places kept", grid))
    sides = views if pretrains(seen.of) else images or views
    if stem == "imagenet" and max(sides) <= SMALL_SIDE:
        small = "the small stem", "--set encoder.stem=small"
        larger = "larger images", f"--input_size={2 * max(sides)}"
        rows.append(larger if is_brought(seen.of) else small)
    return rows
