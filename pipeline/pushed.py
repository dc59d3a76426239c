"""Pushed models that someone has removed: TFX asks of a push in the cache whether its artifact is
there, not whether the model is.
"""

from pathlib import Path

from ml_metadata.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as mlmd

from components.metadata.names import PUSHED_DESTINATION, PUSHED_MODEL
from pipeline.root import Root


def forget_removed(root: Root, store: MetadataStore) -> None:
    """Marks the pushes of a root as deleted whose model is gone, so that Pusher does them again;
    lineage still names them.

    Args:
      root: whose lock is held.
      store: its metadata, which other roots may share.
    """
    gone = [item for item in store.get_artifacts_by_type(PUSHED_MODEL) if _is_gone(item, root)]
    for item in gone:
        item.state = mlmd.Artifact.DELETED
    if gone:
        store.put_artifacts(gone)


def _is_gone(item: mlmd.Artifact, root: Root) -> bool:
    own = not root.server or Path(item.uri).is_relative_to(root.artifacts)
    place = item.custom_properties[PUSHED_DESTINATION].string_value
    return own and item.state == item.LIVE and bool(place) and not Path(place).is_dir()
