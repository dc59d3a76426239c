"""The metadata store on a real MySQL server: MariaDB from Debian's packages, started here on a
socket of its own.
"""

import getpass
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from benchmarks.lineage import fill

ROOT = Path(__file__).resolve().parent.parent
PASSWORD = "sec/ret@1"
PROGRAMS = ("mariadbd", "mariadb-install-db", "mariadb")


@pytest.fixture(scope="module")
def server():
    """Starts a server and returns its socket; a socket's path must be short."""
    path = f"/usr/sbin:{Path('/usr/bin')}"
    programs = [shutil.which(name) or shutil.which(name, path=path) for name in PROGRAMS]
    if not all(programs):
        pytest.skip("needs MariaDB: apt-get install -y mariadb-server")
    daemon, install, client = programs
    with tempfile.TemporaryDirectory() as folder:
        shutil.chown(folder, getpass.getuser())
        user = [f"--user={getpass.getuser()}"]
        common = [f"--datadir={folder}/data", *user]
        made = subprocess.run(
            [install, "--no-defaults", *common, "--auth-root-authentication-method=normal"],
            capture_output=True,
            text=True,
        )
        assert made.returncode == 0, made.stdout + made.stderr
        socket = f"{folder}/s"
        options = [f"--socket={socket}", "--skip-networking", f"--pid-file={folder}/pid"]
        process = subprocess.Popen(
            [daemon, "--no-defaults", *common, *options],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        _ask(
            client,
            socket,
            f"CREATE USER simclr@localhost IDENTIFIED BY '{PASSWORD}'; GRANT ALL ON simclr.* TO "
            f"simclr@localhost",
        )
        yield socket
        process.terminate()
        process.wait()


def _ask(client, socket, statement):
    until = time.monotonic() + 30
    while subprocess.run(
        [client, "--no-defaults", "-u", "root", f"--socket={socket}", "-e", statement],
        capture_output=True,
    ).returncode:
        assert time.monotonic() < until, "the server does not answer"
        time.sleep(0.1)


@pytest.fixture
def url(server, monkeypatch):
    monkeypatch.setenv("MYSQL_PWD", PASSWORD)
    return f"mysql://simclr@localhost/simclr?socket={server}"


def lineage(*arguments):
    command = [sys.executable, "-m", "pipeline.lineage", *map(str, arguments)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_lineage_answers_from_mysql_as_from_sqlite(url, tmp_path):
    def story(*place):
        told = json.loads(lineage(*place, "latest", "--json"))
        return (
            [(node["id"], node["name"]) for node in told["graph"]["nodes"]],
            told["lists"],
            told["pushed"],
        )

    fill(str(tmp_path / "metadata.sqlite"), tmp_path, ["data", "parameter"])
    fill(url, tmp_path, ["data", "parameter"])
    assert story("--metadata", url) == story("--pipeline_root", tmp_path)


@pytest.mark.tfx
def test_tfx_runs_and_caches_on_mysql_and_the_log_holds_no_password(url, tmp_path, caplog):
    from tfx.components.schema_gen.import_schema_gen.component import ImportSchemaGen
    from tfx.dsl.compiler.compiler import Compiler
    from tfx.orchestration.pipeline import Pipeline

    from pipeline.compiled import enter_store
    from pipeline.root import Root
    from pipeline.runner import _launch

    (tmp_path / "schema.pbtxt").write_text('feature { name: "image" type: BYTES }')
    root = Root(tmp_path, url.replace("simclr@", "simclr:sec%2Fret%401@"))
    for run_id in ("first", "second"):
        node = ImportSchemaGen(schema_file=str(tmp_path / "schema.pbtxt"))
        graph = Compiler().compile(
            Pipeline("tiny", str(tmp_path), components=[node], enable_cache=True)
        )
        enter_store(graph, root, run_id, {"git_commit": "abc"})
        _launch(graph, root, run_id)
    runs = {run["run"]: run for run in json.loads(lineage("--metadata", url, "--json"))}
    assert (runs["first"]["ran"], runs["second"]["cached"]) == (
        ["ImportSchemaGen"],
        ["ImportSchemaGen"],
    )
    assert runs["first"]["facts"] == {"git_commit": "abc"}
    assert "Using connection config" in caplog.text
    assert PASSWORD not in caplog.text


TWO_RUNS = """
import sys
from pathlib import Path
from tfx.components.schema_gen.import_schema_gen.component import ImportSchemaGen
from tfx.dsl.compiler.compiler import Compiler
from tfx.orchestration.pipeline import Pipeline
from pipeline.root import Root
from pipeline.compiled import enter_store
from pipeline.runner import _launch

folder, url = Path(sys.argv[1]), sys.argv[2]
for run_id in ("first", "second"):
    node = ImportSchemaGen(schema_file=str(folder / "schema.pbtxt"))
    pipeline = Pipeline(folder.name, str(folder), components=[node], enable_cache=True)
    graph = Compiler().compile(pipeline)
    here = graph, Root(folder, url), f"{run_id} of {folder.name}"
    enter_store(*here, {})
    _launch(*here)
"""


@pytest.mark.tfx
def test_two_pipelines_run_at_once_on_one_server_and_lineage_sees_both(url, tmp_path):
    url = url.replace("simclr@", "simclr:sec%2Fret%401@")
    started = []
    for name in ("cats", "dogs"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "schema.pbtxt").write_text(f'feature {{ name: "{name}" type: BYTES }}')
        command = [sys.executable, "-c", TWO_RUNS, str(folder), url]
        started.append(subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True))
    for process in started:
        assert process.wait(timeout=300) == 0, process.stderr.read()
    runs = {run["run"]: run for run in json.loads(lineage("--metadata", url, "--json"))}
    mine = {name: runs[name] for name in runs if " of " in name}
    assert {name: (run["ran"], run["cached"]) for name, run in mine.items()} == {
        f"{run} of {name}": (["ImportSchemaGen"], [])
        if run == "first"
        else ([], ["ImportSchemaGen"])
        for run in ("first", "second")
        for name in ("cats", "dogs")
    }
