"""The encoders that runs took from the user's folders: a copy of each in the pipeline root, named
after the fingerprint of its content, so that what ML Metadata says of it stays true.

Only that of the latest run is kept, about 90 MB for a ResNet-18. One that comes back is the same
artifact again, so that what was made from it is still cached.
"""

import shutil
from pathlib import Path

from ml_metadata.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as mlmd

from pipeline.config import SavedEncoder
from pipeline.save_paths import SERVING
from trainer_module.errors import InputError
from trainer_module.saved_encoder import EXTRAS, encoder_fingerprint

FOLDER = "imported"  # of the pipeline root


def place_of(saved: SavedEncoder, root: Path) -> str:
    """Returns the folder of an encoder in the pipeline root, or '' where none was taken."""
    return str(root / FOLDER / saved.fingerprint) if saved.path else ""


def bring_in(saved: SavedEncoder, root: Path) -> str:
    """Copies an encoder into the pipeline root, unless a whole copy is there.

    Args:
      saved: which one; nothing is done where its path is ''.
      root: the pipeline root.

    Returns:
      The folder of what is now a TFX Model artifact, or ''.

    Raises:
      InputError: if the encoder is no longer the one that was found at the path.
    """
    folder = Path(place_of(saved, root))
    if saved.path and encoder_fingerprint(folder / SERVING) != saved.fingerprint:
        shutil.rmtree(folder, ignore_errors=True)
        unfinished = folder.with_suffix(".unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        shutil.copytree(Path(saved.path, EXTRAS), unfinished / SERVING / EXTRAS)
        received = encoder_fingerprint(unfinished / SERVING)
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
    _mark(place_of(saved, root), mlmd.Artifact.LIVE, store)


def remove_others(saved: SavedEncoder, root: Path, store: MetadataStore) -> None:
    """Removes every encoder but one from the pipeline root; their artifacts stay, marked as
    deleted.

    Marked first: what a kill leaves behind is removed at the end of the next run.

    Args:
      saved: the one to keep; none where its path is ''.
      root: the pipeline root.
      store: its metadata.
    """
    for folder in (root / FOLDER).glob("*"):
        if str(folder) != place_of(saved, root):
            _mark(str(folder), mlmd.Artifact.DELETED, store)
            shutil.rmtree(folder)


def _mark(uri: str, state: mlmd.Artifact.State, store: MetadataStore) -> None:
    artifacts = list(store.get_artifacts_by_uri(uri)) if uri else []
    for artifact in artifacts:
        artifact.state = state
    if artifacts:
        store.put_artifacts(artifacts)
