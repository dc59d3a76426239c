r"""SimCLR on CIFAR-10 on one GPU: seconds an epoch, and the accuracy of the frozen encoder.

The last line is JSON.

The data are .npz files with `images` (uint8 [n, 32, 32, 3]) and `labels` ([n]), any number of them,
named train*.npz and eval*.npz. A run that does not end within --minutes stops at its last
checkpoint and says so; the same command continues it.

    KERAS_BACKEND=jax python benchmarks/gpu_cifar10.py --pieces cifar10 --folder run \
        --epochs 100 --minutes 9

The step of a PyTorch user on the same card: `python benchmarks/torch_step.py --batch_size 512
--compiled`.
"""

import argparse
import json
import signal
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import keras
import numpy as np

from trainer_module.checkpoint import FILE
from trainer_module.devices import gpu_capability
from trainer_module.features import encode, encode_crops
from trainer_module.linear_eval import fit_linear, linear_accuracy
from trainer_module.monitor import Watched
from trainer_module.neighbours import knn_accuracy
from trainer_module.pretrain import Images, Places, pretrain
from trainer_module.settings import Augmentation, Encoder, Pretraining


class TimeIsUpError(BaseException):
    """The minutes of this call are over.

    As KeyboardInterrupt, no library takes it for an error of its own.
    """


def main() -> None:
    """Trains, measures, prints."""
    options = parse(sys.argv[1:])
    watched = Watched(*read_pieces(options.pieces, "train"), *read_pieces(options.pieces, "eval"))
    pixels = watched.train_images / np.float32(255)
    mean, std = pixels.mean(axis=(0, 1, 2)), pixels.std(axis=(0, 1, 2))  # [3] each
    done, started = epochs_done(options.folder), time.monotonic()
    try:
        signal.signal(signal.SIGALRM, stop)
        # again and again: raised inside a destructor, it is lost
        signal.setitimer(signal.ITIMER_REAL, 60 * options.minutes, 1.0)
        encoder, _, report = pretrain(
            Images(watched.train_images, mean, std, watched.train_images.shape[1:3]),
            Encoder(options.depth, options.width),
            Augmentation(),
            pretraining(options),
            Places(options.folder, options.folder),
            watched,
        )
        signal.setitimer(signal.ITIMER_REAL, 0)
        result = {
            "finished": True,
            "precision": report["precision"],
            "loss": report["history"]["loss"][-1],
        }
        result |= accuracies(encoder, watched, mean, std, options.copies)
    except TimeIsUpError:
        signal.setitimer(signal.ITIMER_REAL, 0)
        result = {"finished": False}
    seconds, epochs = time.monotonic() - started, epochs_done(options.folder) - done
    # From the start of the call to the last epoch and its measurements, compiling included.
    result |= {
        "epochs_done": done + epochs,
        "epochs_of_this_call": epochs,
        "seconds_of_this_call": round(seconds, 1),
    }
    print(
        json.dumps(
            vars(options)
            | {"backend": keras.backend.backend(), "gpu_capability": gpu_capability()}
            | result
        )
    )


def parse(arguments: list[str]) -> argparse.Namespace:
    """Returns the options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pieces", required=True, help="folder of train*.npz and eval*.npz")
    parser.add_argument("--folder", required=True, help="where the checkpoint is left and found")
    parser.add_argument("--minutes", type=float, default=9.0, help="of this call")
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--batch_size", type=int, default=512)
    parser.add_argument("--learning_rate", type=float, default=0.06, help="at batch size 256")
    parser.add_argument("--steps_per_execution", type=int, default=32)
    parser.add_argument("--depth", type=int, default=18)
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument(
        "--copies",
        type=int,
        default=0,
        help="cropped and flipped copies of the images that the linear head learns from too",
    )
    return parser.parse_args(arguments)


def pretraining(options: argparse.Namespace) -> Pretraining:
    """Returns the recipe."""
    return Pretraining(
        options.epochs,
        options.batch_size,
        learning_rate=options.learning_rate,
        steps_per_execution=options.steps_per_execution,
        monitor_every_epochs=max(1, options.epochs // 10),
    )


def read_pieces(folder: str, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns the images, uint8 [N, 32, 32, 3], and labels [N] of a split, joined in the order of
    the files' names.
    """
    files = sorted(Path(folder).glob(f"{split}*.npz"))
    if not files:
        raise SystemExit(
            f"`--pieces` must be a folder that holds {split}*.npz. Received: '{folder}'"
        )
    pieces = [np.load(file) for file in files]
    return tuple(np.concatenate([piece[name] for piece in pieces]) for name in ("images", "labels"))


def epochs_done(folder: str) -> int:
    """Returns the epochs that the checkpoint in a folder has behind it, 0 without one."""
    path = Path(folder, FILE)
    if not path.exists():
        return 0
    with np.load(path) as file:
        return len(json.loads(str(file["record"]))["history"].get("loss", []))


def stop(*_) -> None:
    """Ends training; called by the alarm clock."""
    raise TimeIsUpError


def accuracies(encoder, data: Watched, mean, std, copies: int) -> dict[str, float]:
    """Returns kNN and linear accuracy of the frozen encoder on all images."""
    train, held_out = (
        encode(encoder, images, mean, std) for images in (data.train_images, data.eval_images)
    )
    knn = knn_accuracy(train, data.train_labels, held_out, data.eval_labels)
    if copies:
        train = np.concatenate([train, encode_crops(encoder, data.train_images, mean, std, copies)])
    head = fit_linear(train, data.train_labels, int(data.train_labels.max()) + 1)
    return {
        "knn_accuracy": knn,
        "linear_accuracy": linear_accuracy(*head, held_out, data.eval_labels),
    }


if __name__ == "__main__":
    main()
