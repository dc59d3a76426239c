"""ModelCheck: blesses a model for serving once a fresh process has loaded it and got finite answers
for raw examples.

TFX's InfraValidator wants docker or Kubernetes; this needs Python alone, and the Pusher takes its
blessing all the same.
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import tensorflow as tf
from absl import logging
from tfx.components.evaluator.constants import ARTIFACT_PROPERTY_CURRENT_MODEL_ID_KEY
from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.types.artifact_utils import get_split_uris
from tfx.types.standard_artifacts import Examples, InfraBlessing, Model
from tfx.utils import path_utils

from components.metadata.names import PROBE_FILE
from components.model_check.probe import REPORT

PROBE = "components.model_check.probe"
MOST_COMPLAINT = 2000  # characters
ROOT = Path(__file__).resolve().parents[2]
PROBE_SECONDS = 600
KILLED = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
BLESSED, NOT_BLESSED = (
    "INFRA_BLESSED",
    "INFRA_NOT_BLESSED",
)  # the file names that TFX's InfraValidator writes


@component
def ModelCheck(  # noqa: N802 (a TFX component)
    model: InputArtifact[Model],
    examples: InputArtifact[Examples],
    blessing: OutputArtifact[InfraBlessing],
    fingerprint: Parameter[str],
    split: Parameter[str] = "eval",
    requests: Parameter[int] = 16,
) -> None:
    """Writes an InfraBlessing.

    Args:
      model: the trained model.
      examples: raw examples, as they come from the ExampleGen.
      blessing: blessed = 1 if the model loads and answers, else 0; `report.json` holds what was
        seen.
      fingerprint: digest of the code of check and probe.
      split: from which split the requests are taken.
      requests: how many examples are sent.
    """
    del fingerprint
    sample = os.path.join(blessing.uri, "requests.tfrecord")
    write_sample(get_split_uris([examples], split)[0], sample, requests)
    report = run_probe(path_utils.serving_model_path(model.uri), sample, PROBE_SECONDS)
    blessed = "error" not in report
    logging.info("ModelCheck: %s", report)
    Path(blessing.uri, PROBE_FILE).write_text(json.dumps(report, indent=1), encoding="utf-8")
    Path(blessing.uri, BLESSED if blessed else NOT_BLESSED).touch()
    blessing.set_int_custom_property("blessed", int(blessed))
    # As on the Evaluator's blessing: else nothing would tell which model was blessed.
    blessing.set_int_custom_property(ARTIFACT_PROPERTY_CURRENT_MODEL_ID_KEY, model.id)


def write_sample(split_uri: str, path: str, count: int) -> None:
    """Copies the first `count` records of a split to a TFRecord file."""
    files = sorted(tf.io.gfile.glob(os.path.join(split_uri, "*.gz")))
    with tf.io.TFRecordWriter(path) as writer:
        for record in tf.data.TFRecordDataset(files, compression_type="GZIP").take(count):
            writer.write(record.numpy())


def run_probe(model_dir: str, sample: str, seconds: float) -> dict:
    """Runs the probe in a fresh process, off the GPU, from this project's root.

    Args:
      model_dir: a SavedModel.
      sample: TFRecord file of serialized raw tf.Examples.
      seconds: after which the model counts as one that hangs.

    Returns:
      What the probe saw, or `error`: why the model is not fit to be served.

    Raises:
      RuntimeError: if something ended the process, which says nothing of the model.
    """
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "-1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", PROBE, model_dir, sample]
    # The other end closes with this process, whatever ends it: the probe ends with it.
    reading, writing = os.pipe()
    try:
        result = subprocess.run(
            command,
            env=environment,
            stdin=reading,
            capture_output=True,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return {"error": f"no answer within {seconds:g} s"}
    finally:
        os.close(reading)
        os.close(writing)
    if -result.returncode in KILLED:
        ended_by = signal.Signals(-result.returncode).name
        raise RuntimeError(
            f"the process of ModelCheck was ended by {ended_by}, as of a machine that is out of "
            f"memory; the model is not judged yet"
        )
    if result.returncode:
        return {"error": result.stderr.decode(errors="replace")[-MOST_COMPLAINT:]}
    return _report(result.stdout.decode(errors="replace").splitlines())


def _report(lines: list[str]) -> dict:
    """Returns the probe's report; a model may print lines of its own before and after it."""
    found = [line.removeprefix(REPORT) for line in lines if line.startswith(REPORT)]
    return json.loads(found[-1]) if found else {"error": "the process ended without a report"}
