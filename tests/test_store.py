"""What we add to ML Metadata, on small real stores."""

import socket
import subprocess
import time
from pathlib import Path

import pytest
from ml_metadata.proto import metadata_store_pb2 as mlmd

from benchmarks.lineage import fill
from components.metadata.snapshot import read
from components.metadata.store import (
    artifacts_at,
    artifacts_that_count,
    is_alive,
    last_execution_id,
    mark,
    note_run,
    open_store,
    sweep_interrupted,
)
from components.metadata.stored_run import StoredRun
from trainer_module.errors import InputError


@pytest.fixture
def store(tmp_path):
    path = str(tmp_path / "metadata.sqlite")
    fill(path, tmp_path, ["data", "parameter"])
    return open_store(path, read_only=False)


def run_ids(store):
    return list(read(store).runs)


def set_state(store, run_id, node, state):
    """Writes an execution's state and returns its id."""
    number = StoredRun(read(store, run_id), run_id).nodes[node].id
    execution = store.get_executions_by_id([number])[0]
    execution.last_known_state = state
    store.put_executions([execution])
    return number


def test_the_nodes_of_a_run_come_in_order_with_their_outputs(store):
    first = run_ids(store)[0]
    run = StoredRun(read(store, first), first)
    assert list(run.nodes)[:3] == ["FileListExampleGen", "StatisticsGen", "SchemaGen"]
    assert run.artifact("Pusher", "pushed_model").type == "PushedModel"


def test_only_the_interrupted_run_is_swept_for_other_roots_may_share_the_store(store):
    ours, others = run_ids(store)
    swept = set_state(store, ours, "Pusher", mlmd.Execution.RUNNING)
    running = set_state(store, others, "Pusher", mlmd.Execution.RUNNING)
    assert sweep_interrupted(store, ours) == 1
    states = [
        execution.last_known_state for execution in store.get_executions_by_id([swept, running])
    ]
    assert states == [mlmd.Execution.CANCELED, mlmd.Execution.RUNNING]


def test_a_mark_is_put_on_artifacts_that_have_it_not_and_leaves_the_times_of_others(store):
    first, second = store.get_artifacts_by_type("Model")[:2]
    mark(store, artifacts_at(store, first.uri), mlmd.Artifact.DELETED)
    assert first.id not in {item.id for item in artifacts_that_count(store, "Model")}
    before = store.get_artifacts_by_id([second.id])
    mark(store, [second.id], second.state)
    assert store.get_artifacts_by_id([second.id]) == before


def test_the_last_number_of_an_execution_is_the_highest(store):
    assert last_execution_id(store) == max(item.id for item in store.get_executions())


def test_facts_and_metrics_noted_of_a_run_leave_executions_and_artifacts_as_they_are(store):
    first = run_ids(store)[0]
    before = store.get_executions(), store.get_artifacts()
    note_run(store, first, {"git_commit": "abc", "metric.Evaluator.accuracy": 0.5})
    note_run(store, first, {"state": "done"})
    run = read(store).runs[first]
    assert run.facts == {"git_commit": "abc", "state": "done"}
    assert run.metrics == {"Evaluator": {"accuracy": 0.5}}
    assert (store.get_executions(), store.get_artifacts()) == before


def test_metrics_that_only_a_later_cached_run_noted_belong_to_the_execution_that_worked(tmp_path):
    path = str(tmp_path / "metadata.sqlite")
    fill(path, tmp_path, ["data", "parameter", "nothing"])  # the last is cached from end to end
    store = open_store(path, read_only=False)
    note_run(store, run_ids(store)[2], {"metric.Evaluator.accuracy": 0.25})
    snapshot = read(store)
    worked = snapshot.runs[run_ids(store)[1]]
    metrics = {
        snapshot.executions[number].node: snapshot.executions[number].metrics
        for number in worked.executions
    }
    assert metrics["Evaluator"] == {"accuracy": 0.25}
    assert metrics["Finetuner"] == {}


def test_a_process_that_ended_and_was_not_asked_how_is_not_alive():
    with subprocess.Popen(["true"], stdout=subprocess.PIPE) as process:
        process.stdout.read()  # until it has ended
        time.sleep(0.2)
        assert not is_alive(f"{socket.gethostname()} {process.pid}")


@pytest.mark.parametrize("content", ["", "no database at all, only some text"])
def test_a_file_that_is_no_store_is_named(tmp_path, content):
    file = Path(tmp_path, "metadata.sqlite")
    file.write_text(content)
    with pytest.raises(InputError, match="sqlite: the metadata store cannot be opened"):
        open_store(str(file))
