"""The epochs of a training: `fit` of Keras on one machine, and the same loop by hand where several
machines train together.

By hand, because Keras 3.15's `fit` fails there in two private functions: it averages the uint8
images over the machines, and a scalar along an axis. All that stands below is public: the step is
Keras' own `train_step`, and so are the callbacks.
"""

import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import keras
import numpy as np

from trainer_module.batches import EpochBatches, LabelledBatches
from trainer_module.replicas import leads, machine_count, replica_count


def fit_epochs(
    learner, batches: EpochBatches | LabelledBatches, epochs: int, callbacks: list
) -> None:
    """Runs the epochs that are left; first the rest of an epoch that a checkpoint interrupted.

    Args:
        learner: compiled keras.Model.
        batches: which begin where the checkpoint ended.
        epochs: of the whole run.
        callbacks: as `fit` takes them.
    """
    steps = batches.steps_per_epoch
    done, begun = divmod(batches.first_step, steps)
    verbose = 1 if sys.stdout.isatty() else 2  # a bar for a person, a line for a file
    # Keras' `fit` shares out parts of one size.
    uneven = replica_count() > 1 and isinstance(batches, LabelledBatches)
    fit = _Together(learner).fit if uneven or machine_count() > 1 else learner.fit
    shared = {"shuffle": False, "epochs": epochs, "verbose": verbose if leads() else 0}
    if begun:
        # It is stopped, not told to be the last: the callbacks do more at the end of a run.
        stop = keras.callbacks.LambdaCallback(
            on_epoch_end=lambda epoch, logs: setattr(learner, "stop_training", True)
        )
        rest = {"steps_per_epoch": steps - begun, "callbacks": [*callbacks, stop]}
        with _in_whole_executions(learner, steps - begun):
            fit(batches, initial_epoch=done, **rest, **shared)
        batches.first_step += steps - begun
        done += 1
    if done < epochs:
        fit(batches, initial_epoch=done, steps_per_epoch=steps, callbacks=callbacks, **shared)


@contextmanager
def _in_whole_executions(learner, steps: int) -> Iterator[None]:
    """Within it an execution has as many steps as divide these: `fit` would go beyond the last."""
    at_once = learner.steps_per_execution
    fitting = math.gcd(steps, at_once)
    learner.steps_per_execution = fitting
    yield
    if fitting != at_once:
        learner.steps_per_execution, learner.train_function = at_once, None  # traced anew


class _Together:
    """Trains a model on several machines."""

    def __init__(self, learner):
        """Takes a model that was built and compiled within `devices.all_devices`."""
        import tensorflow as tf

        self._learner, self._strategy = learner, learner.distribute_strategy

        def train_step(part, rows):
            return learner.train_step((tf.nest.map_structure(lambda one: one[:rows], part),))

        @tf.function
        def step(part, rows, view_size):
            del view_size  # a step is traced anew for each, which `train_step` reads from the model
            self._strategy.run(train_step, args=(part, rows))
            variables = learner.metrics_variables
            values = [tf.convert_to_tensor(variable.value) for variable in variables]  # of all
            with keras.StatelessScope(zip(variables, values, strict=True)):
                return learner.get_metrics_result(), values

        self._step = step

    def fit(self, batches, *, initial_epoch, epochs, steps_per_epoch, callbacks, verbose, **_):
        """Does what `fit` does, with the arguments that `fit_epochs` gives it."""
        learner, logs = self._learner, {}
        told = {"model": learner, "verbose": verbose, "add_progbar": verbose != 0}
        told = keras.callbacks.CallbackList(callbacks, **told, epochs=epochs, steps=steps_per_epoch)
        learner.stop_training, index = False, 0
        told.on_train_begin()
        for epoch in range(initial_epoch, epochs):
            learner.reset_metrics()
            told.on_epoch_begin(epoch)
            for number in range(steps_per_epoch):
                told.on_train_batch_begin(number)
                logs, values = self._step(*self._own_part(batches, index), learner.view_size)
                learner.metrics_of_all = values  # which a machine alone cannot read
                told.on_train_batch_end(number, logs)
                index += 1
            logs = {name: float(value) for name, value in logs.items()}
            told.on_epoch_end(epoch, logs)
            if learner.stop_training:
                break
        told.on_train_end(logs)

    def _own_part(self, batches, index: int):
        """Returns what this machine's replicas see of a batch, and how many rows of that count; no
        other images are read.

        Parts of all sizes have one shape: machines that trace a step anew must do so together.
        """
        count = self._strategy.num_replicas_in_sync
        most = -(-batches.batch_size // count)

        def part_of(context):
            part = batches.part(index, context.replica_id_in_sync_group, count)
            rows = len(keras.tree.flatten(part)[0])
            return keras.tree.map_structure(lambda one: _filled(one, most), part), np.array(rows)

        return self._strategy.experimental_distribute_values_from_function(part_of)


def _filled(rows: np.ndarray, most: int) -> np.ndarray:
    """Returns rows [n, ...] followed by zeros, [most, ...]."""
    if len(rows) == most:
        return rows
    return np.concatenate([rows, np.zeros((most - len(rows), *rows.shape[1:]), rows.dtype)])
