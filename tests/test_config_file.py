"""A run's settings as a file: what it says, what wins over it, and what is wrong with it."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.choices import Choices, Dataset
from pipeline.config_file import CONFIG_FILE, leave, read_settings, text_of
from pipeline.flags import build_parser, choices_of
from pipeline.plan import how_to_store, pretraining_that_fits
from pipeline.recipes import RECIPES, recipe_named
from trainer_module.errors import InputError
from trainer_module.tasks.registry import TASKS

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def choose(*arguments):
    return choices_of(build_parser().parse_args(arguments))


def from_file(text, *flags):
    Path("my.yaml").write_text(text)
    return choose("--config=my.yaml", *flags)


def run(*arguments):
    command = [sys.executable, str(ROOT / "local_runner.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("recipe", RECIPES)
def test_what_is_printed_of_a_recipe_is_the_recipe_again(recipe):
    chosen, made = choose(f"--recipe={recipe}"), recipe_named(recipe)
    assert from_file(text_of(chosen)) == chosen
    views = chosen.finetuning.views  # the task's, where the recipe says nothing of them
    assert chosen == replace(made, finetuning=replace(made.finetuning, views=views))


@pytest.mark.parametrize(
    "flags",
    [
        ["--train_file_path=a.csv", "--val_file_path=b.csv", "--pretrain_file_path=c.csv"],
        ["--train_file_path=a.csv", "--from_scratch", "--label_fraction=0.1"],
        ["--task=pretrain", "--pretrain_file_path=a.csv", "--pretrain_save_path=left"],
        ["--cifar10", "--source=archive", "--eval_epochs=1,2", "--pipeline_root=root"],
        ["--set", "dataset.options.train_images=80", "--crop_size=24 32", "--set", "name=mine"],
    ],
)
def test_what_is_printed_of_a_command_line_makes_the_same_run_from_any_folder(
    flags, tmp_path, monkeypatch
):
    chosen = choose(*flags)
    text, name = text_of(chosen), chosen.pipeline_name
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    again = from_file(text)
    assert text_of(again) == text
    assert again.pipeline_name == name


def test_a_printed_setting_has_the_comment_of_its_source_and_no_line_is_long():
    lines = text_of(choose("--recipe=cifar10_small")).splitlines()
    assert "  crop_area: [0.2, 1.0]  # share of the image's area" in lines
    assert "  # fitted to as well, for classes" in lines and max(map(len, lines)) <= 100


def test_flags_win_over_the_file_and_the_file_over_the_recipe():
    file = "recipe: cifar10_small\npretraining:\n  epochs: 7\n  temperature: 0.3\n"
    chosen = from_file(file, "--temperature=0.4").pretraining
    assert (chosen.epochs, chosen.temperature, chosen.batch_size) == (7, 0.4, 128)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("recipe", ["own", "shapes_segmentation"])
def test_a_field_of_views_is_named_on_those_of_the_task(task, recipe):
    flags = (f"--recipe={recipe}", f"--task={task}", "--train_file_path=a.csv")
    mild = TASKS[task].mild
    assert choose(*flags).finetuning.views == mild
    chosen = choose(*flags, "--set", "finetuning.views.jitter_probability=0").finetuning.views
    assert chosen == replace(mild, jitter_probability=0.0)


def test_a_recipes_own_views_are_those_of_any_task():
    views = recipe_named("elpv").finetuning.views
    assert choose("--recipe=elpv", "--task=regression").finetuning.views == views


def test_a_files_views_are_kept_beside_a_flag_of_another_task():
    views = choose().finetuning.views
    assert from_file(text_of(choose()), "--task=segmentation").finetuning.views == views


def test_a_file_made_of_one_line_is_the_demo_with_another_setting():
    assert from_file("gate: {min_metric: 0.5}") == replace(
        recipe_named("demo"), gate=replace(recipe_named("demo").gate, min_metric=0.5)
    )


def test_a_number_may_be_written_with_an_exponent():
    assert from_file("finetuning:\n  weight_decay: 1e-3\n").finetuning.weight_decay == 1e-3


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("pretraining: {epochs: 064}", 64),
        ("pretraining: {temperature: 1.e-1}", 0.1),
        ("name: 1:40", "1:40"),
        ("name: '1e5'", "1e5"),
        ("name: 0x10", "0x10"),
    ],
)
def test_a_number_is_decimal_and_everything_else_is_text(line, expected, tmp_path):
    (tmp_path / "settings.yaml").write_text(line)
    assert [*read_settings(str(tmp_path / "settings.yaml")).values()] == [expected]


@pytest.mark.parametrize("line", ["epochs: 1:40", "epochs: 0x40", "temperature: 1:40"])
def test_what_yaml_would_take_for_another_number_is_refused(line):
    with pytest.raises(InputError, match=r"must be of type \w+. Received: '"):
        from_file(f"pretraining: {{{line}}}")


@pytest.mark.parametrize("name", ["1e5", "7e12345", "064"])
def test_a_run_of_any_name_is_found_again_in_its_file(name):
    assert from_file(text_of(choose(f"--set=name={name}"))).name == name


def test_an_empty_section_leaves_all_as_it_is():
    assert from_file("pretraining:\n") == recipe_named("demo")


def test_lists_in_a_file_take_the_place_of_the_recipes_data_set():
    chosen = from_file("recipe: demo\nlists:\n  train: a.csv\n")
    assert (chosen.lists.train, chosen.dataset) == ("a.csv", Dataset())


def test_lists_on_the_command_line_take_the_place_of_the_files_data_set():
    assert from_file(text_of(choose()), "--train_file_path=a.csv").dataset == Dataset()


def test_the_task_of_the_file_says_which_training_a_flag_means():
    assert from_file("task: pretrain", "--num_epochs=5").pretraining.epochs == 5
    assert from_file("task: classification", "--num_epochs=5").finetuning.epochs == 5


def test_a_shorter_run_than_the_files_warm_up_warms_up_in_proportion():
    file = text_of(choose("--recipe=cifar10_original"))
    assert from_file(file, "--pretrain_epochs=5").pretraining.warmup_epochs == 0.05


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pretraining: {epoch: 5}", "No setting 'pretraining.epoch'. Did you mean 'pretraining.ep"),
        ("temperature: 1", "No setting 'temperature'. Did you mean 'pretraining.temperature'?"),
        ("pretrainin: {epochs: 5}", "No setting 'pretrainin'. Did you mean 'pretraining'?"),
        ("saved_encoder: 1", "No setting 'saved_encoder'"),
        ("named: [task]", "No setting 'named'"),
        ("pretraining: 5", "'pretraining' is a section, each setting in a line"),
        ("- pretraining", "A file of settings has sections"),
        ("pretraining: {epochs: fifty}", "`pretraining.epochs` must be of type int. Received: 'f"),
        ("pretraining: {epochs: 2.5}", "`pretraining.epochs` must be of type int. Received: 2.5"),
        ("pretraining: {epochs: true}", "`pretraining.epochs` must be of type int. Received: True"),
        ("pretraining: {epochs: }", "`pretraining.epochs` must be of type int. Received: None"),
        ("finetuning: {freeze: 1}", "`finetuning.freeze` must be of type bool. Received: 1"),
        ("image_size: [32]", "`image_size` must be of type tuple[int, int]. Received: [32]"),
        ("eval_epochs: [1.5]", "`eval_epochs` must be of type tuple[int, ...]. Received: [1.5]"),
        ("gate: {min_metric: .nan}", "gate: `min_metric` must be finite. Received: min_metric=nan"),
        (
            "finetuning: {views: {hue: 1}}",
            "finetuning.views: `hue` must satisfy 0 <= hue <= 0.5. Received: hue=1",
        ),
        ("recipe: cifar", "No recipe 'cifar'. Did you mean 'cifar10'?"),
        ("task: classify", "`task` must be one of pretrain, classification"),
        ("name: ../other", "`name` must be the name of a folder"),
        ("from_scratch: true\ntask: pretrain", "Received beside it: --task=pretrain"),
        ("dataset: {name: shapes}\nlists: {train: a}", "`dataset` must have no name beside lists"),
        ("lists: {eval: a.csv}", "`--train_file_path` is missing"),
        ("gate: {min_metric: 0}\ngate: {max_error: 1}", "'gate' stands here twice"),
        ("gate: {min_metric: 0", "is not written as YAML is"),
    ],
)
def test_what_is_wrong_in_a_file_is_told_with_its_name(text, message):
    with pytest.raises(InputError) as refused:
        from_file(text)
    assert str(refused.value).startswith("my.yaml") and message in str(refused.value)


def test_a_broken_file_ends_with_exit_code_2_and_starts_nothing():
    Path("my.yaml").write_text("pretraining: {epoch: 5}")
    result = run("--config=my.yaml")
    assert (result.returncode, result.stdout) == (2, "")
    assert "my.yaml: No setting 'pretraining.epoch'" in result.stderr
    assert [path.name for path in Path.cwd().iterdir()] == ["my.yaml"]


@pytest.mark.parametrize("path", ["absent.yaml", ".", "picture"])
def test_a_file_that_cannot_be_read_is_named(path):
    Path("picture").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(InputError, match=rf"`--config` must be a file.*Received: {path}, "):
        choose(f"--config={path}")


def test_what_a_flag_breaks_is_not_said_of_the_file():
    with pytest.raises(ValueError, match=r"^`--temperature` must be greater than 0"):
        from_file("gate: {min_metric: 0.5}", "--temperature=0")


def test_two_recipes_are_refused():
    with pytest.raises(ValueError, match=r"Received: cifar10 by a flag, demo in my\.yaml"):
        from_file("recipe: demo", "--recipe=cifar10")


def test_a_files_own_value_is_obeyed_and_one_that_is_the_recipes_gives_way_to_the_data():
    few = from_file("recipe: own\npretraining: {batch_size: 256}")
    assert pretraining_that_fits(few, 40).batch_size == 40
    other = from_file("recipe: own\npretraining: {batch_size: 200}")
    with pytest.raises(InputError, match="Received: batch_size=200, 40 images"):
        pretraining_that_fits(other, 40)


@pytest.mark.parametrize(
    "setting, images, stored_as",
    [
        ("image_size: 64", 40_000, "pixels"),  # 0.49 GB of 1
        ("image_size: 64", 50_000, "jpeg"),
        ("image_size: 63", 50_000, "pixels"),  # blocks of 8 x 8 would show
        ("image_size: 64\nstored_as: png", 40_000, "png"),
        ("image_size: 64\nstored_as: pixels", 50_000, "pixels"),
    ],
)
def test_images_are_stored_encoded_where_half_of_the_memory_is_too_little(
    setting, images, stored_as
):
    chosen = from_file(f"recipe: own\nview_size: 32\n{setting}")
    assert how_to_store(chosen, images, memory=10**9) == stored_as


def test_printing_starts_nothing():
    result = run("--recipe=cifar10_small", "--print_config")
    assert result.returncode == 0
    assert from_file(result.stdout) == recipe_named("cifar10_small")
    assert [path.name for path in Path.cwd().iterdir()] == ["my.yaml"]


def test_what_a_run_leaves_holds_no_password(tmp_path):
    leave(Choices(metadata="mysql://me:secret@host/base"), tmp_path)
    assert read_settings(str(tmp_path / CONFIG_FILE))["metadata"] == "mysql://me@host/base"
    assert "secret" not in (tmp_path / CONFIG_FILE).read_text()


@pytest.mark.parametrize(
    ("flag", "setting"),
    [
        ("--temperature=0.5", "pretraining.temperature=0.2"),
        ("--num_epochs=5", "finetuning.epochs=6"),
        ("--input_size=32 32", "image_size=64 64"),
        ("--task=pretrain", "task=segmentation"),
    ],
)
def test_a_flag_and_set_that_contradict_each_other_are_refused(flag, setting):
    name = flag.partition("=")[0]
    with pytest.raises(ValueError, match=f"`{name}` and `--set {setting.partition('=')[0]}` must"):
        choose(flag, "--set", setting)


def test_a_flag_and_set_that_agree_are_taken():
    chosen = choose("--temperature=0.2", "--set", "pretraining.temperature=2e-1")
    assert chosen.pretraining.temperature == 0.2


def test_a_flag_of_several_settings_gives_way_to_set_of_one():
    chosen = choose("--strength=0.5", "--set", "augmentation.hue=0.3").augmentation
    assert (chosen.brightness, chosen.hue) == (0.4, 0.3)


@pytest.mark.parametrize(
    "flags", [("--minutes=1e9",), ("--minutes=inf",), ("--set", "pretraining.minutes=1e9")]
)
def test_more_minutes_than_a_year_are_refused_however_they_are_named(flags):
    with pytest.raises(ValueError, match=r"`(--)?minutes` must be (finite|.*less than a year)"):
        choose(*flags)


@pytest.mark.parametrize("minutes", [("--minutes=10",), ("--set", "pretraining.minutes=10")])
@pytest.mark.parametrize("epochs", [("--pretrain_epochs=5",), ("--set", "pretraining.epochs=5")])
def test_minutes_and_epochs_of_one_command_line_are_refused(minutes, epochs):
    with pytest.raises(InputError, match=r"not both be given\. Received: 10 minutes and 5 ep"):
        choose(*minutes, *epochs)


def test_a_files_minutes_give_way_to_epochs_of_the_command_line():
    chosen = from_file("pretraining: {minutes: 10}", "--pretrain_epochs=5").pretraining
    assert (chosen.epochs, chosen.minutes) == (5, 0)


def test_a_files_epochs_give_way_to_minutes_of_the_command_line():
    file = "weights: {file: encoder.safetensors}\npretraining: {epochs: 0}"
    chosen = from_file(file, "--minutes=10").pretraining
    assert chosen.epochs > 0 and chosen.minutes == 10


def test_a_files_minutes_are_kept_beside_the_epochs_that_stand_there_too():
    assert from_file("pretraining: {minutes: 10, epochs: 5}").pretraining.minutes == 10


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("pretraining.epoch=5", "Did you mean 'pretraining.epochs'?"),
        ("pretrainin.epochs=5", "Did you mean 'pretraining.epochs'?"),
        ("finetuning.temperature=5", "Did you mean 'pretraining.temperature'?"),
        ("epochs=5", "Did you mean 'pretraining.epochs' or 'finetuning.epochs'?"),
        ("pretraining=5", "'pretraining' is a section; name one of its fields"),
        ("eval_epochs.first=5", "No setting 'eval_epochs.first'"),
        ("finetuning.freeze=yes", "`finetuning.freeze` must be true or false"),
    ],
)
def test_a_mistyped_setting_is_told_with_the_nearest(setting, message):
    with pytest.raises(ValueError) as refused:
        choose("--set", setting)
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("image_size: 48", (48, 48)),
        ("image_size: 48 64", (48, 64)),
        ("image_size: '48,64'", (48, 64)),
        ("image_size: [48, 64]", (48, 64)),
        ("eval_epochs: 5", (5,)),
        ("eval_epochs: 5,10", (5, 10)),
    ],
)
def test_numbers_stand_in_a_file_as_after_set(line, expected, tmp_path):
    (tmp_path / "settings.yaml").write_text(line)
    (value,) = read_settings(str(tmp_path / "settings.yaml")).values()
    assert value == expected


@pytest.mark.parametrize("line", ["image_size: 48.5", "image_size: a b", "image_size: true"])
def test_a_size_in_a_file_is_not_cut_or_guessed(line, tmp_path):
    (tmp_path / "settings.yaml").write_text(line)
    with pytest.raises(InputError, match=r"`image_size` must be .*Received: "):
        read_settings(str(tmp_path / "settings.yaml"))
