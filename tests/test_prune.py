"""Prune removes what no kept model needs, and nothing else; lineage answers as before."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from ml_metadata.proto import metadata_store_pb2 as mlmd

from benchmarks.lineage import FIRST_VERSION, fill
from components.metadata.snapshot import Artifact, Execution, Run, Snapshot
from pipeline import prune
from pipeline.lineage import __main__ as lineage
from pipeline.lock import lock
from pipeline.root import Root
from pipeline.unneeded import _needed

CHANGES = ["data", "parameter", "data", "parameter", "nothing"]  # from run to run
PUSHED = 4  # models; the last run found all in the cache
QUESTIONS = [("--json",), ("latest", "--json"), ("latest",), (str(FIRST_VERSION), "--json")]


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """A root of five runs with a file in the folder of each artifact and pushed model."""
    folder = tmp_path_factory.mktemp("prune") / "root"
    folder.mkdir()
    fill(str(folder / "metadata.sqlite"), folder, CHANGES)
    for artifact in Root(folder).open_store().get_artifacts():
        pushed = artifact.custom_properties["pushed_destination"].string_value
        for place in filter(None, (artifact.uri, pushed)):
            Path(place).mkdir(parents=True)
            Path(place, "content").write_bytes(b"x" * 1000)
    return folder


@pytest.fixture
def root(template):
    """That root; what a test changes there is undone."""
    kept = template.with_name("kept")
    shutil.copytree(template, kept)
    yield Root(template)
    shutil.rmtree(template)
    kept.rename(template)


def call(root, *flags, keep=1):
    return prune.main([f"--pipeline_root={root.path}", f"--keep={keep}", *flags])


def files(root):
    """Returns what lies in a root, but for the store and the lock."""
    found = (path for path in root.path.rglob("*") if path.is_file())
    names = {str(path.relative_to(root.path)) for path in found}
    return {name for name in names if not name.startswith(("metadata", ".lock"))}


def versions(root):
    return sorted(int(path.name) - FIRST_VERSION for path in root.serving.iterdir())


def live(root):
    """Returns the folders of artifacts that count, and of those that are there."""
    artifacts = root.open_store().get_artifacts()
    counting = {item.uri for item in artifacts if item.state == mlmd.Artifact.LIVE}
    return counting, {item.uri for item in artifacts if Path(item.uri).is_dir()}


def told(capsys, root, *arguments):
    capsys.readouterr()
    assert lineage.main([f"--pipeline_root={root.path}", *arguments]) == 0
    return capsys.readouterr().out


def test_without_yes_it_only_shows_what_and_how_much(root, capsys):
    before = files(root), live(root)
    assert call(root) == 0
    shown = capsys.readouterr().out
    assert "artifacts/Transform/transform_graph/1" in shown and "MB  in all" in shown
    assert "add --yes" in shown
    assert (files(root), live(root)) == before


def test_the_newest_models_stay_with_all_that_they_were_made_from(root):
    call(root, "--yes")
    assert versions(root) == [PUSHED - 1]
    left = {name.split("/")[1] + name.split("/")[3] for name in files(root) if "artifacts" in name}
    # The data were new in the third run; the model is the fourth's.
    assert {"FileListExampleGen3", "Transform3", "Pretrainer4", "Finetuner4", "Pusher4"} <= left
    assert not {"FileListExampleGen1", "Pretrainer1", "Pretrainer3", "Finetuner3"} & left


@pytest.mark.parametrize("keep", [1, 2, 3, 4, 100])
def test_as_many_pushed_models_stay_as_asked(root, keep):
    call(root, "--yes", keep=keep)
    assert versions(root) == [*range(max(0, PUSHED - keep), PUSHED)]


def test_what_counts_is_there_and_what_is_gone_does_not_count(root):
    call(root, "--yes")
    counting, there = live(root)
    assert counting == there


def test_a_second_time_there_is_nothing_to_remove(root, capsys):
    call(root, "--yes")
    before = files(root)
    capsys.readouterr()
    assert call(root, "--yes") == 0
    told = f"Nothing to remove: all of {root.path} is needed by what is kept.\n"
    assert capsys.readouterr().out == told
    assert files(root) == before


def test_lineage_answers_as_before(root, capsys):
    before = [told(capsys, root, *question) for question in QUESTIONS]
    call(root, "--yes")
    assert [told(capsys, root, *question) for question in QUESTIONS] == before


def test_the_index_of_images_stays(root):
    index = root.artifacts / "FileListExampleGen" / "examples" / "1" / "image_index" / "train"
    index.parent.mkdir()
    index.write_bytes(b"index")
    call(root, "--yes")
    assert index.read_bytes() == b"index" and [*index.parent.parent.iterdir()] == [index.parent]
    assert call(root, "--yes") == 0 and index.exists()


@pytest.mark.parametrize(
    "place",
    [
        "notes.txt", "artifacts/notes.txt", "artifacts/Transform/mine/1/a", "serving/1/model",
        "artifacts/Transform/transform_graph/notes", "imported/mine/encoder", "logs/a.log",
    ],
)  # fmt: skip
def test_what_no_run_has_written_stays(root, place):
    (root.path / place).parent.mkdir(parents=True, exist_ok=True)
    (root.path / place).write_text("mine")
    call(root, "--yes")
    assert (root.path / place).read_text() == "mine"


@pytest.mark.parametrize("place", ["elsewhere/artifacts/Pretrainer/model/1", "root2"])
def test_an_artifact_elsewhere_stays(root, place, tmp_path):
    outside = tmp_path / place
    outside.mkdir(parents=True)
    (outside / "content").write_text("of another root")
    shutil.rmtree(root.artifacts / "Pretrainer" / "model" / "1")
    (root.artifacts / "Pretrainer" / "model" / "1").symlink_to(outside)
    call(root, "--yes")
    assert (outside / "content").exists()


def test_a_run_that_waits_to_be_continued_keeps_all_it_has(root):
    first = "2026-01-01T00:00:00.000000"
    checkpoint = root.artifacts / "Pretrainer" / "checkpoints" / "0123" / "checkpoint.npz"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.write_bytes(b"weights")
    root.write_record(run_id=first, finished=False)
    before = {name for name in files(root) if name.startswith("artifacts") and "/1/" in name}
    call(root, "--yes")
    assert before <= files(root) and checkpoint.exists()


def test_what_a_killed_node_left_goes_once_its_run_is_given_up(root):
    store = root.open_store()
    (execution,) = [item for item in store.get_executions() if item.id == 1]
    killed = mlmd.Execution(type_id=execution.type_id, last_known_state=mlmd.Execution.CANCELED)
    contexts = store.get_contexts_by_execution(1)
    number, _, _ = store.put_execution(killed, [], contexts)
    left = root.artifacts / "FileListExampleGen" / "examples" / str(number)
    left.mkdir()
    (left / "part").write_bytes(b"x")
    root.write_record(run_id="another", finished=True)
    call(root, "--yes")
    assert not left.exists()


# Anybody may mount a file system of memory in a user namespace of their own, where the machine lets
# them have one; it is gone with its processes, so that what is left of the root is copied out.
FULL_DISK = """
root=$1 kept=$2 left=$3 python=$4
mount -t tmpfs -o size=3m tmpfs "$root" && cp -a "$kept/." "$root" || exit 90
dd if=/dev/zero of="$root/filler" bs=4k 2> /dev/null
if echo x 2> /dev/null > "$root/proof"; then exit 91; fi
"$python" -m pipeline.prune --pipeline_root="$root" --keep=1 --yes
code=$?
rm "$root/filler" "$root/proof" && cp -a "$root/." "$left" && exit $code
"""
NAMESPACE = ("unshare", "--user", "--map-root-user", "--mount")


def test_on_a_full_disk_it_makes_room_and_the_store_knows_what_is_gone(template, tmp_path, capsys):
    places = [tmp_path / name for name in ("kept", "left")]
    shutil.copytree(template, places[0])
    places[1].mkdir()
    mount = [*NAMESPACE, "mount", "-t", "tmpfs", "tmpfs", str(places[1])]
    if not shutil.which("unshare") or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("needs a machine whose users may mount in a namespace of their own (unshare)")
    before = [told(capsys, Root(template), *question) for question in QUESTIONS]
    arguments = [str(template), *map(str, places), sys.executable]
    pruned = subprocess.run(
        [*NAMESPACE, "sh", "-c", FULL_DISK, "sh", *arguments],
        cwd=Path(prune.__file__).parents[1],
        capture_output=True,
        text=True,
    )
    assert pruned.returncode == 0, pruned.stdout + pruned.stderr
    left = Root(places[1])
    assert versions(left) == [PUSHED - 1]
    there = {str(template / path.relative_to(left.path)) for path in left.artifacts.glob("*/*/*")}
    assert live(left)[0] == there
    after = [told(capsys, left, *question) for question in QUESTIONS]
    there = [answer.replace(str(left.path), str(template)).split() for answer in after]
    assert there == [answer.split() for answer in before]  # lines break by the length of the path


@pytest.mark.parametrize("keep", ["0", "-1"])
def test_to_keep_none_is_refused(root, keep, capsys):
    before = files(root)
    assert call(root, "--yes", keep=keep) == 2
    assert f"`--keep` must be at least 1. Received: {keep}" in capsys.readouterr().err
    assert files(root) == before


def test_while_a_run_goes_on_nothing_is_removed(root, capsys):
    before = files(root)
    with lock(root.path):
        assert call(root, "--yes") == 2
    assert "Another run is going on" in capsys.readouterr().err
    assert files(root) == before


def test_a_folder_without_metadata_is_refused(tmp_path, capsys):
    assert call(Root(tmp_path), "--yes") == 2
    assert "no pipeline root" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_the_record_of_the_latest_run_keeps_it(root):
    root.write_record(run_id="2026-01-01T00:00:00.000001", finished=True)
    call(root, "--yes")
    assert json.loads(root.run_file.read_text())["finished"]


SERVER = "mysql://user@host/base"


@pytest.mark.parametrize("said", [True, False], ids=["which says its root", "of earlier versions"])
def test_on_a_server_what_a_run_of_another_root_found_here_stays(tmp_path, said):
    here, there = tmp_path / "here", tmp_path / "there"
    runs, executions, artifacts = {}, {}, {}

    def add(run_id, root, *nodes):
        """Adds a run of (node, id of its artifact); what has an id already is cached."""
        made = []
        for node, number in nodes:
            place = root / "artifacts" / node / "model" / str(number)
            place.mkdir(parents=True, exist_ok=True)
            execution = 10 * len(executions)
            artifacts.setdefault(number, Artifact(number, "", str(place), {}, maker=execution))
            outputs = {"model": [number]}
            executions[execution] = Execution(
                execution, node, run_id, "done", 0.0, 1.0, outputs=outputs
            )
            made.append(execution)
        facts = {"state": "done"} | ({"pipeline_root": str(root)} if said else {})
        runs[run_id] = Run(run_id, facts=facts, executions=tuple(made))

    add("first", here, ("Transform", 1), ("Finetuner", 2))
    add("of another root", there, ("Transform", 1), ("Finetuner", 3))
    add("last", here, ("Transform", 4), ("Finetuner", 5))
    needed = _needed(Snapshot(runs, executions, artifacts), Root(here, SERVER), 1)
    assert needed == {1, 3, 4, 5}
