"""A split is read in the order of its ids, whatever order Beam wrote it in, and wherever there is
room for it.
"""

import numpy as np
import pytest
import tensorflow as tf

from trainer_module.batches import EpochBatches
from trainer_module.errors import InputError
from trainer_module.examples import available_disk, read_examples, room_for
from trainer_module.preprocessing import CHANNEL_MEAN, CHANNEL_STD, IMAGE, IMAGE_ID
from trainer_module.saved_encoder import encoder_record
from trainer_module.settings import Encoder
from trainer_module.stored_images import pack_images
from trainer_module.tasks.classification import Classification
from trainer_module.tasks.segmentation import Segmentation

COUNT, SIZE = 7, (4, 6)
SPEC = {
    IMAGE: tf.io.FixedLenFeature([], tf.string),
    IMAGE_ID: tf.io.FixedLenFeature([], tf.int64),
    "label": tf.io.FixedLenFeature([], tf.int64),
    CHANNEL_MEAN: tf.io.FixedLenFeature([3], tf.float32),
    CHANNEL_STD: tf.io.FixedLenFeature([3], tf.float32),
}


def example(identity, pixels, pack=tf.io.serialize_tensor):
    def feature(kind, values):
        return tf.train.Feature(
            **{f"{kind}_list": getattr(tf.train, f"{kind.capitalize()}List")(value=values)}
        )

    features = {
        IMAGE: feature("bytes", [pack(pixels).numpy()]),
        IMAGE_ID: feature("int64", [identity]),
        "label": feature("int64", [identity % 3]),
        CHANNEL_MEAN: feature("float", [0.1, 0.2, 0.3]),
        CHANNEL_STD: feature("float", [0.4, 0.5, 0.6]),
    }
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


@pytest.fixture(params=["pixels", "png"])
def split(tmp_path, request):
    """Returns the pattern of two files with seven images in no order, and the images in the order
    of their ids.
    """
    pack = tf.io.serialize_tensor if request.param == "pixels" else tf.io.encode_png
    pixels = np.random.default_rng(0).integers(0, 256, (COUNT, *SIZE, 3), dtype=np.uint8)
    identities = [50, 20, 60, 0, 40, 10, 30]
    for name, some in (("a", identities[:4]), ("b", identities[4:])):
        with tf.io.TFRecordWriter(
            str(tmp_path / f"{name}.gz"), tf.io.TFRecordOptions("GZIP")
        ) as file:
            for identity in some:
                file.write(example(identity, pixels[identity // 10], pack))
    return str(tmp_path / "*.gz"), pixels


@pytest.mark.parametrize("memory", [10**9, 0])
def test_a_split_comes_in_the_order_of_its_ids_from_memory_and_from_a_file(
    split, memory, monkeypatch
):
    monkeypatch.setattr("trainer_module.examples.available_memory", lambda: memory)
    pattern, pixels = split
    read = read_examples([pattern], SPEC, SIZE, Classification(3))
    kept = getattr(read.images, "content", read.images)  # of encoded ones the files
    assert isinstance(kept, np.memmap) == (memory == 0)
    np.testing.assert_array_equal(read.images[:], pixels)
    np.testing.assert_array_equal(read.targets, [0, 1, 2, 0, 1, 2, 0])
    np.testing.assert_allclose(
        np.concatenate([read.channel_mean, read.channel_std]), [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
    )


@pytest.mark.parametrize("memory", [10**9, 0])
def test_whole_label_maps_come_in_the_order_of_the_ids_where_models_are_compared_by_them(
    tmp_path, memory, monkeypatch
):
    monkeypatch.setattr("trainer_module.examples.available_memory", lambda: memory)
    pixels = np.zeros((*SIZE, 3), np.uint8)
    whole = {20: b"the second", 0: b"", 10: b"first"}
    spec = SPEC | {name: SPEC[IMAGE] for name in ("label_map", "whole_label_map")}
    spec |= {"class_pixels": tf.io.FixedLenFeature([3], tf.float32)}
    with tf.io.TFRecordWriter(str(tmp_path / "a.gz"), tf.io.TFRecordOptions("GZIP")) as file:
        for identity, label_map in whole.items():
            made = tf.train.Example.FromString(example(identity, pixels))
            packed = tf.io.serialize_tensor(np.zeros(SIZE, np.uint8)).numpy()
            made.features.feature["label_map"].bytes_list.value.append(packed)
            made.features.feature["whole_label_map"].bytes_list.value.append(label_map)
            made.features.feature["class_pixels"].float_list.value.extend([1, 2, 3])
            file.write(made.SerializeToString())
    pattern = [str(tmp_path / "a.gz")]
    read = read_examples(pattern, spec, SIZE, Segmentation(3), to_judge=True)
    assert read.truth[:] == [b"", b"first", b"the second"]
    assert read.some(np.array([2])).truth[:1] == [b"the second"]
    assert read_examples(pattern, spec, SIZE, Segmentation(3)).judged_by is None


@pytest.mark.parametrize("memory", [10**9, 0])
def test_some_examples_are_those_of_the_split_from_memory_and_from_a_file(
    split, memory, monkeypatch
):
    pattern, pixels = split
    read, chosen = read_examples([pattern], SPEC, SIZE, Classification(3)), np.array([1, 4, 6])
    monkeypatch.setattr("trainer_module.examples.available_memory", lambda: memory)
    some = read.some(chosen)
    in_a_file = isinstance(read.images, np.ndarray) and memory == 0
    assert isinstance(some.images, np.memmap) == in_a_file
    assert isinstance(some.images, type(read.images))
    np.testing.assert_array_equal(some.images[:], pixels[chosen])
    np.testing.assert_array_equal(some.targets, chosen % 3)


@pytest.mark.parametrize("kind", ["pixels", "png", "jpeg"])
def test_how_images_lie_stands_in_the_record_of_what_learns_from_them(kind, tmp_path):
    with tf.io.TFRecordWriter(str(tmp_path / "a.gz"), "GZIP") as file:
        pack = lambda pixels: pack_images(pixels[None], kind)[0]  # noqa: E731
        file.write(example(0, np.zeros((*SIZE, 3), np.uint8), pack))
    read = read_examples([str(tmp_path / "*.gz")], SPEC, SIZE, Classification(3))
    assert encoder_record(Encoder(), read).stored_as == kind


def test_an_empty_split_is_refused_by_name(tmp_path):
    with pytest.raises(InputError, match="holds no images"):
        read_examples([str(tmp_path / "none-*")], SPEC, SIZE, Classification(3))


BYTES = 10 * 4 * 4 * 3  # of ten images of 4 x 4 pixels


def room(folder, memory, disk=10**9):
    return room_for((10, 4, 4, 3), np.uint8, str(folder), memory, disk)


@pytest.mark.parametrize(("memory", "in_a_file"), [(2 * BYTES, False), (2 * BYTES - 1, True)])
def test_images_beyond_half_of_the_available_memory_go_into_a_file(tmp_path, memory, in_a_file):
    images = room(tmp_path, memory)
    assert isinstance(images, np.memmap) == in_a_file
    assert (images.shape, images.dtype) == ((10, 4, 4, 3), np.uint8)


def test_batches_from_a_file_are_those_from_memory(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (10, 4, 4, 3), dtype=np.uint8)
    stored = room(tmp_path, memory=0)
    stored[:] = pixels
    for step in range(7):
        np.testing.assert_array_equal(
            EpochBatches(stored, 3, seed=1)[step][0], EpochBatches(pixels, 3, seed=1)[step][0]
        )


def test_no_file_is_left(tmp_path):
    stored = room(tmp_path / "new", memory=0)
    stored[:] = 7
    assert list((tmp_path / "new").iterdir()) == []
    assert (stored == 7).all()


def test_no_room_anywhere_is_refused_with_what_is_needed_and_what_there_is(tmp_path):
    with pytest.raises(
        InputError, match=r"480 bytes; available: 100 bytes of memory, 200 bytes in .*Fix"
    ):
        room(tmp_path, memory=100, disk=200)


def test_this_machine_has_room_on_its_disk(tmp_path):
    assert available_disk(str(tmp_path / "not" / "yet")) > 0
