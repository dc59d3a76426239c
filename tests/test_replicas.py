"""Two replicas compute what one device computes.

Each sees half the images, in the views that one device would draw for them; all embeddings are
negatives, the statistics are shared. A batch may be cut into micro-batches besides.
"""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent
TOLERANCE = 1e-5
# The number of a process' devices is fixed when TensorFlow starts: two of them need a process of
# their own.
ON_TWO_DEVICES = """
import json, sys
sys.path[:0] = [".", "tests"]
import tensorflow as tf
two = [tf.config.LogicalDeviceConfiguration()] * 2
tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], two)
import test_replicas as t
with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
    print(json.dumps(getattr(t, sys.argv[1])(*sys.argv[2:])))
"""


def on_two_devices(name, *arguments):
    """Returns what a function below returns where a model has two replicas."""
    command = [sys.executable, "-c", ON_TWO_DEVICES, name, *map(str, arguments)]
    finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr[-2000:]
    return json.loads(finished.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def two_devices(tmp_path_factory):
    return on_two_devices("steps_and_report", tmp_path_factory.mktemp("two"))


def steps_and_report(folder):
    said = {"whole": one_step(), "cut": one_step(micro_batches=2)}
    return said | {"report": pretrained(folder)}


@pytest.fixture(scope="module")
def one_device():
    return {"whole": one_step(), "cut": one_step(micro_batches=2)}


def one_step(micro_batches=1):
    """Returns the loss of random views of a batch, and the weights after one step of learning rate
    1 without momentum: minus the gradient.
    """
    import keras
    from test_micro_batches import BATCH, IMAGES, small_learner

    learner = small_learner(parts=micro_batches)
    learner.compile(keras.optimizers.SGD(1.0))
    learner.optimizer.build(learner.trainable_variables)
    history = learner.fit(IMAGES[0], batch_size=BATCH, shuffle=False, verbose=0)
    return {
        "loss": history.history["loss"][0],
        "weights": [weight.tolist() for weight in learner.get_weights()],
    }


def pretrained(folder):
    """Returns the report of a real run, of a ResNet."""
    import test_pretrain

    from trainer_module.settings import Encoder

    return test_pretrain.run(Path(folder), encoder=Encoder(width=0.0625), epochs=1)[2]


@pytest.mark.parametrize("batch", ["whole", "cut"])
def test_the_loss_of_random_views_is_that_of_one_device(one_device, two_devices, batch):
    assert two_devices[batch]["loss"] == pytest.approx(one_device[batch]["loss"], abs=TOLERANCE)


@pytest.mark.parametrize("batch", ["whole", "cut"])
def test_gradients_and_moving_statistics_are_those_of_one_device(one_device, two_devices, batch):
    pairs = zip(one_device[batch]["weights"], two_devices[batch]["weights"], strict=True)
    for one, two in pairs:
        np.testing.assert_allclose(two, one, atol=TOLERANCE)


def test_pretraining_runs_on_two_replicas(two_devices):
    assert two_devices["report"]["steps"] == 3
    assert np.isfinite(two_devices["report"]["history"]["loss"]).all()


def segmented():
    """Returns the logs of an epoch of fine-tuning, of 15, 15 and 2 images, and the weights.

    The loss is no mean over images: rare classes weigh more, a class is ignored, Dice is of all.
    """
    import keras

    from benchmarks.compiled_step import tiny_encoder
    from trainer_module.examples import Examples
    from trainer_module.finetune import Kept, finetune
    from trainer_module.settings import Encoder, Finetuning
    from trainer_module.tasks.segmentation import Segmentation

    rng, logs = np.random.default_rng(0), []
    images = rng.integers(0, 256, (32, 16, 16, 3), dtype=np.uint8)
    label_maps = np.array([0, 1, 2, 255], np.uint8)[rng.integers(0, 4, images.shape[:3])]
    mean, std = np.full(3, 0.5, np.float32), np.full(3, 0.25, np.float32)
    statistics = {"class_pixels": np.array([5.0, 3.0, 1.0])}
    train = Examples(images, label_maps, mean, std, statistics)
    noted = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, told: logs.append(told))
    settings = Finetuning(epochs=1, batch_size=15, freeze=False, precision="float32", dice=0.5)
    encoder = tiny_encoder(Encoder(), (16, 16))
    model = finetune(encoder, Segmentation(3), train, settings, kept=Kept([noted]))
    return {"logs": logs[0], "weights": [weight.tolist() for weight in model.get_weights()]}


def test_two_devices_segment_as_one_where_batches_do_not_divide():
    one, two = segmented(), on_two_devices("segmented")
    assert two["logs"] == pytest.approx(one["logs"], abs=TOLERANCE)
    for of_one, of_two in zip(one["weights"], two["weights"], strict=True):
        np.testing.assert_allclose(of_two, of_one, atol=TOLERANCE)
