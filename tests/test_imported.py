"""Encoders that runs took from the user's folders: copied whole, the latest kept, the others
marked as deleted in ML Metadata and the same artifact again when they come back.
"""

from pathlib import Path

import pytest
from ml_metadata.proto import metadata_store_pb2 as mlmd

from components.metadata.store import open_store
from pipeline.imported import bring_in, enter_again, remove_others
from pipeline.save_paths import SavedEncoder
from trainer_module.errors import InputError
from trainer_module.saved_encoder import ENCODER_FILE, EXTRAS, encoder_fingerprint


def saved_encoder(folder, weights):
    """An encoder in a folder of the user's."""
    (folder / EXTRAS).mkdir(parents=True, exist_ok=True)
    (folder / EXTRAS / ENCODER_FILE).write_bytes(weights)
    return SavedEncoder(str(folder), encoder_fingerprint(folder))


def weights_in(place):
    return Path(place, "Format-Serving", EXTRAS, ENCODER_FILE).read_bytes()


@pytest.fixture
def store(tmp_path):
    """An empty metadata store."""
    return open_store(str(tmp_path / "metadata.sqlite"), read_only=False)


def enter(store, uri):
    """Enters a live artifact, as the Importer does; returns its id."""
    kind = store.put_artifact_type(mlmd.ArtifactType(name="Model"))
    (number,) = store.put_artifacts(
        [mlmd.Artifact(type_id=kind, uri=uri, state=mlmd.Artifact.LIVE)]
    )
    return number


def contexts(store, node):
    """Returns the contexts of a node in the one run there is."""
    found = []
    for kind, name in (("pipeline_run", "run"), ("node", f"tiny.{node}")):
        number = store.put_context_type(mlmd.ContextType(name=kind))
        known = store.get_context_by_type_and_name(kind, name)
        found.append(known or mlmd.Context(type_id=number, name=name))
    return found


def ran(store, node, inputs, kind, **values):
    """Enters an execution that made one artifact from others; returns the artifact's id."""
    number = store.put_artifact_type(
        mlmd.ArtifactType(name=kind), can_add_fields=True, can_omit_fields=True
    )
    made = mlmd.Artifact(type_id=number, uri=values.get("uri", ""), state=mlmd.Artifact.LIVE)
    for name, value in values.items():
        made.custom_properties[name].string_value = value
    events = [(item, mlmd.Event.INPUT, "model") for item in store.get_artifacts_by_id(inputs)]
    events.append((made, mlmd.Event.OUTPUT, "made"))
    execution = mlmd.Execution(
        type_id=store.put_execution_type(mlmd.ExecutionType(name=node)),
        last_known_state=mlmd.Execution.COMPLETE,
    )
    pairs = [(item, mlmd.Event(type=way, path=path(key))) for item, way, key in events]
    return store.put_execution(execution, pairs, contexts(store, node))[1][-1]


def path(key):
    return mlmd.Event.Path(steps=[mlmd.Event.Path.Step(key=key)])


def pushed(store, root, saved):
    """Enters an encoder and a model that was made from it and pushed to a folder; returns the
    encoder's id and that folder.
    """
    serving = root / "serving" / saved.fingerprint
    serving.mkdir(parents=True)
    encoder = ran(store, "Encoder", [], "Model", uri=bring_in(saved, root))
    model = ran(store, "Finetuner", [encoder], "Model")
    ran(store, "Pusher", [model], "PushedModel", pushed="1", pushed_destination=str(serving))
    return encoder, serving


def state(store, number):
    (artifact,) = store.get_artifacts_by_id([number])
    return mlmd.Artifact.State.Name(artifact.state)


def test_what_is_brought_in_stays_when_the_folder_changes(tmp_path):
    before = bring_in(saved_encoder(tmp_path / "saved", b"weights"), tmp_path)
    after = bring_in(saved_encoder(tmp_path / "saved", b"other weights"), tmp_path)
    assert (weights_in(before), weights_in(after)) == (b"weights", b"other weights")


def test_a_copy_that_is_there_needs_the_folder_no_more(tmp_path):
    saved = saved_encoder(tmp_path / "saved", b"weights")
    place = bring_in(saved, tmp_path)
    saved_encoder(tmp_path / "saved", b"other weights")
    assert bring_in(saved, tmp_path) == place and weights_in(place) == b"weights"


def test_an_encoder_that_changes_before_it_is_copied_is_not_taken_for_the_one_found(tmp_path):
    found = saved_encoder(tmp_path / "saved", b"weights")
    saved_encoder(tmp_path / "saved", b"other weights")
    with pytest.raises(InputError, match=r"while it is copied.*Fix: start again"):
        bring_in(found, tmp_path)
    assert not (tmp_path / "imported" / found.fingerprint).exists()


def test_a_copy_that_was_damaged_is_made_anew(tmp_path):
    saved = saved_encoder(tmp_path / "saved", b"weights")
    place = bring_in(saved, tmp_path)
    Path(place, "Format-Serving", EXTRAS, ENCODER_FILE).write_bytes(b"wei")
    assert weights_in(bring_in(saved, tmp_path)) == b"weights"


def test_the_encoder_of_the_run_is_kept_and_the_others_are_marked_as_deleted(tmp_path, store):
    first, second = (saved_encoder(tmp_path / name, name.encode()) for name in ("one", "two"))
    old, new = (enter(store, bring_in(saved, tmp_path)) for saved in (first, second))
    remove_others(second, tmp_path, store)
    assert [path.name for path in (tmp_path / "imported").iterdir()] == [second.fingerprint]
    assert (state(store, old), state(store, new)) == ("DELETED", "LIVE")


def test_what_a_pushed_model_was_made_from_is_kept_until_that_is_gone(tmp_path, store):
    saved = saved_encoder(tmp_path / "saved", b"weights")
    encoder, serving = pushed(store, tmp_path, saved)
    remove_others(SavedEncoder(), tmp_path, store)
    kept = state(store, encoder)
    serving.rmdir()
    remove_others(SavedEncoder(), tmp_path, store)
    assert (kept, state(store, encoder)) == ("LIVE", "DELETED")


def test_after_a_run_that_took_none_none_is_kept(tmp_path, store):
    enter(store, bring_in(saved_encoder(tmp_path / "saved", b"weights"), tmp_path))
    remove_others(SavedEncoder(), tmp_path, store)
    assert not list((tmp_path / "imported").iterdir())


def test_what_a_kill_left_of_a_copy_goes_too(tmp_path, store):
    saved = saved_encoder(tmp_path / "saved", b"weights")
    bring_in(saved, tmp_path)
    (tmp_path / "imported" / "0123.unfinished" / "Format-Serving").mkdir(parents=True)
    remove_others(saved, tmp_path, store)
    assert [path.name for path in (tmp_path / "imported").iterdir()] == [saved.fingerprint]


def test_an_encoder_that_comes_back_is_the_same_artifact_and_live(tmp_path, store):
    saved = saved_encoder(tmp_path / "saved", b"weights")
    number = enter(store, bring_in(saved, tmp_path))
    remove_others(SavedEncoder(), tmp_path, store)
    place = bring_in(saved, tmp_path)
    enter_again(saved, tmp_path, store)
    (again,) = store.get_artifacts_by_uri(place)
    assert (again.id, state(store, again.id)) == (number, "LIVE")
