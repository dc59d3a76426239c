"""The command line: what flags mean, and that bad input is told at once with exit code 2."""

import os
import signal
import subprocess
import sys
import typing
from pathlib import Path

import pytest

from components.file_list_example_gen.held_out import is_held_out
from components.file_list_example_gen.rows import Row
from local_runner import main
from pipeline.arguments import BAD_INPUT
from pipeline.flags import build_parser, choices_of
from pipeline.loading import EXIT_INTERRUPTED, NOT_BEGUN
from pipeline.lock import refuse_place
from pipeline.plan import gate_above_chance, kept_epochs, make_plan, pretraining_that_fits
from pipeline.precedence import settings_of
from pipeline.recipes import RECIPES
from pipeline.root import Root
from pipeline.save_paths import SavedEncoder
from pipeline.setting_types import KINDS
from trainer_module.errors import InputError
from trainer_module.saved_encoder import (
    ENCODER_FILE,
    EXTRAS,
    TASK_FILE,
    EncoderRecord,
    write_record,
)
from trainer_module.settings import Encoder
from trainer_module.tasks.classification import Classification
from trainer_module.tasks.registry import task_to_json
from trainer_module.tasks.unlabelled import Unlabelled

ROOT = Path(__file__).resolve().parent.parent


def choose(*arguments):
    return choices_of(build_parser().parse_args(arguments))


def run(*arguments, cwd):
    command = [sys.executable, str(ROOT / "local_runner.py"), *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=60, check=False)


def test_no_flag_is_the_demo():
    assert choose().name == "demo"


def test_the_flags_of_the_original_program_keep_their_meaning():
    choices = choose(
        "--input_size=240 240",
        "--train_file_path=train.csv",
        "--val_file_path=val.csv",
        "--task=classification",
        "--num_classes=5",
        "--freeze=True",
    )
    assert choices.image_size == choices.view_size == (240, 240)
    assert (choices.lists.train, choices.lists.eval) == ("train.csv", "val.csv")
    assert (choices.target.num_classes, choices.finetuning.freeze) == (5, True)


def test_pretraining_flags_reach_pretraining_when_that_is_the_task():
    choices = choose(
        "--task=pretrain",
        "--cifar10=True",
        "--batch_size=256",
        "--num_epochs=1000",
        "--temperature=0.1",
        "--strength=0.5",
        "--learning_rate=1.0",
    )
    pretraining = choices.pretraining
    assert (choices.recipe, pretraining.optimizer) == ("cifar10_original", "lars")
    assert (
        pretraining.batch_size,
        pretraining.epochs,
        pretraining.temperature,
        pretraining.learning_rate,
    ) == (256, 1000, 0.1, 1.0)
    assert (choices.augmentation.brightness, choices.augmentation.hue) == (0.4, 0.1)


def test_with_another_task_they_reach_finetuning():
    choices = choose(
        "--train_file_path=a.csv", "--num_epochs=7", "--batch_size=9", "--pretrain_epochs=3"
    )
    assert (
        choices.finetuning.epochs,
        choices.finetuning.batch_size,
        choices.pretraining.epochs,
    ) == (7, 9, 3)


SEGMENTATION = ("--task=segmentation", "--num_classes=2", "--train_file_path=a.csv")


@pytest.mark.parametrize("operation", ["blur", "noise", "cutout", "rotation", "quarter_turn"])
def test_views_that_no_label_map_can_follow_are_refused_before_pretraining(operation):
    name = f"finetuning.views.{operation}_probability"
    with pytest.raises(InputError, match=rf"`{name}` must be 0 where label maps follow"):
        choose(*SEGMENTATION, "--set", f"{name}=0.5")


@pytest.mark.parametrize(
    "flags", [["--freeze=False"], ["--freeze=True", "--set=finetuning.beside_scratch=true"]]
)
def test_quarter_turns_of_images_that_are_not_square_are_refused_before_pretraining(flags):
    turns = "--set=finetuning.views.quarter_turn_probability=0.5"
    with pytest.raises(InputError, match=r"`--input_size` must be square for quarter turns"):
        choose(*flags, "--input_size=32 48", turns)
    assert choose(*flags, "--input_size=48 48", turns).image_size == (48, 48)
    assert choose("--freeze=True", "--input_size=32 48", turns)  # of no effect, which is told
    assert choose(*flags, "--task=pretrain", "--input_size=32 48", turns)


def test_the_home_folder_is_found_in_flags_and_files_which_no_shell_looks_into(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "my.yaml").write_text("save_paths: {pretrain: ~/left}\nlists: {train: ~/a.csv}")
    flags = ["--config=~/my.yaml", "--val_file_path=~/b.csv", "--pipeline_root=~/root"]
    choices = choose(*flags, "--set=weights.file=~/w.safetensors")
    assert choices.lists.given() == {"train": f"{tmp_path}/a.csv", "eval": f"{tmp_path}/b.csv"}
    found = choices.save_paths.pretrain, choices.weights.file, choices.pipeline_root
    assert found == tuple(f"{tmp_path}/{name}" for name in ("left", "w.safetensors", "root"))
    assert choose("--images=~").dataset.source == str(tmp_path)
    assert choose("--train_file_path=~a.csv").lists.train == "~a.csv"


@pytest.mark.parametrize(
    "flag", ["--train_file_path=", "--images=", "--pipeline_root=", "--finetune_save_path="]
)
def test_a_path_that_is_no_utf8_is_refused_by_its_flag_or_setting(flag, tmp_path):
    path = b"caf\xe9/train.csv"
    result = subprocess.run(
        [sys.executable, str(ROOT / "local_runner.py"), flag.encode() + path, "--print_config"],
        cwd=tmp_path,
        capture_output=True,
        timeout=60,
        check=False,
    )
    told = result.stderr.decode()
    assert result.returncode == 2 and "must have a path in UTF-8. Received: " in told
    assert "caf\\udce9/train.csv" in told


def test_a_list_below_a_folder_that_is_no_utf8_and_a_root_there_are_refused(tmp_path, monkeypatch):
    folder = os.path.join(os.fsencode(tmp_path), b"caf\xe9")
    os.mkdir(folder)
    monkeypatch.chdir(folder)
    with pytest.raises(InputError, match=r"`lists.train` must have a path in UTF-8"):
        choose("--train_file_path=train.csv")
    with pytest.raises(InputError, match=r"`--pipeline_root` must have a path in UTF-8"):
        refuse_place(choose().root.resolve())


def test_any_setting_can_be_set():
    assert choose("--set", "augmentation.crop_area=0.3 0.9").augmentation.crop_area == (0.3, 0.9)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--batchsize", "3"], "No flag '--batchsize'. Did you mean '--batch_size'?"),
        (["train.csv"], "'train.csv' stands without a flag. Fix: --train_file_path=train.csv"),
        (["--input_size", "64", "48"], "'48' stands without a flag. Fix: --input_size=\"64 48\""),
        (["--input_size", "64", "64"], "'64' stands without a flag. Fix: --input_size=\"64 64\""),
        (
            ["--seed=1", "--input_size=64", "48"],
            "'48' stands without a flag. Fix: --input_size=\"64 48\"",
        ),
        (["--minutes=abc"], "argument --minutes: must be a number. Received: 'abc'"),
        (["--recipe", "cifar10_smal"], "Did you mean 'cifar10_small'?"),
        (["--num_classes", "1"], "`--num_classes` must be at least 2"),
        (["--input_size", "a b"], "`--input_size` must be 2 numbers"),
        (["--input_size", "8 8"], "`--input_size` must have a height and a width from 16"),
        (["--task=pretrain", "--batch_size=1"], "`--batch_size` must be at least 2"),
        (["--strength=-1"], "`--strength` must be from 0 to 1.25. Received: -1"),
        (["--strength=3"], "`--strength` must be from 0 to 1.25. Received: 3"),
        (["--strength=nan"], "`--strength` must be from 0 to 1.25. Received: nan"),
        (
            ["--temperature=-1"],
            "`--temperature` must be greater than 0. Received: --temperature=-1.0",
        ),
        (["--set=pretraining.temperature=0"], "pretraining: `temperature` must be greater than 0"),
        (["--input_size=32", "--crop_size=64"], "`--crop_size` must not be larger than `--input"),
        (["--task=clasification"], "'clasification'. Did you mean 'classification'?"),
        (
            ["--on_bad_row=skipp"],
            "must be one of fail, skip. Received: 'skipp'. Did you mean 'skip",
        ),
        (
            ["--set", "augmentation.crop_area=0.9 0.1"],
            "`crop_area` must satisfy 0 < low <= high <= 1",
        ),
        (
            ["--set", "augmentation.crop=1"],
            "No setting 'augmentation.crop'. Did you mean 'augmentation.crop_area'?",
        ),
        (["--eval_epochs=5,x"], "`--eval_epochs` must be numbers"),
        (["--eval_epochs=x"], "`--eval_epochs` must be numbers"),
        (["--set", "target.values=0,x"], '`target.values` must be numbers, as in "5 10"'),
        (["--set", "encoder.builder=foo"], "'foo' has no dot between a module and a function"),
        (["--recipe=demo", "--cifar10"], "Received: demo and cifar10_original"),
        (["--metadata=postgres://x@y/z"], "`--metadata` must be mysql://"),
        (["--depth=20"], "--depth"),
        (["--resume"], "no interrupted run was found"),
        (
            ["--val_file_path=a.csv"],
            "is missing: a list of `path,label` rows. Received: --val_file_path='a.csv'",
        ),
    ],
)
def test_a_bad_flag_ends_at_once_with_exit_code_2_and_the_fix(arguments, message, tmp_path):
    result = run(*arguments, cwd=tmp_path)
    assert result.returncode == 2
    assert message in result.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "arguments",
    [
        ("--metadata=mysql://me:secret@h/a", "--set=metadata=mysql://me:secret@h/b"),
        ("--set=metadata:mysql://me:secret@h/a",),
    ],
)
def test_what_is_told_of_a_wrong_flag_holds_no_password(arguments):
    with pytest.raises(InputError) as told:
        choose(*arguments)
    assert "mysql://me@h/a" in str(told.value) and "secret" not in str(told.value)


NUMBERS = {name: kind for name, kind in KINDS.items() if kind in (int, float)}
TUPLES = {name: kind for name, kind in KINDS.items() if typing.get_origin(kind) is tuple}


def _values_of_recipes():
    """Setting -> a value that a recipe has, not the demo's where there is another one."""
    demo, *others = (settings_of(recipe()) for recipe in RECIPES.values())
    for name in demo:
        values = [one[name] for one in (*others, demo) if one.get(name, "") not in ("", ())]
        if values:
            yield name, next((value for value in values if value != demo[name]), values[0])


def test_every_setting_of_a_recipe_can_be_set():
    wanted, found = dict(_values_of_recipes()), {}
    for name, value in wanted.items():
        text = " ".join(map(str, value)) if isinstance(value, tuple) else value
        found[name] = settings_of(choose("--set", f"{name}={text}"))[name]
    assert found == wanted


@pytest.mark.parametrize("wrong", ["nan", "inf", "-inf", "", " "])
@pytest.mark.parametrize("name", [*NUMBERS, *TUPLES])
def test_no_setting_takes_a_number_that_is_none(name, wrong):
    with pytest.raises(ValueError, match="Received: "):
        choose("--set", f"{name}={wrong}")


@pytest.mark.parametrize("name", [name for name, kind in NUMBERS.items() if kind is int])
def test_a_whole_number_is_not_cut(name):
    with pytest.raises(ValueError, match=f"`{name}` must be of type int. Received: '2.5'"):
        choose("--set", f"{name}=2.5")


@pytest.mark.parametrize("flag", ["--input_size", "--crop_size", "--eval_epochs"])
def test_pixels_and_epochs_are_not_cut(flag):
    with pytest.raises(ValueError, match=r"must be whole numbers\. Received: value='32.7 64.2'"):
        choose(f"{flag}=32.7 64.2")


@pytest.mark.parametrize("seed", ["-1", str(2**31)])
def test_a_seed_is_one_that_every_generator_takes(seed):
    with pytest.raises(ValueError, match=f"`seed` must satisfy .*Received: seed={seed}"):
        choose(f"--seed={seed}")


def _flags_with_values():
    """Every flag that takes a value."""
    actions = build_parser()._actions
    return [action.option_strings[0] for action in actions if action.nargs != 0]


@pytest.mark.parametrize("flag", _flags_with_values())
@pytest.mark.parametrize("empty", ["", " "])
def test_an_empty_value_as_an_unset_variable_leaves_it_runs_nothing(flag, empty, capsys):
    with pytest.raises(SystemExit) as stopped:
        choose(f"{flag}={empty}")
    assert stopped.value.code == 2
    assert f"argument {flag}" in capsys.readouterr().err


def test_all_bad_rows_are_told_before_anything_starts(tmp_path, image_list):
    image_list("train", 2)
    (tmp_path / "list.csv").write_text("train/0.png,0\nabsent.png,1\ntrain/1.png,5\n")
    result = run("--train_file_path=list.csv", "--num_classes=2", cwd=tmp_path)
    assert result.returncode == 2
    assert "list.csv:2: " in result.stderr
    assert "label 5 lies outside [0, 2)" in result.stderr
    assert result.stderr.splitlines()[-1] == "Fix: mend them"  # one class is left without them
    assert not (tmp_path / "runs").exists()


def test_bad_rows_that_a_run_can_do_without_are_refused_with_the_flag_for_that(
    tmp_path, image_list
):
    path = image_list("train", 12)
    path.write_text(f"{path.read_text()}absent.png,cat\n")
    with pytest.raises(InputError, match=r"1 bad row:\n.*\nFix: .*, or --on_bad_row=skip$"):
        make_plan(choose(f"--train_file_path={path}"))


@pytest.mark.parametrize(
    ("train", "evaluation", "message"),
    [
        ("train/0.png,0\ntrain/1.png,1\n", "train/0.png,0\n", "eval.csv:1: "),
        ("train/0.png,0\n,1\nabsent.png,1\n", "train/5.png,9\n", "3 bad rows:"),
        ("train/0.png\ntrain/1.png\n", "train/2.png\n", "Without labels: --task=pretrain"),
    ],
)
def test_bad_rows_of_all_kinds_and_lists_are_told_together(
    train, evaluation, message, tmp_path, image_list
):
    image_list("train", 6)
    (tmp_path / "train.csv").write_text(train)
    (tmp_path / "eval.csv").write_text(evaluation)
    result = run("--train_file_path=train.csv", "--val_file_path=eval.csv", cwd=tmp_path)
    assert result.returncode == 2
    assert message in result.stderr


def test_the_gate_asks_for_more_than_the_most_frequent_label():
    rows = [Row("list", index, "image", label) for index, label in enumerate("aaab")]
    gate = choose("--train_file_path=a.csv").gate
    assert gate_above_chance(gate, Classification(2, ("a", "b")), rows).min_metric == 0.75


def test_the_gate_of_a_single_list_asks_for_more_than_a_constant_scores_on_what_is_held_out(
    image_list,
):
    path = image_list(count=60)
    rows = [Row(str(path), 1, f"train/{index}.png", "") for index in range(60)]
    held_out = [row.name for row in rows if is_held_out(row.image_id)]
    learned = [row.name for row in rows if not is_held_out(row.image_id)]
    labels = {name: ("cat", "dog")[index % 2] for index, name in enumerate(learned)}
    labels |= {name: "cat" for name in held_out[1:]} | {held_out[0]: "dog"}
    path.write_text("".join(f"{name},{label}\n" for name, label in labels.items()))
    plan = make_plan(choose(f"--train_file_path={path}"))
    assert plan.gate.min_metric == pytest.approx(1 - 1 / len(held_out), abs=1e-4)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "`--num_classes` must be given for segmentation, from 2 to 255. Received: none"),
        (["--num_classes=1"], "`--num_classes` must be at least 2"),
        (["--num_classes=3"], "list.csv:2: "),
    ],
)
def test_segmentation_wants_a_number_of_classes_and_label_maps_that_are_there(
    flags, message, tmp_path, image_list
):
    image_list("train", 2)
    (tmp_path / "list.csv").write_text("train/0.png,train/1.png\ntrain/1.png,absent.png\n")
    result = run("--train_file_path=list.csv", "--task=segmentation", *flags, cwd=tmp_path)
    assert result.returncode == 2
    assert message in result.stderr


def test_a_missing_list_is_named(tmp_path):
    result = run("--train_file_path=absent.csv", cwd=tmp_path)
    assert result.returncode == 2
    assert "absent.csv: no such list file" in result.stderr


def test_a_default_batch_shrinks_to_a_small_data_set_and_a_chosen_one_does_not(capsys):
    choices = choose("--train_file_path=a.csv")
    assert pretraining_that_fits(choices, 40).batch_size == 40
    assert "Only 40 images" in capsys.readouterr().out
    choices = choose("--train_file_path=a.csv", "--set", "pretraining.batch_size=256")
    with pytest.raises(InputError, match="Received: batch_size=256, 40 images"):
        pretraining_that_fits(choices, 40)


def test_a_single_image_to_pretrain_on_is_refused_without_naming_a_smaller_batch():
    with pytest.raises(InputError, match=r"Received: batch_size=\d+, 1 image\. Fix: more images$"):
        pretraining_that_fits(choose("--train_file_path=a.csv"), 1)


def test_a_run_made_shorter_than_its_warm_up_warms_up_in_proportion():
    assert choose(
        "--cifar10", "--task=pretrain", "--num_epochs=5"
    ).pretraining.warmup_epochs == pytest.approx(0.05)
    assert (
        choose("--cifar10", "--task=pretrain", "--num_epochs=100").pretraining.warmup_epochs == 10
    )
    assert choose("--recipe=demo", "--pretrain_epochs=1").pretraining.warmup_epochs == 0.1
    assert choose("--recipe=demo", "--temperature=0.3").pretraining.warmup_epochs == 1


def test_from_scratch_trains_the_whole_network():
    choices = choose("--train_file_path=a.csv", "--from_scratch", "--label_fraction=0.1")
    assert choices.from_scratch and not choices.finetuning.freeze
    assert choices.finetuning.label_fraction == 0.1


@pytest.mark.parametrize(
    "flag",
    [
        "--freeze=True",
        "--pretrain_save_path=a",
        "--eval_epochs=1",
        "--pretrain_epochs=3",
        "--task=pretrain",
    ],
)
def test_from_scratch_refuses_what_belongs_to_pretraining(flag):
    with pytest.raises(
        ValueError, match=f"without pretraining. Received beside it: {flag.split('=')[0]}"
    ):
        choose("--train_file_path=a.csv", "--from_scratch", flag)


def test_epochs_to_evaluate_must_have_an_encoder_and_a_recipes_own_are_left_out_without_one():
    chosen = choose("--train_file_path=a.csv", "--pretrain_epochs=10", "--eval_epochs=5,20")
    with pytest.raises(
        ValueError, match="Received: 20 of classification, while pretraining ends after 10"
    ):
        kept_epochs(chosen, SavedEncoder())
    of_recipe = choose("--cifar10", "--pretrain_epochs=500")
    assert kept_epochs(of_recipe, SavedEncoder()) == (200, 400)
    assert kept_epochs(of_recipe, SavedEncoder("there", milestones=(400, 600))) == (400, 600)
    assert choose("--train_file_path=a.csv", "--eval_epochs=200,400").eval_epochs == (200, 400)


@pytest.mark.parametrize("epochs", ["0,5", "5,5", "6,5", "a"])
def test_epochs_to_evaluate_must_rise(epochs):
    with pytest.raises(ValueError, match=r"eval_epochs. must be"):
        choose("--train_file_path=a.csv", f"--eval_epochs={epochs}")


@pytest.mark.parametrize("fraction", ["0", "1.5"])
def test_a_fraction_of_labels_lies_in_0_to_1(fraction):
    with pytest.raises(ValueError, match=r"label_fraction. must satisfy"):
        choose("--train_file_path=a.csv", f"--label_fraction={fraction}")


def test_a_continued_run_does_not_take_the_encoder_that_it_has_left_itself(tmp_path, image_list):
    flags = [f"--train_file_path={image_list()}", f"--pretrain_save_path={tmp_path / 'left'}"]
    write_record(str(tmp_path / "left"), EncoderRecord(Encoder(), (16, 16), (0.5,), (0.2,)))
    (tmp_path / "left" / EXTRAS / ENCODER_FILE).write_bytes(b"weights")
    taken, own = (make_plan(choose(*flags), may).saved_encoder.path for may in (True, False))
    assert (taken, own) == (str(tmp_path / "left"), "")


@pytest.mark.parametrize(
    "command",
    [
        ("pipeline.embed", "", "a.png"),
        ("pipeline.embed", "model", "a.png", "--output="),
        ("pipeline.evaluate", "", "list.csv"),
        ("pipeline.lineage", "--pipeline_root="),
        ("pipeline.predict", "model", ""),
        ("pipeline.report", "--pipeline_root="),
        ("pipeline.report", "--output="),
    ],
    ids=" ".join,
)
def test_no_tool_takes_an_empty_path_which_would_be_the_working_folder(command):
    told = subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert told.returncode == 2
    assert "must not be empty" in told.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_while_the_program_is_still_loading_is_a_line(number, tmp_path):
    command = [sys.executable, "-X", "importtime", str(ROOT / "local_runner.py"), "--recipe=none"]
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while "argparse" not in process.stderr.readline():
        pass
    process.send_signal(number)
    _, errors = process.communicate()
    said = [line for line in errors.splitlines() if not line.startswith("import time:")]
    assert (process.returncode, said) == (EXIT_INTERRUPTED, [NOT_BEGUN])


@pytest.mark.parametrize(
    ("flags", "fix"),
    [(["--crop_size=64"], "64 64"), (["--input_size=32", "--crop_size=16 33"], "32 33")],
)
def test_views_larger_than_the_stored_image_are_refused_with_the_size_that_they_need(flags, fix):
    with pytest.raises(InputError, match=f'not be larger than .* Fix: --input_size="{fix}"'):
        choose(*flags)
    crop = next(flag for flag in flags if flag.startswith("--crop_size"))
    height, width = choose(crop, f"--input_size={fix}").image_size
    assert f"{height} {width}" == fix


def test_a_grid_finer_than_the_last_stage_is_refused_before_a_run():
    with pytest.raises(InputError, match=r"`encoder.grid` must be at most 3.*grid=4"):
        choose("--input_size=24", "--set", "encoder.grid=4")


def test_a_grid_is_judged_by_the_stem_that_the_views_decide():
    chosen = choose("--input_size=96", "--crop_size=64", "--set", "encoder.grid=8")
    assert chosen.encoder.grid == 8  # of 12: views of 64 pixels are those of the small stem


def test_views_too_small_for_the_stem_that_is_named_are_refused_before_a_run():
    sizes = "--input_size=32 32", "--crop_size=24 24"
    with pytest.raises(InputError, match=r"`--crop_size` must be at least 32 pixels"):
        choose(*sizes, "--set", "encoder.stem=imagenet")
    assert choose(*sizes, "--set", "encoder.stem=imagenet", "--from_scratch").from_scratch


@pytest.mark.parametrize("name", [name for name, kind in NUMBERS.items()])
@pytest.mark.parametrize("number", ["1", "-1"])
def test_no_setting_takes_a_number_that_32_bits_do_not_hold(name, number):
    with pytest.raises(InputError, match="Received: "):
        choose("--set", f"{name}={number}{'0' * 40}")


def test_an_encoder_of_a_final_model_is_not_taken_without_a_word(tmp_path, image_list, capsys):
    flags = [f"--train_file_path={image_list()}", f"--pretrain_save_path={tmp_path / 'left'}"]
    write_record(str(tmp_path / "left"), EncoderRecord(Encoder(), (16, 16), (0.5,), (0.2,)))
    extras = tmp_path / "left" / EXTRAS
    (extras / ENCODER_FILE).write_bytes(b"weights")
    (extras / TASK_FILE).write_text(task_to_json(Classification(2, ("a", "b"))))
    make_plan(choose(*flags))
    assert "a final model of the task classification lies there" in capsys.readouterr().out
    (extras / TASK_FILE).write_text(task_to_json(Unlabelled()))
    make_plan(choose(*flags))
    assert "final model" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("encoder", "told"),
    [
        (Encoder(stem="imagenet"), "at least 32 pixels on its shorter side for the imagenet stem"),
        (Encoder(stem="small", grid=4), "`encoder.grid` must be at most 3"),
    ],
)
def test_images_too_small_for_the_encoder_that_is_there_are_refused_before_a_run(
    tmp_path, image_list, encoder, told
):
    left = tmp_path / "left"
    write_record(str(left), EncoderRecord(encoder, (96, 96), (0.5,), (0.2,)))
    (left / EXTRAS / ENCODER_FILE).write_bytes(b"weights")
    flags = [f"--train_file_path={image_list()}", f"--pretrain_save_path={left}"]
    with pytest.raises(
        InputError, match=rf"{told}.*encoder in {left}\. Fix: a larger --input_size"
    ):
        make_plan(choose(*flags, "--input_size=24"))
    assert make_plan(choose(*flags, "--input_size=48 48", "--crop_size=24")).encoder == encoder


@pytest.mark.parametrize("setting", ["dataset.name=shape", "dataset.options.seeds=1"])
def test_print_config_refuses_what_a_run_would_refuse_of_a_data_set(setting, tmp_path):
    result = run("--print_config", "--set", setting, cwd=tmp_path)
    assert (result.returncode, result.stdout) == (2, "")
    assert "Did you mean" in result.stderr


def test_a_run_is_continued_on_the_engine_that_it_was_on_unless_another_is_named(
    tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)  # where `--resume` goes
    root = Root(tmp_path)
    root.write_record(
        run_id="1", finished=False, folder=str(tmp_path), flags=["--beam_runner=portable"]
    )
    line = ["--resume", f"--pipeline_root={tmp_path}"]
    assert main(line) == BAD_INPUT
    assert "`--beam_runner=portable` needs the address" in capsys.readouterr().err
    main([*line, "--beam_runner=in_process"])  # which finds no settings there
    assert "--beam_runner" not in capsys.readouterr().err
