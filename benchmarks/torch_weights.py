"""Weights of PyTorch's ResNets and the features that PyTorch computes with them: what
tests/test_weights.py holds ours against.

    python benchmarks/torch_weights.py golden > tests/golden/torch_features.json
    python benchmarks/torch_weights.py files FOLDER   # every network as safetensors, with features
    python benchmarks/torch_weights.py features FILE.safetensors IMAGES.npy FEATURES.npy

runs with any Python that has torch, torchvision, timm and lightly, and nothing else of this
project. The values come from NumPy, by the tensors' names, so that tests make the same without
PyTorch. `features` loads a file that `pipeline.export` wrote into torchvision's own ResNet.
"""

import json
import sys
import zlib
from pathlib import Path

import numpy as np

DEPTHS = (18, 34, 50, 101, 152)
RECORDED = 16  # features of each image, evenly taken
IMAGES = 2
# family -> pixels of the images; an even side shows how a stride of 2 is padded
SIDES = {"torchvision": 64, "torchvision_small": 16, "timm": 64, "lightly": 16, "lightly_list": 64}
GOLDEN = (
    ("torchvision", 18),
    ("torchvision", 50),
    ("torchvision_small", 34),
    ("lightly", 18),
    ("lightly_list", 18),
)


def value_of(name: str, shape) -> np.ndarray:
    """Returns a tensor that its name and shape decide, float32: kernels of unit gain, norms that
    keep a deep network's numbers small.
    """
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    if name.endswith("num_batches_tracked"):
        return np.array(7, np.int64)
    if len(shape) > 1:
        return (rng.normal(size=shape) * np.sqrt(2 / np.prod(shape[1:]))).astype(np.float32)
    low, high = {"running_var": (0.5, 1.5), "weight": (0.2, 0.6)}.get(
        name.rpartition(".")[2], (-0.1, 0.1)
    )
    return rng.uniform(low, high, shape).astype(np.float32)


def images_of(side: int) -> np.ndarray:
    """Returns normalized images, float32 [2, side, side, 3]."""
    return np.random.default_rng(side).normal(size=(IMAGES, side, side, 3)).astype(np.float32)


def some(features: np.ndarray) -> np.ndarray:
    """Returns those of the features [B, D] that are recorded, [B, 16]."""
    return features[:, :: features.shape[1] // RECORDED][:, :RECORDED]


def network(family: str, depth: int):
    """Returns a network from images [B, 3, H, W] to features, and the prefix of its names in the
    checkpoint of a program that trains it.
    """
    import timm
    import torchvision
    from lightly.models import ResNetGenerator
    from torch import nn

    if family == "timm":
        return timm.create_model(f"resnet{depth}", num_classes=0), ""
    if family == "lightly":  # its tutorials' backbone for CIFAR-10
        resnet = ResNetGenerator(f"resnet-{depth}")
        return nn.Sequential(*list(resnet.children())[:-1], nn.AdaptiveAvgPool2d(1)), "backbone."
    resnet = getattr(torchvision.models, f"resnet{depth}")()
    if family == "lightly_list":  # and the one for larger images
        return nn.Sequential(*list(resnet.children())[:-1]), "state_dict.backbone."
    if family == "torchvision_small":
        resnet.conv1, resnet.maxpool = nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.Identity()
    resnet.fc = nn.Identity()
    return resnet, ""


def computed(family: str, depth: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Returns the tensors of a network by their names in a checkpoint, and its features [B, D]."""
    import torch

    model, prefix = network(family, depth)
    state = {
        name: value_of(f"{prefix}{name}", tuple(tensor.shape))
        for name, tensor in model.state_dict().items()
    }
    model.load_state_dict({name: torch.from_numpy(value) for name, value in state.items()})
    model.eval()
    with torch.inference_mode():
        images = torch.from_numpy(images_of(SIDES[family]).transpose(0, 3, 1, 2).copy())
        features = model(images).flatten(1).numpy()
    return {f"{prefix}{name}": value for name, value in state.items()}, features


def golden() -> dict:
    """Returns names and shapes, and some features, of a few networks."""
    recorded = {}
    for family, depth in GOLDEN:
        tensors, features = computed(family, depth)
        recorded[f"{family}{depth}"] = {
            "shapes": {name: list(value.shape) for name, value in tensors.items()},
            "features": [[float(f"{value:.7g}") for value in row] for row in some(features)],
        }
    return recorded


def write_files(folder: Path) -> None:
    """Writes every network of every family as safetensors, with its features beside it."""
    from safetensors.numpy import save_file

    folder.mkdir(parents=True, exist_ok=True)
    for family in SIDES:
        for depth in DEPTHS:
            tensors, features = computed(family, depth)
            save_file(tensors, folder / f"{family}{depth}.safetensors")
            np.save(folder / f"{family}{depth}.npy", features)


def features_in_torch(file: str, images: np.ndarray) -> np.ndarray:
    """Returns the features [B, D] that torchvision's ResNet computes with an exported file.

    Args:
        file: safetensors that `pipeline.export` wrote; its metadata says which ResNet it is.
        images: normalized, float32 [B, H, W, 3].
    """
    import torch
    from safetensors import safe_open
    from safetensors.torch import load_file

    with safe_open(file, "pt") as opened:
        said = opened.metadata()
    model = torchvision_resnet(int(said["depth"]), float(said["width"]), said["stem"])
    state = {name: value for name, value in load_file(file).items() if not name.startswith("fc.")}
    model.load_state_dict(state)
    model.eval()
    parts = []
    with torch.inference_mode():
        for start in range(0, len(images), 256):
            batch = images[start : start + 256].transpose(0, 3, 1, 2).copy()
            parts.append(model(torch.from_numpy(batch)).numpy())
    return np.concatenate(parts)


def torchvision_resnet(depth: int, width: float, stem: str):
    """Returns torchvision's ResNet of any width and stem, without its classifier."""
    import torchvision
    from torch import nn

    class Narrow(torchvision.models.ResNet):
        """torchvision's own for a width of 1."""

        def _make_layer(self, block, planes, *others, **named):
            count = max(8, round(planes * width))
            self.inplanes = count if planes == 64 else self.inplanes
            return super()._make_layer(block, count, *others, **named)

    full = getattr(torchvision.models, f"resnet{depth}")()
    blocks = [len(stage) for stage in (full.layer1, full.layer2, full.layer3, full.layer4)]
    model, count = Narrow(type(full.layer1[0]), blocks), max(8, round(64 * width))
    model.conv1 = nn.Conv2d(3, count, 7, 2, 3, bias=False)
    model.bn1, model.fc = nn.BatchNorm2d(count), nn.Identity()
    if stem != "imagenet":
        model.conv1, model.maxpool = nn.Conv2d(3, count, 3, 1, 1, bias=False), nn.Identity()
    if stem == "lightly":
        model.relu = nn.Identity()
    return model


if __name__ == "__main__":
    what, *places = sys.argv[1:] or [""]
    if what == "golden":
        print(json.dumps(golden()))
    elif what == "files":
        write_files(Path(places[0]))
    elif what == "features":
        np.save(places[2], features_in_torch(places[0], np.load(places[1])))
    else:
        sys.exit(__doc__)
