"""Which of some images stand in the training list of a model: by their bytes, whatever their names
are now, as the index beside its examples holds them.
"""

from collections.abc import Iterable

from components.file_list_example_gen import image_index
from components.metadata.snapshot import Snapshot
from pipeline.lineage.downstream import TRAIN_SPLITS
from pipeline.lineage.models import Model, lists_of


def trained_on(snapshot: Snapshot, model: Model, digests: Iterable[bytes]) -> list[bytes]:
    """Returns those of the digests (image_index.content_digest) that the splits hold which the
    model's Trainer read, each as often as it is asked for.

    Images that only its encoder was pretrained on, without their labels, are none of them.
    """
    splits = model.maker.parameters.get(TRAIN_SPLITS, ())
    held = {
        image
        for execution in snapshot.ancestors(model.maker).values()
        if lists_of(execution)
        for item in snapshot.made_by(execution)
        for split, index in image_index.read(item.uri).items()
        if split in splits
        for image, _ in index.by_id().values()
    }
    return [digest for digest in digests if digest in held]
