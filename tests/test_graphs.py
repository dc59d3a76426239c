"""Which nodes each road has, and what the Finetuner begins with."""

from dataclasses import replace

import pytest

from pipeline.choices import Choices, Lists
from pipeline.plan import as_chosen
from pipeline.save_paths import SavedEncoder
from trainer_module.findings import NOTE, Finding
from trainer_module.settings import Finetuning
from trainer_module.tasks.classification import Classification
from trainer_module.tasks.unlabelled import Unlabelled

pytestmark = pytest.mark.tfx

CHOICES = Choices(lists=Lists("/lists/train.csv", "/lists/eval.csv"))
FROM_SCRATCH = replace(CHOICES, finetuning=Finetuning(freeze=False), from_scratch=True)
PRETRAINED = as_chosen(CHOICES, Classification(2))
TAKEN = replace(
    PRETRAINED, saved_encoder=SavedEncoder("/saved", "abc", (0.5,) * 3, (0.2,) * 3, (10,))
)
BEGUN = replace(TAKEN, saved_encoder=replace(TAKEN.saved_encoder, begins_pretraining=True))
INGEST = [
    "FileListExampleGen",
    "StatisticsGen",
    "SchemaGen",
    "ExampleValidator",
    "AnomalyGate",
    "Transform",
]
JUDGE = ["Baseline", "Evaluator", "ModelCheck", "Pusher", "RunReport"]


def graph(plan):
    from pipeline.pipeline import Folders, graph_of

    return graph_of(plan)(plan, Folders("/root/artifacts", "/root/serving", "/root/imported/abc"))


@pytest.mark.parametrize(
    ("plan", "nodes"),
    [
        (PRETRAINED, [*INGEST, "Pretrainer", "Finetuner", *JUDGE]),
        (
            replace(PRETRAINED, eval_epochs=(10,)),
            [*INGEST, "Pretrainer", "EpochEvaluation", "Finetuner", *JUDGE],
        ),
        (TAKEN, [*INGEST, "Encoder", "Finetuner", *JUDGE]),
        (
            replace(TAKEN, eval_epochs=(10,)),
            [*INGEST, "Encoder", "EpochEvaluation", "Finetuner", *JUDGE],
        ),
        (BEGUN, [*INGEST, "Encoder", "Pretrainer", "Finetuner", *JUDGE]),
        (as_chosen(FROM_SCRATCH, Classification(2)), [*INGEST, "Finetuner", *JUDGE]),
        (
            as_chosen(replace(CHOICES, task="pretrain"), Unlabelled()),
            [*INGEST, "Pretrainer", "ModelCheck", "Pusher", "RunReport"],
        ),
    ],
    ids=[
        "pretrained",
        "pretrained, by epochs",
        "taken",
        "taken, by epochs",
        "begun with weights",
        "from scratch",
        "encoder alone",
    ],
)
def test_a_road_has_these_nodes(plan, nodes):
    assert {component.id for component in graph(plan).components} == set(nodes)


def test_what_was_noticed_of_names_that_are_no_text_compiles():
    from tfx.dsl.compiler import compiler

    left_out = Finding(NOTE, "files left out", "1 file left out", examples=("caf\udce9.txt",))
    compiler.Compiler().compile(graph(replace(PRETRAINED, findings=(left_out,))))


def test_a_taken_encoder_is_entered_with_its_content_and_normalizes_as_it_did():
    components = {component.id: component for component in graph(TAKEN).components}
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


def test_pretraining_begins_with_the_weights_that_were_brought():
    components = {component.id: component for component in graph(BEGUN).components}
    begun = components["Pretrainer"].inputs["base_model"]
    assert begun.producer_component_id == "Encoder"


@pytest.mark.parametrize(
    ("plan", "begun"), [(BEGUN, {"Encoder"}), (PRETRAINED, set()), (TAKEN, set())]
)
def test_the_row_before_pretraining_is_of_the_weights_that_it_began_with(plan, begun):
    by_epochs = graph(replace(plan, eval_epochs=(10,)))
    components = {component.id: component for component in by_epochs.components}
    given = components["EpochEvaluation"].inputs.get("base_model")
    assert ({given.producer_component_id} if given else set()) == begun


def test_the_baseline_is_chosen_from_what_the_graph_hands_it():
    from components.baseline import EarlierBlessedModel

    handed = set(
        {component.id: component for component in graph(PRETRAINED).components}["Baseline"].inputs
    )
    assert (
        set(EarlierBlessedModel().resolve_artifacts(None, {name: [] for name in handed})) == handed
    )
