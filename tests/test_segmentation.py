"""Segmentation: what is learned from label maps and answered for images is what numpy says, at the
sizes the images have.
"""

import io
import re

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from trainer_module.encoded_images import Strings
from trainer_module.errors import InputError
from trainer_module.examples import Examples
from trainer_module.judging import judge
from trainer_module.segmentation.iou import interval, mean_iou, pixels_of
from trainer_module.segmentation.label_map import encode_label_map, read_label_map
from trainer_module.segmentation.painting import palette
from trainer_module.segmentation.pixel_loss import PixelLoss, class_weights
from trainer_module.settings import Target
from trainer_module.tasks.segmentation import Segmentation

IGNORED = 255
TASK = Segmentation(4)


@pytest.fixture
def pixels():
    """Returns label maps [B, H, W] with ignored pixels and logits [B, H, W, C].

    Class 3 occurs in neither.
    """
    rng = np.random.default_rng(0)
    label_maps = rng.integers(0, 3, (3, 5, 7)).astype(np.uint8)
    label_maps[rng.random(label_maps.shape) < 0.2] = IGNORED
    logits = rng.normal(size=(*label_maps.shape, 4)).astype(np.float32)
    logits[..., 3] = -50.0
    return label_maps, logits


def test_the_metric_of_training_is_the_mean_iou_over_the_classes_that_occur(pixels):
    label_maps, logits = pixels
    counted = label_maps != IGNORED
    truth, predicted = label_maps[counted], logits.argmax(axis=-1)[counted]
    ious = [
        np.sum((truth == c) & (predicted == c)) / np.sum((truth == c) | (predicted == c))
        for c in range(3)
    ]
    metric = TASK.metrics({})[0]
    for start in range(len(label_maps)):
        metric.update_state(label_maps[start : start + 1], logits[start : start + 1])
    assert float(metric.result()) == pytest.approx(np.mean(ious), abs=1e-6)


def test_an_ignored_class_that_is_answered_is_wrong_and_no_class_of_the_mean():
    task = Segmentation(3, ignored_class=0)
    truth = np.array([[0] * 5 + [1] * 20 + [2] * 10])  # of these 30 count
    answer = np.where(np.arange(35) == 34, 0, truth)
    logits = 9.0 * np.eye(3, dtype=np.float32)[answer]
    metric = task.metrics({})[0]
    metric.update_state(truth[None], logits[None])
    assert float(metric.result()) == pytest.approx((20 / 20 + 9 / 10) / 2)
    added = task.contributions([encode_label_map(truth.astype(np.uint8))], logits[None], {})
    assert task.metric_of(added.sum(axis=0), 1) == pytest.approx(0.95)
    assert task.constant_score(["a.png"]) == 1 / 2


def test_the_loss_is_the_weighted_cross_entropy_of_the_pixels_that_count(pixels):
    label_maps, logits = pixels
    weights = np.array([0.5, 1.0, 2.0, 9.0], np.float32)
    total, weight = 0.0, 0.0
    for place in np.ndindex(label_maps.shape):
        if (label := label_maps[place]) != IGNORED:
            total += weights[label] * (
                np.log(np.exp(logits[place].astype(np.float64)).sum()) - logits[place][label]
            )
            weight += weights[label]
    assert float(PixelLoss(weights, IGNORED)(label_maps, logits)) == pytest.approx(
        total / weight, rel=1e-5
    )


def test_the_dice_loss_of_a_certain_and_right_answer_is_nothing(pixels):
    label_maps, _ = pixels
    certain = 60.0 * np.eye(4, dtype=np.float32)[np.where(label_maps == IGNORED, 0, label_maps)]
    assert float(PixelLoss(np.ones(4), IGNORED, dice=1.0)(label_maps, certain)) == pytest.approx(
        0.0, abs=1e-6
    )
    assert float(PixelLoss(np.ones(4), IGNORED, dice=1.0)(label_maps, -certain)) > 0.9


def test_ignored_pixels_have_no_gradient(pixels):
    label_maps, logits = pixels
    logits = tf.Variable(logits)
    with tf.GradientTape() as tape:
        loss = PixelLoss(np.ones(4), IGNORED, dice=0.5)(label_maps, logits)
    gradient = tape.gradient(loss, logits).numpy()
    assert not gradient[label_maps == IGNORED].any()
    assert gradient[label_maps != IGNORED].any()


@pytest.mark.parametrize("balance", [0.0, 0.5, 1.0])
def test_class_weights_have_mean_one_over_pixels_and_balance_classes(balance):
    counts = np.array([900, 90, 10, 0])
    weights = class_weights(counts, balance)
    assert (weights * counts).sum() / counts.sum() == pytest.approx(1.0)
    assert weights[1] / weights[0] == pytest.approx(10.0**balance)
    assert weights[3] == 0


def png(mode, size=(6, 4)):
    buffer = io.BytesIO()
    Image.new(mode, size, 1).save(buffer, format="PNG")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (png("L", (5, 4)), "the label map has 4 x 5 pixels"),
        (encode_label_map(np.full((4, 6), 4, np.uint8)), "class id 4, outside [0, 4)"),
        (png("RGB"), "PNG of mode RGB"),
        (b"no image", "cannot be decoded"),
    ],
)
def test_a_bad_label_map_is_told(content, reason):
    with pytest.raises(ValueError) as error:
        TASK.example_fields(content, (4, 6))
    assert reason in str(error.value)


def test_of_a_palette_png_the_index_counts():
    label_map = np.arange(4, dtype=np.uint8).repeat(6).reshape(4, 6)
    stored = TASK.example_fields(encode_label_map(label_map, palette(4)), (4, 6))["label_map"]
    np.testing.assert_array_equal(tf.io.decode_png(stored, channels=1)[..., 0], label_map)


@pytest.mark.parametrize(
    ("targets", "settings", "told"),
    [
        (["a.png"], Target(), "`--num_classes` must be given for segmentation"),
        (["a.png"], Target(num_classes=300), "Received: 300"),
        (["", ""], Target(num_classes=3), "The training list has no label maps"),
        (["a.png"], Target(2, 255, (0, 1, 2)), "Fix: --num_classes=3, or leave it out"),
        (["a.png"], Target(0, 1, (0, 255)), "Fix: --set target.ignored_class=255, or -1 if"),
    ],
)
def test_a_list_that_makes_no_task_is_refused(targets, settings, told):
    with pytest.raises(InputError, match=re.escape(told)):
        Segmentation.from_targets(targets, settings)


def test_the_answer_has_the_size_of_each_image():
    sizes = [(20, 31), (17, 12)]
    encoded = [png("RGB", (width, height)) for height, width in sizes]
    logits = np.random.default_rng(0).normal(size=(2, 8, 8, 4)).astype(np.float32)
    answer = TASK.served(tf.constant(logits), tf.constant(encoded), {})
    for index, size in enumerate(sizes):
        ids = read_label_map(answer["label_map_png"].numpy()[index])
        assert ids.shape == size
        np.testing.assert_array_equal(answer["class_ids"][index, : size[0], : size[1]], ids)
        smooth = tf.image.resize(logits[index], size).numpy()
        np.testing.assert_array_equal(ids, smooth.argmax(axis=-1))
    assert answer["class_ids"].shape == (2, 20, 31)
    assert np.all(answer["class_ids"][1, 17:] == 255)


def test_models_are_compared_as_the_served_one_is_judged_at_the_size_of_each_label_map():
    chance, sizes = np.random.default_rng(0), [(20, 31), (17, 12), (8, 8)]
    truths = [chance.integers(0, 4, size, np.uint8) for size in sizes]
    logits = chance.normal(size=(3, 8, 8, 4)).astype(np.float32)
    pictures = [png("RGB", (width, height)) for height, width in sizes]
    served = TASK.served(tf.constant(logits), tf.constant(pictures), {})["label_map_png"].numpy()
    rows = np.stack(
        [
            pixels_of(truth, read_label_map(answer), 4, 255)
            for truth, answer in zip(truths, served, strict=True)
        ]
    )
    lengths = np.cumsum([0, *(len(encode_label_map(truth)) for truth in truths)])
    content = np.frombuffer(b"".join(map(encode_label_map, truths)), np.uint8)
    stored = np.zeros((3, 8, 8), np.uint8)  # which are not asked
    held_out = Examples(
        np.zeros((3, 8, 8, 3), np.uint8),
        stored,
        np.zeros(3),
        np.ones(3),
        {},
        Strings(content, np.stack([lengths[:-1], lengths[1:]], axis=1)),
    )
    judged = judge(TASK, held_out, [logits[:2], logits[2:]])
    assert judged.score == mean_iou(rows.sum(axis=0))
    assert TASK.interval(judged.contributions) == interval(rows)


def test_a_prediction_is_drawn_at_the_size_of_its_image():
    answer = {"label_map_png": encode_label_map(np.full((4, 6), 2, np.uint8))}
    drawn = TASK.drawn(answer, png("RGB"))
    assert {name: Image.open(io.BytesIO(content)).size for name, content in drawn.items()} == {
        "labelmap.png": (6, 4),
        "overlay.png": (6, 4),
    }
    assert TASK.line(answer) == "class 2 100%"


def test_views_keep_label_maps_with_their_images():
    label_maps = np.random.default_rng(0).integers(0, 3, (4, 18, 22)).astype(np.uint8)
    images = np.repeat((100 * label_maps)[..., None], 3, axis=-1)
    views, seen = TASK.views(images, label_maps, keras.random.SeedGenerator(0), TASK.mild)
    assert (views.shape, seen.shape) == ((4, 18, 22, 3), (4, 18, 22))
    for view, ids in zip(np.asarray(views), np.asarray(seen), strict=True):
        greys = [view[ids == class_id].mean() for class_id in range(3)]
        assert greys == sorted(
            greys
        )  # blended at edges and recoloured, but brighter where the class is higher


@pytest.mark.parametrize("occur", [2, 4])
def test_one_class_everywhere_scores_up_to_one_over_the_classes_that_occur(occur):
    truth = np.zeros((1, 20, 20), np.uint8)
    truth[0, 0, :occur] = np.arange(occur)
    everywhere = np.eye(4)[np.zeros(truth.shape, int)]
    added = TASK.contributions([encode_label_map(truth[0])], everywhere, {})
    score = TASK.metric_of(added.sum(axis=0), len(truth))
    assert 0.9 / occur < score < 1 / occur
    assert (score < TASK.constant_score(["a.png"])) == (occur == 4)  # of 4 classes
