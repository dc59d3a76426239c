"""Weights of other programs: the features are PyTorch's, and what does not fit is named."""

import argparse
import json
import pickle
import re
import textwrap
import zipfile
from pathlib import Path

import numpy as np
import pytest

from benchmarks.torch_weights import SIDES, images_of, some, value_of
from trainer_module.errors import InputError
from trainer_module.resnet import build_encoder
from trainer_module.settings import Encoder
from trainer_module.weights.exchange import put_in, taken_out
from trainer_module.weights.files import WeightsFile
from trainer_module.weights.names import find_resnet, tensors_of

GOLDEN = json.loads(Path(__file__).with_name("golden").joinpath("torch_features.json").read_text())
NARROW = Encoder(18, 0.125, "small")
DOCS = Path(__file__).resolve().parent.parent / "docs" / "weights.md"
TORCHVISION = {18: 11_689_512, 34: 21_797_672, 50: 25_557_032, 101: 44_549_160, 152: 60_192_808}


def written(folder, tensors, metadata=None):
    """Writes safetensors and returns their path."""
    from safetensors.numpy import save_file

    path = str(folder / "weights.safetensors")
    save_file(tensors, path, metadata)
    return path


def narrow(prefix=""):
    """The tensors of a narrow ResNet-18, as one file may hold them."""
    shapes = {name: tensor.shape for name, tensor in tensors_of(NARROW).items()}
    return {f"{prefix}{name}": value_of(name, shape) for name, shape in shapes.items()}


def found_in(tensors, **asked):
    return find_resnet({name: value.shape for name, value in tensors.items()}, asked, "a file")


@pytest.mark.parametrize("case", GOLDEN)
def test_features_are_those_that_pytorch_computed(case, tmp_path):
    shapes, features = GOLDEN[case]["shapes"], np.array(GOLDEN[case]["features"])
    file = WeightsFile(
        written(tmp_path, {name: value_of(name, shape) for name, shape in shapes.items()})
    )
    found = find_resnet(file.shapes, {}, "a file")
    side = SIDES[case.rstrip("0123456789")]
    encoder = build_encoder(found.encoder, (side, side))
    values = file.read(found.tensors.values())
    put_in(encoder, found.encoder, {ours: values[theirs] for ours, theirs in found.tensors.items()})
    computed = some(np.asarray(encoder(images_of(side), training=False)))
    np.testing.assert_allclose(computed, features, atol=1e-4 * np.abs(features).max(), rtol=1e-4)


@pytest.mark.parametrize(
    ("depth", "features"), [(18, 512), (34, 512), (50, 2048), (101, 2048), (152, 2048)]
)
def test_the_tensors_of_every_depth_are_as_many_numbers_as_torchvisions(depth, features):
    shapes = [
        tensor.shape
        for tensor in tensors_of(Encoder(depth, stem="imagenet")).values()
        if not tensor.part.startswith("moving")
    ]
    assert sum(map(np.prod, shapes)) == TORCHVISION[depth] - 1000 * features - 1000


def test_what_comes_out_is_what_went_in():
    encoder, tensors = build_encoder(NARROW, (16, 16)), narrow()
    put_in(encoder, NARROW, tensors)
    taken = taken_out(encoder, NARROW)
    assert taken.keys() == tensors.keys()
    for name, value in tensors.items():
        np.testing.assert_allclose(taken[name], value, rtol=1e-6)


def test_a_channel_that_hardly_varies_is_normalized_as_pytorch_does():
    encoder, tensors = build_encoder(NARROW, (16, 16)), narrow()
    tensors["bn1.running_var"] = np.full(8, 1e-6, np.float32)
    put_in(encoder, NARROW, tensors)
    layer = encoder.get_layer("stem_norm")
    deviation = np.sqrt(np.asarray(layer.moving_variance) + layer.epsilon)
    np.testing.assert_allclose(deviation, np.sqrt(1e-6 + 1e-5), rtol=1e-6)


@pytest.mark.parametrize("kind", ["float16", "bfloat16", "float64"])
def test_half_and_double_precision_are_read_as_float32(tmp_path, kind):
    import ml_dtypes  # noqa: F401

    path = written(tmp_path, {"one": np.array([0.5, -2.0], kind)})
    values = WeightsFile(path).read(["one"])["one"]
    assert values.dtype == np.float32 and values.tolist() == [0.5, -2]


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("float8_e4m3fn", "F8_E4M3"),
        ("float8_e5m2", "F8_E5M2"),
        ("int8", "I8"),
        ("int64", "I64"),
        ("bool", "BOOL"),
        ("complex64", "C64"),
    ],
)
def test_tensors_that_are_no_weights_of_a_resnet_are_refused_by_name_and_type(tmp_path, kind, told):
    import ml_dtypes  # noqa: F401

    path = written(tmp_path, {"other": np.zeros(2, "uint8"), "one": np.array([0, 1]).astype(kind)})
    with pytest.raises(InputError, match=rf"float64\. Received: .*whose one is {told}.*Fix: "):
        WeightsFile(path).read(["one"])


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda one, torch: one.to(torch.float8_e4m3fn), "float8_e4m3fn"),
        (lambda one, torch: one.to(torch.int8), "int8"),
        (lambda one, torch: one.to(torch.complex64), "complex64"),
        (lambda one, torch: one.to_sparse(), "sparse_coo float32"),
        (lambda one, torch: one.to("meta"), "float32 without values"),
    ],
)
def test_tensors_of_pytorch_that_are_no_weights_are_refused_by_name_and_type(
    tmp_path, change, told
):
    torch = pytest.importorskip("torch", reason="needs make extra NAME=torch")
    torch.save({"one": change(torch.tensor([0.0, 1.0]), torch)}, tmp_path / "one.pth")
    with pytest.raises(InputError, match=rf"float64\. Received: .*whose one is {told} .*Fix: "):
        WeightsFile(str(tmp_path / "one.pth")).read(["one"])


@pytest.mark.parametrize("kind", ["float32", "float16", "bfloat16"])
def test_parameters_of_pytorch_that_were_saved_as_such_are_read(tmp_path, kind):
    torch = pytest.importorskip("torch", reason="needs make extra NAME=torch")
    one = torch.nn.Parameter(torch.tensor([0.5, -2.0], dtype=getattr(torch, kind)))
    torch.save({"one": one}, tmp_path / "one.pth")
    values = WeightsFile(str(tmp_path / "one.pth")).read(["one"])["one"]
    np.testing.assert_array_equal(values, np.float32([0.5, -2]))


def test_the_network_that_learns_is_taken_and_its_followers_and_heads_are_left_out():
    tensors = narrow("state_dict.backbone.") | narrow("state_dict.backbone_momentum.")
    tensors["state_dict.projection_head.layers.0.weight"] = np.zeros((4, 64), np.float32)
    tensors["state_dict.backbone.fc.weight"] = np.zeros((10, 64), np.float32)
    found = found_in(tensors)
    assert (found.encoder, found.prefix) == (NARROW, "state_dict.backbone.")
    assert len(found.left_out) == len(narrow()) + 2


@pytest.mark.parametrize(
    ("learns", "follows"),
    [
        ("backbone.", "backbone_momentum."),  # lightly's MoCo and BYOL
        ("student_backbone.", "teacher_backbone."),
        ("backbone.", "teacher_backbone."),
        ("module.encoder_q.", "module.encoder_k."),  # MoCo
        ("query_encoder.", "key_encoder."),
        ("model.query.", "model.key."),
        ("net_q.", "net_k."),
        ("module.base_encoder.", "module.momentum_encoder."),
        ("online_network.encoder.", "target_network.encoder."),  # BYOL
        ("student.module.backbone.", "teacher.backbone."),  # DINO
        ("keypoints.", "key.keypoints."),
        ("target_model.backbone.", "target_model.backbone_momentum."),
    ],
)
def test_of_twins_the_one_that_learns_is_taken(learns, follows):
    assert found_in(narrow(learns) | narrow(follows)).prefix == learns


@pytest.mark.parametrize(
    ("one", "other"),
    [("left.", "then."), ("left.", "right."), ("model.", "model_best."), ("ema.", "teacher.")],
)
def test_two_networks_of_equal_rank_are_refused_by_name(one, other):
    below = f"{one}, {other}".replace(".", r"\.")
    with pytest.raises(InputError, match=rf"must hold one ResNet.*with 2, below {below}"):
        found_in(narrow(one) | narrow(other))


def zeros(**shapes):
    """Tensors of these shapes, `__` in a name for a dot."""
    return {name.replace("__", "."): np.zeros(shape, np.float32) for name, shape in shapes.items()}


@pytest.mark.parametrize(
    "others",
    [
        zeros(fc__weight=(10, 64), fc__bias=(10,)),
        zeros(  # SwAV
            projection_head__0__weight=(8, 64),
            projection_head__1__running_mean=(8,),
            prototypes__weight=(30, 8),
        ),
        zeros(projector__0__weight=(8, 64), predictor__bias=(8,)),
        zeros(g__0__weight=(8, 64), g__1__bias=(8,)),
        zeros(queue=(8, 128)),
        zeros(head__0__weight=(8, 64, 1, 1)),
        narrow("ema."),
        narrow("momentum_net.backbone."),
    ],
    ids=lambda others: next(iter(others)),
)
@pytest.mark.parametrize("prefix", ["", "module."])
def test_heads_and_twins_beside_the_first_convolution_are_left_out(others, prefix):
    found = found_in(narrow(prefix) | {f"{prefix}{name}": one for name, one in others.items()})
    assert (found.prefix, len(found.left_out)) == (prefix, len(others))


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("ca.fc1.weight", (4, 64, 1, 1)),  # CBAM's attention
        ("key_conv.weight", (8, 64, 1, 1)),
        ("prelu.weight", (8,)),
        ("bn2.weight", (64,)),
        ("conv1.0.weight", (8, 8)),
        ("layer1.0.se.fc.weight", (8, 8)),
        ("layer1.0.ema.weight", (8,)),
        ("other.conv1.weight", (8, 3, 3, 3)),
    ],
)
def test_what_may_change_the_features_is_refused_beside_the_first_convolution(name, shape):
    with pytest.raises(InputError, match=rf"1 too many.*\n  too many: {name}"):
        found_in(narrow() | {name: np.zeros(shape, np.float32)})


@pytest.mark.parametrize(
    ("others", "asked", "fix"),
    [
        ({}, {"depth": 34}, "Fix: other weights, or leave out --depth"),
        (
            {},
            {"depth": 34, "width": 0.125, "stem": "small", "grid": 1},
            "Fix: other weights, or leave out --depth, --width and encoder.stem",
        ),
        (zeros(bn1__bias=(9,)), {}, "Fix: other weights"),
        (
            zeros(prelu__weight=(8,)),
            {},
            "Fix: other weights, or a file without what is too many, if the features do not need "
            "it (docs/weights.md)",
        ),
    ],
)
def test_a_fix_names_what_was_given_and_what_can_help(others, asked, fix):
    with pytest.raises(InputError) as refused:
        found_in(narrow() | others, **asked)
    assert str(refused.value).split("\n")[0].endswith(fix)


def test_every_tensor_that_does_not_fit_is_named():
    tensors = narrow()
    del tensors["layer3.1.conv2.weight"]
    tensors["layer2.0.se.weight"] = np.zeros((8, 8, 1, 1), np.float32)
    tensors["layer4.0.bn1.bias"] = np.zeros(63, np.float32)
    with pytest.raises(InputError) as refused:
        found_in(tensors)
    told = str(refused.value)
    assert "1 missing, 1 too many, 1 of another shape. Fix:" in told
    for line in (
        "missing: layer3.1.conv2.weight",
        "too many: layer2.0.se.weight",
        "of another shape: layer4.0.bn1.bias is [63] and not [64]",
    ):
        assert line in told


def test_of_many_that_do_not_fit_twenty_are_named_and_the_rest_counted():
    with pytest.raises(InputError) as refused:
        found_in(narrow(), depth=34)
    told = str(refused.value)
    assert "a ResNet-34 of width 0.125" in told and "76 missing" not in told.split("\n")[1]
    assert len(told.splitlines()) == 22 and told.splitlines()[-1].startswith("  and ")


@pytest.mark.parametrize("channels", [1, 4])
def test_weights_for_images_that_are_not_colour_are_refused_in_a_sentence(channels):
    tensors = narrow() | {"conv1.weight": np.zeros((8, channels, 3, 3), np.float32)}
    with pytest.raises(InputError, match=rf"images of 3 channels.*{channels} channels? in a file"):
        found_in(tensors)


@pytest.mark.parametrize(
    "shapes",
    [
        {"layer1.0.conv1.weight": (8, 8, 3, 3), "0.weight": (8, 3, 3, 3)},
        {"layer1.0.conv1.weight": (8, 8, 3, 3), "conv1.weight": ()},
        {"1.0.conv1.weight": (1,), "0.weight": ()},
    ],
)
def test_tensors_that_only_begin_like_a_resnet_are_refused_in_a_sentence(shapes):
    with pytest.raises(InputError, match=r"^`--encoder_weights` must .* a file.*$") as refused:
        find_resnet(shapes, {}, "a file")
    assert len(str(refused.value).splitlines()) == 1


def test_another_architecture_is_told_by_what_it_holds():
    tensors = {"patch_embed.proj.weight": np.zeros((192, 3, 16, 16), np.float32)}
    with pytest.raises(InputError, match=r"must hold a ResNet under .*1 tensors, patch_embed"):
        found_in(tensors)


def saved_by_programs(torch):
    """What programs of PyTorch save: options, optimizers, shared tensors, models themselves."""
    state = {name: torch.from_numpy(value) for name, value in narrow().items()}
    kernel = torch.nn.Parameter(state["conv1.weight"].to(memory_format=torch.channels_last))
    shared = state | {"conv1.weight": kernel}
    module = torch.nn.Module()
    module.conv1 = torch.nn.Conv2d(3, 8, 3, bias=False)
    return {
        "options": {"model": state, "args": argparse.Namespace(lr=1)},
        "optimizer": {"model": state, "optimizer": {"state": {0: {"m": kernel}}}, "epoch": 3},
        "shared": {"student": shared, "teacher": shared},
        "module": {"model": module, "epoch": 3},
    }


@pytest.mark.parametrize(
    ("saved", "name"),
    [
        ("options", "model.conv1.weight"),
        ("optimizer", "model.conv1.weight"),
        ("shared", "student.conv1.weight"),
        ("module", "model.conv1.weight"),
    ],
)
def test_the_recipe_of_the_docs_makes_safetensors_of_what_programs_save(
    saved, name, tmp_path, monkeypatch
):
    torch = pytest.importorskip("torch", reason="needs make extra NAME=torch")
    monkeypatch.chdir(tmp_path)
    torch.save(saved_by_programs(torch)[saved], "model.ckpt")
    page = DOCS.read_text(encoding="utf-8")
    recipe = re.search(r"becomes safetensors:\n\n((?: {6}.*\n|\n)+)", page)[1]
    exec(textwrap.dedent(recipe), {})
    assert WeightsFile("model.safetensors").shapes[name] == (8, 3, 3, 3)


class Evil:
    """Pickled, it asks for a file to be made."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def evil_archive(path, mark):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(Evil(mark)))
        archive.writestr("archive/version", "3\n")


def evil_pickle(path, mark):
    path.write_bytes(pickle.dumps(Evil(mark)))


@pytest.mark.parametrize("write", [evil_archive, evil_pickle])
def test_a_pickle_that_would_run_code_is_refused_and_runs_none(tmp_path, write):
    write(tmp_path / "evil.pth", tmp_path / "mark")
    with pytest.raises(InputError, match=r"never unpickled|nothing was run"):
        WeightsFile(str(tmp_path / "evil.pth"))
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize("start", [b"\x80", b"PK"], ids=["pickle", "zip"])
def test_safetensors_that_begin_as_another_kind_of_file_are_read_all_the_same(tmp_path, start):
    length, entry = int.from_bytes(start + bytes(8 - len(start)), "little"), b'"dtype":"F32"'
    header = b'{"one":{%s,"shape":[1],"data_offsets":[0,4]}}' % entry
    path = tmp_path / "weights.safetensors"
    length = length if length > len(header) else length + 2 * 256
    path.write_bytes(length.to_bytes(8, "little") + header.ljust(length) + np.float32(3).tobytes())
    assert WeightsFile(str(path)).read(["one"])["one"] == 3


@pytest.mark.parametrize("ending", ["safetensors", "pth"])
def test_a_file_that_was_cut_short_is_refused(tmp_path, ending):
    if ending == "pth":
        evil_archive(tmp_path / "whole.pth", tmp_path / "mark")
        whole = tmp_path / "whole.pth"
    else:
        whole = Path(written(tmp_path, narrow()))
    whole.write_bytes(whole.read_bytes()[:-30])
    with pytest.raises(InputError, match="cut short"):
        WeightsFile(str(whole))


def test_an_archive_of_torchscript_is_told_as_such_with_what_reads_it(tmp_path):
    with zipfile.ZipFile(tmp_path / "ts.pth", "w") as archive:
        for name in ("data.pkl", "constants.pkl", "code/__torch__.py", "version"):
            archive.writestr(f"ts/{name}", "")
    told = r"must hold tensors alone.*, an archive of TorchScript.*Fix: .*torch\.jit\.load\("
    with pytest.raises(InputError, match=told):
        WeightsFile(str(tmp_path / "ts.pth"))


def test_a_file_of_keras_is_told_where_it_belongs(tmp_path):
    with zipfile.ZipFile(tmp_path / "encoder.keras", "w") as archive:
        archive.writestr("config.json", "{}")
    with pytest.raises(InputError, match=r"a file of Keras. Fix: .*--pretrain_save_path"):
        WeightsFile(str(tmp_path / "encoder.keras"))
