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
    """Returns the task's metric of outputs against the truth of the held-out images, as the
    Evaluator has it, and what each image adds to it.

    The metric is that of all that images add; the first of the task's Keras metrics, against the
    targets, where they are not told apart.

    Args:
      task: gives the metric.
      held_out: the images' truth and what Transform learned about targets.
      outputs: batches of outputs, [B, ...] each, in the order of the images.
    """
    metric, start, added = task.metrics(held_out.statistics)[0], 0, []
    for batch in outputs:
        some = slice(start, start + len(batch))
        rows = task.contributions(held_out.truth[some], batch, held_out.statistics)
        if rows is None:
            metric.update_state(held_out.targets[some], batch)
        else:
            added.append(rows)
        start += len(batch)
    if not added:
        return Judged(float(metric.result()), None)
    contributions = np.concatenate(added)
    sums = contributions.sum(axis=0, dtype=np.float64)
    return Judged(float(task.metric_of(sums, len(contributions))), contributions)


def outputs_of(model: keras.Model, examples: Examples) -> Iterator[np.ndarray]:
    """Yields the outputs [B, ...] of a model from normalized images, batch by batch: all at once
    may be many pixels.
    """
    for start in range(0, len(examples.images), SCORED_AT_ONCE):
        batch = examples.images[start : start + SCORED_AT_ONCE]
        yield encode(model, batch, examples.channel_mean, examples.channel_std, SCORED_AT_ONCE)
