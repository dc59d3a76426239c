"""Pushed models that someone has removed: TFX asks of a push in the cache whether its artifact is
there, not whether the model is.
"""

from pathlib import Path

from ml_metadata.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as mlmd

from components.metadata.names import PUSHED_DESTINATION, PUSHED_MODEL
from components.metadata.store import artifacts_that_count, mark
from pipeline.root import Root


def forget_removed(root: Root, store: MetadataStore) -> None:
    """Marks the pushes of a root as deleted whose model is gone, so that Pusher does them again;
    lineage still names them.

    Args:
      root: whose lock is held.
      store: its metadata, which other roots may share.
    """
    pushes = artifacts_that_count(store, PUSHED_MODEL)
    mark(store, (item.id for item in pushes if _is_gone(item, root)), mlmd.Artifact.DELETED)


def _is_gone(item: mlmd.Artifact, root: Root) -> bool:
    own = not root.server or Path(item.uri).is_relative_to(root.artifacts)
    place = item.custom_properties[PUSHED_DESTINATION].string_value
    return own and bool(place) and not Path(place).is_dir()
