"""TensorBoard's event files, read by TensorFlow alone; tensorboard.py and the Trainers' EventLog
write them likewise.

Why not by the tensorboard package: TensorFlow 2.21 no longer brings it, and it would put four
packages of 35 MB, most of them the pages that it serves, into every installation, to save some ten
lines here. Who looks at the files installs it by itself: `make extra NAME=tensorboard`.
"""

from collections import defaultdict
from pathlib import Path

import tensorflow as tf
from tensorflow.core.util import event_pb2


def scalars(folder: str | Path) -> dict[str, list[float | None]]:
    """Returns every scalar of a folder's event files, one value a step from step 1 on; None for a
    step that is not there, as before a training that was continued elsewhere.

    Of several values for a step (a resumed run) the latest.
    """
    found = defaultdict(dict)
    for path in sorted(Path(folder or "/nonexistent").glob("events.out.tfevents.*")):
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
            event = event_pb2.Event.FromString(record)
            for value in event.summary.value:
                if value.metadata.plugin_data.plugin_name == "scalars":
                    found[value.tag][event.step] = float(tf.make_ndarray(value.tensor))
    return {
        name: [by_step.get(step) for step in range(1, max(by_step) + 1)]
        for name, by_step in found.items()
    }
