"""What is measured on the way is what it is called."""

import keras
import numpy as np
import pytest
from sklearn.linear_model import Ridge
from test_encoded_images import encoded

from trainer_module.learner import SimCLR, Views
from trainer_module.loss import alignment, uniformity
from trainer_module.monitor import (
    RIDGE,
    Monitor,
    Watched,
    ridge_accuracy,
    thinned,
    view_embeddings,
)
from trainer_module.neighbours import knn_accuracy
from trainer_module.settings import Augmentation


@pytest.fixture
def features():
    """Returns train features, train labels, held-out features, held-out labels; classes overlap."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(4, 6))
    labels = rng.integers(0, 4, 700)
    values = (centres[labels] + rng.normal(size=(700, 6))).astype("float32")
    return values[:500], labels[:500], values[500:], labels[500:]


def test_knn_is_the_majority_of_the_ten_most_similar_by_cosine(features):
    train, train_labels, held_out, labels = features
    lengths = np.linalg.norm(held_out, axis=1)[:, None] * np.linalg.norm(train, axis=1)
    similar = np.argsort(-(held_out @ train.T) / lengths, axis=1)[:, :10]
    majority = [np.bincount(train_labels[row]).argmax() for row in similar]
    assert knn_accuracy(train, train_labels, held_out, labels, 10) == np.mean(majority == labels)


def test_fewer_images_than_neighbours_all_vote():
    train, labels, nearest_to_the_second = (
        np.eye(3),
        np.array([1, 0, 1]),
        np.array([[0.1, 1.0, 0.1]]),
    )
    assert knn_accuracy(train, labels, nearest_to_the_second, np.array([1])) == 1
    assert knn_accuracy(train, labels, nearest_to_the_second, np.array([0])) == 0


def test_the_nearest_alone_votes_if_only_one_may():
    train, labels, nearest_to_the_second = (
        np.eye(3),
        np.array([1, 0, 1]),
        np.array([[0.1, 1.0, 0.1]]),
    )
    assert knn_accuracy(train, labels, nearest_to_the_second, np.array([0]), 1) == 1


def test_the_ridge_probe_is_scikit_learns(features):
    train, train_labels, held_out, labels = features
    penalty = RIDGE * np.trace(np.cov(train.T, bias=True)) / train.shape[1] * len(train)
    reference = (
        Ridge(alpha=penalty).fit(train, keras.utils.to_categorical(train_labels)).predict(held_out)
    )
    assert ridge_accuracy(train, train_labels, held_out, labels) == pytest.approx(
        np.mean(reference.argmax(axis=1) == labels), abs=1e-9
    )


def test_features_that_are_the_same_for_all_images_score_as_chance(features):
    train, train_labels, held_out, labels = features
    accuracy = ridge_accuracy(np.ones_like(train), train_labels, np.ones_like(held_out), labels)
    assert accuracy == pytest.approx(np.mean(labels == np.bincount(train_labels).argmax()))


@pytest.mark.parametrize(("count", "most", "kept"), [(10, 100, 10), (100, 10, 10), (1, 5, 1)])
def test_thinning_keeps_what_fits(count, most, kept):
    chosen = thinned(count, most)
    assert len(chosen) == kept and chosen.max() < count


def mean_colours(scale):
    """Returns an encoder whose features are the mean of each channel, times `scale`."""
    image = keras.Input((4, 4, 3))
    dense = keras.layers.Dense(3, use_bias=False)
    encoder = keras.Model(image, dense(keras.layers.GlobalAveragePooling2D()(image)))
    dense.set_weights([scale * np.eye(3)])
    return encoder


def plain(colours):
    return np.tile((255 * np.asarray(colours)).astype(np.uint8)[:, None, None], (1, 4, 4, 1))


@pytest.fixture
def learner():
    head = keras.Sequential([keras.Input((3,)), keras.layers.Identity()])
    views = Views((4, 4), Augmentation(), (0.5,) * 3, (1.0,) * 3)
    return SimCLR(mean_colours(1.0), head, views, loss=alignment)


def measured(learner, watched, images, every_epochs=2, epochs=5):
    """Returns what the monitor adds to the logs of each epoch.

    Its own encoder has not learned anything.
    """
    monitor = Monitor(mean_colours(0.0), images, every_epochs, watched)
    monitor.set_model(learner)
    monitor.set_params({"epochs": epochs})
    logs = [{} for _ in range(epochs)]
    for epoch, log in enumerate(logs):
        monitor.on_epoch_end(epoch, log)
    return logs


def test_labelled_images_are_measured_on_the_encoder_that_trains_every_few_epochs_and_at_the_end(
    learner,
):
    colours = np.eye(3)
    watched = Watched(
        plain(np.repeat(colours, 12, 0)),
        np.repeat(np.arange(3), 12),
        plain(colours[[0, 1, 2, 2]]),
        np.array([0, 1, 2, 0]),
    )
    logs = measured(learner, watched, watched.train_images)
    right = {"knn_accuracy": 0.75, "probe_accuracy": 0.75}  # the last label is wrong
    assert logs == [right, right, {}, right, right]  # the first early, where there are labels


def started(monitor, learner, epochs):
    monitor.set_model(learner)
    monitor.set_params({"epochs": epochs})
    monitor.on_train_begin()
    logs = [{} for _ in range(epochs)]
    for epoch, log in enumerate(logs):
        monitor.on_epoch_end(epoch, log)
    return logs


def colours_to_watch(eval_count):
    colours, labels = np.eye(3), np.arange(eval_count) % 3
    train = plain(np.repeat(colours, 12, 0))
    return Watched(train, np.repeat(np.arange(3), 12), plain(colours[labels]), labels)


def test_an_encoder_that_is_no_better_than_before_is_told_early_with_what_to_try(learner, capsys):
    watched = colours_to_watch(60)
    watched.eval_labels[:3] = 1, 2, 0  # wrong
    logs = started(Monitor(mean_colours(1.0), watched.train_images, 2, watched), learner, 20)
    assert logs[1] == {
        "knn_accuracy": 0.95,
        "untrained_knn_accuracy": 0.95,
        "probe_accuracy": 0.95,
    }
    told = capsys.readouterr().out
    assert told.startswith("Epoch 2: not better than random weights yet")
    assert "+0.0 points" in told and told.count("--temperature") == 1
    assert told.count("not better than random weights") == 3


def test_an_encoder_that_is_better_than_before_is_not_warned_of(learner, capsys):
    watched = colours_to_watch(60)
    logs = started(Monitor(mean_colours(0.0), watched.train_images, 2, watched), learner, 2)
    assert logs[1]["untrained_knn_accuracy"] < 0.5 and logs[1]["knn_accuracy"] == 1.0
    assert capsys.readouterr().out == ""


def test_a_lead_that_few_images_leave_open_is_told_as_such_with_more_to_hold_out(learner, capsys):
    watched = colours_to_watch(3)  # one of each colour; without colours one is right
    started(Monitor(mean_colours(0.0), watched.train_images, 2, watched), learner, 1)
    told = capsys.readouterr().out
    assert told.startswith(
        "Epoch 1: 3 held-out images cannot tell yet whether it is better than random weights, by "
        "the nearest neighbours: +66.7 points ["
    )
    assert "more held out:" in told


def test_weights_that_training_began_with_are_not_taken_for_random_ones(learner, capsys):
    watched, told = colours_to_watch(60), {"brought": True, "encoder": {"stem": "imagenet"}}
    told["view_size"] = (32, 32)
    started(Monitor(mean_colours(1.0), watched.train_images, 2, watched, told), learner, 1)
    lines = capsys.readouterr().out
    assert "+0.0 points" in lines and "over random weights" in lines
    assert "untrained" not in lines and "encoder.stem" not in lines


def test_views_are_embedded_in_pairs_whatever_goes_into_the_encoder_at_once(learner, monkeypatch):
    images = plain(np.random.default_rng(0).uniform(size=(16, 3)))
    monkeypatch.setattr("trainer_module.features.LEAST_AT_ONCE", 6)
    monkeypatch.setattr("trainer_module.features.MOST_PIXELS", 0)
    first, second = (np.asarray(side) for side in view_embeddings(learner, images))
    assert first.shape == second.shape == (16, 3)
    distances = np.linalg.norm(first[:, None] - second[None], axis=-1)  # [16, 16]
    assert np.diag(distances).mean() < 0.8 * distances.mean()


def test_a_look_is_taken_with_labels_and_without(learner):
    images = plain(np.random.default_rng(0).uniform(size=(16, 3)))
    labels = np.arange(16) % 2
    for watched in (None, Watched(images, labels, images, labels)):
        monitor = Monitor(mean_colours(0.0), images, 2, watched)
        monitor.set_model(learner)
        monitor.look()
        assert (monitor.untrained is None) == (watched is None)


@pytest.mark.parametrize("labelled", [True, False])
def test_no_more_images_are_decoded_at_once_than_go_into_the_encoder(
    learner, monkeypatch, labelled
):
    monkeypatch.setattr("trainer_module.features.LEAST_AT_ONCE", 6)
    monkeypatch.setattr("trainer_module.features.MOST_PIXELS", 0)
    monkeypatch.setattr("trainer_module.monitor.MOST_TRAIN_IMAGES", 20)
    pixels, decoded = plain(np.random.default_rng(0).uniform(size=(36, 3))), []
    images, labels = encoded(pixels), np.arange(36) % 2
    decode = images._decode
    images._decode = lambda some: decoded.append(len(some)) or decode(some)
    watched = Watched(images, labels, pixels, labels) if labelled else None
    logs = measured(learner, watched, images)[-1]
    assert 0 < max(decoded) <= 6
    watched = Watched(pixels, labels, pixels, labels) if labelled else None
    assert logs == pytest.approx(measured(learner, watched, pixels)[-1])


def test_without_labels_the_embeddings_of_two_views_are_measured(learner):
    images = plain(np.random.default_rng(0).uniform(size=(16, 3)))
    first, second = view_embeddings(learner, images)
    expected = {
        "alignment": float(alignment(first, second)),
        "uniformity": float(uniformity(first)),
    }
    assert expected["alignment"] > 0 and first.shape == (16, 3)
    assert measured(learner, None, images)[-1] == pytest.approx(expected)
