"""The learning rate over a run: warm-up and cosine, and how it grows with the batch."""

import keras

REFERENCE_BATCH = 256  # images, at which `learning_rate` is stated


def cosine_schedule(
    learning_rate: float, steps: int, warmup_steps: int = 0
) -> keras.optimizers.schedules.LearningRateSchedule:
    """Linear warm-up from 0, then half a cosine down to 0 at the last step (Loshchilov & Hutter
    2017, arXiv:1608.03983, eq. 5 without restarts).

    At step s of S, of which W warm up: rate * s / W for s < W, then
    rate * (1 + cos(pi * (s - W) / (S - W))) / 2.

    Args:
        learning_rate: at the peak.
        steps: of the whole run.
        warmup_steps: of these, how many warm up; fewer than `steps`.

    Returns:
        A Keras schedule.
    """
    if warmup_steps == 0:
        return keras.optimizers.schedules.CosineDecay(learning_rate, steps)
    left = max(1, steps - warmup_steps)
    return keras.optimizers.schedules.CosineDecay(
        0.0, left, warmup_target=learning_rate, warmup_steps=warmup_steps
    )


def scaled_learning_rate(learning_rate: float, batch_size: int, scaling: str) -> float:
    """Scales a learning rate stated at 256 images a batch to `batch_size`.

    Args:
        learning_rate: at batch size 256.
        batch_size: images.
        scaling: 'linear' (Goyal et al. 2017), 'sqrt' (Chen et al. 2020, App. B.1) or 'none'.

    Returns:
        The learning rate to use.
    """
    ratio = batch_size / REFERENCE_BATCH
    return learning_rate * {"linear": ratio, "sqrt": ratio**0.5, "none": 1.0}[scaling]
