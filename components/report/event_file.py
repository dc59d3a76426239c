"""TensorBoard's event files, read and written without TensorBoard."""

from pathlib import Path

import tensorflow as tf
from tensorflow.core.util import event_pb2


def last_scalars(folder: str, name: str) -> list[float]:
    """Returns a scalar over its steps; of several values for a step (a resumed run) the latest. [] where there is none.

    Args:
      folder: with the event files.
      name: of the scalar.
    """
    found = {}
    for path in sorted(Path(folder or "/nonexistent").glob("events.out.tfevents.*")):
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
            event = event_pb2.Event.FromString(record)
            for value in event.summary.value:
                if value.tag == name:
                    found[event.step] = float(tf.make_ndarray(value.tensor))
    return [found[step] for step in sorted(found)]
