"""Pushed models that someone has removed, and those that are there."""

import pytest
from ml_metadata.proto import metadata_store_pb2 as mlmd

from pipeline.pushed import forget_removed
from pipeline.root import Root


@pytest.fixture
def root(tmp_path):
    """A root without any artifact."""
    return Root(tmp_path)


def enter(root, destination, below="artifacts"):
    """Writes into the store what Pusher tells of a push; '' of one that a gate refused."""
    store = root.open_store()
    kind = store.put_artifact_type(mlmd.ArtifactType(name="PushedModel"))
    uri = str(root.path / below / "Pusher" / "pushed_model" / "8")
    artifact = mlmd.Artifact(type_id=kind, uri=uri, state=mlmd.Artifact.LIVE)
    artifact.custom_properties["pushed"].int_value = bool(destination)
    if destination:
        artifact.custom_properties["pushed_destination"].string_value = str(destination)
    (number,) = store.put_artifacts([artifact])
    return number


def deleted(store):
    return {one.id for one in store.get_artifacts() if one.state == mlmd.Artifact.DELETED}


def test_of_pushed_models_those_are_marked_whose_folder_is_gone(root):
    (root.serving / "17").mkdir(parents=True)
    enter(root, root.serving / "17")
    enter(root, "")
    gone = enter(root, root.serving / "18")
    forget_removed(root, root.open_store())
    assert deleted(root.open_store()) == {gone}


def test_of_a_store_that_other_roots_share_theirs_are_left_alone(root):
    gone = enter(root, root.serving / "18")
    enter(root, root.path / "other" / "serving" / "18", below="other/artifacts")
    shared = Root(root.path, "mysql://me@host/base")
    forget_removed(shared, root.open_store())
    assert deleted(root.open_store()) == {gone}


def test_where_nothing_was_pushed_nothing_is_marked(root):
    forget_removed(root, root.open_store())
    assert deleted(root.open_store()) == set()
