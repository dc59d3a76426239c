"""Images that a mean tells apart, with the flags of a run of seconds on them."""

import numpy as np
from PIL import Image

SMALL = [
    "--input_size=16 16",
    "--pretrain_epochs=1",
    "--width=0.125",
    *("--set", "pretraining.batch_size=16"),
    *("--set", "encoder.builder=small_encoder.build"),
]


def write(folder) -> None:
    """Writes images and two lists of them."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 32), ("eval", 16)):
        rows = [f"{split}{index}.png,{('dark', 'bright')[index % 2]}" for index in range(count)]
        for index in range(count):
            pixels = rng.integers(0, 128, (16, 16, 3)) + 128 * (index % 2)
            Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{split}{index}.png")
        (folder / f"{split}.csv").write_text("\n".join(rows))


def flags(folder) -> list[str]:
    """Returns those of a run on the lists of a folder."""
    return [f"--train_file_path={folder}/train.csv", f"--val_file_path={folder}/eval.csv", *SMALL]
