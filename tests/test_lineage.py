"""Lineage over small real stores, written through ML Metadata's own interface, as by TFX."""

import dataclasses
import json
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from ml_metadata.proto import metadata_store_pb2 as mlmd

from benchmarks.lineage import FIRST_VERSION, fill
from components.file_list_example_gen import image_index
from components.file_list_example_gen.rows import Row
from components.metadata.graph import model_graph, run_graph
from components.metadata.snapshot import flatten, read
from components.metadata.store import note_run, open_store, this_process
from components.metadata.stored_run import StoredRun
from pipeline.lineage import __main__ as command
from pipeline.lineage.downstream import RENAMED
from pipeline.lineage.models import all_models, find_model
from pipeline.lineage.runs import describe_run
from pipeline.lineage.seen import trained_on
from pipeline.lineage.tree import new_parameters

ROOT = Path(__file__).resolve().parent.parent
CHANGES = ["data", "parameter", "parameter", "parameter", "parameter", "nothing"]  # from run to run


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("root")
    fill(str(folder / "metadata.sqlite"), folder, CHANGES)
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
    assert len(lines) == 1 + len(CHANGES)
    assert "FileListExampleGen, StatisticsGen" in lines[1]
    assert lines[2].split()[-5:] == [
        "Pretrainer,",
        "Finetuner,",
        "Evaluator,",
        "ModelCheck,",
        "Pusher",
    ]
    assert lines[6].endswith("11      nothing")


def test_an_artifact_that_cached_nodes_point_at_was_made_by_the_first_execution(snapshot):
    first = snapshot.runs["2026-01-01T00:00:00.000000"].executions
    for model in all_models(snapshot)[2:]:
        ancestors = snapshot.ancestors(model.maker)
        assert {execution.node for number, execution in ancestors.items() if number in first} >= {
            "FileListExampleGen",
            "Transform",
        }
        assert all(execution.state == "done" for execution in ancestors.values())


@pytest.mark.parametrize("wanted", ["latest", "1700000005", "folder", "id"])
def test_a_model_is_found_by_folder_version_id_and_latest(snapshot, root, wanted):
    newest = all_models(snapshot)[-1]
    wanted = {"folder": f"{root}/serving/1700000005", "id": str(newest.artifact.id)}.get(
        wanted, wanted
    )
    assert find_model(snapshot, wanted).artifact.id == newest.artifact.id


def test_of_roots_that_share_a_store_latest_is_the_one_that_is_asked(snapshot, root, tmp_path):
    last = find_model(snapshot, "latest").pushed[-1]
    moved = last.properties | {"pushed_destination": str(tmp_path / "serving" / "1700000005")}
    other = {last.id: dataclasses.replace(last, properties=moved)}
    shared = dataclasses.replace(snapshot, artifacts=snapshot.artifacts | other)
    found = [find_model(shared, "latest", one).versions for one in (root, tmp_path, None)]
    assert found == [["1700000004"], ["1700000005"], ["1700000005"]]
    with pytest.raises(ValueError, match="No model of /absent was pushed"):
        find_model(shared, "latest", Path("/absent"))


def test_an_unknown_model_ends_with_exit_code_2_and_the_models_there_are(capsys, root):
    code, told = ask(capsys, root, "1234")
    assert code == 2
    assert "No model '1234' in this store. Pushed versions: 1700000001, " in told.err


def test_a_root_in_place_of_a_model_is_told_how_it_is_named(capsys, root):
    code, told = ask(capsys, root, str(root))
    assert (code, f"Fix: --pipeline_root {root} latest" in told.err) == (2, True)


def test_where_nothing_was_pushed_there_is_no_latest(snapshot):
    of_models = {
        number: item for number, item in snapshot.artifacts.items() if item.type != "PushedModel"
    }
    refused = dataclasses.replace(snapshot, artifacts=of_models)
    newest = all_models(refused)[-1].artifact.id
    with pytest.raises(ValueError, match=rf"was pushed\. Ask by an artifact id: .*{newest}"):
        find_model(refused, "latest")


def test_a_parameter_is_told_where_it_first_counts(snapshot):
    finetuner = find_model(snapshot, "latest").maker
    pretrainer = next(maker for maker in snapshot.makers(finetuner) if maker.node == "Pretrainer")
    assert new_parameters(snapshot, pretrainer)["pretraining.temperature"] == pytest.approx(0.104)
    assert not [
        name for name in new_parameters(snapshot, finetuner) if name.startswith("pretraining.")
    ]


def test_the_graph_of_a_run_joins_its_executions_by_the_artifacts_between_them(snapshot):
    graph = run_graph(snapshot, "2026-01-01T00:00:00.000000")
    names = {node["id"]: node["name"] for node in graph["nodes"]}
    assert sum(node["kind"] == "execution" for node in graph["nodes"]) == 11
    steps = {(names[edge["from"]], edge["label"], names[edge["to"]]) for edge in graph["edges"]}
    assert {
        ("Pretrainer", "model", "Model"),
        ("Model", "base_model", "Finetuner"),
        ("Pusher", "pushed_model", "PushedModel"),
    } <= steps


def test_the_graph_of_a_model_holds_nothing_of_its_siblings(snapshot):
    model = all_models(snapshot)[1]
    graph = model_graph(snapshot, model.artifact.id)
    assert sum(node["name"] == "Finetuner" for node in graph["nodes"]) == 1
    assert {node["name"] for node in graph["nodes"]} >= {
        "FileListExampleGen",
        "Evaluator",
        "PushedModel",
    }


def test_nested_parameters_become_dotted_names_without_tfxs_wrappers():
    nested = {
        "custom_config": '{"custom_config": {"@type": "x", "value": {"task": "{\\"num_classes\\": '
        '2}"}}}',
        "output_config": "{}",
    }
    splits = {"input_config": '{"splits": [{"name": "train", "pattern": "train.csv"}]}'}
    assert flatten(nested | splits) == {
        "task.num_classes": 2,
        "input_config.splits.train.pattern": "train.csv",
    }


def test_json_holds_what_the_lines_say(capsys, root):
    told = json.loads(ask(capsys, root, "latest", "--json")[1].out)
    assert told["lists"] == {"train": f"{root}/train.csv", "eval": f"{root}/eval.csv"}
    assert told["blessed"] == {"Evaluator": True, "ModelCheck": True}


def test_lineage_imports_nothing_heavier_than_ml_metadata():
    heavy = ("tensorflow", "tfx", "numpy", "apache_beam")
    code = (
        f"import sys, pipeline.lineage.__main__; print([name for name in {heavy} if name in "
        f"sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


def test_a_list_leads_forward_to_every_model_that_trained_on_it(capsys, root, snapshot):
    told = json.loads(ask(capsys, root, "--downstream", root / "train.csv", "--json")[1].out)
    assert [model["model"] for model in told["models"]] == [
        model.artifact.id for model in all_models(snapshot)
    ]
    assert told["models"][-1]["trained on"] == ["Pretrainer", "Finetuner"]
    assert told["models"][-1]["versions"] == ["1700000005"]


def test_a_folder_is_neither_list_nor_image_and_ends_with_exit_code_2(capsys, root):
    code, told = ask(capsys, root, "--downstream", root)
    assert code == 2 and f"{root}: is a folder" in told.err


def test_what_is_neither_list_nor_image_nor_file_ends_with_exit_code_2_and_the_lists_there_are(
    capsys, root
):
    code, told = ask(capsys, root, "--downstream", "absent.csv")
    assert code == 2
    assert (
        f"absent.csv: no list and no image of this store, and no such file. Lists: {root}/eval.csv"
        in told.err
    )


@pytest.fixture
def indexed(tmp_path):
    """Returns a root with two sets of examples: in the later one an image is new, one gone, one
    edited, one relabelled.
    """
    fill(str(tmp_path / "metadata.sqlite"), tmp_path, ["data", "data"])
    images = {
        "a.png": (b"a", b"cat"),
        "b.png": (b"b", b"cat"),
        "c.png": (b"c", b"cat"),
        "d.png": (b"d", b"dog"),
    }
    edited = {**images, "a.png": (b"A", b"cat"), "b.png": (b"b", b"dog"), "e.png": (b"e", b"cat")}
    del edited["d.png"]
    for made, content in ((1, images), (2, edited)):
        records = [
            image_index.record(Row("", 1, name, "").image_id, *digests)
            for name, digests in content.items()
        ]
        image_index.write(
            records, str(tmp_path / f"artifacts/FileListExampleGen/examples/{made}"), "train"
        )
    for name, (content, _) in edited.items():
        (tmp_path / name).write_bytes(content)
    return tmp_path


@pytest.mark.parametrize(
    ("image", "how"),
    [
        ("a.png", ["other bytes than the file has now", "the file's bytes"]),
        ("c.png", ["the file's bytes", "the file's bytes"]),
        ("d.png", [""]),
        ("e.png", ["the file's bytes"]),
        ("copy of c.png", ["the file's bytes under another name"] * 2),
    ],
)
def test_an_image_is_found_in_the_examples_that_held_it_at_the_time(capsys, indexed, image, how):
    (indexed / "copy of c.png").write_bytes(b"c")
    told = json.loads(ask(capsys, indexed, "--downstream", indexed / image, "--json")[1].out)
    assert [examples["how"] for examples in told["examples"]] == how
    versions = {version for model in told["models"] for version in model["versions"]}
    assert (str(FIRST_VERSION) in versions) is (image != "e.png")
    assert (str(FIRST_VERSION + 1) in versions) is (image != "d.png")


def test_of_a_file_that_no_list_has_as_an_image_it_is_said_how_a_label_map_is_found(
    capsys, indexed
):
    (indexed / "map.png").write_bytes(b"a label map")
    told = ask(capsys, indexed, "--downstream", indexed / "map.png")[1].out
    assert "image in 0 sets of examples" in told and "a label map is found by its image" in told


def test_an_image_is_found_in_a_root_that_was_moved(capsys, indexed, tmp_path_factory):
    moved = tmp_path_factory.mktemp("elsewhere") / "moved"
    shutil.move(indexed, moved)
    told = json.loads(ask(capsys, moved, "--downstream", moved / "c.png", "--json")[1].out)
    assert [examples["how"] for examples in told["examples"]] == [RENAMED] * 2


def test_an_image_is_found_by_its_id_too(capsys, indexed):
    number = Row("", 1, "d.png", "").image_id
    assert (
        len(json.loads(ask(capsys, indexed, "--downstream", number, "--json")[1].out)["examples"])
        == 1
    )


@pytest.mark.parametrize(
    ("content", "seen"), [(b"a", True), (b"A", False), (b"d", True), (b"another", False)]
)
def test_an_image_was_seen_by_a_model_whose_training_list_held_its_bytes(indexed, content, seen):
    snapshot = read(open_store(str(indexed / "metadata.sqlite")))
    asked = [image_index.content_digest(content)] * 2
    first = find_model(snapshot, str(FIRST_VERSION))
    assert trained_on(snapshot, first, asked) == (asked if seen else [])


def test_an_image_that_was_held_out_was_not_seen(indexed):
    examples = indexed / "artifacts/FileListExampleGen/examples/1"
    image_index.write([image_index.record(1, b"held out", b"cat")], str(examples), "eval")
    snapshot = read(open_store(str(indexed / "metadata.sqlite")))
    asked = [image_index.content_digest(b"held out")]
    assert trained_on(snapshot, find_model(snapshot, str(FIRST_VERSION)), asked) == []


def test_two_models_differ_in_what_changed_and_in_nothing_else(capsys, snapshot, root):
    first, second = all_models(snapshot)[3], all_models(snapshot)[5]
    told = json.loads(
        ask(capsys, root, "--diff", first.artifact.id, second.artifact.id, "--json")[1].out
    )
    assert told["parameters"] == {
        "Pretrainer pretraining.temperature": [pytest.approx(0.101), pytest.approx(0.102)]
    }
    assert told["inputs"] == told["code"] == told["metrics"] == told["images"] == {}


def test_a_change_of_the_data_is_counted_in_images(capsys, indexed):
    _, told = ask(capsys, indexed, "--diff", FIRST_VERSION, "latest")
    assert "1 added, 1 removed, 1 edited, 1 relabelled" in told.out
    assert "train fingerprint  rows:3200,sha256:000000000000000000000001  rows:3200," in told.out


def test_metrics_and_commits_stand_side_by_side_with_the_change(capsys, tmp_path):
    metadata = str(tmp_path / "metadata.sqlite")
    fill(metadata, tmp_path, ["data", "parameter"])
    store = open_store(metadata, read_only=False)
    for run_id, commit, accuracy in zip(read(store).runs, ("aaa", "bbb"), (0.5, 0.75), strict=True):
        note_run(store, run_id, {"git_commit": commit, "metric.Evaluator.accuracy": accuracy})
    _, told = ask(capsys, tmp_path, "--diff", FIRST_VERSION, "latest")
    assert ["Evaluator", "accuracy", "0.5", "0.75", "+0.25"] in [
        line.split() for line in told.out.splitlines()
    ]
    assert ["git", "commit", "aaa", "bbb"] in [line.split() for line in told.out.splitlines()]


@pytest.mark.parametrize(
    ("state", "process", "told"),
    [
        ("refused", "", "refused"),
        ("running", this_process(), "running"),
        (
            "running",
            this_process().split()[0] + " 4194304",
            "interrupted",
        ),  # above the largest process id
    ],
    ids=["ended", "alive", "gone"],  # the same in every process of the test run
)
def test_a_run_whose_process_is_gone_was_interrupted(tmp_path, state, process, told):
    metadata = str(tmp_path / "metadata.sqlite")
    fill(metadata, tmp_path, ["data"])
    store = open_store(metadata, read_only=False)
    (run_id,) = read(store).runs
    note_run(store, run_id, {"state": state, "process": process})
    assert describe_run(StoredRun(read(store), run_id))["state"] == told


def test_a_node_that_a_killed_run_left_running_is_told_as_interrupted(tmp_path):
    metadata = str(tmp_path / "metadata.sqlite")
    fill(metadata, tmp_path, ["data"])
    store = open_store(metadata, read_only=False)
    (run_id,) = read(store).runs
    (left,) = store.get_executions_by_id([StoredRun(read(store), run_id).nodes["Pusher"].id])
    left.last_known_state = mlmd.Execution.RUNNING
    store.put_executions([left])
    note_run(store, run_id, {"state": "running", "process": this_process()})
    assert describe_run(StoredRun(read(store), run_id))["other"] == {"Pusher": "running"}
    note_run(store, run_id, {"process": this_process().split()[0] + " 4194304"})
    assert describe_run(StoredRun(read(store), run_id))["other"] == {"Pusher": "interrupted"}


def test_a_store_that_a_run_writes_to_is_read_all_the_same(capsys, root):
    import sqlite3

    writer = sqlite3.connect(
        root / "metadata.sqlite", isolation_level=None, check_same_thread=False
    )
    writer.execute("BEGIN EXCLUSIVE")
    threading.Timer(1.0, lambda: writer.execute("COMMIT")).start()
    assert ask(capsys, root)[0] == 0


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "no pipeline root, it has no metadata.sqlite"),
        ("some text", "the metadata store cannot be opened"),
    ],
)
def test_what_is_no_store_ends_with_exit_code_2(capsys, tmp_path, content, reason):
    if content:
        (tmp_path / "metadata.sqlite").write_text(content)
    code, told = ask(capsys, tmp_path)
    assert code == 2
    assert reason in told.err


def test_a_store_without_runs_says_so(capsys, tmp_path):
    open_store(str(tmp_path / "metadata.sqlite"), read_only=False).put_context_type(
        mlmd.ContextType(name="pipeline_run")
    )
    code, told = ask(capsys, tmp_path)
    assert (code, told.out) == (0, "No run yet\n")
