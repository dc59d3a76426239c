"""What pretraining sees: some images, each with two random views as training draws them."""

import numpy as np

from components.metadata.names import PRETRAINER
from components.metadata.stored_run import StoredRun
from components.report import pictures
from components.report.sample import some_examples, splits
from trainer_module.augment import augment
from trainer_module.settings import Augmentation, from_json

VIEWED_IMAGES = 8


def views(run: StoredRun) -> dict:
    """Returns some pretraining images, each with two random views as training draws them."""
    import keras

    settings = run.settings(PRETRAINER)
    split = "pretrain" if "pretrain" in splits(run) else "train"
    images = some_examples(run, split, VIEWED_IMAGES).images
    augmentation = from_json(Augmentation, settings["augmentation"])
    chance = keras.random.SeedGenerator(settings["pretraining"]["seed"])
    both = [
        np.asarray(augment(images, augmentation, tuple(settings["view_size"]), chance))
        for _ in range(2)
    ]
    drawn = [np.round(255 * views).astype(np.uint8) for views in both]
    triples = [
        [pictures.picture(picture) for picture in triple]
        for triple in zip(images, *drawn, strict=True)
    ]
    return {"triples": triples, "pixels": {"images": images, "first": drawn[0], "second": drawn[1]}}
