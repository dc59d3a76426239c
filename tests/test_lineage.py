"""Lineage over small real stores, written through ML Metadata's own interface as TFX writes them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.lineage import fill
from components.graph import model_graph, run_graph
from components.snapshot import flatten, read
from components.store import open_store
from pipeline.lineage import __main__ as command
from pipeline.lineage.models import all_models, find_model
from pipeline.lineage.tree import new_parameters

ROOT = Path(__file__).resolve().parent.parent
RUNS = 6  # the first ingests, the others change a parameter, but run 5 repeats run 4


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("root")
    fill(str(folder / "metadata.sqlite"), folder, RUNS)
    return folder


@pytest.fixture(scope="module")
def snapshot(root):
    return read(open_store(str(root / "metadata.sqlite")))


def ask(capsys, root, *arguments):
    code = command.main(["--pipeline_root", str(root), *map(str, arguments)])
    return code, capsys.readouterr()


def test_every_run_stands_in_the_table_with_what_ran_and_what_was_cached(capsys, root):
    _, told = ask(capsys, root)
    lines = told.out.splitlines()
    assert len(lines) == 1 + RUNS
    assert "FileListExampleGen, StatisticsGen" in lines[1]
    assert lines[2].split()[-5:] == ["Pretrainer,", "Finetuner,", "Evaluator,", "ModelCheck,", "Pusher"]
    assert lines[6].endswith("11      nothing")


def test_an_artifact_that_cached_nodes_point_at_was_made_by_the_first_execution(snapshot):
    first = snapshot.runs["2026-01-01T00:00:00.000000"].executions
    for model in all_models(snapshot)[2:]:
        ancestors = snapshot.ancestors(model.maker)
        assert {execution.node for number, execution in ancestors.items() if number in first} >= {"FileListExampleGen", "Transform"}
        assert all(execution.state == "done" for execution in ancestors.values())


@pytest.mark.parametrize("wanted", ["latest", "1700000005", "folder", "id"])
def test_a_model_is_found_by_folder_version_id_and_latest(snapshot, root, wanted):
    newest = all_models(snapshot)[-1]
    wanted = {"folder": f"{root}/serving/1700000005", "id": str(newest.artifact.id)}.get(wanted, wanted)
    assert find_model(snapshot, wanted).artifact.id == newest.artifact.id


def test_an_unknown_model_ends_with_exit_code_2_and_the_models_there_are(capsys, root):
    code, told = ask(capsys, root, "1234")
    assert code == 2
    assert "No model '1234' in this store. Pushed versions: 1700000001, " in told.err


def test_a_parameter_is_told_where_it_first_counts(snapshot):
    finetuner = find_model(snapshot, "latest").maker
    pretrainer = next(maker for maker in snapshot.makers(finetuner) if maker.node == "Pretrainer")
    assert new_parameters(snapshot, pretrainer)["pretraining.temperature"] == pytest.approx(0.104)
    assert not [name for name in new_parameters(snapshot, finetuner) if name.startswith("pretraining.")]


def test_the_graph_of_a_run_joins_its_executions_by_the_artifacts_between_them(snapshot):
    graph = run_graph(snapshot, "2026-01-01T00:00:00.000000")
    names = {node["id"]: node["name"] for node in graph["nodes"]}
    assert sum(node["kind"] == "execution" for node in graph["nodes"]) == 11
    steps = {(names[edge["from"]], edge["label"], names[edge["to"]]) for edge in graph["edges"]}
    assert {("Pretrainer", "model", "Model"), ("Model", "base_model", "Finetuner"), ("Pusher", "pushed_model", "PushedModel")} <= steps


def test_the_graph_of_a_model_holds_nothing_of_its_siblings(snapshot):
    model = all_models(snapshot)[1]
    graph = model_graph(snapshot, model.artifact.id)
    assert sum(node["name"] == "Finetuner" for node in graph["nodes"]) == 1
    assert {node["name"] for node in graph["nodes"]} >= {"FileListExampleGen", "Evaluator", "PushedModel"}


def test_nested_parameters_become_dotted_names_without_tfxs_wrappers():
    nested = {"custom_config": '{"custom_config": {"@type": "x", "value": {"task": "{\\"num_classes\\": 2}"}}}', "output_config": "{}"}
    splits = {"input_config": '{"splits": [{"name": "train", "pattern": "train.csv"}]}'}
    assert flatten(nested | splits) == {"task.num_classes": 2, "input_config.splits.train.pattern": "train.csv"}


def test_json_holds_what_the_lines_say(capsys, root):
    told = json.loads(ask(capsys, root, "latest", "--json")[1].out)
    assert told["lists"] == {"train": f"{root}/train.csv", "eval": f"{root}/eval.csv"}
    assert told["blessed"] == {"Evaluator": True, "ModelCheck": True}


def test_lineage_imports_nothing_heavier_than_ml_metadata():
    heavy = ("tensorflow", "tfx", "numpy", "apache_beam")
    code = f"import sys, pipeline.lineage.__main__; print([name for name in {heavy} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
