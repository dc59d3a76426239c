"""`pipeline.compile`: what an orchestrator cannot do is one line and exit code 2, before any
work.
"""

import subprocess
import sys
from pathlib import Path

import pytest

from pipeline import compile as compiling

LISTS = ("--train_file_path=train.csv", "--val_file_path=eval.csv")
ROOTED = "--pipeline_root=/shared/run"
SHARED = "--volume=claim:/shared"
IN_CONTAINERS = ("--for=kubeflow", "--output=out.yaml", "--image=registry/simclr:1", ROOTED)


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (
            ["--output=dag.py"],
            "`--for` must be one of airflow, kubeflow, vertex. Received: ''. Fix",
        ),
        (["--for=airflo", "--output=dag.py"], "Did you mean 'airflow'?"),
        (["--for=airflow"], "`--output` must be a file"),
        (["--for=airflow", "--output=dag.yaml", ROOTED], "must end in .py"),
        (["--for=airflow", "--output=absent/dag.py", ROOTED], "must lie in a folder that is there"),
        (["--for=airflow", "--output=dag.py"], "`--pipeline_root` must be absolute"),
        (["--for=airflow", "--output=dag.py", "--pipeline_root=runs/own"], "Received: pipeline_r"),
        (["--for=airflow", "--output=dag.py", ROOTED, "--resume"], "--resume: of a run on this"),
        (["--for=kubeflow", "--output=out.yaml", ROOTED], "`--image` must name the image"),
        ([*IN_CONTAINERS, "--volume=claim"], "`--volume` must be CLAIM:FOLDER"),
        (
            [*IN_CONTAINERS, "--finetune_save_path=/models"],
            "--finetune_save_path: not for kubeflow",
        ),
        ([*IN_CONTAINERS, "--metadata=mysql://user@host/db"], "--metadata=mysql://"),
        ([*IN_CONTAINERS, "--beam_runner=flink"], "--beam_runner=flink: not for kubeflow"),
        (["--for=vertex", "--output=out.json", "--image=i", ROOTED], "/gcs/BUCKET/FOLDER"),
        (
            ["--for=vertex", "--output=out.json", "--image=i", "--pipeline_root=/gcs/bucket/run"],
            "What `--train_file_path` names must lie below /gcs/",
        ),
        ([*IN_CONTAINERS], "`--volume` must be CLAIM:FOLDER, with the pipeline root and the lists"),
        (
            [*IN_CONTAINERS, "--volume=claim:/data"],
            "What `--pipeline_root` names must lie below /d",
        ),
        ([*IN_CONTAINERS, SHARED], "What `--train_file_path` names must lie below /shared, which"),
        (
            [*IN_CONTAINERS, SHARED, "--train_file_path=s3://bucket/train.csv"],
            "all that the containers see. Received: train_file_path='s3://bucket/train.csv'",
        ),
    ],
)
def test_what_cannot_be_is_one_line(flags, told, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert compiling.main([*LISTS, *flags]) == 2
    error = capsys.readouterr().err
    assert told in error and error.count("\n") == 1 and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("config", "flags"),
    [
        ("run.yaml", ["--for=airflow", "--output=run.py"]),
        ("run.yaml", ["--for=kubeflow", "--output=../here/run.yaml", "--image=i"]),
    ],
)
def test_the_settings_that_a_person_wrote_are_not_written_over(
    config, flags, tmp_path, monkeypatch, capsys
):
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    (here / config).write_text("# mine\nrecipe: demo\n")
    assert compiling.main([f"--config={config}", ROOTED, *flags]) == 2
    assert "`--output` must not write over what `--config` names" in capsys.readouterr().err
    assert (here / config).read_text().startswith("# mine")


def test_without_kfp_the_command_that_brings_it_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "kfp", None)
    seen = [f"--volume=claim:{tmp_path}", f"--pipeline_root={tmp_path}/run"]
    assert compiling.main([*LISTS, *IN_CONTAINERS, *seen]) == 2
    assert capsys.readouterr().err == (
        "pipeline.compile: `--for=kubeflow` needs the package kfp. Fix: make extra NAME=kubeflow\n"
    )


def test_a_root_in_an_object_store_is_refused(tmp_path):
    command = [sys.executable, "-m", "pipeline.compile", "--pipeline_root=gs://bucket/run"]
    folder = Path(__file__).resolve().parent.parent
    told = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert told.returncode == 2 and "must lie in a folder of this machine" in told.stderr
