"""Loads a SavedModel in a process of its own and asks it: `python -m components.model_check.probe
MODEL EXAMPLES`.

Prints one line, `model check: ` and JSON: requests, milliseconds of one request (median), the
outputs' shapes. Any fault is the exit code.
"""

import json
import os
import stat
import statistics
import sys
import threading
import time

SINGLE_REQUESTS = 10
REPORT = "model check: "  # begins the line with the report, since a model may print, too


def probe(model_dir: str, examples_file: str) -> dict:
    """Asks a SavedModel for predictions as a server would.

    Args:
      model_dir: a SavedModel with the signatures `serving_default` and `from_images`.
      examples_file: TFRecord file of serialized raw tf.Examples.

    Returns:
      What was asked and how long it took.

    Raises:
      ValueError: if an output is not finite, or the two signatures disagree.
    """
    import numpy as np
    import tensorflow as tf

    model = tf.saved_model.load(model_dir)
    records = [record.numpy() for record in tf.data.TFRecordDataset(examples_file)]
    on_examples = model.signatures["serving_default"]
    answers = {
        name: value.numpy() for name, value in on_examples(examples=tf.constant(records)).items()
    }
    for name, value in answers.items():
        if np.issubdtype(value.dtype, np.floating) and not np.isfinite(value).all():
            raise ValueError(f"output `{name}` is not finite")
    images = [
        tf.train.Example.FromString(record).features.feature["image"].bytes_list.value[0]
        for record in records
    ]
    for name, value in model.signatures["from_images"](image_bytes=tf.constant(images)).items():
        numeric = np.issubdtype(value.numpy().dtype, np.floating)
        if numeric and not np.allclose(value.numpy(), answers[name], atol=1e-5):
            raise ValueError(f"output `{name}` of from_images differs from serving_default")
    seconds = []
    for record in records[:SINGLE_REQUESTS]:
        started = time.perf_counter()
        on_examples(examples=tf.constant([record]))
        seconds.append(time.perf_counter() - started)
    return {
        "requests": len(records),
        "milliseconds": round(1e3 * statistics.median(seconds), 2),
        "outputs": {name: list(value.shape) for name, value in answers.items()},
    }


def end_with_the_one_that_asked() -> None:
    """Ends this process as soon as its standard input does, where that is a pipe."""
    if stat.S_ISFIFO(os.fstat(0).st_mode):
        threading.Thread(target=lambda: (os.read(0, 1), os._exit(1)), daemon=True).start()


if __name__ == "__main__":
    end_with_the_one_that_asked()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    print(f"{REPORT}{json.dumps(probe(*sys.argv[1:]))}")
