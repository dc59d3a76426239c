"""Which nodes each road has, and what the Finetuner begins with."""

from dataclasses import replace

import pytest

from pipeline.config import Configuration, Lists, SavedEncoder
from trainer_module.tasks.classification import Classification
from trainer_module.tasks.unlabelled import Unlabelled

pytestmark = pytest.mark.tfx

PRETRAINED = Configuration(name="own", lists=Lists("/lists/train.csv", "/lists/eval.csv"))
TAKEN = replace(
    PRETRAINED, saved_encoder=SavedEncoder("/saved", "abc", (0.5,) * 3, (0.2,) * 3, (10,))
)
INGEST = [
    "FileListExampleGen",
    "StatisticsGen",
    "SchemaGen",
    "ExampleValidator",
    "AnomalyGate",
    "Transform",
]
JUDGE = ["Baseline", "Evaluator", "ModelCheck", "Pusher", "RunReport"]


def graph(configuration, task):
    from pipeline.pipeline import Places, graph_of

    return graph_of(configuration, task)(
        configuration, task, Places("/root/artifacts", "/root/serving", "/root/imported/abc")
    )


@pytest.mark.parametrize(
    ("configuration", "task", "nodes"),
    [
        (PRETRAINED, Classification(2), [*INGEST, "Pretrainer", "Finetuner", *JUDGE]),
        (
            replace(PRETRAINED, eval_epochs=(10,)),
            Classification(2),
            [*INGEST, "Pretrainer", "EpochEvaluation", "Finetuner", *JUDGE],
        ),
        (TAKEN, Classification(2), [*INGEST, "Encoder", "Finetuner", *JUDGE]),
        (
            replace(TAKEN, eval_epochs=(10,)),
            Classification(2),
            [*INGEST, "Encoder", "EpochEvaluation", "Finetuner", *JUDGE],
        ),
        (replace(PRETRAINED, from_scratch=True), Classification(2), [*INGEST, "Finetuner", *JUDGE]),
        (
            replace(PRETRAINED, task="pretrain"),
            Unlabelled(),
            [*INGEST, "Pretrainer", "ModelCheck", "Pusher", "RunReport"],
        ),
    ],
    ids=[
        "pretrained",
        "pretrained, by epochs",
        "taken",
        "taken, by epochs",
        "from scratch",
        "encoder alone",
    ],
)
def test_a_road_has_these_nodes(configuration, task, nodes):
    assert {component.id for component in graph(configuration, task).components} == set(nodes)


def test_a_taken_encoder_is_entered_with_its_content_and_normalizes_as_it_did():
    components = {
        component.id: component for component in graph(TAKEN, Classification(2)).components
    }
    encoder = components["Encoder"]
    assert encoder.exec_properties["artifact_uri"] == "/root/imported/abc"
    assert encoder.outputs["result"].additional_custom_properties == {
        "fingerprint": "abc",
        "source": "/saved",
    }
    assert (
        '"normalization": [[0.5, 0.5, 0.5], [0.2, 0.2, 0.2]]'
        in components["Transform"].exec_properties["custom_config"]
    )


def test_the_baseline_is_chosen_from_what_the_graph_hands_it():
    from components.baseline import EarlierBlessedModel

    handed = set(
        {component.id: component for component in graph(PRETRAINED, Classification(2)).components}[
            "Baseline"
        ].inputs
    )
    assert (
        set(EarlierBlessedModel().resolve_artifacts(None, {name: [] for name in handed})) == handed
    )
