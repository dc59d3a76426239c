"""The same training step in PyTorch, as a PyTorch user would write it for speed: what
`train_step.py --against torch` compares with.

ResNet-18 with the small stem, projection head, NT-Xent, SGD; bfloat16 autocast, channels last,
optionally compiled. The views are the images themselves: only network, loss and update are timed.
It runs with any Python that has PyTorch, and nothing else of this project.

    python benchmarks/torch_step.py --batch_size 128 --steps 10
"""

import argparse
import json
import resource
import statistics
import sys
import time

import torch
from torch import nn
from torch.nn import functional

STAGES = ((64, 1), (128, 2), (256, 2), (512, 2))  # channels, stride of the first block
BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}
TEMPERATURE = 0.5


class Block(nn.Module):
    """Two 3x3 convolutions beside a shortcut."""

    def __init__(self, channels_in: int, channels: int, stride: int):
        """Makes the layers."""
        super().__init__()
        self.first = nn.Sequential(
            nn.Conv2d(channels_in, channels, 3, stride, 1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(True),
        )
        self.second = nn.Sequential(
            nn.Conv2d(channels, channels, 3, 1, 1, bias=False), nn.BatchNorm2d(channels)
        )
        same = stride == 1 and channels_in == channels
        shortcut = nn.Sequential(
            nn.Conv2d(channels_in, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
        )
        self.shortcut = nn.Identity() if same else shortcut

    def forward(self, images):
        """Returns [B, C, h, w]."""
        return functional.relu(self.second(self.first(images)) + self.shortcut(images))


def build_network(depth: int, width: float) -> nn.Module:
    """Returns encoder and projection head in one: [B, 3, H, W] -> [B, 128]."""
    stem = max(8, round(64 * width))
    layers = [nn.Conv2d(3, stem, 3, 1, 1, bias=False), nn.BatchNorm2d(stem), nn.ReLU(True)]
    channels_in = stem
    for (count, stride), blocks in zip(STAGES, BLOCKS[depth], strict=True):
        channels = max(8, round(count * width))
        for block in range(blocks):
            layers.append(Block(channels_in, channels, stride if block == 0 else 1))
            channels_in = channels
    head = [
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(channels_in, 1024),
        nn.ReLU(True),
        nn.Linear(1024, 128),
    ]
    return nn.Sequential(*layers, *head)


def nt_xent(embedding: torch.Tensor) -> torch.Tensor:
    """Returns the loss of 2B embeddings, rows i and B + i being views of the same image."""
    unit = functional.normalize(embedding.float(), dim=1)
    logits = (unit @ unit.T / TEMPERATURE).fill_diagonal_(-1e9)
    count = len(unit) // 2
    return functional.cross_entropy(logits, torch.arange(2 * count, device=unit.device).roll(count))


class Step:
    """One training step on fixed images."""

    def __init__(self, options: argparse.Namespace):
        """Makes network, optimizer and data on the best device there is."""
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        network = build_network(options.depth, options.width).to(
            self.device, memory_format=torch.channels_last
        )
        self.network = torch.compile(network) if options.compiled else network
        self.optimizer = torch.optim.SGD(
            self.network.parameters(), 0.1, momentum=0.9, weight_decay=5e-4
        )
        images = torch.rand(
            2 * options.batch_size, 3, options.image_size, options.image_size, device=self.device
        )
        self.views = images.to(memory_format=torch.channels_last)

    def __call__(self) -> float:
        """Steps once and returns the seconds it took."""
        started = time.perf_counter()
        with torch.autocast(self.device, torch.bfloat16):
            embedding = self.network(self.views)
        loss = nt_xent(embedding)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        loss.item()  # waits for the device
        return time.perf_counter() - started


def peak_memory() -> int:
    """Returns the most memory this process has held, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def main() -> None:
    """Times some steps; or, with --obey, answers train_step.py."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--depth", type=int, default=18, choices=BLOCKS)
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--image_size", type=int, default=32)
    parser.add_argument("--batch_size", type=int, default=128)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--compiled", action="store_true")
    parser.add_argument("--obey", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    step = Step(options)
    if options.obey:
        for command in sys.stdin:
            print(json.dumps(step() if command.strip() == "step" else peak_memory()), flush=True)
        return
    seconds = [step() for _ in range(options.steps + 2)][2:]
    rate = options.batch_size / statistics.median(seconds)
    print(
        json.dumps(
            vars(options)
            | {
                "torch": torch.__version__,
                "device": step.device,
                "images_per_second": round(rate, 2),
            }
        )
    )


if __name__ == "__main__":
    main()
