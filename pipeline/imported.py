"""The encoders that runs took from the user's folders and files: a copy of each in the pipeline
root, named after the fingerprint of its content, so that what ML Metadata says of it stays true.

A copy is about 90 MB for a ResNet-18. It is kept for the latest run, and while a model that was
made from it is in serving/: the same encoder again finds what was made from it in the cache.
"""

import shutil
from pathlib import Path

from ml_metadata.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as mlmd

from components.metadata.names import PUSHED_DESTINATION, SAVED_MODEL
from components.metadata.snapshot import read
from components.metadata.store import artifacts_at, mark
from pipeline.lineage.models import all_models
from pipeline.save_paths import IMPORTED, SavedEncoder, place_of
from pipeline.weights import make_encoder
from trainer_module.errors import InputError
from trainer_module.saved_encoder import EXTRAS, encoder_fingerprint


def bring_in(saved: SavedEncoder, root: Path) -> str:
    """Copies an encoder into the pipeline root, or makes it there of a file of weights, unless a
    whole one is there.

    Args:
      saved: which one; nothing is done where its path is ''.
      root: the pipeline root.

    Returns:
      The folder of what is now a TFX Model artifact, or ''.

    Raises:
      InputError: if the encoder is no longer the one that was found at the path.
    """
    folder = Path(place_of(saved, root))
    if saved.from_weights:
        if not folder.is_dir():
            unfinished = folder.with_suffix(".unfinished")
            shutil.rmtree(unfinished, ignore_errors=True)
            make_encoder(saved, unfinished / SAVED_MODEL)
            unfinished.rename(folder)
        return place_of(saved, root)
    if saved.path and encoder_fingerprint(folder / SAVED_MODEL) != saved.fingerprint:
        shutil.rmtree(folder, ignore_errors=True)
        unfinished = folder.with_suffix(".unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        shutil.copytree(Path(saved.path, EXTRAS), unfinished / SAVED_MODEL / EXTRAS)
        received = encoder_fingerprint(unfinished / SAVED_MODEL)
        if received != saved.fingerprint:
            raise InputError(
                f"The encoder in {saved.path} must not change while it is copied. Received: "
                f"fingerprint {received}, a moment ago {saved.fingerprint}. Fix: start again"
            )
        unfinished.rename(folder)
    return place_of(saved, root)


def enter_again(saved: SavedEncoder, root: Path, store: MetadataStore) -> None:
    """Makes the artifact of an encoder that was removed and is back live: TFX would enter it, yet
    give no other node what is marked as deleted.
    """
    mark(store, artifacts_at(store, place_of(saved, root)), mlmd.Artifact.LIVE)


def remove_others(saved: SavedEncoder, root: Path, store: MetadataStore) -> None:
    """Removes the encoders that serve no more from the pipeline root; their artifacts stay, marked
    as deleted.

    Marked first: what a kill leaves behind is removed at the end of the next run.

    Args:
      saved: the run's own, which is kept; none where its path is ''.
      root: the pipeline root.
      store: its metadata.
    """
    others = {str(folder) for folder in (root / IMPORTED).glob("*")} - {place_of(saved, root)}
    for uri in others - _origins_of_served(store) if others else ():
        mark(store, artifacts_at(store, uri), mlmd.Artifact.DELETED)
        shutil.rmtree(uri)


def _origins_of_served(store: MetadataStore) -> set[str]:
    """Returns the URIs of all that those models were made from whose pushed copy is on disk."""
    snapshot = read(store)
    makers = [
        maker
        for model in all_models(snapshot)
        if any(Path(item.properties[PUSHED_DESTINATION]).is_dir() for item in model.pushed)
        for maker in snapshot.ancestors(model.maker).values()
    ]
    numbers = [number for maker in makers for items in maker.outputs.values() for number in items]
    return {snapshot.artifacts[number].uri for number in numbers}
