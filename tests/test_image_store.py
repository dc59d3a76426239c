"""Images that do not fit into memory lie in a file, and nothing else changes."""

import numpy as np
import pytest

from trainer_module.batches import EpochBatches
from trainer_module.errors import InputError
from trainer_module.image_store import available_disk, room_for

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
