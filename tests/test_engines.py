"""Engines of the data nodes: what they are given, and what is refused before any work is begun."""

import os
import re
import socket
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest

from components.file_list_example_gen import remote
from components.file_list_example_gen.list_fingerprint import fingerprint
from components.file_list_example_gen.rows import Row, read_list
from pipeline.choices import Choices
from pipeline.engines import engine as engine_module
from pipeline.engines.check import (
    PARTS,
    _refuse,
    code_and_libraries,
    refuse_unfit_workers,
    refuse_unread_flags,
)
from pipeline.engines.engine import Engine, engine_asked_for, engine_of, worker_environment
from pipeline.flags import build_parser
from trainer_module.errors import InputError


def test_more_flags_of_beam_are_split_as_a_shell_does():
    engine = engine_of("in_process", "--direct_num_workers=2 --job_name 'of two words'")
    assert engine.flags == (
        "--runner=FnApiRunner",
        "--direct_num_workers=2",
        "--job_name",
        "of two words",
    )
    assert (engine.value("job_name"), engine.value("direct_num_workers")) == ("of two words", "2")


def test_more_flags_of_beam_are_those_of_the_environment(monkeypatch):
    monkeypatch.setenv(remote.BEAM_ARGS_VARIABLE, "--direct_num_workers=2")
    assert engine_asked_for("in_process") == engine_of("in_process", "--direct_num_workers=2")


@pytest.mark.tfx  # for Beam, which takes seconds to import
@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("--direct_num_wokers=2", "'--direct_num_wokers'. Did you mean '--direct_num_workers'?"),
        ("--direct_num_wokers 2", "'--direct_num_wokers'. Did you mean '--direct_num_workers'?"),
        ("--nothing_like_it", "Received: '--nothing_like_it'. Fix: leave it out"),
        ("--direct_num_workers=2 -x", "Received: '-x'. "),
        ("--direct_num_workers=two", "--direct_num_workers: invalid int value: 'two'"),
    ],
)
def test_a_flag_that_beam_does_not_read_is_one_line(text, told):
    with pytest.raises(InputError, match=re.escape(told)) as caught:
        refuse_unread_flags(engine_of("in_process", text))
    assert "\n" not in str(caught.value)


@pytest.mark.tfx
def test_flags_of_beam_and_those_that_the_job_server_describes_are_taken():
    refuse_unread_flags(engine_of("in_process", ""))
    refuse_unread_flags(engine_of("in_process", "--direct_num_workers=2 --job_name 'two words'"))
    with described_by_a_job_server("checkpointing_interval") as address:
        text = f"--job_endpoint={address} --parallelism=2 --checkpointing_interval"
        refuse_unread_flags(engine_of("flink", f"{text} 1000"))
        with pytest.raises(InputError, match="Received: '--checkpointing_interva'"):
            refuse_unread_flags(engine_of("flink", f"{text.removesuffix('l')}=1000"))


@contextmanager
def described_by_a_job_server(*names):
    """Yields the address of a job server that describes options of these names, as Flink's does."""
    from apache_beam.portability.api import beam_job_api_pb2 as api
    from apache_beam.runners.portability.local_job_service import LocalJobServicer

    class Servicer(LocalJobServicer):
        def DescribePipelineOptions(self, request, context=None):  # noqa: N802 (Beam's name)
            kind = api.PipelineOptionType.STRING
            options = [api.PipelineOptionDescriptor(name=name, type=kind) for name in names]
            return api.DescribePipelineOptionsResponse(options=options)

    servicer = Servicer()
    port = servicer.start_grpc_server()
    try:
        yield f"localhost:{port}"
    finally:
        servicer.stop()


@pytest.fixture
def silent_port():
    """Returns an address at which nothing answers: its port is taken and not listened at."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{taken.getsockname()[1]}"


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("in_process", "--a 'b", "must be flags as in a shell.*No closing quotation"),
        ("in_process", "two", "must be flags that begin with --. Received: 'two'"),
        ("dask", "", "cannot be dask: .*loses outputs without an error"),
        ("in_process", "--runner=PrismRunner", "must name no runner.*Fix: --beam_runner=NAME"),
        ("in_process", "--runner DaskRunner", "must name no runner.*Received: --runner=DaskRunner"),
        ("dataflow", "", "cannot be dataflow: Dataflow's workers see no folder of yours"),
        ("prism", "", "needs the program prism.*go install github.com/apache/beam"),
        ("prism", "--prism_location=/absent", "Received: '/absent'"),
        ("flink", "--flink_job_server_jar=/absent.jar", "must be a file. Received: /absent.jar"),
        (
            "flink",
            "",
            r"needs Beam.s job server.*beam-runners-flink-\S+jar.*NAME=flink",
        ),
        (
            "spark",
            "",
            r"needs Beam.s job server.*beam-runners-spark-\S+jar.*NAME=spark",
        ),
        ("portable", "", "needs the address of a Beam job server that runs"),
        ("portable", "--job_endpoint=SILENT", "`--job_endpoint` must be .*SILENT, where nothing"),
        ("flink", "--job_endpoint=SILENT", "nothing answers"),
        ("portable", "--job_endpoint=]", "`--job_endpoint` must be .*nothing answers"),
        (
            "in_process",
            "--environment_type=EXTERNAL --environment_config=SILENT",
            "nothing answers",
        ),
    ],
)
def test_an_engine_that_is_not_there_is_one_line(
    name, text, told, silent_port, tmp_path, monkeypatch
):
    monkeypatch.setenv("HOME", str(tmp_path))  # where jars are looked for
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(engine_module, "BUILT", tmp_path)
    (tmp_path / "java").write_text("#!/bin/sh\n")
    (tmp_path / "java").chmod(0o755)
    with pytest.raises(InputError, match=told.replace("SILENT", silent_port)) as caught:
        engine_of(name, text.replace("SILENT", silent_port))
    assert "\n" not in str(caught.value)


def test_an_engine_in_java_needs_java(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="needs Java 11 or 17"):
        engine_of("flink", "")


def test_an_engine_that_answers_is_taken():
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        text = (
            f"--job_endpoint={address} --environment_type=EXTERNAL --environment_config={address}"
        )
        assert engine_of("flink", text).value("environment_config") == address


@pytest.mark.parametrize("name", ["flink", "spark"])
def test_a_job_server_that_was_built_is_taken_unless_another_is_named(name, tmp_path, monkeypatch):
    monkeypatch.setattr(engine_module, "BUILT", tmp_path)
    monkeypatch.setattr(engine_module.shutil, "which", lambda program: f"/usr/bin/{program}")
    built, other = tmp_path / name / f"{name}-job-server.jar", tmp_path / "other.jar"
    built.parent.mkdir()
    for jar in (built, other):
        jar.touch()
    assert engine_of(name, "").value(f"{name}_job_server_jar") == str(built)
    assert engine_of(name, f"--{name}_job_server_jar={other}").flags[1:] == (
        f"--{name}_job_server_jar={other}",
    )


def test_a_pool_on_each_machine_of_a_cluster_is_not_looked_for_on_this_one(silent_port):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        pool = f"--environment_type=EXTERNAL --environment_config={silent_port}"
        here = f"--job_endpoint=127.0.0.1:{port} {pool}"
        with pytest.raises(InputError, match="`--environment_config` must be"):
            engine_of("flink", here)
        elsewhere = f"--flink_master=127.0.0.2:{port} {here}"
        with socket.create_server(("127.0.0.2", port)):
            assert engine_of("flink", elsewhere).value("environment_config") == silent_port


def test_a_runner_that_is_refused_is_an_error_of_the_command_line(capsys):
    for name, told in (("dask", "loses outputs"), ("ray", "must be one of in_process")):
        with pytest.raises(SystemExit, match="2"):
            build_parser().parse_args([f"--beam_runner={name}"])
        assert told in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"has": {"the project's code": "old"}}, "Received: the project's code old, here "),
        ({"missing": ["/lists/train.csv"]}, "Received: no /lists/train.csv there"),
    ],
)
def test_workers_that_differ_are_told(change, told, tmp_path):
    good = {"has": code_and_libraries(), "missing": []}
    other = {key: {**good[key], **value} if key == "has" else value
             for key, value in change.items()}  # fmt: skip
    _refuse(Engine("flink"), tmp_path, [good] * PARTS)
    with pytest.raises(InputError, match=told):
        _refuse(Engine("flink"), tmp_path, [*[good] * (PARTS - 1), {**good, **other}])


def test_workers_without_the_pipeline_root_are_told(tmp_path):
    with pytest.raises(InputError, match=f"must see the pipeline root .*, and {PARTS} of {PARTS} "):
        _refuse(Engine("flink"), tmp_path, [])


def test_a_worker_has_what_tfdv_misses():
    # The last finder is asked alone: importing the package about it would take seconds.
    code = "import sys; print(bool(sys.meta_path[-1].find_spec('tfx_bsl.arrow.sql_util')))"
    environment = {**os.environ, **worker_environment()}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == "True\n"


@pytest.mark.tfx
def test_workers_in_processes_of_their_own_import_tfdv_and_say_what_they_miss(
    tmp_path, monkeypatch
):
    engine = engine_of(
        "in_process", "--direct_running_mode=multi_processing --direct_num_workers=2"
    )
    for name, value in worker_environment().items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match=r"must see the lists .*no /absent/train.csv there"):
        refuse_unfit_workers(engine, tmp_path, ["/absent/train.csv", "s3://bucket/eval.csv"])
    assert not list(tmp_path.iterdir())


@pytest.mark.tfx
def test_a_worker_that_was_killed_is_started_anew_and_one_that_was_stopped_is_not(
    silent_port, monkeypatch, capfd
):
    from apache_beam.portability.api import beam_fn_api_pb2 as api

    from pipeline.engines.workers import Pool

    for name, value in worker_environment().items():
        monkeypatch.setenv(name, value)
    pool = Pool(use_process=True)
    request = api.StartWorkerRequest(worker_id="7")
    request.control_endpoint.url = silent_port
    pool.StartWorker(request, None)
    killed = pool._worker_processes["7"]
    killed.kill()
    deadline = time.monotonic() + 60
    while (worker := pool._worker_processes["7"]) is killed and time.monotonic() < deadline:
        time.sleep(0.05)
    assert worker is not killed and worker.poll() is None
    pool.StopWorker(api.StopWorkerRequest(worker_id="7"), None)
    assert worker.wait(timeout=60) is not None and not pool._worker_processes
    assert capfd.readouterr().out == "Worker 7 was killed by SIGKILL; started anew\n"


@pytest.mark.tfx
def test_which_engine_makes_an_answer_is_no_part_of_the_graphs_digest(image_list):
    from tfx.dsl.compiler import compiler
    from tfx.orchestration.pipeline import Pipeline
    from tfx.proto.orchestration.pipeline_pb2 import IntermediateDeploymentConfig

    from components.file_list_example_gen.component import FileListExampleGen
    from pipeline.engines.use import use_engine
    from pipeline.pipeline import BEAM_ARGS

    node = FileListExampleGen({"train": str(image_list("train", 2))}, "{}", "x")
    args = {"components": [node], "beam_pipeline_args": BEAM_ARGS}
    graph = compiler.Compiler().compile(Pipeline("tiny", "/root", **args))
    nodes = graph.nodes[0].SerializeToString(deterministic=True)
    use_engine(graph, engine_of("in_process", "--direct_num_workers=2"))
    assert graph.nodes[0].SerializeToString(deterministic=True) == nodes
    deployment = IntermediateDeploymentConfig()
    graph.deployment_config.Unpack(deployment)
    assert b"--direct_num_workers=2" in deployment.executor_specs["FileListExampleGen"].value


def test_a_pipeline_root_in_an_object_store_is_refused(capsys):
    with pytest.raises(SystemExit, match="2"):
        build_parser().parse_args(["--pipeline_root=s3://bucket/root"])
    assert "must lie in a folder of this machine" in capsys.readouterr().err
    with pytest.raises(InputError, match="`pipeline_root` must lie in a folder of this machine"):
        Choices(pipeline_root="gs://bucket/root")


def test_a_store_whose_package_is_missing_is_told_with_the_fix(monkeypatch):
    monkeypatch.setitem(remote.NEEDED, "s3", ("absent_package.client", "make extra NAME=aws"))
    with pytest.raises(InputError, match=r"s3:// needs the package .* Fix: make extra NAME=aws"):
        read_list("s3://bucket/train.csv")


@pytest.mark.tfx  # for Beam, which takes seconds to import
def test_an_address_of_no_file_system_is_told_with_the_list():
    with pytest.raises(InputError, match=r"^abc://bucket/train.csv: cannot be read: (?!it )"):
        read_list("abc://bucket/train.csv")


def test_the_name_of_a_row_counts_because_it_decides_what_is_held_out(tmp_path):
    (tmp_path / "cat.png").write_bytes(b"")
    names = "cat.png", str(tmp_path / "cat.png")
    rows = [Row(str(tmp_path / "train.csv"), 1, name, "cat") for name in names]
    assert rows[0].path == rows[1].path and rows[0].image_id != rows[1].image_id
    assert fingerprint(rows[:1]) != fingerprint(rows[1:])


@pytest.mark.tfx
def test_an_address_of_no_file_system_is_told_where_only_its_size_is_asked_for():
    row = Row("train.csv", 1, "abc://bucket/cat.png", "cat")
    with pytest.raises(InputError, match=r"^abc://bucket/cat.png: cannot be looked at: "):
        fingerprint([row])


def test_a_person_hears_of_a_store_that_does_not_answer_and_not_of_one_that_does(
    monkeypatch, capsys
):
    monkeypatch.setattr(remote, "PATIENCE", 0.01)
    with remote._asking("gs://bucket/train.csv"):
        time.sleep(0.2)
    assert capsys.readouterr().err == remote.WAITING.format("gs") + "\n"
    monkeypatch.setattr(remote, "PATIENCE", 60)
    with remote._asking("gs://bucket/train.csv"):
        pass
    assert capsys.readouterr().err == ""
