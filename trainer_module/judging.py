"""What a model answers about held-out images, and how a task's metric judges it.

B images of a batch.
"""

from collections.abc import Iterable, Iterator

import keras
import numpy as np

from trainer_module.examples import Examples
from trainer_module.features import encode
from trainer_module.gains import Judged
from trainer_module.tasks.task import Task

SCORED_AT_ONCE = 32  # images


def judge(task: Task, held_out: Examples, outputs: Iterable[np.ndarray]) -> Judged:
    """Returns the task's metric, the first of its Keras metrics, of outputs against the targets of
    the held-out images, and what each image adds to it.

    Args:
      task: gives the metric.
      held_out: the images' targets and what Transform learned about targets.
      outputs: batches of outputs, [B, ...] each, in the order of the images.
    """
    metric, start, added = task.metrics(held_out.statistics)[0], 0, []
    for batch in outputs:
        targets = held_out.targets[start : start + len(batch)]
        metric.update_state(targets, batch)
        added.append(task.contributions(np.asarray(targets), batch, held_out.statistics))
        start += len(batch)
    told = bool(added) and all(rows is not None for rows in added)
    return Judged(float(metric.result()), np.concatenate(added) if told else None)


def outputs_of(model: keras.Model, examples: Examples) -> Iterator[np.ndarray]:
    """Yields the outputs [B, ...] of a model from normalized images, batch by batch: all at once
    may be many pixels.
    """
    for start in range(0, len(examples.images), SCORED_AT_ONCE):
        batch = examples.images[start : start + SCORED_AT_ONCE]
        yield encode(model, batch, examples.channel_mean, examples.channel_std, SCORED_AT_ONCE)
