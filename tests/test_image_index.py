"""The index of images beside a set of examples."""

import pytest

from components.file_list_example_gen import image_index


@pytest.fixture
def index(tmp_path):
    images = [(3, b"three"), (2**63 - 1, b"largest"), (1, b"one"), (7, b"one")]
    image_index.write(
        [image_index.record(number, content, b"cat") for number, content in images],
        str(tmp_path),
        "train",
    )
    image_index.write([], str(tmp_path), "eval")
    return image_index.read(str(tmp_path))


def test_an_image_is_found_by_its_id_with_the_digests_of_bytes_and_target(index):
    digests = image_index.content_digest(b"three"), image_index.content_digest(b"cat")
    assert index["train"].digests(3) == digests
    assert index["train"].digests(2**63 - 1)[0] == image_index.content_digest(b"largest")


@pytest.mark.parametrize("absent", [0, 2, 2**63 - 2, 2**64, 10**30])
def test_an_image_that_is_not_there_is_not_found(index, absent):
    assert index["train"].digests(absent) is None
    assert index["eval"].digests(absent) is None


def test_copies_are_found_whatever_their_names(index):
    assert index["train"].copies_of(image_index.content_digest(b"one")) == [1, 7]
    assert (
        index["train"].copies_of(image_index.content_digest(b"cat")) == []
    )  # a target is no image


def test_all_images_come_by_id(index):
    assert len(index["train"].by_id()) == 4
    assert index["eval"].by_id() == {}


def test_examples_that_are_gone_have_no_index(tmp_path):
    assert image_index.read(str(tmp_path / "gone")) == {}
