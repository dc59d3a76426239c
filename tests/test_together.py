"""Several machines pretrain and fine-tune as one does, and end clearly when one of them is lost:
processes on loopback, which share a folder.
"""

import errno
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_encoder import build_with_norms
from test_encoded_images import encoded

from components.metadata.names import FINETUNER, PRETRAINER
from pipeline.chief import with_workers
from pipeline.fingerprint import node_fingerprint
from pipeline.root import Root
from pipeline.worker import _refuse_other_work
from pipeline.worker import main as work
from trainer_module import cluster, finetune_job, pretrain_job
from trainer_module.checkpoint import FILE
from trainer_module.cluster import (
    ERROR,
    EXAMPLE,
    JOB,
    Beat,
    Cluster,
    Watch,
    cluster_of,
)
from trainer_module.encoded_images import EncodedImages, digest_of
from trainer_module.errors import InputError
from trainer_module.examples import Examples
from trainer_module.finetune import Kept, digest_of_examples, finetune
from trainer_module.monitor import Watched, thinned
from trainer_module.pretrain import Images, Places, pretrain, untrained_encoder
from trainer_module.settings import (
    Augmentation,
    Encoder,
    Finetuning,
    FinetuningScience,
    Pretraining,
    PretrainingScience,
)
from trainer_module.shared_images import few_bytes, images_of, write_images
from trainer_module.stored_images import PNG, decoder_of, pack_images
from trainer_module.tasks.classification import Classification
from trainer_module.tasks.registry import task_to_json
from trainer_module.tasks.unlabelled import Unlabelled
from trainer_module.together import (
    CHIEF,
    FOLDER_VARIABLE,
    KEPT_VARIABLE,
    TOGETHER,
    MachineLostError,
    Place,
    _watch,
    beating,
    meeting_place,
    train_together,
)
from trainer_module.whole_files import write_json

ROOT = Path(__file__).resolve().parent.parent
SIZE = (12, 12)
KILLED_AT, STEPS = 30, 120
ENCODER = Encoder(width=0.0625, builder="small_encoder.build_with_norms")
SETTINGS = Pretraining(
    epochs=40,  # of 3 steps: long enough to be killed on the way
    batch_size=16,
    micro_batch=8,
    learning_rate=0.5,
    projection_hidden=16,
    projection_dim=8,
    precision="float32",
    monitor_every_epochs=20,
    checkpoint_every_minutes=1e-6,
)


# An epoch is of 15, 15, 15 and 2 images: two machines have 7 and 8 of them, or one each.
TUNING = Finetuning(
    epochs=30,
    batch_size=15,
    freeze=False,
    precision="float32",
    checkpoint_every_minutes=1e-6,
)


def data():
    images = np.random.default_rng(0).integers(0, 256, (52, *SIZE, 3), dtype=np.uint8)
    return Images(images, np.full(3, 0.5), np.full(3, 0.25), SIZE, None, digest_of(images))


def places(folder):
    return Places(str(folder / "checkpoints"), str(folder / "logs"))


def pretrained(folder):
    """Pretrains in one process alone."""
    pretrain(data(), ENCODER, Augmentation(), SETTINGS, places(folder))


def pretraining(folder, fingerprint):
    code = fingerprint or node_fingerprint(PRETRAINER, Unlabelled, ENCODER.builder)
    task, here = task_to_json(Unlabelled()), data()
    science = PretrainingScience(task, SIZE, SIZE, ENCODER, Augmentation(), SETTINGS, code)
    job = pretrain_job.job_of(science, here, places(folder), "float32")
    return job, partial(pretrain_job.lay_out, here, None)


def labelled():
    images = data().images[:47]
    labels = images.mean(axis=(1, 2, 3)) > images.mean()
    return Examples(images, labels.astype(int), data().channel_mean, data().channel_std)


def kept(folder):
    return Kept([], places(folder).checkpoints, digest_of_examples(labelled()))


def finetuned(folder):
    """Fine-tunes in one process alone."""
    encoder = build_with_norms(ENCODER, SIZE)
    finetune(encoder, Classification(2), labelled(), TUNING, kept=kept(folder))


def finetuning(folder, fingerprint):
    code = fingerprint or node_fingerprint(FINETUNER, Classification, ENCODER.builder)
    shared = task_to_json(Classification(2)), SIZE, SIZE, ENCODER, Augmentation(), SETTINGS, code
    science = FinetuningScience(*shared, TUNING)
    job = finetune_job.job_of(science, labelled(), kept(folder), places(folder).logs)
    return job, partial(finetune_job.lay_out, build_with_norms(ENCODER, SIZE), labelled())


@dataclass(frozen=True)
class Kind:
    """A training: by one process alone, into a folder; and laid out for several."""

    alone: Any
    together: Any


KINDS = {
    "pretraining": Kind(pretrained, pretraining),
    "fine-tuning": Kind(finetuned, finetuning),
}


def outcome(folder):
    """Returns the loss of every epoch, and all weights, in the last checkpoint."""
    with np.load(folder / "checkpoints" / FILE) as file:
        record = json.loads(str(file["record"]))
        return record["history"], [file[name] for name in file.files if name.startswith("model/")]


def free_port():
    with socket.socket() as open_one:
        open_one.bind(("127.0.0.1", 0))
        return open_one.getsockname()[1]


class Two:
    """A chief, which is this process, and a worker on loopback."""

    def __init__(self, folder, patch, **seconds):
        """Takes the pipeline root, and how long they wait."""
        self.folder = folder
        self.addresses = [f"127.0.0.1:{free_port()}" for _ in range(2)]
        patch.setenv("PYTHONPATH", os.pathsep.join(map(str, (ROOT, ROOT / "tests"))))
        patch.setenv(KEPT_VARIABLE, self.tf_config("chief"))
        patch.setenv(FOLDER_VARIABLE, str(folder / TOGETHER))
        for name, value in seconds.items():
            patch.setenv(f"SIMCLR_{name}_SECONDS", str(value))

    def tf_config(self, task):
        cluster = {"chief": self.addresses[:1], "worker": self.addresses[1:]}
        return json.dumps({"cluster": cluster, "task": {"type": task, "index": 0}})

    def start_worker(self):
        command = [sys.executable, "-m", "pipeline.worker", f"--pipeline_root={self.folder}"]
        environment = {**os.environ, "TF_CONFIG": self.tf_config("worker")}
        return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)

    def train(self, kind="pretraining", fingerprint=""):
        """Trains as the chief does."""
        self.train_as(*KINDS[kind].together(self.folder, fingerprint))

    def train_as(self, job, lay_out):
        """Trains what is laid out."""
        beat = Beat(self.folder / TOGETHER / CHIEF, state="runs", job="")
        with beat:
            beating(beat)
            try:
                train_together(meeting_place(), job, lay_out)
            finally:
                beat.tell(state="ended")


def step_of(folder):
    """Returns the step of the last checkpoint, 0 where there is none yet."""
    try:
        with np.load(folder / "checkpoints" / FILE) as file:
            return json.loads(str(file["record"]))["step"]
    except (OSError, ValueError, KeyError):
        return 0


def kill_at(step, folder, worker):
    """Kills a worker's machine, as far as a process can: the worker and its child, at once."""
    while step_of(folder) < step and worker.poll() is None:
        time.sleep(0.05)
    children = Path(f"/proc/{worker.pid}/task/{worker.pid}/children").read_text().split()
    for process in (worker.pid, *map(int, children)):
        os.kill(process, signal.SIGKILL)


@pytest.fixture(scope="module", params=KINDS)
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def lost(tmp_path_factory, kind):
    """Returns the folder of a training that lost its worker, the error, and the step by then."""
    folder = tmp_path_factory.mktemp("lost")
    with pytest.MonkeyPatch.context() as patch:
        two = Two(folder, patch, LOST=20)
        worker = two.start_worker()
        killer = threading.Thread(target=kill_at, args=(KILLED_AT, folder, worker))
        killer.start()
        with pytest.raises(MachineLostError) as error:
            two.train(kind)
        killer.join()
    return folder, str(error.value), step_of(folder), two.addresses[1]


@pytest.fixture(scope="module")
def alone(tmp_path_factory, kind):
    folder = tmp_path_factory.mktemp("alone")
    KINDS[kind].alone(folder)
    return outcome(folder)


def test_a_lost_machine_ends_the_training_with_its_name_and_what_to_do(lost):
    _, told, step, address = lost
    assert address in told and "The last checkpoint is kept" in told
    assert KILLED_AT <= step < STEPS


def alone_again(folder, patch, kind):
    del patch
    KINDS[kind].alone(folder)


def two_again(folder, patch, kind):
    two = Two(folder, patch)
    of_a_killed_run = folder / TOGETHER / "job-1-1"
    of_a_killed_run.mkdir(parents=True)
    worker = two.start_worker()
    two.train(kind)
    assert worker.wait(timeout=60) == 0
    assert not of_a_killed_run.exists()


@pytest.mark.parametrize("end", [alone_again, two_again])
def test_what_two_machines_began_ends_as_if_one_had_been_alone(
    lost, alone, kind, end, tmp_path, monkeypatch
):
    shutil.copytree(lost[0] / "checkpoints", tmp_path / "checkpoints")
    end(tmp_path, monkeypatch, kind)
    history, weights = outcome(tmp_path)
    for name in ("loss", *(["accuracy"] if kind == "fine-tuning" else [])):
        np.testing.assert_allclose(history[name], alone[0][name], rtol=1e-5)
    for one, other in zip(weights, alone[1], strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


GATHER = """
import json, sys
import numpy as np
import tensorflow as tf
from trainer_module import replicas

rank = int(sys.argv[1])
replicas.join_others(rank)
with replicas.all_devices():
    strategy = tf.distribute.get_strategy()

    def step():
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        said = {}
        for dtype in ("bfloat16", "uint8", "float32", "int64"):
            whole = replicas.gathered(tf.cast(tf.fill([2, 1], replica + 1), dtype))
            assert whole.dtype.name == dtype
            said[dtype] = tf.cast(whole, tf.float32)
        return said

    for dtype, whole in strategy.run(tf.function(step)).items():
        assert np.ravel(whole).tolist() == [1, 1, 2, 2], (dtype, whole)
print("gathered", flush=True)
"""


def test_rows_of_every_type_that_a_batch_has_are_gathered_from_all_machines(tmp_path, monkeypatch):
    two = Two(tmp_path, monkeypatch)
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", GATHER, str(rank)],
            env={**os.environ, "TF_CONFIG": two.tf_config(("chief", "worker")[rank])},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in (0, 1)
    ]
    told = [process.communicate(timeout=240) for process in processes]
    assert [out.strip() for out, _ in told] == ["gathered"] * 2, told[0][1][-2000:]


def test_a_beat_that_cannot_be_read_for_a_moment_says_what_it_said(tmp_path):
    watch, beat = Watch(tmp_path / "chief"), Beat(tmp_path / "chief", job="a")
    beat.tell(state="runs")
    assert watch.look()["job"] == "a" and watch.came
    (tmp_path / "chief").write_text("{")
    assert watch.look()["job"] == "a"
    beat.tell(job="b")
    assert watch.look()["job"] == "b"


def test_a_beat_that_cannot_be_written_for_a_moment_goes_on(tmp_path, monkeypatch):
    written, replace_file = [], os.replace

    def refusing(*paths):
        written.append(paths)
        if len(written) in (2, 3):
            raise OSError(errno.ESTALE, "Stale file handle")
        replace_file(*paths)

    monkeypatch.setattr(cluster, "SECONDS_OF_A_BEAT", 0.01)
    monkeypatch.setattr(os, "replace", refusing)
    with Beat(tmp_path / "chief"):
        deadline = time.monotonic() + 20
        while len(written) < 5 and time.monotonic() < deadline:
            time.sleep(0.01)
    assert json.loads((tmp_path / "chief").read_text())["beat"][1] > 3


def test_a_worker_with_other_code_is_refused_there_and_on_the_chief(tmp_path, monkeypatch):
    two = Two(tmp_path, monkeypatch)
    worker = two.start_worker()
    with pytest.raises(InputError, match=r"Worker 1 .*same code.* abc on the chief"):
        two.train(fingerprint="abc")
    assert "same code and versions of libraries" in worker.communicate(timeout=60)[1]
    assert worker.returncode == 2
    assert not (tmp_path / "checkpoints").exists()


def test_a_worker_with_another_tasks_fields_has_other_code(tmp_path):
    told = json.loads(task_to_json(Classification(2))) | {"field_of_another_version": 1}
    write_json(tmp_path / JOB, {"task": json.dumps(told), "kind": "pretraining"})
    with pytest.raises(InputError, match="must have the same code and versions of libraries"):
        _refuse_other_work(tmp_path)


def test_a_training_that_is_refused_is_bad_input_on_the_chief_and_on_the_worker(
    tmp_path, monkeypatch
):
    two = Two(tmp_path, monkeypatch)
    job, lay_out = pretraining(tmp_path, "")
    job["pretraining"] |= {"batch_size": 15, "micro_batch": 0}
    worker = two.start_worker()
    with pytest.raises(InputError, match="batch_size=15"):
        two.train_as(job, lay_out)
    assert "batch_size=15" in worker.communicate(timeout=60)[1] and worker.returncode == 2


@pytest.fixture
def meeting(tmp_path):
    """Two processes that have found each other: the place, the watch of the worker, its job."""
    place, job = Place(tmp_path, Cluster(("a:1", "b:2"), 0)), tmp_path / "job-1"
    job.mkdir()
    for rank in (0, 1):
        (job / f"connected-{rank}").touch()
    return place, {1: Watch(place.of_worker(1, job.name))}, job


def test_a_worker_that_was_refused_while_the_chiefs_process_goes_on_is_bad_input(meeting):
    place, watches, job = meeting
    beat = {"state": "failed", "why": "no such batch", "code": 2, "beat": [1, 2]}
    write_json(place.of_worker(1, job.name), beat)
    with subprocess.Popen(["sleep", "600"]) as process:
        with pytest.raises(InputError, match=r"Worker 1 \(b:2\): no such batch"):
            _watch(place, process, watches, job)
        process.kill()


def test_a_process_that_noticed_only_that_the_refused_ones_went_is_refused_as_they(meeting):
    place, watches, job = meeting
    write_json(job / ERROR, {"why": "no such batch", "code": 2})
    with subprocess.Popen(["false"]) as process:
        process.wait()
        with pytest.raises(InputError, match="no such batch"):
            _watch(place, process, watches, job)


def test_a_worker_that_does_not_come_is_named_after_a_while(tmp_path, monkeypatch):
    two = Two(tmp_path, monkeypatch, JOIN=1)
    with pytest.raises(InputError, match=rf"within 1 s.*worker 1 \({two.addresses[1]}\)"):
        two.train()
    assert not list((tmp_path / TOGETHER).glob("job-*"))


def test_a_worker_whose_run_does_not_begin_says_so(tmp_path, monkeypatch, capsys):
    two = Two(tmp_path, monkeypatch, JOIN=1)
    monkeypatch.setenv("TF_CONFIG", two.tf_config("worker"))
    assert work([f"--pipeline_root={tmp_path}"]) == 1
    assert "no run began in" in capsys.readouterr().err


def test_images_that_differ_between_machines_are_noticed(tmp_path):
    images = data().images
    pretrain_job.lay_out(data(), None, tmp_path)
    assert few_bytes(images_of(tmp_path, SIZE)) == few_bytes(images)
    assert few_bytes(images) != few_bytes(images[1:])


def test_the_weights_to_begin_with_are_those_of_views_whatever_the_grid_of_the_features(tmp_path):
    settings, views = Encoder(width=0.0625, grid=3), (16, 16)  # whose last stage is 2 x 2
    start = untrained_encoder(replace(settings, grid=1), views, seed=1)
    pretrain_job.lay_out(replace(data(), start=start), None, tmp_path)
    there = pretrain_job.start_of(tmp_path, settings, views)
    for one, other in zip(there.get_weights(), start.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_images_to_watch_are_thinned_and_laid_out_a_part_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr("trainer_module.pretrain_job.MOST_TRAIN_IMAGES", 20)
    monkeypatch.setattr("trainer_module.pretrain_job.at_once", lambda *_: 6)
    pixels, labels, decoded = data().images, np.arange(52) % 2, []
    images = encoded(pixels)
    decode = images._decode
    images._decode = lambda some: decoded.append(len(some)) or decode(some)
    watched = Watched(images, labels, pixels[:5], labels[:5])
    pretrain_job.lay_out(data(), watched, tmp_path)
    there, chosen = pretrain_job.watched_of(tmp_path), thinned(52, 20)
    assert decoded == [6, 6, 6, 2]
    np.testing.assert_array_equal(there.train_images, pixels[chosen])
    np.testing.assert_array_equal(there.train_labels, labels[chosen])
    np.testing.assert_array_equal(there.eval_images, pixels[:5])
    np.testing.assert_array_equal(there.eval_labels, labels[:5])


def test_encoded_images_stay_so_between_machines(tmp_path):
    pixels = data().images
    packed = [bytes(one) for one in pack_images(pixels, PNG).numpy()]
    ends = np.cumsum([len(one) for one in packed])
    bounds = np.stack([ends - [len(one) for one in packed], ends], axis=1)
    content = np.frombuffer(b"".join(packed), np.uint8)
    images = EncodedImages(content, bounds, SIZE, decoder_of(*SIZE))
    write_images(images, tmp_path)
    there = images_of(tmp_path, SIZE)
    assert few_bytes(there) == few_bytes(images)
    np.testing.assert_array_equal(there[[5, 2]], pixels[[5, 2]])


@pytest.mark.parametrize("task", ["chief", None])
def test_a_worker_must_be_one(tmp_path, monkeypatch, capsys, task):
    text = Two(tmp_path, monkeypatch).tf_config(task) if task else ""
    monkeypatch.setenv("TF_CONFIG", text)
    assert work([f"--pipeline_root={tmp_path}"]) == 2
    told = capsys.readouterr().err
    assert "this one as a worker" in told and f"Fix: TF_CONFIG='{EXAMPLE}'" in told


def test_a_worker_does_not_run_the_pipeline(tmp_path, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", Two(tmp_path, monkeypatch).tf_config("worker"))
    with pytest.raises(InputError, match="Only the chief"), with_workers(Root(tmp_path)):
        pass


def test_minutes_of_one_machine_say_nothing_of_several(tmp_path, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", Two(tmp_path, monkeypatch).tf_config("chief"))
    refused = pytest.raises(InputError, match=r"`--minutes` measures one machine.*minutes=5")
    with refused, with_workers(Root(tmp_path), minutes=5):
        pass


TF_CONFIG = '{"cluster": {"chief": ["a:1"], "worker": ["b:2", "c:3"]}, "task": %s}'


@pytest.mark.parametrize("name", ["SIMCLR_JOIN_SECONDS", "SIMCLR_LOST_SECONDS"])
@pytest.mark.parametrize("seconds", ["", "five", "nan", "inf", "0", "-1"])
def test_seconds_to_wait_that_are_none_are_refused_before_any_work(monkeypatch, name, seconds):
    monkeypatch.setenv(name, seconds)
    with pytest.raises(InputError, match=rf"`{name}` must be seconds.*'{seconds}'"):
        cluster_of(TF_CONFIG % '{"type": "chief", "index": 0}')


@pytest.mark.parametrize(("task", "rank"), [("chief", 0), ("worker", 1)])
def test_tf_config_says_who_trains_and_who_this_is(task, rank):
    cluster = cluster_of(TF_CONFIG % json.dumps({"type": task, "index": 0}))
    assert cluster == Cluster(("a:1", "b:2", "c:3"), rank)


def test_one_process_is_no_cluster():
    alone = '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 0}}'
    assert cluster_of(alone) is cluster_of("") is None


@pytest.mark.parametrize(
    "task", ['{"type": "worker", "index": 2}', '{"type": "ps", "index": 0}', "1"]
)
def test_a_tf_config_that_names_no_place_is_refused(task):
    with pytest.raises(InputError, match="must name one chief, workers and this process' place"):
        cluster_of(TF_CONFIG % task)
