import pytest
from tfx.types.standard_artifacts import Model, ModelBlessing

from components.baseline import BLESSING, CANDIDATE, MODEL, EarlierBlessedModel

pytestmark = pytest.mark.tfx


def model(number):
    artifact = Model()
    artifact.id = number
    return artifact


def blessing(of_model, blessed):
    artifact = ModelBlessing()
    artifact.set_int_custom_property("current_model_id", of_model)
    artifact.set_int_custom_property("blessed", int(blessed))
    return artifact


def baseline_of(candidate, models, blessings):
    inputs = {CANDIDATE: [model(candidate)], MODEL: [model(number) for number in models], BLESSING: blessings}
    return [chosen.id for chosen in EarlierBlessedModel().resolve_artifacts(None, inputs)[MODEL]]


def test_the_first_model_has_no_baseline():
    assert baseline_of(1, [1], []) == []


def test_a_blessed_model_is_never_its_own_baseline():
    assert baseline_of(1, [1], [blessing(1, True)]) == []


def test_the_latest_earlier_blessed_model_is_chosen():
    assert baseline_of(9, [1, 5, 7, 9], [blessing(1, True), blessing(5, True), blessing(7, False)]) == [5]


def test_an_older_candidate_meets_the_same_baseline_as_before():
    assert baseline_of(5, [1, 5, 9], [blessing(1, True), blessing(9, True)]) == [1]
