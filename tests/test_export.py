"""`python -m pipeline.export`: the same network in every format, and refusals before anything is
written.
"""

import resource
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest
import small_encoder
from test_weights import value_of
from test_weights_in import chosen

from pipeline.export import main
from pipeline.model_card import THROUGH_JPEG
from pipeline.weights import find_weights
from trainer_module import dotted
from trainer_module.export import save_head
from trainer_module.finetune import head_alone
from trainer_module.normalize import normalize
from trainer_module.resnet import build_encoder
from trainer_module.saved_encoder import (
    ENCODER_FILE,
    EXTRAS,
    HEAD_FILE,
    TASK_FILE,
    EncoderRecord,
    write_record,
)
from trainer_module.settings import Encoder
from trainer_module.tasks.classification import Classification
from trainer_module.tasks.registry import task_to_json
from trainer_module.tasks.segmentation import Segmentation
from trainer_module.tasks.unlabelled import Unlabelled
from trainer_module.weights.exchange import put_in
from trainer_module.weights.files import WeightsFile
from trainer_module.weights.names import tensors_of

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
TASK = Classification(3, ("cat", "dog", "fox"))
SIDE = 36
NETWORKS = {
    "small 18": Encoder(18, 0.125, "small"),
    "imagenet 18": Encoder(18, 0.125, "imagenet"),
    "lightly 50": Encoder(50, 0.125, "lightly"),
    "grid 18": Encoder(18, 0.125, "small", grid=3),
}


def left(folder, settings, kind="linear", stored_as="pixels"):
    """What a run leaves of a classifier, as far as an export reads it; and the classifier."""
    encoder = build_encoder(settings, (SIDE, SIDE))
    values = {name: value_of(name, one.shape) for name, one in tensors_of(settings).items()}
    put_in(encoder, settings, values)
    classifier = TASK.head(encoder, kind)
    record = EncoderRecord(settings, (SIDE, SIDE), MEAN, STD, stored_as=stored_as)
    write_record(str(folder), record)
    (folder / "saved_model.pb").write_bytes(b"graph")
    encoder.save(folder / EXTRAS / ENCODER_FILE)
    (folder / EXTRAS / TASK_FILE).write_text(task_to_json(TASK))
    save_head(head_alone(encoder, classifier), str(folder))
    return encoder, classifier


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Returns a function from the name of a network to its folder, encoder and classifier."""
    made = {}

    def model(name):
        if name not in made:
            folder = tmp_path_factory.mktemp("model") / "17"
            folder.mkdir()
            made[name] = folder, *left(folder, NETWORKS[name])
        return made[name]

    return model


def pixels(side=SIDE, width=SIDE):
    """Pictures with soft edges, uint8 [2, side, width, 3]."""
    wave = np.sin(np.arange(side)[:, None] / 5 + np.arange(width)[None] / 7)
    colours = np.random.default_rng(0).uniform(40, 120, (2, 1, 1, 3))
    return (128 + wave[None, :, :, None] * colours).astype(np.uint8)


def normalized():
    return np.asarray(normalize(pixels(), MEAN, STD))


def exported(model, place, kind, *flags):
    output = place / f"exported.{kind}"
    assert main([str(model), f"--format={kind}", f"--output={output}", *flags]) == 0
    return output


def headless(models, place, task):
    """A model of a task whose head lies in the SavedModel alone."""
    folder = Path(shutil.copytree(models("small 18")[0], place / "17"))
    (folder / EXTRAS / HEAD_FILE).unlink()
    (folder / EXTRAS / TASK_FILE).write_text(task_to_json(task))
    return folder


@pytest.mark.parametrize("name", ["small 18", "grid 18"])
def test_safetensors_come_back_as_the_same_encoder_with_its_normalization(models, tmp_path, name):
    folder, encoder, _ = models(name)
    output = exported(folder, tmp_path, "safetensors")
    assert output.stat().st_mode == output.with_name(f"{output.name}.md").stat().st_mode
    settings, saved = find_weights(chosen(output, "--input_size=36 36"))
    assert (settings, saved.channel_mean, saved.channel_std) == (NETWORKS[name], MEAN, STD)
    again, file = build_encoder(settings, (SIDE, SIDE), seed=5), WeightsFile(str(output))
    put_in(again, settings, file.read(tensors_of(settings)))
    np.testing.assert_allclose(again(normalized()), encoder(normalized()), rtol=1e-5, atol=1e-5)


def test_another_grid_than_that_of_the_file_is_taken_where_it_is_named(models, tmp_path):
    output = exported(models("grid 18")[0], tmp_path, "safetensors")
    settings, _ = find_weights(chosen(output, "--input_size=36 36", "--set=encoder.grid=1"))
    assert settings.grid == 1


def test_a_model_that_learned_through_jpeg_says_so_where_the_format_leaves_it_out(tmp_path, capsys):
    folder = tmp_path / "17"
    folder.mkdir()
    left(folder, NETWORKS["small 18"], stored_as="jpeg")
    file = WeightsFile(str(exported(folder, tmp_path, "safetensors")))
    assert file.metadata["stored_as"] == "jpeg"
    card = (tmp_path / "exported.safetensors.md").read_text()
    assert THROUGH_JPEG in card and THROUGH_JPEG in capsys.readouterr().out


def test_safetensors_hold_the_head_as_pytorchs_linear_layer(models, tmp_path):
    folder, _, classifier = models("small 18")
    file = WeightsFile(str(exported(folder, tmp_path, "safetensors")))
    kernel, bias = classifier.get_layer("logits").get_weights()
    head = file.read(["fc.weight", "fc.bias"])
    np.testing.assert_array_equal(head["fc.weight"], kernel.T)
    np.testing.assert_array_equal(head["fc.bias"], bias)
    assert file.metadata["classes"] == '["cat", "dog", "fox"]'


def test_the_head_on_a_grid_of_cells_takes_them_in_pytorchs_order(models, tmp_path):
    folder, encoder, classifier = models("grid 18")
    file = WeightsFile(str(exported(folder, tmp_path, "safetensors")))
    head = file.read(["fc.weight", "fc.bias"])
    cells = np.asarray(encoder(normalized())).reshape(2, 3, 3, -1)
    theirs = cells.transpose(0, 3, 1, 2).reshape(2, -1)  # [B, C * G * G]
    logits = theirs @ head["fc.weight"].T + head["fc.bias"]
    np.testing.assert_allclose(logits, classifier(normalized()), rtol=1e-4, atol=1e-4)


def test_a_head_with_a_hidden_layer_is_pytorchs_sequential(tmp_path):
    folder = tmp_path / "17"
    folder.mkdir()
    left(folder, NETWORKS["small 18"], "mlp")
    file = WeightsFile(str(exported(folder, tmp_path, "safetensors")))
    hidden, dims = file.shapes["fc.0.weight"]
    assert (dims, file.shapes["fc.2.weight"]) == (64, (3, hidden))


def test_keras_has_layers_of_keras_alone_and_the_same_answers(models, tmp_path):
    folder, _, classifier = models("imagenet 18")
    again = keras.models.load_model(exported(folder, tmp_path, "keras"), compile=False)
    ours = [layer for layer in again.layers if not type(layer).__module__.startswith("keras.")]
    assert ours == []
    np.testing.assert_allclose(again(normalized()), classifier(normalized()), rtol=1e-4, atol=1e-4)


def session(path):
    onnxruntime = pytest.importorskip("onnxruntime", reason="needs make extra NAME=onnx")
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("name", NETWORKS)
def test_onnx_answers_as_the_classifier_does(models, tmp_path, name):
    pytest.importorskip("onnx", reason="needs make extra NAME=onnx")
    folder, encoder, classifier = models(name)
    asked = session(exported(folder, tmp_path, "onnx"))
    images = normalized()
    features, logits, probabilities = asked.run(None, {"images": images.transpose(0, 3, 1, 2)})
    np.testing.assert_allclose(features, encoder(images), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(logits, classifier(images), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize(
    "size", [(SIDE, SIDE), (20, 25), (90, 61), (300, 300), (480, 640), (15, 500)], ids=str
)
def test_onnx_with_preprocessing_sees_the_pixels_that_transform_makes(models, tmp_path, size):
    pytest.importorskip("onnx", reason="needs make extra NAME=onnx")
    import tensorflow as tf

    folder, encoder, _ = models("small 18")
    images = pixels(*size)
    resized = tf.image.resize(images, (SIDE, SIDE), antialias=True)
    whole = tf.cast(tf.clip_by_value(tf.round(resized), 0, 255), tf.uint8)
    asked = session(exported(folder, tmp_path, "onnx", "--preprocessing"))
    features = asked.run(["features"], {"images": images})[0]
    expected = encoder(normalize(whole, MEAN, STD))
    np.testing.assert_allclose(features, expected, rtol=1e-4, atol=1e-4)


def test_a_saved_model_is_the_folder_as_it_was_pushed_and_a_card_lies_beside_it(models, tmp_path):
    folder, *_ = models("small 18")
    (folder / EXTRAS / "model_card.md").write_text("# The card\n")
    output = exported(folder, tmp_path, "saved_model")
    files = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    assert files and all(
        (output / file).read_bytes() == (folder / file).read_bytes() for file in files
    )
    assert (tmp_path / "exported.saved_model.md").read_text() == "# The card\n"
    (folder / EXTRAS / "model_card.md").unlink()


def test_a_model_without_a_card_gets_one_that_says_what_it_is(models, tmp_path):
    exported(models("small 18")[0], tmp_path, "keras")
    assert "ResNet-18 of width 0.125" in (tmp_path / "exported.keras.md").read_text()


@pytest.mark.parametrize("kind", ["safetensors", "keras"])
def test_a_card_says_how_images_are_normalized_and_in_which_order_classes_come(
    models, tmp_path, kind
):
    folder, *_ = models("small 18")
    (folder / EXTRAS / "model_card.md").write_text("# The card\n")
    exported(folder, tmp_path, kind)
    (folder / EXTRAS / "model_card.md").unlink()
    card = (tmp_path / f"exported.{kind}.md").read_text()
    assert card.startswith("# The card\n\n## Input and output\n")
    assert "36 x 36 pixels (others stretched by bilinear interpolation with" in card
    assert "in [0, 1], minus the mean 0.4000, 0.5000, 0.6000, divided by " in card
    assert '- Classes, in the order of the logits: 0 "cat", 1 "dog", 2 "fox".' in card


@pytest.mark.parametrize("kind", ["safetensors", "onnx", "keras"])
def test_a_card_without_a_head_says_whose_the_scores_are(models, tmp_path, capsys, kind):
    if kind == "onnx":
        pytest.importorskip("onnx", reason="needs make extra NAME=onnx")
    folder = headless(models, tmp_path, Segmentation(3))
    exported(folder, tmp_path, kind)
    card = (tmp_path / f"exported.{kind}.md").read_text()
    assert (
        "- It is the encoder alone and answers features; scores of segmentation are those of the "
        "SavedModel (`--format=saved_model`), which alone has the head." in card
    )
    assert "without the head of segmentation, which saved_model has" in capsys.readouterr().out


def test_a_classifier_without_a_head_file_gets_no_classes(models, tmp_path):
    output = exported(headless(models, tmp_path, TASK), tmp_path, "safetensors")
    assert "in the order of the logits" not in (tmp_path / "exported.safetensors.md").read_text()
    assert WeightsFile(str(output)).metadata["classes"] == "[]"


def test_an_encoder_that_answers_no_task_has_no_head_to_miss(models, tmp_path, capsys):
    exported(headless(models, tmp_path, Unlabelled()), tmp_path, "keras")
    card = (tmp_path / "exported.keras.md").read_text()
    assert "- It answers features." in card and "SavedModel" not in card
    assert capsys.readouterr().out.startswith("a ResNet-18 of width 0.125 -> ")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--format=keras", "--output=there.keras"], "`--output` must be new"),
        (["--format=keras", "--output=link.keras"], "`--output` must be new"),
        (["--format=keras", "--output=new.onnx"], "`--output` must end in .keras"),
        (["--format=keras", "--output=absent/new.keras"], "must lie in a folder that exists"),
        (["--format=safetensors", "--preprocessing"], "`--preprocessing` is of --format=onnx"),
    ],
)
def test_bad_input_ends_with_2_and_writes_nothing(
    models, tmp_path, monkeypatch, capsys, flags, message
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.keras").touch()
    (tmp_path / "link.keras").symlink_to("absent.keras")
    assert main([str(models("small 18")[0]), *flags]) == 2
    assert message in capsys.readouterr().err
    assert {path.name for path in tmp_path.iterdir()} == {"there.keras", "link.keras"}


@pytest.mark.parametrize(
    "flags",
    [
        ["--format=saved_model"],
        ["--format=keras", "--output=../link/w.keras"],
        ["--format=safetensors", "--output=assets.extra/w.safetensors"],
    ],
)
def test_nothing_is_written_into_the_folder_of_a_model(
    models, tmp_path, monkeypatch, capsys, flags
):
    folder = Path(shutil.copytree(models("small 18")[0], tmp_path / "17"))
    (tmp_path / "link").symlink_to("17")
    before = sorted(folder.rglob("*"))
    monkeypatch.chdir(folder)
    assert main([".", *flags]) == 2
    told = capsys.readouterr().err
    assert f"must lie outside the folder of the model, {folder}. Received: {folder}/" in told
    assert sorted(folder.rglob("*")) == before


def no_large_files():
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))  # bytes


def test_what_cannot_be_written_ends_with_1_and_leaves_nothing_in_the_way(models, tmp_path):
    folder, *_ = models("small 18")
    output = tmp_path / "exported"
    flags = [str(folder), "--format=saved_model", f"--output={output}"]
    ended = subprocess.run(
        [sys.executable, "-m", "pipeline.export", *flags],
        cwd=Path(__file__).resolve().parent.parent,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=no_large_files,
    )
    assert (ended.returncode, list(tmp_path.iterdir())) == (1, [])
    assert "file too large" in ended.stderr and ended.stderr.count("\n") == 1
    assert main(flags) == 0


def test_without_an_output_the_model_is_named_after_its_root_and_its_path_is_told(
    tmp_path, monkeypatch, capsys
):
    folder, here = tmp_path / "demo" / "serving" / "17", tmp_path / "here"
    folder.mkdir(parents=True)
    here.mkdir()
    left(folder, NETWORKS["small 18"])
    (tmp_path / "demo" / "run.json").write_text("{}")
    monkeypatch.chdir(here)
    assert main([str(tmp_path / "demo"), "--format=saved_model"]) == 0
    told = [line.rpartition(" -> ")[2] for line in capsys.readouterr().out.splitlines()]
    assert told == [f"{here}/demo-17", f"{here}/demo-17.md"]
    assert sorted(path.name for path in here.iterdir()) == ["demo-17", "demo-17.md"]


def test_a_network_of_ones_own_is_told_by_its_builder(tmp_path, capsys):
    settings, folder = Encoder(builder="small_encoder.build"), tmp_path / "17"
    write_record(str(folder), EncoderRecord(settings, (SIDE, SIDE), MEAN, STD))
    (folder / "saved_model.pb").write_bytes(b"graph")
    small_encoder.build(settings, (SIDE, SIDE)).save(folder / EXTRAS / ENCODER_FILE)
    exported(folder, tmp_path, "keras")
    assert capsys.readouterr().out.startswith("an encoder of small_encoder.build -> ")


OWN_LAYERS = """
import keras

@keras.saving.register_keras_serializable("own_layers")
class Scale(keras.layers.Layer):
    def call(self, tensor):
        return tensor * 0.5

def build(settings, image_size, dtype="float32", seed=0):
    images = keras.Input((*image_size, 3))
    return keras.Model(images, keras.layers.GlobalAveragePooling2D()(Scale()(images)))
"""


def left_with_own_layers(folder, recorded):
    """What a run leaves of an encoder with a layer of its own, as a process finds it that has not
    built it; `recorded` is the builder that the record names.
    """
    (folder.parent / "own_layers.py").write_text(OWN_LAYERS)
    write_record(str(folder), EncoderRecord(Encoder(builder=recorded), (SIDE, SIDE), MEAN, STD))
    (folder / "saved_model.pb").write_bytes(b"graph")
    dotted.function("own_layers.build")(None, (SIDE, SIDE)).save(folder / EXTRAS / ENCODER_FILE)
    del sys.modules["own_layers"]
    keras.saving.get_custom_objects().pop("own_layers>Scale")


def test_layers_of_ones_own_are_known_where_only_the_record_names_their_module(
    tmp_path, monkeypatch
):
    monkeypatch.syspath_prepend(tmp_path)
    folder = tmp_path / "17"
    left_with_own_layers(folder, "own_layers.build")
    again = keras.models.load_model(exported(folder, tmp_path, "keras"), compile=False)
    np.testing.assert_allclose(again(normalized()), normalized().mean((1, 2)) / 2, atol=1e-6)


def test_a_layer_that_no_builder_registers_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(tmp_path)
    left_with_own_layers(tmp_path / "17", "small_encoder.build")
    flags = ["--format=keras", f"--output={tmp_path}/w.keras"]
    assert main([str(tmp_path / "17"), *flags]) == 2
    told = capsys.readouterr().err
    assert "must hold layers that are known. Received: class 'Scale'. Fix: its class regis" in told


def rewritten(file, member, change):
    """Changes one member of an archive."""
    with zipfile.ZipFile(file) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(file, "w") as archive:
        for name, old in content.items():
            archive.writestr(name, change(old) if name == member else old)


DAMAGES = {
    "cut short": lambda file: file.write_bytes(file.read_bytes()[:-3000]),
    "empty": lambda file: file.write_bytes(b""),
    "something else": lambda file: file.write_bytes(b"x" * 5000),
    "missing": lambda file: file.unlink(),
    "a byte of it": lambda file: file.write_bytes(file.read_bytes().replace(b"HDF", b"HDG", 1)),
    "its weights": lambda file: rewritten(file, "model.weights.h5", lambda old: old[:-5000]),
    "its layers": lambda file: rewritten(file, "config.json", lambda old: b"[]"),
}


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        *((ENCODER_FILE, damage) for damage in DAMAGES),
        *((HEAD_FILE, damage) for damage in DAMAGES if damage != "missing"),
    ],
)
def test_a_damaged_file_is_named_with_the_fix(models, tmp_path, capsys, name, damage):
    folder = Path(shutil.copytree(models("small 18")[0], tmp_path / "17"))
    file = folder / EXTRAS / name
    DAMAGES[damage](file)
    assert main([str(folder), "--format=safetensors", f"--output={tmp_path}/w.safetensors"]) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"pipeline.export: `{file}` must be a whole Keras file. Received: ")
    assert "File not found" not in told and "Fix: a whole copy of the folder" in told


def test_an_encoder_that_was_padded_otherwise_is_refused(tmp_path, capsys):
    settings, folder = NETWORKS["small 18"], tmp_path / "17"
    folder.mkdir()
    encoder, _ = left(folder, settings)
    for layer in encoder.layers:
        if hasattr(layer, "symmetric"):
            layer.symmetric = False
    encoder.save(folder / EXTRAS / ENCODER_FILE)
    assert main([str(folder), "--format=safetensors", f"--output={tmp_path}/w.safetensors"]) == 2
    assert "needs PyTorch's padding" in capsys.readouterr().err
