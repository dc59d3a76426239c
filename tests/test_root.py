"""What is asked of a pipeline root before a run writes there; what is wrong is told at once, by
name, with the fix.
"""

import os
import re
import shutil
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ml_metadata.proto import metadata_store_pb2 as mlmd

from components.metadata.snapshot import read
from components.metadata.store import sweep_interrupted
from pipeline.lineage.snapshots import metadata_of
from pipeline.lock import lock
from pipeline.root import Root, interrupted_root, refuse_unfit
from trainer_module.errors import InputError
from trainer_module.whole_files import write_json

HOLD = """
import sqlite3, sys
database = sqlite3.connect(sys.argv[1], isolation_level=None)
database.execute(sys.argv[2])
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def root(tmp_path):
    """A root with one artifact that a node of one run made."""
    root = Root(tmp_path / "root")
    with lock(root.path):
        made(root, "2026-01-01T00:00:00.000")
    return root


def made(root, run_id, state=mlmd.Execution.COMPLETE):
    """Enters an execution that made an artifact in the root; returns the artifact's folder."""
    store = root.open_store()
    kind = store.put_artifact_type(mlmd.ArtifactType(name="Model"))
    contexts = [
        mlmd.Context(type_id=store.put_context_type(mlmd.ContextType(name=name)), name=of)
        for name, of in (("pipeline_run", run_id), ("node", f"tiny.Trainer{run_id}"))
    ]
    execution = mlmd.Execution(
        type_id=store.put_execution_type(mlmd.ExecutionType(name="Trainer")),
        last_known_state=state,
    )
    (execution.id,) = store.put_executions([execution])
    folder = root.artifacts / "Trainer" / "model" / str(execution.id)
    folder.mkdir(parents=True)
    artifact = mlmd.Artifact(type_id=kind, uri=str(folder), state=mlmd.Artifact.LIVE)
    event = mlmd.Event(type=mlmd.Event.OUTPUT)
    event.path.steps.add().key = "model"
    store.put_execution(execution, [(artifact, event)], contexts)
    return folder


def hold(root, statement):
    """Returns a process of another program that holds the store."""
    command = [sys.executable, "-c", HOLD, root.metadata, statement]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    return process


def test_a_root_in_which_a_run_has_ended_is_fit(root):
    refuse_unfit(root)


@pytest.mark.parametrize(
    "name", ["a b", "100%", "#1", "Bäume", "a'b", 'a"b', "a&b;c", "~", "{b}", "]"]
)
def test_most_signs_may_stand_in_its_name(name, tmp_path):
    with lock(tmp_path / name):
        refuse_unfit(Root(tmp_path / name))


@pytest.mark.parametrize("name", ["[1]", "a*", "a?", "a\\b"])
def test_what_libraries_take_for_a_pattern_may_not_and_nothing_is_made(name, tmp_path):
    told = pytest.raises(InputError, match=r"`--pipeline_root`.*Received: .*Fix: ")
    with told, lock(tmp_path / name / "root"):
        pass
    assert not list(tmp_path.iterdir())


def test_a_root_that_was_moved_says_where_it_was_and_how_to_go_on(root, tmp_path):
    root.path.rename(tmp_path / "moved")
    with pytest.raises(InputError, match=rf"was {root.path} .*Fix: .*ln -s {tmp_path}/moved"):
        refuse_unfit(Root(tmp_path / "moved"))


def test_with_a_link_at_its_old_place_it_is_fit(root, tmp_path, capsys):
    root.path.rename(tmp_path / "moved")
    root.path.symlink_to(tmp_path / "moved")
    refuse_unfit(Root(tmp_path / "moved"))
    assert capsys.readouterr().out == ""


def test_a_copy_of_a_root_tells_whose_artifacts_it_uses(root, tmp_path, capsys):
    shutil.copytree(root.path, tmp_path / "copy")
    refuse_unfit(Root(tmp_path / "copy"))
    assert f"lie in {root.path} and are used" in capsys.readouterr().out


def test_without_its_store_a_root_with_artifacts_is_refused(root):
    os.remove(root.metadata)
    with pytest.raises(InputError, match=r"ends with execution 0, .*artifacts/Trainer/model/1"):
        refuse_unfit(root)


def test_a_store_of_an_earlier_day_is_refused_too(root):
    shutil.copy(root.metadata, root.path / "backup")
    made(root, "2026-01-02T00:00:00.000")
    shutil.move(root.path / "backup", root.metadata)
    with pytest.raises(InputError, match=r"ends with execution 1, .*artifacts/Trainer/model/2"):
        refuse_unfit(root)


def test_without_store_and_artifacts_a_root_begins_anew(root):
    os.remove(root.metadata)
    shutil.rmtree(root.artifacts)
    refuse_unfit(root)


def test_a_clock_before_the_newest_pushed_model_is_refused(root):
    (root.serving / str(int(time.time()) + 3600)).mkdir(parents=True)
    with pytest.raises(InputError, match="clock must not stand before the newest pushed model"):
        refuse_unfit(root)


def test_runs_come_in_the_order_in_which_they_began_whatever_the_clock_said(root):
    made(root, "2025-01-01T00:00:00.000")
    with sqlite3.connect(root.metadata) as database:
        database.execute("UPDATE Context SET create_time_since_epoch = 0 WHERE name LIKE '2025%'")
    assert [*read(root.open_store()).runs] == ["2026-01-01T00:00:00.000", "2025-01-01T00:00:00.000"]


def test_no_node_takes_less_than_no_time(root):
    with sqlite3.connect(root.metadata) as database:
        database.execute("UPDATE Execution SET last_update_time_since_epoch = 0")
    (execution,) = read(root.open_store()).executions.values()
    assert execution.seconds == 0


def test_nodes_of_one_run_share_a_root_in_which_no_run_may_begin_then(root):
    refused = pytest.raises(InputError, match="Another run is going on")
    with lock(root.path, shared=True), lock(root.path, shared=True), refused, lock(root.path):
        pass


@pytest.mark.parametrize("statement", ["BEGIN IMMEDIATE", "BEGIN EXCLUSIVE"])
def test_a_store_that_another_program_holds_is_told_within_seconds(root, statement):
    process, began = hold(root, statement), time.monotonic()
    with pytest.raises(InputError, match=r"held by another program.*database is locked.*Fix: "):
        refuse_unfit(root)
    process.communicate("")
    assert time.monotonic() - began < 10
    refuse_unfit(root)


def test_a_store_that_is_no_database_is_told(root):
    with open(root.metadata, "r+b") as file:
        file.write(b"\0" * 4096)
    with pytest.raises(InputError, match=r"metadata store .* is damaged: .*Fix: "):
        refuse_unfit(root)


def test_the_store_is_for_its_owner_alone(root):
    os.chmod(root.metadata, 0o644)  # as earlier versions left it
    refuse_unfit(root)
    assert os.stat(root.metadata).st_mode & 0o777 == 0o600


def test_a_new_store_is_private_from_its_first_byte(tmp_path):
    before = os.umask(0)
    Root(tmp_path).open_store()
    os.umask(before)
    assert os.stat(tmp_path / "metadata.sqlite").st_mode & 0o777 == 0o600


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b"1", b"[" * 100_000])
def test_a_damaged_record_counts_as_none_and_is_told(root, content, capsys):
    root.run_file.write_bytes(content)
    assert root.record() == {}
    assert re.search(rf"{root.run_file} is damaged and taken for absent", capsys.readouterr().err)


def test_no_root_with_a_damaged_record_is_to_be_resumed(root):
    root.run_file.write_bytes(b"")
    with pytest.raises(InputError, match="no interrupted run was found"):
        interrupted_root(None, root.path.parent)


def test_a_resume_that_finds_no_run_says_where_it_looked_and_how_one_elsewhere_is_named(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    told = rf"found in any folder of {tmp_path}/runs\. Fix: --pipeline_root of one elsewhere"
    with pytest.raises(InputError, match=told):
        interrupted_root(None, Path("runs"))


def test_a_resume_of_a_root_without_an_interrupted_run_names_it(root):
    root.write_record(run_id="1", finished=True)
    with pytest.raises(InputError, match=rf"found in {root.path}\. Fix: the --pipeline_root of"):
        interrupted_root(root.path, root.path.parent)


def test_tools_find_the_store_behind_a_damaged_record(root):
    root.run_file.write_bytes(b"")
    assert metadata_of(root.path) == root.metadata


def test_what_a_run_that_nobody_knows_any_more_left_running_is_closed(root):
    made(root, "2026-01-02T00:00:00.000", mlmd.Execution.RUNNING)
    assert sweep_interrupted(root.open_store()) == 1


def test_a_record_that_cannot_be_written_leaves_the_one_before(root):
    root.write_record(run_id="first")
    with pytest.raises(TypeError):
        write_json(root.run_file, {"run_id": object()})
    assert root.record() == {"run_id": "first"}
    assert [path.name for path in root.path.glob("run.json*")] == ["run.json"]
