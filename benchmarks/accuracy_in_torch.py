"""The accuracy of a pushed classifier here and in PyTorch: the same images through our encoder, and
through torchvision's ResNet with what `pipeline.export` wrote.

    python benchmarks/accuracy_in_torch.py runs/NAME LIST --torch_python PYTHON

LIST names images of the model's own size, `path,label`. Its head judges the features of both. The
last line is JSON. PYTHON is one with torch, torchvision and safetensors.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
from PIL import Image

from components.file_list_example_gen.rows import read_rows
from pipeline.asked_model import newest_model, task_of
from pipeline.export import export
from trainer_module.export import load_encoder
from trainer_module.normalize import normalize
from trainer_module.saved_encoder import read_record
from trainer_module.weights.files import WeightsFile


def compare(model_dir: Path, rows: list, torch_python: str) -> dict:
    """Returns the accuracy of both, and how far their features are from each other."""
    record, names = read_record(model_dir), task_of(model_dir).names_by_id()
    pixels = np.stack([np.asarray(Image.open(row.path).convert("RGB")) for row in rows])
    images = np.asarray(normalize(pixels, record.channel_mean, record.channel_std))
    labels = np.array([names.index(row.target) for row in rows])
    ours = load_encoder(str(model_dir)).predict(images, batch_size=256, verbose=0)
    with tempfile.TemporaryDirectory() as folder:
        file, given, taken = (Path(folder, name) for name in ("w.safetensors", "i.npy", "f.npy"))
        export(model_dir, "safetensors", file)
        np.save(given, images)
        script = Path(__file__).with_name("torch_weights.py")
        subprocess.run([torch_python, script, "features", file, given, taken], check=True)
        theirs, head = np.load(taken), WeightsFile(str(file)).read(["fc.weight", "fc.bias"])
    scores = [
        float(np.mean((one @ head["fc.weight"].T + head["fc.bias"]).argmax(axis=1) == labels))
        for one in (ours, theirs)
    ]
    gap = float(np.abs(ours - theirs).max() / np.abs(theirs).max())
    return {"images": len(rows), "accuracy": scores[0], "accuracy_in_torch": scores[1], "gap": gap}


def main(arguments: list[str]) -> int:
    """Runs one command line; the last line is JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("list")
    parser.add_argument("--torch_python", required=True)
    flags = parser.parse_args(arguments)
    print(json.dumps(compare(newest_model(flags.model), read_rows(flags.list), flags.torch_python)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
