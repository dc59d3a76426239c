"""Which model a tool asks, and what it says where that is not the newest run's."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.lineage import FIRST_VERSION, fill
from components.metadata.names import RUN_FILE
from components.metadata.snapshot import read
from components.metadata.store import open_store
from components.metadata.stored_run import StoredRun
from pipeline import evaluate, export, predict
from pipeline.asked_model import asked_model, model_of
from pipeline.summary import SUMMARY_FILE
from trainer_module.whole_files import write_json

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def root(tmp_path):
    """Returns a root of two runs, of which the first has pushed its model and the second was
    refused; both models are there.
    """
    store = str(tmp_path / "metadata.sqlite")
    fill(store, tmp_path, ["data", "parameter"])
    snapshot = read(open_store(store))
    newest = [*snapshot.runs][-1]
    for folder in (
        tmp_path / "serving" / str(FIRST_VERSION),
        refused_model(StoredRun(snapshot, newest)),
    ):
        folder.mkdir(parents=True)
        (folder / "saved_model.pb").touch()
    tell(tmp_path, newest, "refused", refused_because=["accuracy 0.5 is below 0.9"])
    return tmp_path


def refused_model(run):
    return run.folder("Finetuner", "model") / "Format-Serving"


def tell(root, run_id, state, **more):
    """Leaves what a run leaves of its end."""
    write_json(root / RUN_FILE, {"run_id": run_id})
    (root / SUMMARY_FILE).write_text(
        json.dumps({"run_id": run_id, "state": state, "pushed_model": "", **more})
    )


def test_a_file_in_place_of_a_model_is_no_damaged_one(tmp_path, capsys):
    (tmp_path / "0.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"0\.png: no model here"):
        asked_model(tmp_path / "0.png")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b'"a"', b"{}", b'{"task": []}', b'{"task": "x"}', b"\xff",
     b'{"task": "regression", "more": 1}'],
)  # fmt: skip
def test_a_task_that_was_copied_in_part_is_named_with_what_to_do(tmp_path, content, capsys):
    (tmp_path / "saved_model.pb").touch()
    file = tmp_path / "assets.extra" / "task.json"
    file.parent.mkdir()
    file.write_bytes(content)
    assert [main([str(tmp_path), "list.csv"]) for main in (predict.main, evaluate.main)] == [2, 2]
    for line in capsys.readouterr().err.splitlines():
        assert f"{file}: cannot be used: " in line and "Fix: a whole copy of the folder" in line


def test_a_model_of_another_program_is_not_exported_and_told_by_the_file_that_it_lacks(
    tmp_path, capsys
):
    (tmp_path / "17").mkdir()
    (tmp_path / "17" / "saved_model.pb").touch()
    line = [str(tmp_path), "--format=saved_model", f"--output={tmp_path}/x"]
    assert export.main(line) == 2
    told = capsys.readouterr().err
    assert f"{tmp_path}/17/assets.extra/encoder.json" in told and "Fix: a whole copy" in told


def test_an_older_model_answers_with_a_note_that_the_newest_run_was_refused(root, capsys):
    assert asked_model(root) == root / "serving" / str(FIRST_VERSION)
    first, newest = read(open_store(str(root / "metadata.sqlite"))).runs
    note, hint = capsys.readouterr().err.splitlines()
    assert note == (
        f"Note: the newest run {newest} was refused: accuracy 0.5 is below 0.9. The model that "
        f"answers is version {FIRST_VERSION}, blessed, of run {first}"
    )
    assert asked_model(Path(hint.split(": ")[1])).name == "Format-Serving"


def test_the_store_of_a_copied_root_knows_the_model_that_lies_in_the_copy(root, tmp_path_factory):
    copy = shutil.copytree(root, tmp_path_factory.mktemp("elsewhere") / "copy")
    snapshot, model = model_of(copy / "serving" / str(FIRST_VERSION))
    assert list(model.versions) == [str(FIRST_VERSION)]
    assert model.maker.run_id == next(iter(snapshot.runs))


def test_the_model_of_the_newest_run_answers_without_a_word(root, tmp_path_factory, capsys):
    (newest,) = [*read(open_store(str(root / "metadata.sqlite"))).runs][1:]
    tell(root, newest, "done", pushed_model=str(root / "serving" / str(FIRST_VERSION)))
    asked_model(root)
    moved = shutil.copytree(
        root, tmp_path_factory.mktemp("moved") / "root"
    )  # the summary names the old place
    asked_model(moved)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("state", "told"), [("failed", "failed"), ("stopped", "was stopped by Ctrl-C")]
)
def test_an_older_model_answers_with_a_note_that_the_newest_run_did_not_end(
    state, told, root, capsys
):
    tell(root, "2026-01-03", state, stopped_by="Ctrl-C")
    asked_model(root)
    assert capsys.readouterr().err.startswith(f"Note: the newest run 2026-01-03 {told}. The model")


@pytest.mark.parametrize("tool", ["predict", "evaluate", "embed", "export"])
def test_where_the_gate_refused_the_only_model_the_tools_say_so_and_how_to_ask_it(root, tool):
    (root / "serving" / str(FIRST_VERSION) / "saved_model.pb").unlink()
    more = {"export": ["--format=keras"], "embed": ["a.png", "--output=f.npz"]}
    command = [sys.executable, "-m", f"pipeline.{tool}", str(root), *more.get(tool, ["a.png"])]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    first, second = told.stderr.splitlines()
    assert told.returncode == 2
    assert first.endswith("was refused: accuracy 0.5 is below 0.9")
    assert Path(second.rpartition(": ")[2], "saved_model.pb").is_file()
