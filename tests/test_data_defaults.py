"""What nobody named follows from the images and the machine, by rules."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from components.file_list_example_gen.rows import Row
from pipeline.config_file import text_of
from pipeline.data_defaults import Situation, usual_side, with_data_defaults
from pipeline.flags import build_parser, choices_of
from pipeline.plan import make_plan


def choose(*flags):
    return choices_of(build_parser().parse_args(["--train_file_path=train.csv", *flags]))


def rows(count, folder="nowhere"):
    return [Row(f"{folder}/train.csv", n + 1, f"{n}.png", "") for n in range(count)]


def pictures(folder, count, size):
    folder.mkdir()
    for number in range(count):
        Image.fromarray(np.zeros((*size, 3), np.uint8)).save(folder / f"{number}.png")
    return rows(count, folder)


@pytest.mark.parametrize(
    ("images", "gpu", "batch", "epochs"),
    [
        (10, False, 10, 200),
        (100, False, 16, 200),
        (1000, False, 64, 200),
        (4000, False, 128, 75),
        (50_000, False, 128, 20),
        (50_000, True, 256, 200),
    ],
)
def test_batch_and_epochs_follow_from_the_number_of_images(images, gpu, batch, epochs):
    pretraining = with_data_defaults(choose(), Situation(rows(images), gpu=gpu)).pretraining
    assert (pretraining.batch_size, pretraining.epochs) == (batch, epochs)


def test_a_run_of_few_steps_has_a_low_temperature_and_a_warmed_up_high_rate():
    few, many = (
        with_data_defaults(choose(), Situation(rows(count), gpu=True)) for count in (1000, 50_000)
    )
    assert (few.pretraining.temperature, few.pretraining.learning_rate) == (0.2, 0.24)
    assert few.pretraining.warmup_epochs == 1.0
    assert (many.pretraining.temperature, many.pretraining.learning_rate) == (0.5, 0.06)


@pytest.mark.parametrize(
    ("size", "gpu", "stored", "views"),
    [
        ((28, 28), False, 32, 24),
        ((100, 50), False, 48, 36),
        ((300, 300), False, 64, 48),
        ((300, 300), True, 128, 128),
    ],
)
def test_sizes_follow_from_the_images_and_the_machine(tmp_path, size, gpu, stored, views):
    chosen = with_data_defaults(
        choose(), Situation(pictures(tmp_path / "images", 3, size), gpu=gpu)
    )
    assert (chosen.image_size, chosen.view_size) == ((stored,) * 2, (views,) * 2)


@pytest.mark.parametrize(("size", "views"), [((28, 28), 32), ((48, 48), 36), ((40, 40), 32)])
def test_views_are_no_smaller_than_the_stem_of_the_encoder_takes(tmp_path, size, views):
    images = pictures(tmp_path / "images", 3, size)
    chosen = with_data_defaults(choose(), Situation(images, gpu=False, stem="imagenet"))
    assert chosen.view_size == (views, views)


def test_images_whose_size_no_header_tells_leave_the_size_as_it_is(tmp_path):
    assert usual_side(rows(3)) == 0
    (tmp_path / "0.png").write_bytes(b"\x89PNG\r\n\x1a\n cut short")
    assert usual_side(rows(1, tmp_path)) == 0
    assert with_data_defaults(choose(), Situation(rows(3), gpu=False)).image_size == (32, 32)


def test_what_a_person_named_is_kept_and_the_rest_is_told_with_its_reason(tmp_path, capsys):
    flags = ["--temperature=0.5", "--pretrain_epochs=3", "--input_size=32"]
    images = pictures(tmp_path / "images", 30, (40, 40))
    chosen = with_data_defaults(choose(*flags), Situation(images, gpu=False))
    assert (chosen.pretraining.temperature, chosen.pretraining.epochs) == (0.5, 3)
    assert chosen.image_size == chosen.view_size == (32, 32)
    assert chosen.pretraining.learning_rate == 0.24
    told = capsys.readouterr().out
    assert told.startswith("Chosen for 30 images of about 40 pixels on a CPU")
    assert "  batch size      16: there is no smaller one\n" in told
    assert "temperature" not in told and "epochs          " not in told


@pytest.mark.parametrize(
    ("images", "told"),
    [
        (3_000, "epochs          100: 300,000 images in all\n"),
        (120, "epochs          200: 300,000 images in all would be 2,500; from 20 to 200\n"),
    ],
)
def test_epochs_that_are_cut_say_so(images, told, capsys):
    with_data_defaults(choose(), Situation(rows(images), gpu=False))
    assert told in capsys.readouterr().out


def test_no_reason_is_told_that_was_none(capsys):
    chosen = choose("--set=pretraining.micro_batch=64")
    with_data_defaults(chosen, Situation(rows(50_000), gpu=False, learned=40))
    told = capsys.readouterr().out
    assert "steps an epoch" not in told and "  label batch     8: there is no smaller one\n" in told


@pytest.mark.parametrize(
    ("labelled", "batch"), [(0, 256), (10, 8), (367, 8), (1_968, 32), (50_000, 256)]
)
def test_a_training_by_labels_has_steps_enough_in_an_epoch(labelled, batch, capsys):
    chosen = with_data_defaults(choose(), Situation(rows(50_000), gpu=False, learned=labelled))
    assert chosen.finetuning.batch_size == batch
    assert ("label batch" in capsys.readouterr().out) == bool(labelled)
    named = with_data_defaults(
        choose("--batch_size=100"), Situation(rows(9), gpu=False, learned=labelled)
    )
    assert named.finetuning.batch_size == 100


@pytest.mark.parametrize(
    ("flags", "batch"),
    [
        ([], 256),  # fitted at once
        (["--freeze=False"], 16),
        (["--freeze=False", "--label_fraction=0.5"], 8),
        (["--head=mlp"], 16),
        (["--set", "finetuning.beside_scratch=true"], 16),
        (["--from_scratch"], 16),
        (["--task=pretrain"], 256),
    ],
)
def test_only_what_learns_step_by_step_has_a_batch_chosen(
    tmp_path, image_list, monkeypatch, flags, batch
):
    monkeypatch.chdir(tmp_path)
    plan = make_plan(choose(f"--train_file_path={image_list('train', 700)}", *flags))
    assert plan.choices.finetuning.batch_size == batch


@pytest.mark.parametrize(
    ("labelled", "flags", "grid"),
    [
        (0, [], 1),
        (500, [], 1),
        (600, [], 2),
        (1_200, [], 3),
        (1_200, ["--input_size=16"], 2),  # there are no more
        (1_200, ["--set", "encoder.grid=1"], 1),
        (1_200, ["--width=1"], 1),
        (5_000, ["--width=1"], 3),
        (5_000, ["--width=1", "--depth=50"], 1),
        (2_000_000, [], 1),  # more than memory
    ],
)
def test_features_are_means_of_as_many_cells_as_there_are_labels_for(labelled, flags, grid, capsys):
    choices = choose("--width=0.25", *flags)
    chosen = with_data_defaults(choices, Situation(rows(9), gpu=False, read_out=labelled))
    assert chosen.encoder.grid == grid
    assert (
        f"  encoder grid    {grid} x {grid} parts of an image, " in capsys.readouterr().out
    ) == (grid > 1)


@pytest.mark.parametrize(
    ("flags", "grid"),
    [
        ([], 3),
        (["--head=mlp"], 3),
        (["--freeze=False"], 3),
        (["--from_scratch"], 1),
        (["--set", "finetuning.beside_scratch=true"], 1),
        (["--label_fraction=0.1"], 3),
        (["--task=pretrain"], 1),
    ],
)
def test_cells_are_chosen_where_there_is_pretraining_and_are_the_same_however_it_goes_on(
    tmp_path, image_list, monkeypatch, flags, grid
):
    monkeypatch.chdir(tmp_path)
    train = image_list("train", 100, size=32)  # of which 8 channels need 72 for 3 x 3 cells
    plan = make_plan(choose(f"--train_file_path={train}", "--width=0.01", *flags))
    assert plan.encoder.grid == plan.choices.encoder.grid == grid


def test_minutes_take_the_place_of_epochs_and_a_long_run_keeps_the_published_values(capsys):
    hours = with_data_defaults(
        choose("--minutes=600"), Situation(rows(50_000), gpu=True)
    ).pretraining
    assert (hours.temperature, hours.learning_rate) == (0.5, 0.06)
    assert (
        with_data_defaults(
            choose("--minutes=5"), Situation(rows(50_000), gpu=False)
        ).pretraining.temperature
        == 0.2
    )
    assert "images in all" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("recipe", "images", "flags"),
    [("cifar10_small", 10_000, []), ("cifar10_cpu", 50_000, ["--pretrain_epochs=90"])],
)
def test_the_rules_give_what_a_recipe_was_given_by_hand(tmp_path, recipe, images, flags):
    pictures(tmp_path / "images", 1, (32, 32))
    listed = rows(images, tmp_path / "images")
    chosen = with_data_defaults(choose("--width=0.25", *flags), Situation(listed, gpu=False))
    by_hand = choose(f"--recipe={recipe}")
    every = {"monitor_every_epochs": chosen.pretraining.monitor_every_epochs}
    assert replace(by_hand.pretraining, **every) == chosen.pretraining
    for name in ("image_size", "view_size", "augmentation"):
        assert getattr(by_hand, name) == getattr(chosen, name)


def test_a_recipe_keeps_its_own_values(capsys):
    recipe = choose("--recipe=cifar10_small")
    assert with_data_defaults(recipe, Situation(rows(100), gpu=False)) == recipe
    assert capsys.readouterr().out == ""


def test_what_was_chosen_is_written_down_and_the_same_on_any_machine(
    tmp_path, image_list, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    train = image_list("train", 40)
    # 0.5 is the recipe's own: a person's all the same
    flags = [f"--train_file_path={train}", "--temperature=0.5"]
    first = make_plan(choices_of(build_parser().parse_args(flags))).choices
    (tmp_path / "left.yaml").write_text(text_of(first))
    again = make_plan(choices_of(build_parser().parse_args(["--config=left.yaml"]))).choices
    assert again.pretraining == first.pretraining and first.pretraining.temperature == 0.5
    assert text_of(again) == text_of(first) and not again.fit_to_data
