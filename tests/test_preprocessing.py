import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform.beam as tft_beam
from PIL import Image
from tensorflow_transform.tf_metadata import dataset_metadata, schema_utils

from trainer_module import preprocessing
from trainer_module.segmentation.label_map import encode_label_map
from trainer_module.stored_images import pack_images, unpack_images
from trainer_module.tasks.classification import Classification
from trainer_module.tasks.registry import task_to_json
from trainer_module.tasks.segmentation import Segmentation
from trainer_module.tasks.unlabelled import Unlabelled

pytestmark = pytest.mark.tfx


def png(pixels):
    return tf.io.encode_png(pixels).numpy()


def transform(tmp_path, rows, spec, **config):
    def fn(inputs):
        return preprocessing.preprocessing_fn(inputs, {"image_size": [8, 8], **config})

    metadata = dataset_metadata.DatasetMetadata(schema_utils.schema_from_feature_spec(spec))
    with tft_beam.Context(temp_dir=str(tmp_path)):
        (data, _), _ = (rows, metadata) | tft_beam.AnalyzeAndTransformDataset(fn)
    return data


SPEC = {
    "image": tf.io.FixedLenFeature([1], tf.string),
    "label": tf.io.FixedLenFeature([1], tf.string),
}


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def rows(images, tmp_path_factory):
    names = ["dog", "cat", "dog", "dog", "cat", "dog"]
    raw = [
        {"image": np.array([png(image)], object), "label": np.array([name.encode()], object)}
        for image, name in zip(images, names, strict=True)
    ]
    task = Classification(2, ("cat", "dog"))
    return transform(tmp_path_factory.mktemp("tft"), raw, SPEC, task=task_to_json(task))


def test_images_come_through_unchanged_when_they_have_the_size(rows, images):
    unpacked = unpack_images(tf.constant([row["image"] for row in rows]), 8, 8).numpy()
    np.testing.assert_array_equal(np.sort(unpacked, axis=0), np.sort(images, axis=0))


def test_the_channel_statistics_are_those_of_all_pixels(rows, images):
    pixels = images.reshape(-1, 3) / 255.0
    np.testing.assert_allclose(rows[0]["channel_mean"], pixels.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(rows[0]["channel_std"], pixels.std(axis=0), rtol=1e-5)


def test_every_row_carries_the_same_statistics(rows):
    assert len({row["channel_mean"].tobytes() for row in rows}) == 1


def test_names_become_their_places_in_the_alphabet(rows):
    assert sorted(int(row["label"]) for row in rows) == [0, 0, 1, 1, 1, 1]


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP"])
def test_every_common_format_in_any_mode_decodes_to_rgb_of_the_size(kind, tmp_path):
    file = tmp_path / "image"
    Image.new("L", (20, 12), 90).save(file, format=kind)
    decoded = preprocessing.decode_images(tf.constant([file.read_bytes()]), 8, 8).numpy()
    assert decoded.shape == (1, 8, 8, 3)
    assert np.abs(decoded.astype(int) - 90).max() <= 3


def test_a_constant_channel_is_centred_and_not_blown_up(tmp_path):
    black = [{"image": np.array([png(np.zeros((8, 8, 3), np.uint8))], object)}] * 2
    rows = transform(tmp_path, black, {"image": SPEC["image"]}, task=task_to_json(Unlabelled()))
    np.testing.assert_allclose(rows[0]["channel_std"], preprocessing.LEAST_STD)


def test_packing_is_undone_by_unpacking(images):
    np.testing.assert_array_equal(unpack_images(pack_images(tf.constant(images)), 8, 8), images)


def test_label_maps_are_resized_to_the_nearest_pixel_and_their_classes_counted(tmp_path, images):
    label_maps = np.random.default_rng(0).choice([0, 1, 2, 255], (2, 16, 24)).astype(np.uint8)
    spec = {"image": SPEC["image"], "label_map": tf.io.FixedLenFeature([1], tf.string)}
    raw = [
        {
            "image": np.array([png(image)], object),
            "label_map": np.array([encode_label_map(label_map)], object),
        }
        for image, label_map in zip(images, label_maps, strict=False)
    ]
    task = Segmentation(3)
    rows = transform(tmp_path, raw, spec, task=task_to_json(task))
    stored = task.targets(
        {"label_map": tf.constant([row["label_map"] for row in rows])}, (8, 8)
    ).numpy()
    nearest = label_maps[:, 1::2, 1::3]  # the pixel in the middle of what a stored one covers
    np.testing.assert_array_equal(stored, nearest)
    for row, label_map in zip(rows, label_maps, strict=True):
        assert row["whole_label_map"] == encode_label_map(label_map)
        np.testing.assert_array_equal(
            row["class_pixels"], np.bincount(nearest.ravel(), minlength=256)[:3]
        )
