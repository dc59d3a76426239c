"""The pipeline as Kubeflow and Vertex read it: kfp accepts it, and its containers' commands, run as
processes that know no store and no runner of ours, make a blessed model and its report.
"""

import json

import cluster
import dark_and_bright
import numpy as np
import pytest
import yaml
from PIL import Image
from tfx.types.standard_artifacts import ModelBlessing

from components.report.inputs import run_of
from pipeline import compile as compiling
from pipeline.flags import build_parser, choices_of
from pipeline.orchestrators.choosing import Compilation
from pipeline.orchestrators.container import keep_checkpoints, local, remote
from pipeline.plan import make_plan

pytestmark = [pytest.mark.tfx, pytest.mark.end_to_end]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with images that are bright or dark."""
    folder = tmp_path_factory.mktemp("kubeflow")
    dark_and_bright.write(folder)
    return folder


def compiled(place, name, *flags):
    """Returns the documents of a compiled pipeline."""
    pytest.importorskip("kfp", reason="needs make extra NAME=kubeflow")
    file = [f"--output={place / name}", "--image=registry/simclr:1"]
    assert compiling.main([*dark_and_bright.flags(place), *file, *flags]) == 0
    return list(yaml.safe_load_all((place / name).read_text()))


@pytest.fixture(scope="module")
def documents(place):
    root = f"--pipeline_root={place}/root"
    return compiled(place, "run.yaml", "--for=kubeflow", root, f"--volume=images:{place}")


@pytest.fixture(scope="module")
def made(place, documents):
    """Task -> output -> artifact, of a run of all containers."""
    return cluster.run_tasks(documents[0], place / "artifacts")


def test_all_containers_one_after_another_make_a_blessed_model_and_push_it(place, made):
    assert len(made) == 12
    assert made["Evaluator"]["blessing"]["metadata"]["blessed"] == 1
    assert made["Pusher"]["pushed_model"]["metadata"]["pushed"] == 1
    assert len(list((place / "root" / "serving").iterdir())) == 1


def test_the_report_tells_the_verdict_and_the_settings_without_a_store(place, made):
    page = (place / "artifacts/RunReport/0/report/report.html").read_text()
    assert "blessed" in page and "100.0 %" in page and "pretraining.temperature" in page
    assert "eval1.png" in page  # names of images, which the parameters of ingest lead to


def test_a_training_that_is_tried_again_finds_its_checkpoints_though_they_are_finished(tmp_path):
    kept, trained = tmp_path / "kept", tmp_path / "Pretrainer" / "0" / "model_run"
    trained.mkdir(parents=True)
    told = {"outputs": {"artifacts": {"model_run": {"artifacts": [{"uri": str(trained)}]}}}}
    keep_checkpoints(told, kept)
    (tmp_path / "Pretrainer" / "checkpoints" / "of these settings").mkdir()
    (kept / "of these settings" / "finished").touch()
    keep_checkpoints(told, kept)
    assert (tmp_path / "Pretrainer" / "checkpoints" / "of these settings").is_dir()
    keep_checkpoints({"outputs": {}}, kept)  # another node
    assert list(kept.iterdir()) == []


def test_checkpoints_lay_on_the_volume_and_those_of_a_finished_training_are_gone(place, made):
    beside = place / "artifacts" / "Pretrainer" / "checkpoints"
    assert beside.resolve() == place / "root" / "checkpoints"
    assert list(beside.iterdir()) == []


def test_every_container_has_the_image_and_the_volume(place, documents):
    spec, platform = documents
    containers = {
        name: one["container"]["image"] for name, one in spec["deploymentSpec"]["executors"].items()
    }
    mounts = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    assert set(containers.values()) == {"registry/simclr:1"}
    assert mounts.keys() == containers.keys()
    assert mounts["Transform_executor"] == {
        "pvcMount": [{"constant": "images", "mountPath": str(place)}]
    }


def test_an_image_that_was_edited_makes_another_key_of_ingest(place, documents):
    def rows(spec):
        task = spec["root"]["dag"]["tasks"]["FileListExampleGen"]
        return task["inputs"]["parameters"]["rows"]["runtimeValue"]["constant"]

    Image.fromarray(np.full((16, 16, 3), 200, np.uint8)).save(place / "train1.png")
    seen = f"--pipeline_root={place}/root", f"--volume=images:{place}"
    edited = compiled(place, "edited.yaml", "--for=kubeflow", *seen)[0]
    assert rows(edited) != rows(documents[0]) and rows(edited).startswith("train:rows:32,sha256:")


def test_vertex_keeps_artifacts_in_the_bucket_of_the_root_and_looks_for_the_blessed_model(place):
    # whose lists would lie in a bucket, too
    flags = [*dark_and_bright.flags(place), "--pipeline_root=/gcs/bucket/run"]
    plan = make_plan(choices_of(build_parser().parse_args(flags)))
    kubeflow = pytest.importorskip("pipeline.orchestrators.kubeflow", reason="as above")
    kubeflow.compile_into(plan, Compilation("vertex", place / "job.json", "registry/simclr:1"))
    job = json.loads((place / "job.json").read_text())
    assert job["runtimeConfig"]["gcsOutputDirectory"] == "gs://bucket/run/artifacts"
    assert "Baseline-model-resolver" in job["pipelineSpec"]["root"]["dag"]["tasks"]


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("gs://bucket/a", "/gcs/bucket/a"),
        ("s3://bucket/a", "/s3/bucket/a"),
        ("minio://bucket/a", "/minio/bucket/a"),
        ("/shared/a", "/shared/a"),
    ],
)
def test_an_object_has_a_path_in_the_container_and_that_path_its_uri(uri, path):
    assert (local(uri), remote(path)) == (path, uri)


@pytest.mark.parametrize("blessed", [0.0, 1.0])
def test_a_verdict_that_came_as_json_is_understood(blessed, tmp_path):
    blessing = ModelBlessing()
    blessing.uri = str(tmp_path)
    blessing.set_json_value_custom_property("blessed", blessed)
    told = run_of({"blessing": [blessing], "infra_blessing": [blessing]}, {})
    assert told.blessed is bool(blessed)
