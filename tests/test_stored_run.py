"""What a run came to is decided in one place, for the exit code, the summary and the report."""

import json

import pytest
from ml_metadata.proto import metadata_store_pb2 as mlmd

from benchmarks.lineage import fill
from components.metadata.names import EPOCHS_FILE
from components.metadata.snapshot import Artifact, Execution, Run, Snapshot, read
from components.metadata.store import note_run, open_store
from components.metadata.stored_run import StoredRun
from components.report.learning import accuracy_by_epoch
from trainer_module.gains import OVER_UNTRAINED, Gain, as_dict
from trainer_module.intervals import of_share
from trainer_module.log_files import EVALUATION_FILE


def run_of(*nodes):
    """Returns a run of (node, key of its output, URI, properties)."""
    executions, artifacts = {}, {}
    for number, (node, key, uri, properties) in enumerate(nodes):
        executions[number] = Execution(
            number, node, "first", "done", 0.0, 1.0, outputs={key: [number]}
        )
        artifacts[number] = Artifact(number, "", uri, properties, maker=number)
    return StoredRun(
        Snapshot({"first": Run("first", executions=tuple(executions))}, executions, artifacts),
        "first",
    )


@pytest.fixture
def store(tmp_path):
    path = str(tmp_path / "metadata.sqlite")
    fill(path, tmp_path, ["data", "parameter", "nothing"])
    return open_store(path, read_only=False)


@pytest.mark.parametrize(
    ("evaluator", "model_check", "blessed"),
    [
        (1, 1, True),
        (1, 0, False),
        (0, 1, False),
        (0, None, False),
        (1, None, None),
        (None, 0, False),
        (None, 1, None),
        (None, None, None),
    ],
)
def test_a_model_is_blessed_by_every_gate_and_refused_by_any(evaluator, model_check, blessed):
    said = {"Evaluator": evaluator, "ModelCheck": model_check}
    run = run_of(
        *[
            (gate, "blessing", "", {"blessed": verdict})
            for gate, verdict in said.items()
            if verdict is not None
        ]
    )
    assert run.blessed is blessed


FILE, FOLDER = {"mapping": "its tensors"}, {"source": "/saved"}
PRETRAINED = ("Pretrainer", "model", "", {})


@pytest.mark.parametrize(
    ("nodes", "told"),
    [
        ([PRETRAINED], "+20.0 points over the untrained encoder"),
        (
            [("Encoder", "result", "", FILE)],
            "the encoder that was brought: +20.0 points over random weights",
        ),
        (
            [("Encoder", "result", "", FOLDER)],
            "the saved encoder: +20.0 points over random weights",
        ),
        (
            [("Encoder", "result", "", FILE), PRETRAINED],
            "the brought weights and 4 epochs: +20.0 points over random weights",
        ),
    ],
)
def test_what_is_better_than_random_weights_is_told_as_what_made_it(tmp_path, nodes, told):
    of = Gain("linear_accuracy", "untrained_linear_accuracy", OVER_UNTRAINED, 0.2, None, 100)
    measured = {"metrics": {}, "gains": [as_dict(of)]}
    (tmp_path / EVALUATION_FILE).write_text(json.dumps(measured))
    run = run_of(*nodes, ("Finetuner", "model_run", str(tmp_path), {}))
    run.row.metrics["Pretrainer"] = {"pretraining_epochs": 4}
    assert [gain["told"] for gain in run.gains] == [told]


def test_one_run_reads_alone_as_it_does_among_all_others(store):
    whole = read(store)
    for run_id, run in whole.runs.items():
        alone = read(store, run_id)
        assert alone.runs == {run_id: run}
        assert alone.executions == {number: whole.executions[number] for number in run.executions}


def test_a_run_that_noted_its_metrics_needs_its_files_no_more(store):
    first = next(iter(read(store).runs))
    note_run(store, first, {"metric.Evaluator.accuracy": 0.5, "metric.Finetuner.linear": 0.25})
    run = StoredRun(read(store), first)
    assert run.uri("Evaluator", "evaluation") == ""
    assert run.metrics == {"accuracy": 0.5, "linear": 0.25}


def test_of_a_run_that_was_continued_the_latest_execution_of_a_node_counts(store):
    *_, last = read(store).runs
    executions = {
        execution.node: execution for execution in StoredRun(read(store), last).executions
    }
    stopped = store.get_executions_by_id([executions["Finetuner"].id])[0]
    again = mlmd.Execution(type_id=stopped.type_id, last_known_state=mlmd.Execution.COMPLETE)
    stopped.last_known_state = mlmd.Execution.CANCELED
    store.put_executions([stopped])
    store.put_execution(again, [], store.get_contexts_by_execution(stopped.id))
    run = StoredRun(read(store), last)
    assert run.nodes["Finetuner"].state == "done"
    assert len(run.executions) == len(run.nodes) + 1


def test_what_the_store_does_not_know_is_a_run_without_nodes(store):
    run = StoredRun(read(store, "nobody"), "nobody")
    assert (run.nodes, run.blessed, run.pushed, run.metrics) == ({}, None, "", {})


def test_the_report_draws_every_row_of_the_accuracies_by_epoch(tmp_path):
    columns = ("linear_accuracy_10_epochs", "linear_accuracy", "knn_accuracy")
    rows = [{"epoch": epoch} | dict.fromkeys(columns, 0.3 + epoch / 10) for epoch in (0, 2, 4)]
    (tmp_path / EPOCHS_FILE).write_text(json.dumps({"rows": rows, "eval_images": 100}))
    (curve,) = accuracy_by_epoch(run_of(("EpochEvaluation", "evaluation", str(tmp_path), {})))
    for line in curve["figure"]["data"]:
        assert (line["x"], line["y"]) == ([2, 4], [0.5, 0.7])
        low, high = of_share(0.7, 100)
        assert line["error_y"]["array"][1] == pytest.approx(high - 0.7)
        assert line["error_y"]["arrayminus"][1] == pytest.approx(0.7 - low)
    assert len(curve["figure"]["data"]) == 3
    assert "30.0 % (21.9 to 39.6)" in curve["meaning"]
    assert "linear head, converged: 30.0 %" in curve["meaning"]
