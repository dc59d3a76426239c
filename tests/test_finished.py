"""Checkpoints go where their training has ended, and only there."""

import pytest

from trainer_module.finished import MARK, checkpoint_dir, mark_finished, remove_finished
from trainer_module.settings import (
    FREE_SETTINGS,
    Augmentation,
    Encoder,
    FinetuningScience,
    Pretraining,
    to_json,
)


def test_checkpoints_of_a_finished_training_go_and_those_of_a_killed_one_stay(tmp_path):
    for name in ("ended", "killed"):
        (tmp_path / name / "milestones").mkdir(parents=True)
        (tmp_path / name / "checkpoint.npz").write_bytes(b"weights")
    mark_finished(tmp_path / "ended")
    remove_finished(tmp_path)
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.npz")) == [
        "killed/checkpoint.npz"
    ]


def test_where_nothing_was_pretrained_nothing_is_removed(tmp_path):
    remove_finished(tmp_path / "none")
    assert not list(tmp_path.iterdir())


@pytest.mark.tfx
@pytest.mark.parametrize("section", FREE_SETTINGS)
def test_settings_that_change_no_result_leave_checkpoints_where_they_are(tmp_path, section):
    from tfx.components.trainer.fn_args_utils import FnArgs

    def folder(**changes):
        science = FinetuningScience("", (32, 32), (32, 32), Encoder(), Augmentation(),
                                    Pretraining(), "abc")  # fmt: skip
        config = to_json(science)
        config[section] |= changes
        place = str(tmp_path / "model_run" / "1")
        return checkpoint_dir(
            FnArgs(custom_config=config, train_files=["examples/*"], model_run_dir=place)
        )

    assert {folder(**{name: 7}) for name in FREE_SETTINGS[section]} == {folder()}
    assert folder(seed=7) != folder()


@pytest.mark.tfx
def test_a_training_that_begins_with_other_weights_has_checkpoints_of_its_own(tmp_path):
    from tfx.components.trainer.fn_args_utils import FnArgs

    def folder(base_model, run="1"):
        given = {"custom_config": {"encoder": "18"}, "train_files": ["examples/*"]}
        place = str(tmp_path / "model_run" / run)
        return checkpoint_dir(FnArgs(**given, base_model=base_model, model_run_dir=place))

    assert folder("imported/a") == folder("imported/a", run="2")
    assert len({folder("imported/a"), folder("imported/b"), folder(None)}) == 3


def test_a_training_without_checkpoints_leaves_no_mark(tmp_path):
    mark_finished(tmp_path / "none")
    assert not list(tmp_path.rglob(MARK))
