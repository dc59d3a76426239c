"""What a run notes of the machine it ran on."""

from components.environment import LIBRARIES, versions


def test_every_library_has_a_version_under_whichever_name_it_was_installed():
    found = versions()
    assert sorted(found) == sorted(LIBRARIES)
    assert found["tensorflow"].startswith("2.")
