"""The table of few labels: which runs it makes, and how it is shown."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.lineage import fill
from components.metadata.snapshot import read
from components.metadata.store import open_store
from components.metadata.stored_run import StoredRun
from pipeline import few_labels, summary
from pipeline.arguments import BAD_INPUT
from pipeline.choices import Choices, Lists
from pipeline.plan import as_chosen
from trainer_module.errors import InputError
from trainer_module.log_files import EVALUATION_FILE
from trainer_module.tasks.classification import Classification

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize(
    ("labels", "epochs"),
    [(64_000, 2), (4_000, 32), (4_001, 32), (400, 286), (100, 1_000), (1, 2_000)],
)
def test_the_whole_network_takes_as_many_steps_of_few_labels_as_of_all(labels, epochs):
    flags, _ = few_labels.parse(["--steps=2000", "--batch_size=64"])
    steps = epochs * -(-labels // 64)
    assert abs(steps - 2000) <= -(-labels // 64) / 2
    for way in ("fine-tuned", "supervised from scratch"):
        command = few_labels.command_of(way, 0.1, labels, flags)
        assert {f"--num_epochs={epochs}", "--batch_size=64", "--label_fraction=0.1"} <= {*command}


def test_every_way_is_another_run_of_the_same_pipeline():
    flags, others = few_labels.parse(["--recipe=demo", "--pipeline_root=root"])
    commands = [few_labels.command_of(way, 0.1, 1000, flags) for way in few_labels.WAYS]
    assert [command[0] for command in commands] == [
        "--freeze=True",
        "--freeze=False",
        "--from_scratch",
    ]
    assert all("--pipeline_root=root" in command for command in commands)
    assert others == ["--recipe=demo"]


def test_flags_of_pretraining_go_where_there_is_pretraining():
    flags, others = few_labels.parse(
        ["--pretrain_epochs", "4", "--eval_epochs=2,4", "--recipe", "demo"]
    )
    commands = [few_labels.command_of(way, 0.1, 1000, flags) for way in few_labels.WAYS]
    assert [
        {"--pretrain_epochs=4", "--eval_epochs=2,4"} <= set(command) for command in commands
    ] == [True, True, False]
    assert others == ["--recipe", "demo"]


def row_of(fraction, labels, accuracy, low, high):
    told = {"label_fraction": fraction, "labels": labels}
    told["intervals"] = {name: [low, high] for name in few_labels.COLUMNS}
    return told | dict.fromkeys(few_labels.COLUMNS, accuracy)


def test_the_table_begins_with_the_fewest_labels_and_has_intervals(tmp_path):
    rows = [row_of(1.0, 1000, 0.625, 0.61, 0.64), row_of(0.01, 10, 0.5, 0.46, 0.54)]
    few_labels.write(tmp_path, rows, ["--recipe=demo"])
    shown = (tmp_path / "few_labels.md").read_text().splitlines()
    assert shown[2:] == [
        "| 1 % (10 images) |" + 5 * " 50.0 % (46.0 to 54.0) |",
        "| 100 % (1,000 images) |" + 5 * " 62.5 % (61.0 to 64.0) |",
    ]
    assert json.loads((tmp_path / "few_labels.json").read_text())["rows"] == rows


def test_labels_are_those_that_fine_tuning_learned_from(tmp_path):
    store = str(tmp_path / "metadata.sqlite")
    fill(store, tmp_path, ["data", "nothing"])
    snapshot = read(open_store(store))
    latest = StoredRun(snapshot, [*snapshot.runs][-1])
    left = latest.folder("Finetuner", "model_run")
    left.mkdir(parents=True)
    (left / EVALUATION_FILE).write_text('{"metrics": {}, "labels": 80}')
    plan = as_chosen(Choices(lists=Lists("of UTF-16, with a header.csv")), Classification(2))
    summary.write(tmp_path, summary.collect(latest, plan, 1.0))
    assert few_labels.summary_of(tmp_path)["labels"] == 80


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--encoder_weights=w.safetensors"], "`--from_scratch` learns the encoder"),
        (["--pretrain_save_path=encoder"], "`--from_scratch` learns the encoder"),
        (["--set", "finetuning.epochs=5"], "`--num_epochs` and `--set finetuning.ep"),
        (["--set", "finetuning.batch_size=3"], "`--batch_size` and `--set finetuning"),
        (["--set", "finetuning.freeze=True"], "`--freeze` and `--set finetuning.fre"),
        (["--eval_epochs=3,1"], "`--eval_epochs` must be at least 1"),
    ],
)
def test_what_a_later_row_would_refuse_is_refused_before_the_first(arguments, message, capfd):
    assert few_labels.main(["--train_file_path=absent.csv", *arguments]) == BAD_INPUT
    told = capfd.readouterr()
    assert message in told.err and "$ python" not in told.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--freeze=True"], "--freeze=True: chosen here"),
        (["--fractions=0.5,2"], "`--fractions` must satisfy"),
        (["--print_config"], "--print_config: runs nothing"),
        (["--fractions=0.1,half"], '`--fractions` must be numbers, as in "0.01,0.1,1". Received'),
        (["--steps=0"], "`--steps` and `--batch_size` must be at least 1"),
        (["--recipe=no_such_recipe"], "No recipe 'no_such_recipe'"),
    ],
)
def test_bad_flags_end_with_2(arguments, message, capfd):
    assert few_labels.main(arguments) == BAD_INPUT
    assert message in capfd.readouterr().err


@pytest.mark.parametrize("left", [{}, {"run_id": "earlier", "labels": 80}])
def test_the_summary_of_an_earlier_run_is_no_row_of_the_table(left, tmp_path):
    summary.write(tmp_path, left)
    with pytest.raises(InputError, match="left no summary"):
        few_labels.summary_of(tmp_path, before="earlier")


URL = "mysql://me:secret@host/base"


@pytest.mark.parametrize("given", [[f"--metadata={URL}"], ["--metadata", URL]])
def test_the_command_beside_the_numbers_holds_no_password(given, tmp_path):
    few_labels.write(tmp_path, [], ["--recipe=demo", *given])
    left = (tmp_path / "few_labels.json").read_text()
    assert "mysql://me@host/base" in left and "secret" not in left


def test_the_commands_that_are_told_hold_no_password(capfd):
    few_labels.run(["--recipe=no_such_recipe", f"--metadata={URL}"])
    told = "".join(capfd.readouterr())
    assert "mysql://me@host/base" in told and "secret" not in told


def test_who_stops_the_table_stops_the_run_that_goes_on(tmp_path, image_list):
    flags = [f"--train_file_path={image_list()}", f"--pipeline_root={tmp_path / 'root'}"]
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline.few_labels", *flags],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    while ": run " not in process.stdout.readline():
        assert process.poll() is None, "the run ended before it could be stopped"
    process.send_signal(signal.SIGTERM)
    code = process.wait(timeout=10)
    try:
        with pytest.raises(ProcessLookupError):  # nobody is left of the group
            os.killpg(process.pid, signal.SIGKILL)
    finally:
        process.stdout.close()
    assert code == 130
