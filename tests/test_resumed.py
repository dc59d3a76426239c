"""A run that goes on: with the very encoder that it began with, also where the user's is gone."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from test_weights import narrow, written

from components.metadata.names import SAVED_MODEL
from pipeline.flags import build_parser, choices_of
from pipeline.imported import bring_in
from pipeline.plan import make_plan
from pipeline.resumed import kept_encoder, plan_again
from pipeline.root import Root
from pipeline.stages import record_of
from trainer_module.errors import InputError

pytestmark = pytest.mark.tfx


def plan_of(image_list, *flags):
    line = [f"--train_file_path={image_list(size=32)}", *flags]
    return make_plan(choices_of(build_parser().parse_args(line)))


def begun(plan, root):
    """Brings in the encoder of a plan, and returns what run.json then says."""
    bring_in(plan.saved_encoder, root)
    return json.loads(json.dumps(record_of(plan, Root(root), "1", [])))


@pytest.fixture
def file(tmp_path):
    """Weights of another program."""
    return Path(written(tmp_path, narrow()))


@pytest.fixture
def interrupted(file, tmp_path, image_list):
    """The plan of a run that began with weights, and its record."""
    plan = plan_of(image_list, f"--encoder_weights={file}")
    return plan, begun(plan, tmp_path / "root")


def test_a_run_goes_on_with_the_weights_that_it_began_with_where_their_file_is_gone(
    interrupted, file, tmp_path
):
    plan, record = interrupted
    file.rename(tmp_path / "moved")
    assert plan_again(plan.choices, record, tmp_path / "root") == plan


def test_a_run_goes_on_with_the_encoder_that_it_took_where_its_folder_is_gone(
    interrupted, tmp_path, image_list
):
    taken, root = tmp_path / "taken", tmp_path / "root"
    shutil.copytree(Path(bring_in(interrupted[0].saved_encoder, root), SAVED_MODEL), taken)
    plan = plan_of(image_list, f"--pretrain_save_path={taken}")
    record = begun(plan, root)
    taken.rename(tmp_path / "moved")
    assert plan_again(plan.choices, record, root) == plan


def test_weights_that_have_changed_are_not_those_that_the_run_began_with(
    interrupted, file, tmp_path
):
    plan, record = interrupted
    written(tmp_path, narrow() | {"bn1.bias": np.ones(8, np.float32)})
    again = plan_again(plan.choices, record, tmp_path / "root")
    assert again.saved_encoder.fingerprint != plan.saved_encoder.fingerprint


def test_without_file_and_copy_the_file_is_asked_for(interrupted, file, tmp_path):
    plan, record = interrupted
    file.unlink()
    shutil.rmtree(tmp_path / "root")
    with pytest.raises(InputError, match=r"must be a file of weights. Received: .*No such file"):
        plan_again(plan.choices, record, tmp_path / "root")


@pytest.mark.parametrize("encoder", [{"path": "/gone", "kind": "new"}, {"from_weights": 1}, []])
def test_what_another_version_has_recorded_of_an_encoder_is_passed_over(encoder, tmp_path):
    assert kept_encoder({"encoder": encoder}, tmp_path) is None
