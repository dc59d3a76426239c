"""The loss of a label map: cross entropy a pixel, rare classes weighing more, and optionally Dice,
which looks at regions as a whole.

B images of H x W pixels, C classes.
"""

import keras
import numpy as np
from keras import ops

SMOOTHING = 1.0  # pixels, added to both sides of the Dice quotient


def class_weights(class_pixels, balance: float) -> np.ndarray:
    """Returns how much a pixel of each class weighs: frequency ** -balance, scaled so that the mean
    weight of all pixels is 1.

    Args:
        class_pixels: [C], pixels of each class in the training images.
        balance: 0 weighs all pixels alike, 1 all classes alike.

    Returns:
        float32 [C]; 0 for a class without pixels.
    """
    counts = np.asarray(class_pixels, np.float64)
    frequency = counts / max(counts.sum(), 1.0)
    weights = np.where(counts > 0, np.maximum(frequency, 1e-12) ** -balance, 0.0)
    return (weights / max((weights * frequency).sum(), 1e-12)).astype(np.float32)


class PixelLoss(keras.losses.Loss):
    """(1 - dice) * weighted cross entropy + dice * (1 - mean Dice coefficient).

    Pixels of the ignored class count for nothing.
    """

    def __init__(
        self, weights: np.ndarray, ignored: int, dice: float = 0.0, name: str = "pixel_loss"
    ):
        """Takes over the constants.

        Args:
            weights: [C], of a pixel of each class.
            ignored: class id of the pixels that count for nothing; -1 if there are none.
            dice: share of the Dice loss, in [0, 1].
            name: of the loss.
        """
        super().__init__(name=name)
        self.weights, self.ignored, self.dice_share = np.asarray(weights, np.float32), ignored, dice

    def call(self, y_true, y_pred):
        """Returns the loss, float32 scalar, of logits [B, H, W, C] against class ids [B, H, W]."""
        ids = ops.cast(y_true, "int32")
        valid = ops.not_equal(ids, self.ignored)
        ids = ops.where(valid, ids, 0)
        logits = ops.cast(y_pred, "float32")
        loss = weighted_cross_entropy(
            ids, logits, ops.where(valid, ops.take(self.weights, ids), 0.0)
        )
        if self.dice_share:
            loss = (1 - self.dice_share) * loss + self.dice_share * dice_loss(ids, logits, valid)
        return loss


def weighted_cross_entropy(ids, logits, pixel_weights):
    """Returns the weighted mean of the cross entropy.

    Args:
        ids: integers [B, H, W] in [0, C).
        logits: float32 [B, H, W, C].
        pixel_weights: float32 [B, H, W]; 0 for pixels that do not count. 0 is returned where none
          counts.
    """
    losses = ops.sparse_categorical_crossentropy(ids, logits, from_logits=True)  # [B, H, W]
    return ops.sum(losses * pixel_weights) / ops.maximum(ops.sum(pixel_weights), 1e-6)


def dice_loss(ids, logits, valid):
    """Returns 1 - the mean soft Dice coefficient of the classes in the batch (Milletari et al.
    2016, arXiv:1606.04797, without squares).

    Args:
        ids: integers [B, H, W] in [0, C).
        logits: float32 [B, H, W, C].
        valid: boolean [B, H, W], false for pixels that do not count.
    """
    counted = ops.cast(valid, "float32")[..., None]
    probabilities = ops.softmax(logits) * counted
    truth = ops.one_hot(ids, logits.shape[-1], dtype="float32") * counted
    shared, truths, claimed = (
        ops.sum(value, axis=(0, 1, 2)) for value in (truth * probabilities, truth, probabilities)
    )  # [C] each
    coefficients = (2 * shared + SMOOTHING) / (truths + claimed + SMOOTHING)
    occurs = ops.cast(truths > 0, "float32")
    return 1.0 - ops.sum(coefficients * occurs) / ops.maximum(ops.sum(occurs), 1.0)
