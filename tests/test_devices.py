"""The number format follows from the hardware, and two replicas compute what one device computes.

Each sees half the images, all embeddings are negatives, the statistics are shared.
"""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from trainer_module.devices import best_precision, dtype_policy


@pytest.mark.parametrize(
    ("capability", "cpu_flags", "precision"),
    [
        (None, "fma avx2", "float32"),
        (None, "fma avx2 avx512f", "float32"),
        (None, "avx512f avx512_bf16", "bfloat16"),
        (None, "amx_tile amx_bf16", "bfloat16"),
        ((7, 5), "avx2", "float16"),
        ((8, 0), "avx2", "bfloat16"),
        ((9, 0), "avx512_bf16", "bfloat16"),
    ],
)
def test_hardware_decides_the_precision(capability, cpu_flags, precision):
    assert best_precision(capability, cpu_flags) == precision


def test_a_chosen_precision_is_kept():
    assert [dtype_policy(name) for name in ("float32", "bfloat16", "float16")] == [
        "float32",
        "mixed_bfloat16",
        "mixed_float16",
    ]


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
import test_devices as t
with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
    said = {"step": t.one_step(), "drawn": t.drawn_by_replicas()}
    said["report"] = t.pretrained(sys.argv[1])
    print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def two_devices(tmp_path_factory):
    """Returns what the functions below return where a model has two replicas."""
    command = [sys.executable, "-c", ON_TWO_DEVICES, str(tmp_path_factory.mktemp("two"))]
    finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr[-2000:]
    return json.loads(finished.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def one_device():
    return {"step": one_step()}


def one_step():
    """Returns the loss of a batch, and the weights after one step of learning rate 1 without
    momentum: minus the gradient.
    """
    import keras
    from test_golden import golden_learner, pairs_of_views

    learner = golden_learner(keras.optimizers.SGD(1.0))
    learner.optimizer.build(learner.trainable_variables)
    history = learner.fit(pairs_of_views()[0], batch_size=8, shuffle=False, verbose=0)
    return {
        "loss": history.history["loss"][0],
        "weights": [weight.tolist() for weight in learner.get_weights()],
    }


def drawn_by_replicas():
    """Returns one batch's random numbers on each replica."""
    import keras
    import tensorflow as tf

    from trainer_module.devices import ReplicaSeedGenerator

    chance = ReplicaSeedGenerator(0)
    strategy = tf.distribute.get_strategy()
    drawn = tf.function(lambda: strategy.run(lambda: keras.random.uniform([4], seed=chance)))()
    return [values.numpy().tolist() for values in strategy.experimental_local_results(drawn)]


def pretrained(folder):
    """Returns the report of a real run."""
    import test_pretrain

    return test_pretrain.run(Path(folder), epochs=1)[2]


def test_the_loss_is_that_of_one_device(one_device, two_devices):
    assert two_devices["step"]["loss"] == pytest.approx(one_device["step"]["loss"], abs=TOLERANCE)


def test_gradients_and_moving_statistics_are_those_of_one_device(one_device, two_devices):
    for one, two in zip(one_device["step"]["weights"], two_devices["step"]["weights"], strict=True):
        np.testing.assert_allclose(two, one, atol=TOLERANCE)


def test_every_replica_draws_random_numbers_of_its_own(two_devices):
    first, second = two_devices["drawn"]
    assert first != second


def test_pretraining_runs_on_two_replicas(two_devices):
    assert two_devices["report"]["steps"] == 3
    assert np.isfinite(two_devices["report"]["history"]["loss"]).all()
