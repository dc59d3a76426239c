"""Accuracy against epochs: encoders kept along the way, evaluated one by one, shown as a table."""

import dataclasses

import numpy as np
import pytest

from components.accuracy_by_epoch.table import COLUMNS, table, with_intervals
from trainer_module.checkpoint import load_weights, milestone_file
from trainer_module.epoch_evaluation import evaluate_epochs
from trainer_module.examples import Examples
from trainer_module.intervals import of_share
from trainer_module.linear_eval import fit_linear_in_epochs, linear_accuracy
from trainer_module.pretrain import Images, Places, pretrain, untrained_encoder
from trainer_module.saved_encoder import ENCODER_FILE, EXTRAS, EncoderRecord, write_record
from trainer_module.settings import Augmentation, Encoder, EvaluationScience, Pretraining

ENCODER = Encoder(width=0.125)
SETTINGS = Pretraining(
    epochs=3,
    batch_size=8,
    projection_hidden=8,
    projection_dim=4,
    monitor_every_epochs=9,
    precision="float32",
)
MEAN, STD = np.full(3, 0.5, np.float32), np.full(3, 0.25, np.float32)


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (16, 16, 16, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def trained(images, tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("run"))
    places = Places(folder, f"{folder}/logs", milestones=(1, 3))
    return folder, pretrain(
        Images(images, MEAN, STD, (16, 16)), ENCODER, Augmentation(), SETTINGS, places
    )[0]


def weights_at(folder, epoch):
    encoder = untrained_encoder(ENCODER, (16, 16), 0)
    load_weights(encoder, milestone_file(folder, epoch))
    return encoder.get_weights()


def test_the_encoder_of_the_last_epoch_is_the_result(trained):
    folder, encoder = trained
    assert all(
        np.array_equal(*pair)
        for pair in zip(weights_at(folder, 3), encoder.get_weights(), strict=True)
    )


def test_an_earlier_encoder_is_another_one_and_epochs_that_nobody_asked_for_are_not_kept(trained):
    folder, encoder = trained
    assert not all(
        np.array_equal(*pair)
        for pair in zip(weights_at(folder, 1), encoder.get_weights(), strict=True)
    )
    assert not milestone_file(folder, 2).exists()


def test_a_run_that_is_continued_keeps_the_same_encoders(images, tmp_path, trained):
    data, places = (
        Images(images, MEAN, STD, (16, 16)),
        Places(str(tmp_path), str(tmp_path / "logs"), milestones=(1, 3)),
    )

    class KilledError(Exception):
        """Stands for a kill after the first epoch."""

    def killed(*_, **__):
        raise KilledError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "trainer_module.checkpoint.Milestones.on_epoch_begin",
            lambda self, epoch, logs=None: epoch and killed(),
        )
        with pytest.raises(KilledError):
            pretrain(data, ENCODER, Augmentation(), SETTINGS, places)
    assert milestone_file(tmp_path, 1).exists() and not milestone_file(tmp_path, 3).exists()
    pretrain(data, ENCODER, Augmentation(), SETTINGS, places)
    for epoch in (1, 3):
        assert all(
            np.allclose(*pair, atol=1e-5)
            for pair in zip(weights_at(tmp_path, epoch), weights_at(trained[0], epoch), strict=True)
        )


def test_every_milestone_has_a_row_behind_the_untrained_encoder(trained, images):
    folder, _ = trained
    labels = np.arange(16) % 2
    split = Examples(images, labels, MEAN, STD)
    kept = {epoch: milestone_file(folder, epoch) for epoch in (3, 1)}
    rows = evaluate_epochs(untrained_encoder(ENCODER, (16, 16), 0), kept, split, split)
    assert [row["epoch"] for row in rows] == [0, 1, 3]
    assert all(set(row) == {"epoch", *COLUMNS} for row in rows)
    assert all(
        row["linear_accuracy"] == 1.0 for row in rows
    )  # 16 random images in 64 dims: any labels can be separated


@pytest.mark.tfx
@pytest.mark.parametrize("brought", [True, False])
def test_the_first_row_is_of_the_weights_that_pretraining_began_with(tmp_path, images, brought):
    from components.accuracy_by_epoch.component import encoder_before

    begun, fresh = (untrained_encoder(ENCODER, (16, 16), seed) for seed in (7, 3))
    write_record(str(tmp_path), EncoderRecord(ENCODER, (16, 16), (0.5,) * 3, (0.25,) * 3))
    begun.save(tmp_path / EXTRAS / ENCODER_FILE)
    options = EvaluationScience("", (16, 16), (), seed=3)
    before = encoder_before(str(tmp_path), str(tmp_path) if brought else "", options)
    split = Examples(images, np.random.default_rng(1).integers(0, 2, 16), MEAN, STD)
    rows = [evaluate_epochs(one, {}, split, split) for one in (before, begun if brought else fresh)]
    assert rows[0] == rows[1]
    for one, other in zip(before.weights, (begun if brought else fresh).weights, strict=True):
        np.testing.assert_array_equal(one, other)


def test_weights_of_another_architecture_are_refused(trained):
    wider = untrained_encoder(dataclasses.replace(ENCODER, width=0.25), (16, 16), 0)
    with pytest.raises(ValueError, match="shape"):
        load_weights(wider, milestone_file(trained[0], 1))


def test_a_head_of_few_epochs_learns_and_need_not_have_converged():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 900)
    features = rng.normal(size=(900, 8)).astype(np.float32) + 2 * np.eye(3, 8)[labels]
    accuracies = [
        linear_accuracy(*fit_linear_in_epochs(features, labels, 3, epochs), features, labels)
        for epochs in (1, 10)
    ]
    assert 1 / 3 < accuracies[0] < accuracies[1] < 1


ROWS = [{"epoch": epoch} | dict.fromkeys(COLUMNS, 0.3 + epoch / 1000) for epoch in (0, 200, 400)]


def test_the_table_has_one_line_an_epoch():
    assert table(ROWS).splitlines()[2:] == [
        "| 0 (before pretraining) | 30.0 % | 30.0 % | 30.0 % |",
        "| 200 | 50.0 % | 50.0 % | 50.0 % |",
        "| 400 | 70.0 % | 70.0 % | 70.0 % |",
    ]


def test_the_table_has_the_interval_of_each_accuracy():
    rows = with_intervals(ROWS, 1000)
    assert table(rows).splitlines()[3] == f"| 200 | {' | '.join(['50.0 % (46.9 to 53.1)'] * 3)} |"
    assert rows[1]["intervals"] == dict.fromkeys(COLUMNS, of_share(0.5, 1000))
    assert with_intervals(ROWS, 0) == ROWS
