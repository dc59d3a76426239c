"""`--encoder_weights`: found before a run, and made into what an earlier run would have left."""

import json
from pathlib import Path

import numpy as np
import pytest
from test_weights import narrow, written

from components.metadata.names import SAVED_MODEL
from local_runner import main
from pipeline.flags import build_parser, choices_of
from pipeline.imported import bring_in
from pipeline.plan import make_plan
from pipeline.weights import IMAGENET, find_weights
from trainer_module.errors import InputError
from trainer_module.export import load_encoder
from trainer_module.saved_encoder import (
    ENCODER_FILE,
    EXTRAS,
    EncoderRecord,
    holds_encoder,
    read_record,
    write_record,
)
from trainer_module.settings import Encoder
from trainer_module.weights.names import tensors_of


@pytest.fixture
def file(tmp_path):
    """A narrow ResNet-18 below a prefix, with a projection head beside it."""
    others = {"head.0.weight": np.zeros((4, 64), np.float32)}
    return written(tmp_path, narrow("backbone.") | others)


def chosen(file, *flags):
    """The choices of a command line with lists that need not be there."""
    line = ["--train_file_path=train.csv", "--input_size=16 16", f"--encoder_weights={file}"]
    return choices_of(build_parser().parse_args([*line, *flags]))


def test_architecture_and_mapping_follow_from_the_file(file):
    encoder, saved = find_weights(chosen(file))
    assert (encoder.depth, encoder.width, encoder.stem) == (18, 0.125, "small")
    assert f"{file}: 100 tensors below 'backbone.', 1 other left out" in saved.mapping
    assert saved.begins_pretraining and not saved.replaces_pretraining


@pytest.mark.parametrize("width", [0.1, 0.3, 0.35])
def test_a_file_of_ours_says_what_its_tensors_do_not(width, tmp_path):
    ours = Encoder(18, width, "lightly")
    said = {"made_by": "simclr-tfx", "depth": "18", "width": f"{width:g}", "stem": "lightly"}
    tensors = {name: np.zeros(one.shape, np.float32) for name, one in tensors_of(ours).items()}
    path = written(tmp_path, tensors, said)
    assert find_weights(chosen(path))[0] == ours
    assert find_weights(chosen(path, "--set=encoder.stem=auto"))[0] == ours
    assert find_weights(chosen(path, "--set=encoder.stem=small"))[0].stem == "small"
    with pytest.raises(InputError, match="differ from those of a ResNet-34"):
        find_weights(chosen(path, "--depth=34"))


@pytest.mark.parametrize("wrong", [{"depth": "many"}, {"width": ""}, {"depth": "19"}])
def test_a_file_of_ours_that_says_no_architecture_is_named(wrong, tmp_path):
    path = written(tmp_path, narrow(), {"made_by": "simclr-tfx"} | wrong)
    with pytest.raises(InputError, match=r"weights\.safetensors"):
        find_weights(chosen(path))


@pytest.mark.parametrize(
    "path",
    [
        "resnetblur50.bt_in1k.safetensors",
        "timm_ResNetAA50.safetensors",
        "models--timm--resnetaa50.a1h_in1k/snapshots/0f/model.safetensors",  # as the hub keeps it
    ],
)
def test_a_file_named_as_a_resnet_with_blurred_strides_is_refused(path, tmp_path):
    (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
    Path(written(tmp_path, narrow())).rename(tmp_path / path)
    told = r"does not blur .* Received: .*, which is named as .*Fix: .* give the file another name"
    with pytest.raises(InputError, match=told):
        find_weights(chosen(tmp_path / path))


@pytest.mark.parametrize("task", ["classification", "pretrain"])
def test_a_root_in_place_of_a_file_is_refused_with_the_ways_to_take_its_encoder(task, tmp_path):
    pushed = tmp_path / "serving" / "17"
    write_record(str(pushed), EncoderRecord(Encoder(), (16, 16), (0.5,), (0.2,)))
    (pushed / EXTRAS / ENCODER_FILE).write_bytes(b"weights")
    (pushed / "saved_model.pb").touch()
    with pytest.raises(InputError) as refused:
        find_weights(chosen(tmp_path, f"--task={task}"))
    told = str(refused.value)
    assert (f"--pretrain_save_path={pushed} instead" in told) == (task != "pretrain")
    assert f"`python -m pipeline.export {pushed} --format safetensors" in told


def test_a_plain_resnet_in_a_folder_named_as_a_blurred_one_is_taken(tmp_path):
    (tmp_path / "resnetblur50").mkdir()
    assert find_weights(chosen(written(tmp_path / "resnetblur50", narrow())))[0].depth == 18


@pytest.mark.parametrize("stem", ["of the weights", "named"])
def test_views_that_follow_from_the_images_are_not_too_small_for_the_stem(
    stem, tmp_path, image_list, monkeypatch
):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    ours = tensors_of(Encoder(18, 0.125, "imagenet"))
    path = written(tmp_path, {name: np.zeros(one.shape, np.float32) for name, one in ours.items()})
    flag = "--set=encoder.stem=imagenet" if stem == "named" else f"--encoder_weights={path}"
    line = [f"--train_file_path={image_list(size=32)}", flag]
    plan = make_plan(choices_of(build_parser().parse_args(line)))
    assert plan.choices.view_size == (32, 32)


def test_a_grid_of_cells_stands_on_the_weights_of_any_file(file):
    encoder, saved = find_weights(chosen(file, "--set=encoder.grid=2"))
    assert encoder.grid == saved.from_weights.encoder.grid == 2


def test_a_grid_of_the_file_that_is_finer_than_the_images_allow_is_refused(tmp_path, image_list):
    said = {"made_by": "simclr-tfx", "grid": "3"}
    line = [f"--train_file_path={image_list()}", "--input_size=16 16"]
    line.append(f"--encoder_weights={written(tmp_path, narrow(), said)}")
    with pytest.raises(InputError, match=r"`encoder.grid` must be at most 2.*grid=3"):
        make_plan(choices_of(build_parser().parse_args(line)))


@pytest.mark.parametrize("begins", [True, False])
def test_a_grid_is_held_against_the_size_that_follows_from_the_images(
    begins, file, tmp_path, image_list, monkeypatch
):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    line = [f"--train_file_path={image_list(size=64)}", "--set=encoder.grid=6"]
    line += [f"--encoder_weights={file}"] if begins else []
    plan = make_plan(choices_of(build_parser().parse_args(line)))
    assert plan.choices.image_size == (64, 64) and plan.encoder.grid == 6
    if begins:
        model = Path(bring_in(plan.saved_encoder, tmp_path / "root"), SAVED_MODEL)
        assert read_record(model).image_size == (64, 64)
        assert load_encoder(str(model)).output_shape == (None, 36 * 64)


def test_a_grid_finer_than_the_images_that_there_are_is_refused(image_list):
    line = [f"--train_file_path={image_list(size=32)}", "--set=encoder.grid=6"]
    with pytest.raises(InputError, match=r"`encoder.grid` must be at most 4.*grid=6"):
        make_plan(choices_of(build_parser().parse_args(line)))


def test_without_epochs_nothing_is_pretrained(file):
    _, saved = find_weights(chosen(file, "--pretrain_epochs=0"))
    assert saved.replaces_pretraining and not saved.begins_pretraining


def test_images_are_normalized_as_imagenets_unless_file_or_settings_say_otherwise(file, tmp_path):
    own = {"channel_mean": "[0.1, 0.2, 0.3]", "channel_std": "[0.4, 0.5, 0.6]"}
    (tmp_path / "own").mkdir()
    of_file = written(tmp_path / "own", narrow(), own)
    said = "--set=weights.channel_mean=0.5 0.5 0.5", "--set=weights.channel_std=0.25 0.25 0.25"
    found = [
        find_weights(choices)[1]
        for choices in (chosen(file), chosen(of_file), chosen(of_file, *said))
    ]
    assert [(one.channel_mean, one.channel_std) for one in found] == [
        IMAGENET,
        ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6)),
        ((0.5,) * 3, (0.25,) * 3),
    ]


@pytest.mark.parametrize(
    ("mean", "deviation", "told"),
    [
        ("[123.7, 116.3, 103.5]", "[58.4, 57.1, 57.4]", "`channel_mean` must lie in [0, 1]"),
        ("0.485,0.456,0.406", "0.2,0.2,0.2", "channel_mean='0.485,0.456,0.406'"),
        ("0.5", "0.5", "channel_mean='0.5'"),
        ("[0.5]", "[0.2]", "must both have three numbers"),
        ("[0.5, 0.5, 0.5]", "[0, 0, 0]", "`channel_std` must be greater than 0"),
        ("[NaN, 0.5, 0.5]", "[0.1, 0.1, 0.2]", "`channel_mean` must be finite"),
        ('"abc"', '"abc"', "channel_mean='\"abc\"'"),
    ],
)
def test_a_mean_and_deviation_of_the_file_that_no_images_have_are_refused(
    mean, deviation, told, tmp_path
):
    of_file = written(tmp_path, narrow(), {"channel_mean": mean, "channel_std": deviation})
    with pytest.raises(InputError) as refused:
        find_weights(chosen(of_file))
    assert f"The metadata of {of_file} must name a mean" in str(refused.value)
    assert told in str(refused.value)
    said = "--set=weights.channel_mean=0.5 0.5 0.5", "--set=weights.channel_std=0.25 0.25 0.25"
    assert find_weights(chosen(of_file, *said))[1].channel_mean == (0.5, 0.5, 0.5)


def test_it_becomes_an_encoder_with_its_record_and_the_mapping_of_its_tensors(file, tmp_path):
    _, saved = find_weights(chosen(file))
    serving = Path(bring_in(saved, tmp_path), SAVED_MODEL)
    assert holds_encoder(serving) and read_record(serving) == saved.from_weights
    kernel = load_encoder(str(serving)).get_layer("stage1_1_conv").kernel
    expected = narrow()["layer1.1.conv1.weight"].transpose(2, 3, 1, 0)
    np.testing.assert_array_equal(kernel, expected)
    mapping = json.loads((serving / EXTRAS / "weights.json").read_text())
    assert mapping["tensors"]["bn1.weight"] == "backbone.bn1.weight"
    assert mapping["left_out"] == ["head.0.weight"]


def test_a_file_that_changes_before_it_is_read_is_refused_and_leaves_nothing(file, tmp_path):
    _, saved = find_weights(chosen(file))
    written(tmp_path, narrow("backbone.") | {"backbone.bn1.bias": np.ones(8, np.float32)})
    with pytest.raises(InputError, match="must not change while they are read"):
        bring_in(saved, tmp_path)
    assert not (tmp_path / "imported" / saved.fingerprint).exists()


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite_are_refused_by_their_name_before_anything_runs(
    wrong, tmp_path
):
    bad = np.array([0, wrong] * 4, np.float32)
    both = {"backbone.bn1.bias": bad, "backbone.layer1.0.bn1.bias": bad}
    path = written(tmp_path, narrow("backbone.") | both)
    with pytest.raises(InputError) as refused:
        find_weights(chosen(path))
    told = f"Received: {path}, whose backbone.bn1.bias has 4 of 8 that are not (2 such tensors)"
    assert told in str(refused.value)


def test_what_is_left_out_of_a_file_need_not_be_finite(tmp_path):
    head = {"head.0.weight": np.full((4, 64), np.nan, np.float32)}
    path = written(tmp_path, narrow("backbone.") | head)
    _, saved = find_weights(chosen(path))
    assert holds_encoder(Path(bring_in(saved, tmp_path), SAVED_MODEL))


def test_other_weights_or_another_normalization_are_another_encoder(file, tmp_path):
    first = find_weights(chosen(file))[1].fingerprint
    said = "--set=weights.channel_mean=0.5 0.5 0.5", "--set=weights.channel_std=0.25 0.25 0.25"
    other = find_weights(chosen(file, *said))[1].fingerprint
    written(tmp_path, narrow("backbone.") | {"backbone.bn1.bias": np.ones(8, np.float32)})
    assert len({first, other, find_weights(chosen(file))[1].fingerprint}) == 3


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--depth=34"], "differ from those of a ResNet-34 of width 0.125"),
        (["--encoder_weights=absent.pth"], "must be a file of weights. Received: "),
        (["--encoder_weights=train.csv"], "Fix: a whole file of a ResNet as torchvision, timm or"),
        (["--from_scratch"], "Received beside it: --encoder_weights"),
        (["--task=pretrain", "--pretrain_epochs=0"], "where the encoder is to be learned or left"),
        (
            ["--set=encoder.builder=trainer_module.heads.attach_head"],
            "no other `encoder.builder` takes them",
        ),
        (["--set=weights.channel_mean=0.5 0.5 0.5"], "must both have three numbers"),
        (["--set=encoder.stem=imagenet", "--input_size=32 32"], "is [8, 3, 3, 3] and not [8, 3, 7"),
    ],
)
def test_bad_input_ends_with_2_before_anything_starts(
    file, tmp_path, monkeypatch, capsys, flags, message
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.csv").write_text("absent.png,cat\n")
    line = ["--train_file_path=train.csv", "--input_size=16 16", f"--encoder_weights={file}"]
    assert main([*line, *flags]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_zero_epochs_without_weights_are_refused(capsys):
    assert main(["--pretrain_epochs=0"]) == 2
    assert "0 takes `--encoder_weights` as they are" in capsys.readouterr().err
