"""How good the features were after so many epochs: the encoders kept along the way, each frozen,
each under the same linear heads.

N images, M held-out ones of H x W pixels, D feature dims, C classes.
"""

from collections.abc import Mapping
from pathlib import Path

import keras

from trainer_module.checkpoint import load_weights
from trainer_module.examples import Examples
from trainer_module.linear_eval import fit_linear, fit_linear_in_epochs, linear_accuracy
from trainer_module.metric_names import (
    HEAD_EPOCHS,
    KNN,
    LINEAR_CONVERGED,
    LINEAR_OF_FEW_EPOCHS,
)
from trainer_module.neighbours import knn_accuracy


def evaluate_epochs(
    encoder: keras.Model, milestones: Mapping[int, Path], train: Examples, held_out: Examples
) -> list[dict]:
    """Measures the encoder as it is and with the weights of each milestone.

    Args:
        encoder: not pretrained yet, of the images' size; its weights change.
        milestones: epoch -> file of the encoder's weights.
        train: what the linear heads learn from.
        held_out: what they are measured on.

    Returns:
        One row an epoch, in order, the first for epoch 0, before pretraining. A row holds `epoch`
        and the accuracies below, in [0, 1].
    """
    rows = []
    for epoch, path in [(0, None), *sorted(milestones.items())]:
        if path:
            load_weights(encoder, path)
        rows.append({"epoch": epoch} | _accuracies(encoder, train, held_out))
        linear, neighbours = (f"{100 * rows[-1][name]:.1f} %" for name in (LINEAR_CONVERGED, KNN))
        print(f"Epoch {epoch}: linear head {linear}, nearest neighbours {neighbours}", flush=True)
    return rows


def _accuracies(encoder: keras.Model, train: Examples, held_out: Examples) -> dict[str, float]:
    num_classes = int(train.targets.max()) + 1
    features, unseen = train.features(encoder), held_out.features(encoder)  # [N, D], [M, D]
    heads = {
        LINEAR_OF_FEW_EPOCHS: fit_linear_in_epochs(
            features, train.targets, num_classes, HEAD_EPOCHS
        ),
        LINEAR_CONVERGED: fit_linear(features, train.targets, num_classes),
    }
    measured = {
        name: linear_accuracy(*head, unseen, held_out.targets) for name, head in heads.items()
    }
    return measured | {KNN: knn_accuracy(features, train.targets, unseen, held_out.targets)}
