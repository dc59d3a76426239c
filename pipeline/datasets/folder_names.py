"""What the name of a folder says where it is no class: a split, or a part of a segmentation set.

Names are read by their words, so that `train2017`, `training_set` and `seg_train` are splits, too.
Standard library alone.
"""

import re
from collections.abc import Iterable

WORD = re.compile(r"[^\W\d_]+")
# of splits, by the list that such a folder becomes
SPLITS = {
    "train": {"train", "training"},
    "eval": {"val", "valid", "validation", "eval", "dev"},
    "test": {"test", "testing"},
}
ANY_SPLIT = set().union(*SPLITS.values())
# of pictures alone, or beside another word, as in train_images
PICTURES = {
    "image", "images", "img", "imgs", "jpegimages", "data", "dataset", "set", "seg", "ground",
}  # fmt: skip
MAPS = {
    "mask", "masks", "label", "labels", "labelmap", "labelmaps", "annotation", "annotations",
    "segmentation", "segmentations", "segmentationclass", "segmentationobject", "gt", "truth",
}  # fmt: skip


def split_named(name: str) -> str:
    """Returns the list that a folder of this name would become; '' if it is no name of a split."""
    words = _words(name) - PICTURES
    return next((split for split, known in SPLITS.items() if words and words <= known), "")


def is_of_maps(name: str) -> bool:
    """Tells whether a folder is named as one of label maps, as `train_masks` is."""
    words = _words(name) - PICTURES - ANY_SPLIT
    return bool(words) and words <= MAPS


def is_segmentation_set(names: Iterable[str]) -> bool:
    """Tells whether folders are the pictures and the label maps of one set, and none is a class."""
    names = [*names]
    known = PICTURES | ANY_SPLIT | MAPS
    return {*map(is_of_maps, names)} == {True, False} and all(
        words and words <= known for words in map(_words, names)
    )


def _words(name: str) -> set[str]:
    return set(WORD.findall(name.lower()))
