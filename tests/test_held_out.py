"""When a single list is split is decided once."""

import pytest

from components.file_list_example_gen.held_out import is_split


@pytest.mark.parametrize(
    ("splits", "has_target", "split"),
    [
        (["train"], True, True),
        (["train"], False, False),
        (["train", "eval"], True, False),
        (["train", "eval", "pretrain"], True, False),
        ([], True, False),
    ],
)
def test_a_part_is_held_out_of_a_single_list_with_targets(splits, has_target, split):
    assert is_split(dict.fromkeys(splits), has_target) == split
