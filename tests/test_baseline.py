import pytest
from tfx.types.standard_artifacts import InfraBlessing, Model, ModelBlessing

from components.baseline import BLESSING, CANDIDATE, INFRA_BLESSING, MODEL, EarlierBlessedModel

pytestmark = pytest.mark.tfx


def model(number):
    artifact = Model()
    artifact.id = number
    return artifact


def blessing(of_model, blessed, kind=ModelBlessing):
    artifact = kind()
    artifact.set_int_custom_property("current_model_id", of_model)
    artifact.set_int_custom_property("blessed", int(blessed))
    return artifact


def baseline_of(candidate, models, blessings, unfit=()):
    """Returns the ids of the baseline; ModelCheck blessed every model but the unfit ones."""
    checked = [blessing(number, number not in unfit, InfraBlessing) for number in models]
    inputs = {CANDIDATE: [model(candidate)], MODEL: [model(number) for number in models]}
    inputs |= {BLESSING: blessings, INFRA_BLESSING: checked}
    return [chosen.id for chosen in EarlierBlessedModel().resolve_artifacts(None, inputs)[MODEL]]


def test_the_first_model_has_no_baseline():
    assert baseline_of(1, [1], []) == []


def test_a_blessed_model_is_never_its_own_baseline():
    assert baseline_of(1, [1], [blessing(1, True)]) == []


def test_the_latest_earlier_blessed_model_is_chosen():
    assert baseline_of(
        9, [1, 5, 7, 9], [blessing(1, True), blessing(5, True), blessing(7, False)]
    ) == [5]


def test_an_older_candidate_meets_the_same_baseline_as_before():
    assert baseline_of(5, [1, 5, 9], [blessing(1, True), blessing(9, True)]) == [1]


def test_a_model_that_cannot_be_served_is_no_baseline_however_good():
    blessings = [blessing(1, True), blessing(5, True)]
    assert baseline_of(9, [1, 5, 9], blessings, unfit=[5]) == [1]


def test_a_model_that_was_not_checked_is_no_baseline():
    inputs = {CANDIDATE: [model(9)], MODEL: [model(5), model(9)]}
    inputs |= {BLESSING: [blessing(5, True)], INFRA_BLESSING: []}
    assert EarlierBlessedModel().resolve_artifacts(None, inputs)[MODEL] == []
