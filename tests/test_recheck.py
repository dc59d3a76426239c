"""--recheck: examples whose files hold something else by now are not taken from the cache."""

import os

import numpy as np
import pytest
from ml_metadata.proto import metadata_store_pb2 as mlmd
from PIL import Image

import local_runner
from components.file_list_example_gen import image_index
from components.file_list_example_gen.rows import parse_rows
from components.metadata.names import EXAMPLE_GEN, INPUT_FINGERPRINT
from pipeline.data_check import checked_rows
from pipeline.flags import build_parser, choices_of
from pipeline.lock import lock
from pipeline.plan import make_plan
from pipeline.read_images import read_images
from pipeline.recheck import _fingerprints, forget_changed
from pipeline.root import Root

pytestmark = pytest.mark.tfx


@pytest.fixture
def ingested(tmp_path):
    """A plan, and a root whose store knows examples as ingest leaves them."""
    rows = []
    for number in range(40):
        pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.bmp")
        os.utime(tmp_path / f"{number}.bmp", ns=(10**18 + number, 10**18 + number))
        rows.append(f"{number}.bmp,{'cat' if number % 2 else 'dog'}\n")
    (tmp_path / "list.csv").write_text("".join(rows))
    flags = [f"--train_file_path={tmp_path / 'list.csv'}"]
    plan = make_plan(choices_of(build_parser().parse_args(flags)))
    _, _, records = read_images(checked_rows(plan.choices, plan.lists))
    folder, root = tmp_path / "examples", Root(tmp_path / "root")
    for split, found in records.items():
        image_index.write(found, str(folder), split)
    root.path.mkdir()
    _enter(root, folder, ";".join(_fingerprints(plan)))
    return plan, root


def _enter(root, folder, fingerprint):
    """Writes into the store what TFX notes of an ingest that is done."""
    store = root.open_store()
    kinds = store.put_artifact_type(mlmd.ArtifactType(name="Examples"))
    execution = mlmd.Execution(
        type_id=store.put_execution_type(mlmd.ExecutionType(name=EXAMPLE_GEN)),
        last_known_state=mlmd.Execution.COMPLETE,
    )
    artifact = mlmd.Artifact(type_id=kinds, uri=str(folder), state=mlmd.Artifact.LIVE)
    artifact.custom_properties[INPUT_FINGERPRINT].string_value = fingerprint
    event = mlmd.Event(type=mlmd.Event.OUTPUT)
    event.path.steps.add().key = "examples"
    contexts = []
    for kind in ("pipeline", "pipeline_run", "node"):
        number = store.put_context_type(mlmd.ContextType(name=kind))
        name = f"own.{EXAMPLE_GEN}" if kind == "node" else "own"
        contexts.append(mlmd.Context(type_id=number, name=name))
    store.put_execution(execution, [(artifact, event)], contexts)


def test_examples_that_are_as_the_files_are_stay(ingested):
    assert forget_changed(*ingested) == 0


def replace_image(plan):
    """Puts other pixels in the place of an image, with its size and time."""
    (row, *_), _ = parse_rows(plan.lists.train)
    pixels = np.random.default_rng(99).integers(0, 256, (8, 8, 3), np.uint8)
    Image.fromarray(pixels).save(row.path)
    os.utime(row.path, ns=(10**18, 10**18))


def test_while_a_run_goes_on_no_examples_are_marked(ingested, capsys):
    plan, root = ingested
    replace_image(plan)
    flags = [f"--train_file_path={plan.lists.train}", f"--pipeline_root={root.path}"]
    with lock(root.path):
        assert local_runner.main([*flags, "--recheck"]) == 2
    assert "Another run is going on" in capsys.readouterr().err
    (artifact,) = root.open_store().get_artifacts()
    assert artifact.state == mlmd.Artifact.LIVE


def test_an_image_replaced_by_one_of_the_same_size_and_time_marks_them_deleted(ingested):
    plan, root = ingested
    replace_image(plan)
    assert forget_changed(plan, root) == 1
    (artifact,) = root.open_store().get_artifacts()
    assert artifact.state == mlmd.Artifact.DELETED
    assert forget_changed(plan, root) == 0
