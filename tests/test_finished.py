"""Checkpoints go where their training has ended, and only there."""

from trainer_module.finished import MARK, mark_finished, remove_finished


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


def test_a_training_without_checkpoints_leaves_no_mark(tmp_path):
    mark_finished(tmp_path / "none")
    assert not list(tmp_path.rglob(MARK))
