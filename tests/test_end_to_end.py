"""The whole road through the real command line, in order: each test goes on where the one before it
stopped.

The images are bright or dark, so that even an untrained encoder tells them apart and the gate has
something to bless.
"""

import fcntl
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import local_runner
from pipeline import embed, predict, report
from pipeline.lineage import __main__ as lineage

pytestmark = pytest.mark.end_to_end

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ("components", "pipeline", "trainer_module", "local_runner.py")
SMALL = [
    "--width=0.125",
    "--set",
    "pretraining.projection_hidden=16",
    "--set",
    "pretraining.projection_dim=8",
]
# Where the claim is not about the encoder; the label maps have a ResNet, and so have those of
# tests/test_original_commands.py on CIFAR-10.
SMALLER = [*SMALL, "--set", "encoder.builder=small_encoder.build"]
# Three command lines of the original program, values as they stand (see
# tests/test_original_commands.py); what follows makes them small.
PRETRAIN = shlex.split(
    '--input_size="240 240" --train_file_path=images/plain.csv --task=pretrain --batch_size=256 '
    "--num_epochs=1000"
)
SEGMENT = shlex.split(
    '--input_size="240 240" --train_file_path=scenes/train.csv --task=segmentation --num_classes=5'
)
CLASSIFY = shlex.split(
    '--input_size="240 240" --train_file_path=images/train.csv --val_file_path=images/eval.csv '
    "--task=classification --num_classes=5 "
    "--freeze=True"
)
FLAGS = [
    *CLASSIFY, "--pipeline_root=root", "--input_size=16 16", "--num_classes=2",
    "--pretrain_epochs=1", "--set", "pretraining.batch_size=16", *SMALLER,
]  # fmt: skip
NODES = (
    "FileListExampleGen", "StatisticsGen", "SchemaGen", "ExampleValidator", "AnomalyGate",
    "Transform", "Pretrainer", "Finetuner", "Evaluator", "ModelCheck", "Pusher", "RunReport",
)  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A copy of the project, so that its code can be edited, with images and lists beside it."""
    folder = tmp_path_factory.mktemp("project")
    for name in SOURCES:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, folder / name)
    rng = np.random.default_rng(0)
    for split, count in (("train", 48), ("eval", 16)):
        rows = []
        for index in range(count):
            label = ("bright", "dark")[index % 2]
            low, high = {"bright": (128, 256), "dark": (0, 128)}[label]
            file = folder / "images" / split / f"{index}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(low, high, (16, 16, 3), dtype=np.uint8)).save(file)
            rows.append(f"{split}/{index}.png,{label}")
        (folder / "images" / f"{split}.csv").write_text("\n".join(rows))
    return folder


ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parent)}


def run(place, *flags):
    command = [sys.executable, "local_runner.py", *flags]
    return subprocess.run(
        command,
        cwd=place,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


@pytest.fixture
def ask(place, monkeypatch, capfd):
    """Returns a function that asks one of the tools in the folder of the project, and gives back
    what it prints. They have TensorFlow from here; that each is a command of its own,
    tests/test_install.py says.
    """

    def told(tool, *arguments):
        monkeypatch.chdir(place)
        capfd.readouterr()
        code = tool.main(list(arguments))
        out, errors = capfd.readouterr()
        assert code == 0, errors
        return out

    return told


def summary(place, root="root"):
    return json.loads((place / root / "summary.json").read_text())


def ran(place, root="root"):
    return {node["id"] for node in summary(place, root)["components"] if not node["cached"]} - {
        "Baseline"
    }


def test_two_lists_become_a_blessed_pushed_model(place):
    result = run(place, *FLAGS)
    assert result.returncode == 0, result.stdout + result.stderr
    assert ran(place) == set(NODES)
    told = summary(place)
    assert told["blessed"] is True
    assert told["metrics"]["accuracy"] == 1.0
    assert told["metrics_by_class"] == {"bright": 1.0, "dark": 1.0}
    assert set(told["metrics"]) == {
        "accuracy",
        "linear_accuracy",
        "untrained_linear_accuracy",
        "pixels_linear_accuracy",
        "knn_accuracy",
    }
    assert (Path(told["pushed_model"]) / "saved_model.pb").is_file()


@pytest.fixture(scope="module")
def again(place):
    """The same run once more, made from the settings that it left."""
    before = (place / "root" / "config.yaml").read_text()
    result = run(place, "--config=root/config.yaml")
    assert result.returncode == 0, result.stdout + result.stderr
    assert (place / "root" / "config.yaml").read_text() == before
    return result


def test_the_second_run_from_the_file_of_the_first_is_cached_from_end_to_end(again, place):
    assert ran(place) == set()
    assert summary(place)["blessed"] is True


def test_libraries_are_silent_on_the_terminal(again):
    assert again.stderr == ""
    assert "WARNING" not in again.stdout
    assert "INFO" not in again.stdout


def test_a_run_ends_with_a_page_about_it_and_files_for_tensorboard(place):
    page = Path(summary(place)["report"])
    text = page.read_text()
    assert "Blessed and pushed" in text
    assert summary(place)["pushed_model"] in text
    assert {
        "projector_config.pbtxt",
        "metadata.tsv",
        "images.jpg",
        "features.tsv",
        "embeddings.tsv",
    } <= {file.name for file in (page.parent / "tensorboard").iterdir()}


def test_the_pushed_model_predicts_image_files(ask):
    lines = ask(predict, "root", "images/eval/0.png", "images/eval/1.png").splitlines()
    assert [line.split()[1] for line in lines] == ["bright", "dark"]


def test_the_features_stored_are_those_of_the_encoder_on_images_normalized_as_in_training(
    place, ask
):
    from trainer_module.export import load_encoder
    from trainer_module.features import encode

    flags = ["--output", "features.npz", "--neighbours", "2"]
    told = ask(embed, "root", "images/eval.csv", *flags)
    stored = np.load(place / "features.npz")
    assert list(stored["targets"]) == ["bright", "dark"] * 8
    images, trained = (
        _pixels(place, paths) for paths in (stored["paths"], _training_images(place))
    )
    mean, std = trained.mean((0, 1, 2)) / 255, trained.std((0, 1, 2)) / 255
    expected = encode(load_encoder(summary(place)["pushed_model"]), images, mean, std)
    np.testing.assert_allclose(stored["features"], expected, atol=1e-4)
    unit = stored["features"] / np.linalg.norm(stored["features"], axis=1, keepdims=True)
    nearest = np.argmax(unit @ unit.T - 2 * np.eye(len(unit)), axis=1)
    agreeing = 100 * np.mean(stored["targets"][nearest] == stored["targets"])
    assert f"The nearest image has the same target {agreeing:.1f} % of the time" in told


def _pixels(place, paths):
    return np.stack([np.asarray(Image.open(place / path)) for path in paths])


def _training_images(place):
    return [
        f"images/{row.split(',')[0]}"
        for row in (place / "images" / "train.csv").read_text().splitlines()
    ]


def test_lineage_leads_from_the_model_back_to_the_lists(ask):
    told = ask(lineage, "--pipeline_root", "root", "latest")
    # where lines end depends on the length of the folder's name
    unwrapped = " ".join(told.replace("|", " ").split())
    for told in (
        "Finetuner, execution",
        "Pretrainer, execution",
        "images/train.csv (rows:48,sha256:",
        "Pusher, execution",
    ):
        assert told in unwrapped


@pytest.fixture(scope="module")
def edited(place):
    """A run after an edit of fine-tuning's code, with a report that cannot be made."""
    template = place / "components" / "report" / "page.html"
    whole = template.read_text()
    template.write_text("{{ no.such.thing }}")
    file = place / "trainer_module" / "finetune.py"
    file.write_text(file.read_text().replace("WARMUP_SHARE = 0.05", "WARMUP_SHARE = 0.06"))
    result = run(place, *FLAGS)
    template.write_text(whole)
    assert result.returncode == 0, result.stdout + result.stderr
    return result


def test_edited_finetuning_code_runs_again_from_the_finetuner_only(edited, place):
    # The same features and labels give the same model answers, but it is a new model: it is judged
    # and pushed anew.
    assert ran(place) == {"Finetuner", "Evaluator", "ModelCheck", "Pusher", "RunReport"}


def test_a_report_that_cannot_be_made_is_told_and_costs_nothing_else(edited, place, ask):
    assert "The report could not be made" in edited.stdout
    assert summary(place)["blessed"] is True
    assert summary(place)["report"] is None
    page = ask(report, "--pipeline_root", "root").strip()
    assert (place / page).stat().st_size > 1e6


def test_an_edited_image_runs_again_from_the_example_gen(place):
    Image.new("RGB", (16, 16), (200, 210, 220)).save(place / "images" / "train" / "0.png")
    assert run(place, *FLAGS).returncode == 0
    assert {"FileListExampleGen", "Transform", "Pretrainer", "Finetuner", "RunReport"} <= ran(place)


def test_another_road_unlabelled_pretraining_ids_for_labels_a_trained_encoder_and_oblong_images(
    place,
):
    """And an image that is broken, and skipped."""
    for split in ("train", "eval"):
        text = (
            (place / "images" / f"{split}.csv")
            .read_text()
            .replace("bright", "1")
            .replace("dark", "0")
        )
        (place / "images" / f"{split}_ids.csv").write_text(text)
    Image.new("RGB", (20, 12), (9, 8, 7)).save(place / "images" / "train" / "3.png")
    (place / "images" / "train" / "5.png").write_bytes(b"broken")
    (place / "images" / "more.csv").write_text(
        "".join(f"train/{index}.png\n" for index in range(0, 48, 2))
    )
    flags = [
        "--train_file_path=images/train_ids.csv",
        "--val_file_path=images/eval_ids.csv",
        "--pretrain_file_path=images/more.csv",
    ]
    flags += [
        "--pipeline_root=other",
        "--input_size=16 24",
        "--crop_size=16 20",
        "--pretrain_epochs=1",
        "--freeze=False",
        "--head=mlp",
        "--on_bad_row=skip",
    ]
    result = run(place, *flags, "--num_epochs=10", "--batch_size=8", "--num_classes=3", *SMALLER)
    # two classes of brightness, one epoch
    verdict = {True: 0, False: 3}[summary(place, "other")["blessed"]]
    assert result.returncode == verdict, result.stdout + result.stderr
    assert summary(place, "other")["metrics"]["accuracy"] >= 0.5
    proof = json.loads(
        next(
            (place / "other").glob("artifacts/Finetuner/model_run/*/linear_evaluation.json")
        ).read_text()
    )["freeze"]
    assert proof["frozen"] is False
    assert proof["encoder_sha256_before"] != proof["encoder_sha256_after"]
    (skipped,) = [
        one for one in summary(place, "other")["findings"] if one["kind"] == "skipped rows"
    ]
    assert skipped["count"] == 1


@pytest.fixture(scope="module")
def scenes(place):
    """Images of two sizes, a light region on dark ground, with label maps whose outermost rows are
    ignored; flags of a segmentation.
    """
    rng = np.random.default_rng(0)
    for split, count in (("train", 24), ("eval", 12)):
        rows = []
        for index in range(count):
            size = ((24, 36), (30, 22))[index % 2]
            label_map = np.zeros(size, np.uint8)
            label_map[6:18, 4 + index % 5 : 16] = 1
            pixels = rng.integers(0, 60, (*size, 3)) + 150 * label_map[..., None]
            label_map[[0, -1]] = 255
            folder = place / "scenes" / split
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{index}.png")
            Image.fromarray(label_map).save(folder / f"{index}_map.png")
            rows.append(f"{split}/{index}.png,{split}/{index}_map.png")
        (place / "scenes" / f"{split}.csv").write_text("\n".join(rows))
    flags = [*SEGMENT, "--val_file_path=scenes/eval.csv", "--num_classes=2"]
    return [
        *flags,
        "--pipeline_root=segmented",
        "--input_size=18 26",
        "--pretrain_epochs=1",
        "--set",
        "pretraining.batch_size=8",
        *SMALL,
    ]


def test_label_maps_become_a_blessed_model_that_answers_at_the_size_of_each_image(
    place, scenes, ask
):
    result = run(
        place,
        *scenes,
        "--num_epochs=12",
        "--batch_size=4",
        "--set",
        "finetuning.learning_rate=0.01",
    )
    assert result.returncode == 0, result.stdout + result.stderr
    told = summary(place, "segmented")
    metrics = told["metrics"]
    assert set(metrics) == set(told["intervals"]) == {"mean_iou", "untrained_mean_iou"}
    (gain,) = told["gains"]  # of the numbers that are told
    assert gain["difference"] == pytest.approx(
        metrics["mean_iou"] - metrics["untrained_mean_iou"], abs=1e-4
    )
    by_class = summary(place, "segmented")["metrics_by_class"]
    assert list(by_class) == ["0", "1"]
    assert np.mean(list(by_class.values())) == pytest.approx(metrics["mean_iou"])
    assert metrics["mean_iou"] > 0.6
    page = Path(summary(place, "segmented")["report"]).read_text()
    finetuning = page.partition('<section id="fine-tuning">')[2].partition("</section>")[0]
    assert re.findall(r"<h3>(.*?)</h3>", finetuning) == ["Loss", "Mean IoU"]
    assert "untrained" in finetuning
    pictures = ["scenes/eval/0.png", "scenes/eval/1.png"]
    ask(predict, "segmented", *pictures, "--output_dir", "answers")
    sizes = {file.name: Image.open(file).size for file in (place / "answers").iterdir()}
    assert sizes == {
        f"{index}_{kind}.png": ((36, 24), (22, 30))[index]
        for index in range(2)
        for kind in ("labelmap", "overlay")
    }
    predicted, truth = (
        np.asarray(Image.open(place / path))
        for path in ("answers/0_labelmap.png", "scenes/eval/0_map.png")
    )
    assert np.mean(predicted[truth != 255] == truth[truth != 255]) > 0.8


def test_a_killed_pretraining_is_continued_by_resume(place):
    (place / "images" / "plain.csv").write_text(
        "".join(f"eval/{index}.png\n" for index in range(16))
    )
    flags = [*PRETRAIN, "--pipeline_root=killed", "--input_size=16 16", "--batch_size=8", *SMALLER]
    process = subprocess.Popen(
        [sys.executable, "local_runner.py", *flags, "--num_epochs=400"],
        cwd=place,
        env=ENVIRONMENT,
        stdout=subprocess.DEVNULL,
    )
    _wait_for_checkpoint(place / "killed", process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    result = run(place, "--resume", "--pipeline_root=killed")
    assert result.returncode == 0, result.stdout + result.stderr
    told = summary(place, "killed")
    assert told["run_id"] == json.loads((place / "killed" / "run.json").read_text())["run_id"]
    assert told["blessed"] is None
    assert (Path(told["pushed_model"]) / "assets.extra" / "encoder.keras").is_file()
    history = json.loads(
        next((place / "killed").glob("artifacts/Pretrainer/model_run/*/history.json")).read_text()
    )
    assert len(history["history"]["loss"]) == 400


def _wait_for_checkpoint(root, process):
    until = time.monotonic() + 300
    while not list(root.glob("artifacts/Pretrainer/checkpoints/*/checkpoint.npz")):
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < until, "no checkpoint within five minutes"
        time.sleep(0.2)


def test_a_second_run_in_the_same_root_is_refused_while_one_goes_on(place, monkeypatch, capsys):
    monkeypatch.chdir(place)
    monkeypatch.syspath_prepend(Path(__file__).resolve().parent)
    (place / "root").mkdir(exist_ok=True)
    with open(place / "root" / ".lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert local_runner.main(FLAGS) == 2
    assert "Another run is going on" in capsys.readouterr().err
