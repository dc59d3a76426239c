"""What surrounds the nodes of a run: its end is guarded and can be tried again, and a refused
`--resume` changes nothing.
"""

import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from unittest.mock import ANY

import numpy as np
import pytest
from ml_metadata.proto import metadata_store_pb2 as mlmd

from components.metadata.store import open_store
from pipeline.arguments import BAD_INPUT, DONE, FAILED
from pipeline.choices import Choices, Lists
from pipeline.config_file import CONFIG_FILE, read_settings
from pipeline.lineage import __main__ as lineage
from pipeline.loading import EXIT_INTERRUPTED
from pipeline.plan import as_chosen
from pipeline.root import Root, interrupted_root
from pipeline.runner import run
from trainer_module.errors import InputError
from trainer_module.finished import mark_finished
from trainer_module.segmentation.label_map import encode_label_map
from trainer_module.tasks.classification import Classification
from trainer_module.tasks.segmentation import Segmentation
from trainer_module.tasks.unlabelled import Unlabelled

pytestmark = pytest.mark.tfx

ENDED = DONE  # a run of one node that judges nothing


@pytest.fixture
def start(tmp_path, monkeypatch):
    """Returns a function that runs a pipeline of one node in `tmp_path`, and gives back the exit
    code.
    """
    monkeypatch.setattr(sys, "argv", ["local_runner.py"])
    schema = tmp_path / "schema.pbtxt"
    schema.write_text('feature { name: "image" type: BYTES }')

    def one_node(plan, folders):
        from tfx.components.schema_gen.import_schema_gen.component import ImportSchemaGen
        from tfx.orchestration.pipeline import Pipeline

        node = ImportSchemaGen(schema_file=str(schema))
        return Pipeline(plan.name, folders.root, components=[node], enable_cache=True)

    def start(name="tiny", resume=False, create=one_node, **choices):
        plan = as_chosen(Choices(name, **choices), Unlabelled())
        return run(plan, Root(tmp_path / "root"), [], resume=resume, create=create)

    return start


def state(root):
    """Returns what a root says of its latest run: summary, record, and the facts in the store."""
    run_id = Root(root).record()["run_id"]
    context = open_store(Root(root).metadata).get_context_by_type_and_name("pipeline_run", run_id)
    return (
        (root / "summary.json").read_text(),
        (root / "run.json").read_text(),
        (root / CONFIG_FILE).read_text(),
        context.custom_properties["state"].string_value,
    )


def block(root):
    """Puts a folder where the summary goes, so that it cannot be written."""
    (root / "summary.json").mkdir(parents=True)


def test_a_run_ends_with_its_summary_and_as_finished(start, tmp_path):
    assert start() == ENDED
    summary, record, _, noted = state(tmp_path / "root")
    assert (json.loads(summary)["state"], json.loads(record)["finished"], noted) == (
        "done",
        True,
        "done",
    )


def test_a_run_leaves_the_settings_that_it_was_made_from(start, tmp_path):
    start("tiny")
    assert read_settings(str(tmp_path / "root" / CONFIG_FILE))["name"] == "tiny"


def test_a_failure_behind_the_last_node_ends_in_a_line_and_exit_code_1(start, tmp_path, capfd):
    block(tmp_path / "root")
    assert start() == FAILED
    told = capfd.readouterr().out
    assert "IsADirectoryError" in told and "--resume" in told
    assert "Traceback" not in told


def test_a_run_that_failed_behind_its_last_node_is_ended_by_resume(start, tmp_path):
    root = tmp_path / "root"
    block(root)
    start()
    shutil.rmtree(root / "summary.json")
    assert not Root(root).record()["finished"]
    assert start(resume=True) == ENDED
    assert json.loads(state(root)[1])["finished"]


def test_a_refused_resume_leaves_the_state_of_the_run_that_it_refused(start, tmp_path, capfd):
    root = tmp_path / "root"
    start()
    record = Root(root).record()
    Root(root).write_record(**record | {"finished": False})
    before = state(root)
    assert start("other", resume=True) == BAD_INPUT
    assert "start a new run without --resume" in capfd.readouterr().out
    assert state(root) == before


def test_a_run_whose_list_has_changed_since_it_began_is_not_continued(start, tmp_path, capfd):
    images, root = tmp_path / "list.csv", Root(tmp_path / "root")
    images.write_text("schema.pbtxt\n")
    lists = Lists(str(images))
    start(lists=lists)
    root.write_record(**root.record() | {"finished": False})
    images.write_text("schema.pbtxt\nlist.csv\n")
    assert start(resume=True, lists=lists) == BAD_INPUT
    assert "Lists or images have changed since the run" in capfd.readouterr().out


def checkpoints(root):
    """Lays out what a pretraining that ended leaves beside its node's outputs."""
    folder = root / "artifacts" / "Pretrainer" / "checkpoints" / "0123"
    folder.mkdir(parents=True)
    mark_finished(folder)
    return folder


def test_a_run_that_ends_removes_the_checkpoints_of_its_finished_pretraining(start, tmp_path):
    folder = checkpoints(tmp_path / "root")
    assert start() == ENDED
    assert not folder.exists()


def test_a_run_that_can_be_resumed_keeps_them(start, tmp_path):
    folder = checkpoints(tmp_path / "root")
    block(tmp_path / "root")
    assert start() == FAILED
    assert folder.exists()


def test_a_run_that_ends_keeps_no_encoder_that_it_did_not_take(start, tmp_path):
    folder = tmp_path / "root" / "imported" / "0123"
    folder.mkdir(parents=True)
    assert start() == ENDED
    assert not folder.exists()


def stopped(*_):
    """Is asked to stop while it builds a pipeline, and tells it as an error of its own, as Beam
    does.
    """
    try:
        os.kill(os.getpid(), signal.SIGTERM)
    except KeyboardInterrupt as error:
        raise RuntimeError("KeyboardInterrupt") from error


def test_a_run_that_is_stopped_says_so_whatever_error_a_library_makes_of_it(start, tmp_path, capfd):
    start()
    record = Root(tmp_path / "root").record()
    Root(tmp_path / "root").write_record(**record | {"finished": False})
    assert start(resume=True, create=stopped) == EXIT_INTERRUPTED
    told = capfd.readouterr().out
    assert "RuntimeError" not in told
    assert told.splitlines()[-1] == (
        "Interrupted. Continue with: python local_runner.py --resume "
        f"--pipeline_root={tmp_path / 'root'}"
    )


def test_a_run_that_is_stopped_before_it_began_is_not_to_be_continued(start, tmp_path, capfd):
    assert start(create=stopped) == EXIT_INTERRUPTED
    told = capfd.readouterr().out
    assert told.splitlines()[-1] == "Interrupted. The same command starts it again."


def refused(*_):
    """Finds bad input while it builds a pipeline."""
    raise InputError("no pipeline")


@pytest.mark.parametrize(("create", "code"), [(stopped, EXIT_INTERRUPTED), (refused, BAD_INPUT)])
def test_a_run_that_never_began_leaves_what_the_one_before_it_left(create, code, start, tmp_path):
    start()
    before = state(tmp_path / "root")
    assert start(create=create) == code
    assert state(tmp_path / "root") == before


def stopped_node(heard):
    """Returns a function that builds a pipeline of a node that is stopped by SIGTERM."""

    def create(plan, folders):
        from failing_node import StoppedNode
        from tfx.orchestration.pipeline import Pipeline

        return Pipeline(plan.name, folders.root, components=[StoppedNode(heard=heard)])

    return create


def lineage_of(root, capsys):
    """Returns the row of a root's only run, as lineage prints it."""
    capsys.readouterr()
    lineage.main(["--pipeline_root", str(root)])
    return capsys.readouterr().out.splitlines()[1]


@pytest.mark.parametrize("heard", ["at once", "as an error"])
def test_a_run_that_was_stopped_is_told_so_and_its_node_as_canceled(heard, start, tmp_path, capsys):
    assert start(create=stopped_node(heard)) == EXIT_INTERRUPTED
    told = json.loads((tmp_path / "root" / "summary.json").read_text())
    assert (told["state"], told["stopped_by"]) == ("stopped", "SIGTERM")
    assert [node["state"] for node in told["components"]] == ["canceled"]
    row = lineage_of(tmp_path / "root", capsys)
    assert "stopped by SIGTERM" in row and row.endswith("StoppedNode (canceled)")


def test_a_node_that_was_stopped_is_running_while_its_run_is_continued_and_then_done(
    start, tmp_path, capsys
):
    def create(plan, folders):
        from failing_node import OnceStoppedNode
        from tfx.orchestration.pipeline import Pipeline

        node = OnceStoppedNode(file=str(tmp_path / "told"))
        return Pipeline(plan.name, folders.root, components=[node])

    assert start(create=create) == EXIT_INTERRUPTED
    assert start(resume=True, create=create) == ENDED
    assert (tmp_path / "told").read_text() == "running"
    assert lineage_of(tmp_path / "root", capsys).split()[3:] == [
        "done",
        ANY,
        "0",
        "OnceStoppedNode",
    ]


DEAF = """
import sys
from pathlib import Path
from pipeline.choices import Choices, Lists
from pipeline.plan import as_chosen
from pipeline.root import Root
from pipeline.runner import run
from test_runner import stopped_node
from trainer_module.tasks.unlabelled import Unlabelled

root = Root(Path(sys.argv[1]))
run(as_chosen(Choices("tiny"), Unlabelled()), root, [], create=stopped_node("not at all"))
"""


def test_a_run_that_a_library_keeps_from_stopping_is_told_as_stopped_too(tmp_path, capsys):
    tests = Path(__file__).resolve().parent
    ended = subprocess.run(
        [sys.executable, "-c", DEAF, str(tmp_path)],
        cwd=tests.parent,
        env=os.environ | {"PYTHONPATH": str(tests)},
        check=False,
    )
    assert ended.returncode == EXIT_INTERRUPTED
    row = lineage_of(tmp_path, capsys)
    assert "stopped by SIGTERM" in row and row.endswith("StoppedNode (canceled)")


def test_the_record_of_a_run_says_whether_it_took_an_encoder(start, tmp_path):
    start()
    assert Root(tmp_path / "root").record()["took_encoder"] is False


def test_a_row_that_a_killed_resolver_left_running_is_closed_at_the_end_of_its_run(start, tmp_path):
    start()
    root = Root(tmp_path / "root")
    root.write_record(**root.record() | {"finished": False})
    store = open_store(root.metadata, read_only=False)
    context = store.get_context_by_type_and_name("pipeline_run", root.record()["run_id"])
    kind = store.put_execution_type(mlmd.ExecutionType(name="Resolver"))
    left = mlmd.Execution(type_id=kind, last_known_state=mlmd.Execution.RUNNING)
    number, _, _ = store.put_execution(left, [], [context])
    assert start(resume=True) == ENDED
    (row,) = store.get_executions_by_id([number])
    assert row.last_known_state == mlmd.Execution.CANCELED


def test_a_root_that_is_a_file_is_refused_by_name(start, tmp_path):
    (tmp_path / "root").write_text("mine")
    with pytest.raises(InputError, match=r"`--pipeline_root` must be a folder.*File exists"):
        start()
    assert (tmp_path / "root").read_text() == "mine"


def pushing(model):
    """Returns a function that builds a pipeline that pushes a model which is there."""

    def create(plan, folders):
        from tfx.components import Pusher
        from tfx.dsl.components.common.importer import Importer
        from tfx.orchestration.pipeline import Pipeline
        from tfx.proto.pusher_pb2 import PushDestination
        from tfx.types.standard_artifacts import Model

        given = Importer(source_uri=str(model), artifact_type=Model).with_id("Given")
        place = PushDestination.Filesystem(base_directory=folders.serving)
        pushed = PushDestination(filesystem=place)
        pusher = Pusher(model=given.outputs["result"], push_destination=pushed)
        return Pipeline(plan.name, folders.root, components=[given, pusher], enable_cache=True)

    return create


def test_a_pushed_model_that_was_removed_is_pushed_again_by_the_same_command(start, tmp_path):
    model, root = tmp_path / "model" / "Format-Serving", tmp_path / "root"
    model.mkdir(parents=True)
    (model / "saved_model.pb").write_bytes(b"graph")
    start(create=pushing(model.parent))
    shutil.rmtree(json.loads(state(root)[0])["pushed_model"])
    assert start(create=pushing(model.parent)) == ENDED
    (again,) = (root / "serving").iterdir()
    assert (again / "saved_model.pb").read_bytes() == b"graph"
    assert json.loads(state(root)[0])["pushed_model"] == str(again)


@pytest.fixture
def ingest(tmp_path, monkeypatch):
    """Returns a function that runs a pipeline whose only node reads a list, and gives back the exit
    code.
    """
    monkeypatch.setattr(sys, "argv", ["local_runner.py"])

    def run_alone(path, task):
        from tfx.orchestration.pipeline import Pipeline

        from pipeline.pipeline import BEAM_ARGS, read_lists

        def ingest_alone(plan, folders):
            nodes = [read_lists(plan)]
            args = {"components": nodes, "beam_pipeline_args": BEAM_ARGS}
            return Pipeline(plan.name, folders.root, enable_cache=True, **args)

        choices = Choices("tiny", task=task.name, lists=Lists(str(path)))
        return run(as_chosen(choices, task), Root(tmp_path / "root"), [], create=ingest_alone)

    return run_alone


def test_what_ingest_refuses_stands_in_the_summary_of_the_failed_run(
    ingest, image_list, tmp_path, capfd
):
    image_list("train", 20, size=8)
    white = encode_label_map(np.eye(8, dtype=np.uint8) * 255)
    (tmp_path / "map.png").write_bytes(white)
    rows = "".join(f"train/{index}.png,map.png\n" for index in range(20))
    (tmp_path / "list.csv").write_text(rows)
    assert ingest(tmp_path / "list.csv", Segmentation(2)) == BAD_INPUT
    assert "--set target.values=0,255" in capfd.readouterr().out
    told = json.loads((tmp_path / "root" / "summary.json").read_text())
    (found,) = told["findings"]
    assert (told["state"], found["severity"]) == ("failed", "refused")


def test_a_broken_image_ends_with_bad_input_and_its_name(ingest, image_list, tmp_path, capfd):
    path = image_list("train", 4)
    (tmp_path / "train" / "2.png").write_bytes(b"broken")
    assert ingest(path, Classification(2, ("cat", "dog"))) == BAD_INPUT
    told = capfd.readouterr().out
    assert "train.csv:3: " in told and "cannot be decoded as an image" in told


def failing(fault):
    """Returns a function that builds a pipeline of a node that fails so."""

    def create(plan, folders):
        from failing_node import FailingNode
        from tfx.orchestration.pipeline import Pipeline

        return Pipeline(plan.name, folders.root, components=[FailingNode(fault=fault)])

    return create


@pytest.mark.parametrize(
    ("fault", "line"),
    [
        ("full disk", r"No space left on the disk of \S+: [\d.]+ MB are free. Fix: make room "),
        ("full store", r"No space left on the disk of \S+: [\d.]+ MB are free. Fix: make room "),
        ("read-only disk", "The disk of /disk/file can only be read. Fix: "),
        ("held store", r"The metadata store of \S+ must not be held by another program.*Fix: "),
    ],
)
def test_a_fault_of_the_machine_is_one_line_with_the_fix_and_the_run_goes_on_after_it(
    fault, line, start, tmp_path, capfd
):
    assert start(create=failing(fault)) == FAILED
    told = [line for line in capfd.readouterr().out.splitlines() if line][-1]
    assert re.match(line, told)
    assert told.endswith(f"--resume --pipeline_root={tmp_path / 'root'}")
    assert not Root(tmp_path / "root").record()["finished"]


def test_a_run_that_ended_with_bad_input_is_not_to_be_resumed(start, tmp_path, capfd):
    assert start(create=failing("bad input")) == BAD_INPUT
    assert capfd.readouterr().out.splitlines()[-1] == "list.csv:3: no image"
    with pytest.raises(InputError, match="no interrupted run was found"):
        interrupted_root(tmp_path / "root", tmp_path)


def test_after_a_damaged_record_a_run_begins_anew(start, tmp_path):
    start()
    (tmp_path / "root" / "run.json").write_bytes(b"")
    assert start() == ENDED
    assert Root(tmp_path / "root").record()["finished"]


def test_a_log_is_for_its_owner_alone(start, tmp_path):
    start()
    (log,) = (tmp_path / "root" / "logs").iterdir()
    assert log.stat().st_mode & 0o777 == 0o600


def test_a_full_disk_below_the_log_ends_in_a_line_too(start, capfd, monkeypatch):
    with io.TextIOWrapper(io.FileIO("/dev/full", "w"), write_through=True) as full:
        monkeypatch.setattr("sys.stderr", full)
        assert start(create=failing("full disk")) == FAILED
        monkeypatch.undo()
    assert "No space left on the disk of" in capfd.readouterr().out


def test_a_server_that_does_not_answer_is_told_with_its_flag_before_anything_starts(tmp_path):
    root = Root(tmp_path / "root", "mysql://simclr:secret@127.0.0.1:1/simclr")
    with pytest.raises(InputError, match=r"`--metadata`.*simclr@127.0.0.1:1/simclr") as told:
        run(as_chosen(Choices("tiny"), Unlabelled()), root, [])
    assert "secret" not in str(told.value)
    assert not (tmp_path / "root" / "logs").exists()
