r"""SimCLR as a user of lightly 1.6 would write it, on a folder of images: a checkpoint of PyTorch
Lightning, and features for a judge (benchmarks/peers.py).

ResNet with the small stem (lightly's ResNetGenerator), its projection head, loss, transform and
data set; SGD along a cosine. It runs with any Python that has lightly, and nothing else of this
project.

    python benchmarks/lightly_simclr.py train --images data/cifar10_small/train --epochs 20 \
      --checkpoint lightly.ckpt
    python benchmarks/lightly_simclr.py features --checkpoint lightly.ckpt \
      --images data/cifar10_small/test --output test.npz
"""

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
import pytorch_lightning as lightning
import torch
from lightly.data import LightlyDataset
from lightly.loss import NTXentLoss
from lightly.models import ResNetGenerator
from lightly.models.modules import SimCLRProjectionHead
from lightly.transforms import SimCLRTransform
from lightly.transforms.utils import IMAGENET_NORMALIZE
from torch import nn
from torchvision.transforms import v2

MOMENTUM, WEIGHT_DECAY = 0.9, 5e-4
LEARNING_RATE, TEMPERATURE = 0.06, 0.5  # lightly's for CIFAR-10; the rate for a batch of 128


class SimCLR(lightning.LightningModule):
    """lightly's tutorial: a backbone of a ResNet's children, a projection head, NT-Xent."""

    def __init__(self, depth: int, width: float, rate: float, temperature: float, steps: int):
        """Makes the layers; the learning rate falls from `rate` over `steps`."""
        super().__init__()
        self.save_hyperparameters()
        resnet = ResNetGenerator(f"resnet-{depth}", width=width)
        self.backbone = nn.Sequential(*list(resnet.children())[:-1], nn.AdaptiveAvgPool2d(1))
        dims = resnet.linear.in_features
        self.projection_head = SimCLRProjectionHead(dims, 1024, 128)
        self.loss = NTXentLoss(temperature)

    def forward(self, images):
        """Returns features [B, D] of images [B, 3, H, W]."""
        return self.backbone(images).flatten(1)

    def training_step(self, batch, index):
        """Returns the loss of a pair of views."""
        del index
        first, second = (
            self.projection_head(self(view.to(memory_format=torch.channels_last)))
            for view in batch[0]
        )
        return self.loss(first, second)

    def on_train_epoch_end(self):
        """Says that it goes on."""
        print(f"epoch {self.current_epoch + 1}", flush=True)

    def configure_optimizers(self):
        """SGD along half a cosine, step by step."""
        optimizer = torch.optim.SGD(
            self.parameters(), self.hparams.rate, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY
        )
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.hparams.steps)
        return [optimizer], [{"scheduler": schedule, "interval": "step"}]


def train(flags: argparse.Namespace) -> dict:
    """Trains and leaves a checkpoint; returns what to tell."""
    lightning.seed_everything(flags.seed)
    transform = SimCLRTransform(input_size=flags.view, cj_strength=0.5, gaussian_blur=0.0)
    images = LightlyDataset(flags.images, transform=transform)
    loader = torch.utils.data.DataLoader(
        images, flags.batch_size, shuffle=True, drop_last=True, num_workers=flags.workers
    )
    rate, steps = flags.learning_rate * flags.batch_size / 128, flags.epochs * len(loader)
    model = SimCLR(flags.depth, flags.width, rate, flags.temperature, steps)
    model = model.to(memory_format=torch.channels_last)
    trainer = lightning.Trainer(
        max_epochs=flags.epochs,
        precision=flags.precision,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
    )
    started = time.monotonic()
    trainer.fit(model, loader)
    seconds = time.monotonic() - started
    trainer.save_checkpoint(flags.checkpoint)
    return {
        "seconds": round(seconds, 1),
        "images_per_second": round(flags.epochs * len(loader) * flags.batch_size / seconds, 1),
    }


def features_of(model: SimCLR, folder: str):
    """Returns features [N, D] and class ids [N] of a folder of classes, as NumPy arrays."""
    steps = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True)]
    whole = v2.Compose([*steps, v2.Normalize(**IMAGENET_NORMALIZE)])
    loader = torch.utils.data.DataLoader(LightlyDataset(folder, transform=whole), 256)
    parts, labels = [], []
    with torch.inference_mode():
        for images, targets, _ in loader:
            parts.append(model(images))
            labels.append(targets)
    return torch.cat(parts).numpy(), torch.cat(labels).numpy()


def features(flags: argparse.Namespace) -> dict:
    """Stores features and names of classes of a folder of classes; returns their number."""
    model = SimCLR.load_from_checkpoint(flags.checkpoint, map_location="cpu").eval()
    found, ids = features_of(model, flags.images)
    classes = sorted(place.name for place in Path(flags.images).iterdir())
    np.savez(flags.output, features=found, targets=np.array(classes)[ids])
    return {"images": len(found)}


def main(arguments: list[str]) -> int:
    """Runs one command line; the last line is JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("train", "features"))
    parser.add_argument("--images", required=True, help="folder of classes")
    parser.add_argument("--output", type=Path, help="npz of features and names of classes")
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--depth", type=int, default=18)
    parser.add_argument("--width", type=float, default=0.25)
    parser.add_argument("--view", type=int, default=24, help="pixels")
    parser.add_argument("--batch_size", type=int, default=128)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--learning_rate", type=float, default=LEARNING_RATE, help="batch of 128")
    parser.add_argument("--temperature", type=float, default=TEMPERATURE)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--precision", default="32-true", help="bf16-mixed where a CPU has it")
    flags = parser.parse_args(arguments)
    told = {"train": train, "features": features}[flags.what](flags)
    settings = {name: str(value) for name, value in vars(flags).items()}
    print(json.dumps({**settings, **told, "torch": torch.__version__}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
