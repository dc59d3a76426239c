"""Every ResNet of PyTorch taken in and written out again: how far the features are from PyTorch's.

    torch-python benchmarks/torch_weights.py files nets
    python benchmarks/weights_round_trip.py nets --torch_python torch-python > round_trip.json

`torch-python` is a Python with torch, torchvision, timm and lightly; this one needs the extra onnx.
Told is, for each network of `nets`, the largest difference of a feature, as a share of the largest
feature: of ours from PyTorch's with the same weights (`in`), and of what is written again, as ONNX
in onnxruntime, as Keras loads it, and as torchvision's ResNet computes with the safetensors.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import keras
import numpy as np

from benchmarks.torch_weights import SIDES, images_of
from components.environment import hardware, versions
from trainer_module.resnet import build_encoder
from trainer_module.saved_encoder import EncoderRecord
from trainer_module.weights.exchange import put_in, taken_out
from trainer_module.weights.files import WeightsFile
from trainer_module.weights.names import find_resnet, tensors_of
from trainer_module.weights.onnx_graph import onnx_model
from trainer_module.weights.plain_keras import plain

PLAIN = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)  # the images are normalized already


def differences(path: Path, torch_python: str, folder: Path) -> dict[str, float]:
    """Returns how far each form of a network is from what PyTorch computed with its weights."""
    import onnxruntime
    from safetensors.numpy import save_file

    side = SIDES[path.stem.rstrip("0123456789")]
    images, expected = images_of(side), np.load(path.with_suffix(".npy"))
    file = WeightsFile(str(path))
    found = find_resnet(file.shapes, {}, str(path))
    values = file.read(found.tensors.values())
    encoder = build_encoder(found.encoder, (side, side))
    put_in(encoder, found.encoder, {ours: values[name] for ours, name in found.tensors.items()})
    tensors = taken_out(encoder, found.encoder)
    content = onnx_model(EncoderRecord(found.encoder, (side, side), *PLAIN), tensors)
    session = onnxruntime.InferenceSession(content.SerializeToString())
    plain(encoder).save(folder / "plain.keras")
    again = keras.models.load_model(folder / "plain.keras", compile=False)
    settings = found.encoder
    said = {"depth": settings.depth, "width": f"{settings.width:g}", "stem": settings.stem}
    metadata = {name: str(value) for name, value in said.items()}
    save_file(tensors, folder / "w.safetensors", metadata)
    np.save(folder / "images.npy", images)
    places = [folder / name for name in ("w.safetensors", "images.npy", "features.npy")]
    script = Path(__file__).with_name("torch_weights.py")
    subprocess.run([torch_python, script, "features", *places], check=True)
    computed = {
        "in": encoder(images, training=False),
        "onnx": session.run(None, {"images": images.transpose(0, 3, 1, 2)})[0],
        "keras": again(images, training=False),
        "safetensors": np.load(places[2]),
    }
    same = all(
        np.allclose(tensors[name], values[found.tensors[name]], rtol=1e-6)
        for name in tensors_of(settings)
    )
    gaps = {
        name: float(f"{np.abs(np.asarray(one) - expected).max() / np.abs(expected).max():.2g}")
        for name, one in computed.items()
    }
    return {"tensors": len(tensors), "stem": settings.stem, "tensors_come_back": same, **gaps}


def main(arguments: list[str]) -> int:
    """Runs one command line; the last line is JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--torch_python", required=True)
    flags = parser.parse_args(arguments)
    told = {}
    for path in sorted(flags.folder.glob("*.safetensors")):
        with tempfile.TemporaryDirectory() as folder:
            told[path.stem] = differences(path, flags.torch_python, Path(folder))
        keras.utils.clear_session()
        print(path.stem, told[path.stem], file=sys.stderr, flush=True)
    print(json.dumps({"networks": told, "hardware": hardware(), "versions": versions()}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
