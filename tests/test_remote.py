"""Names of files in stores, as Beam's file systems take them."""

import logging

from components.file_list_example_gen.remote import file_systems, sizes_and_times


def test_names_that_hold_the_letters_of_patterns_are_names(tmp_path):
    names = ["cat [1].png", "why?.png", "a*b.png", "[!x].png", "plain.png"]
    for name in names:
        (tmp_path / name).write_bytes(b"12345")
    (tmp_path / "cat 1.png").write_bytes(b"another")  # what the first name means as a pattern
    paths = [str(tmp_path / name) for name in [*names, "missing [2].png"]]
    found = sizes_and_times(paths)
    assert {path: size for path, (size, _) in found.items()} == dict.fromkeys(paths[:-1], 5)


def test_what_beam_tries_again_is_told_without_its_tracebacks(tmp_path):
    file_systems(str(tmp_path))
    assert not logging.getLogger("apache_beam.utils.retry").isEnabledFor(logging.WARNING)
