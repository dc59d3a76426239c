"""The pipeline as a DAG of Airflow: its tasks, run as their commands say in the order that the file
has them, are one run of the pipeline. Airflow itself has run such a file (docs/scale.md).
"""

import ast
import json

import dark_and_bright
import pytest

import local_runner
from pipeline import compile as compiling
from pipeline.orchestrators import step
from pipeline.root import Root

pytestmark = [pytest.mark.tfx, pytest.mark.end_to_end]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with images that are bright or dark, and the DAG compiled for them."""
    folder = tmp_path_factory.mktemp("airflow")
    dark_and_bright.write(folder)
    flags = ["--for=airflow", f"--output={folder}/dag.py", f"--pipeline_root={folder}/root"]
    assert compiling.main([*flags, *dark_and_bright.flags(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def ended(place):
    """Task -> exit code, of the tasks of one run in the file's order."""
    return {task: run(place, task, "first") for task in tasks(place)}


def tasks(place):
    """Returns what the file says: task -> those that it waits for."""
    (found,) = [
        ast.literal_eval(node.value)
        for node in ast.walk(ast.parse((place / "dag.py").read_text()))
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "AFTER"
    ]
    return found


def run(place, task, run_id):
    return step.main([task, f"--config={place}/dag.yaml", f"--run_id={run_id}"])


def summary(place):
    return json.loads((place / "root" / "summary.json").read_text())


def test_a_scheduler_that_reads_the_file_imports_airflow_and_nothing_of_tfx(place):
    tree = ast.parse((place / "dag.py").read_text())
    modules = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {module.split(".")[0] for module in modules} == {
        "airflow", "datetime", "pathlib", "shlex"
    }  # fmt: skip


def test_every_task_waits_for_tasks_that_stand_before_it(place):
    names = list(tasks(place))
    assert all(names.index(one) < names.index(task) for task in names for one in tasks(place)[task])


def test_all_tasks_together_are_a_run_that_is_blessed_and_pushed(place, ended):
    assert set(ended.values()) == {0} and len(ended) == 15
    assert summary(place)["blessed"] and summary(place)["run_id"].startswith("first.")


def test_a_run_on_this_machine_finds_all_of_it_in_the_cache(place, ended, monkeypatch):
    monkeypatch.chdir(place)
    assert local_runner.main([f"--config={place}/dag.yaml"]) == 0
    assert {node["id"] for node in summary(place)["components"] if not node["cached"]} == {
        "Baseline"  # a resolver is asked every time
    }


def test_two_dags_of_one_schedule_which_gives_both_the_same_id_are_two_runs(place):
    dags = [place / "one", place / "other"]
    for dag in dags:
        dag.mkdir()
        settings = (place / "dag.yaml").read_text().replace(f"{place}/root", f"{dag}/root")
        (dag / "dag.yaml").write_text(settings)
        assert run(dag, "begin", "scheduled") == 0
    assert len({Root(dag / "root").record()["run_id"] for dag in dags}) == 2


def test_a_task_of_a_run_that_is_not_the_latest_is_refused(place, ended, capsys):
    assert run(place, "Transform", "an older one") == 2
    assert "must be an older one" in capsys.readouterr().err


def test_a_run_without_one_of_its_nodes_has_failed(place, ended, capfd):
    assert [run(place, task, "second") for task in ("begin", "begin", "end")] == [0, 0, 1]
    assert "these components did not succeed" in capfd.readouterr().out
    assert summary(place)["state"] == "failed"


def test_a_broken_image_is_bad_input_of_the_task_that_reads_it(place, ended, capfd):
    (place / "train0.png").write_bytes(b"no image")
    assert [run(place, task, "third") for task in ("begin", "FileListExampleGen")] == [0, 2]
    assert "train0.png" in capfd.readouterr().out
