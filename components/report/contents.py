"""What a report tells about a run, section by section, as plain values that page.html shows.

A section without its artifacts is None.

N sampled images of H x W pixels.
"""

import dataclasses
import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from components import verdict as gates
from components.environment import git_commit, hardware, versions
from components.epoch_evaluation.show import COLUMNS
from components.report import data, graph, pictures, plots
from components.report.answers import MOST_DRAWN, answers, captions, kinds, label
from components.report.event_file import scalars
from components.report.maps import LEAST_POINTS, flat_map
from components.report.run import (
    EVALUATION_FILE,
    EVALUATOR,
    FINETUNER,
    HISTORY_FILE,
    MODEL_CHECK,
    PRETRAINER,
    PUSHER,
    Run,
    runs_with_other_models,
)
from components.report.sample import Sample, some_examples, splits, take_sample
from components.store import properties
from trainer_module.augment import augment
from trainer_module.neighbours import nearest
from trainer_module.settings import Augmentation
from trainer_module.tasks.registry import task_from_json
from trainer_module.tasks.task import Task

# Images on the maps; the page has to be made in less than a minute and to stay small.
MOST_POINTS, LEAST_POINTS_OF_LARGE_IMAGES, MOST_PIXELS = 1_500, 300, 1_500 * 64 * 64
VIEWED_IMAGES = 8
QUERIES, NEIGHBOURS = 8, 6
FACTS = (
    "git_commit",
    "hardware",
    "command",
)  # of what a run notes about itself (pipeline/summary.py)
HIDDEN = (
    "tfx_version",
    "name",
    "state",
    "producer_component",
    "pipeline_name",
    "component_id",
    "is_external",
)
SECTIONS = (
    "image_size",
    "view_size",
    "encoder",
    "augmentation",
    "pretraining",
    "finetuning",
)  # of settings that a person chooses
# What stands before the task's metric in the name of a number (trainer_module/finetune_run_fn.py),
# and what the number is, for a person.
SCORES = {
    "": ("", "of the served model on held-out images"),
    "linear_": (", linear", "of a linear head on the frozen, pretrained features"),
    "untrained_linear_": (
        ", untrained",
        "of the same linear head on features of the encoder before pretraining",
    ),
    "pretrained_": (", pretrained", "of this head trained on the pretrained encoder"),
    "untrained_": (
        ", untrained",
        "of the same head and training on the encoder before pretraining",
    ),
}
KNN = "knn_accuracy"
FINETUNING_LOGS = {
    "pretrained": "finetuning",
    "untrained": "finetuning_untrained",
}  # see trainer_module/finetune_run_fn.py
WATCHED = {
    "knn_accuracy": "kNN",
    "probe_accuracy": "linear probe",
}  # while pretraining, see trainer_module/monitor.py


@dataclass(frozen=True)
class Contents:
    """The sections of a report; see the functions below for what each holds."""

    title: str
    run_id: str
    started: str
    task: Task | None
    verdict: dict
    scores: list[dict]
    learning: list[dict]
    finetuning: list[dict]
    models: list["Model"]
    answers: dict | None
    views: dict | None
    maps: dict | None
    neighbours: list[dict]
    splits: list[data.Split]
    class_balance: dict | None
    anomalies: list[str]
    drawing: graph.Drawing
    details: list[dict]
    settings: list[tuple[str, Any]]
    environment: list[tuple[str, str]]
    sample: Sample | None = field(repr=False)

    @property
    def large_images(self) -> bool:
        """Whether images are too large to show them pixel by pixel."""
        return (
            self.sample is not None and max(self.sample.images.shape[1:3]) > pictures.MOST_TILE_SIDE
        )

    @property
    def metric(self) -> str:
        """The name of the task's metric."""
        return metric_title(self.task)


def collect(run: Run) -> Contents:
    """Reads and computes everything that the report of a run tells."""
    settings = run.settings(FINETUNER) or run.settings(PRETRAINER)
    task = task_from_json(settings["task"]) if settings else None
    sample = _sample(run, task) if run.encoder_uri else None
    told = captions(task, sample) if sample else []
    return Contents(
        title=run.name,
        run_id=run.run_id,
        started=f"{run.started:%Y-%m-%d %H:%M}" if run.started else "",
        task=task,
        verdict=verdict(run),
        scores=scores(run, task) if task else [],
        learning=learning(run) + accuracy_by_epoch(run),
        finetuning=finetuning(run, task) if task else [],
        models=models(run, task) if task else [],
        answers=answers(run, task, sample) if sample else None,
        views=views(run) if run.uri(PRETRAINER, "model") else None,
        maps=maps(task, sample, told) if sample and len(sample.names) >= LEAST_POINTS else None,
        neighbours=neighbours(task, sample, told)
        if sample and len(sample.names) > NEIGHBOURS
        else [],
        splits=data.describe_splits(run),
        class_balance=class_balance(run, task),
        anomalies=data.anomalies(run),
        drawing=graph.draw(run),
        details=[details(run, name) for name in run.nodes],
        settings=flat({name: settings[name] for name in SECTIONS if name in settings}),
        environment=environment(run),
        sample=sample,
    )


def _sample(run: Run, task: Task) -> Sample:
    """Returns images that training has not seen where there are any.

    Fewer large ones, and few answers that are pictures themselves.
    """
    pixels = np.prod(run.training_settings["image_size"])
    most = int(np.clip(MOST_PIXELS // pixels, LEAST_POINTS_OF_LARGE_IMAGES, MOST_POINTS))
    return take_sample(
        run,
        "eval" if "eval" in splits(run) else splits(run)[-1],
        most,
        most if task.on_features else MOST_DRAWN,
    )


def verdict(run: Run) -> dict:
    """Returns whether the model was accepted, a word for it, and every reason against it."""
    reasons = []
    if run.flag(EVALUATOR, "blessing", "blessed") == 0 and run.uri(EVALUATOR, "evaluation"):
        reasons += gates.evaluator_refusals(run.uri(EVALUATOR, "evaluation"))
    if run.flag(MODEL_CHECK, "blessing", "blessed") == 0 and run.uri(MODEL_CHECK, "blessing"):
        reasons.append(gates.model_check_refusal(run.uri(MODEL_CHECK, "blessing")))
    broken = [node.node for node in run.nodes.values() if node.state in ("failed", "canceled")]
    if broken:
        reasons += [f"{name} did not finish" for name in broken]
    refused = run.blessed is False
    state = (
        "refused"
        if refused
        else "unfinished"
        if broken or PUSHER not in run.nodes
        else "blessed"
        if run.pushed
        else "done"
    )
    return {"state": state, "reasons": reasons, "pushed": run.pushed}


def scores(run: Run, task: Task) -> list[dict]:
    """Returns the run's numbers as texts, with what they mean."""
    found = measured(run)
    title = metric_title(task)
    rows = [
        {
            "name": title + suffix,
            "value": task.shown(found[prefix + task.metric]),
            "meaning": meaning,
        }
        for prefix, (suffix, meaning) in SCORES.items()
        if prefix + task.metric in found
    ]
    if KNN in found:
        meaning = "of the majority among the 10 nearest training images, by pretrained features"
        rows.append(
            {
                "name": "Accuracy of neighbours (kNN)",
                "value": f"{100 * found[KNN]:.2f} %",
                "meaning": meaning,
            }
        )
    return rows


def metric_title(task: Task) -> str:
    """Returns the metric's name as a heading."""
    return task.metric.replace("_", " ").replace("iou", "IoU").capitalize().replace("iou", "IoU")


def measured(run: Run) -> dict[str, float]:
    """Returns every metric of a run by name: as it noted them when it ended, or while it goes on
    from its artifacts.
    """
    noted = {
        name.rpartition(".")[2]: value
        for name, value in run.facts.items()
        if name.startswith("metric.")
    }
    if noted:
        return noted
    evaluation = run.uri(EVALUATOR, "evaluation")
    found = gates.evaluated_metrics(evaluation) if evaluation else {}
    for node in (PRETRAINER, FINETUNER):
        found |= gates.measured(run.log(node, EVALUATION_FILE).get("metrics", {}))
    return found


def learning(run: Run) -> list[dict]:
    """Returns the curves of pretraining: what each shows, and the figure."""
    history = run.log(PRETRAINER, HISTORY_FILE).get("history", {})
    rates = scalars(run.uri(PRETRAINER, "model_run")).get("learning_rate")
    shown = []
    if "loss" in history:
        shown.append(
            (
                "Loss",
                "What pretraining makes small, mean of the epoch; it should fall.",
                plots.curves({"loss": history["loss"]}, "loss"),
            )
        )
    if rates:
        shown.append(
            (
                "Learning rate",
                "At the end of each epoch.",
                plots.curves({"learning rate": rates}, "learning rate"),
            )
        )
    accuracies = {name: history[key] for key, name in WATCHED.items() if key in history}
    if accuracies:
        meaning = (
            "Held-out accuracy of the nearest neighbours (kNN) and of a quick linear probe "
            "on the features; it should rise."
        )
        shown.append(
            (
                "What the features are good for",
                meaning,
                plots.curves(accuracies, "accuracy", percent=True),
            )
        )
    embedding = {name: history[name] for name in ("alignment", "uniformity") if name in history}
    if embedding:
        meaning = (
            "Alignment: distance between two views of one image. Uniformity: how evenly "
            "images spread. Both should fall."
        )
        shown.append(("Where the embeddings go", meaning, plots.curves(embedding, "value")))
    return [
        {"title": title, "meaning": meaning, "figure": figure} for title, meaning, figure in shown
    ]


def accuracy_by_epoch(run: Run) -> list[dict]:
    """Returns the curves of the encoders that were kept along the way, each frozen, as `learning`
    does; none where none were kept.
    """
    rows, series = run.rows_by_epoch, {}
    if not rows:
        return []
    for column, (name, _) in COLUMNS.items():
        by_epoch = {row["epoch"]: row[column] for row in rows}
        series[name] = [by_epoch.get(epoch) for epoch in range(1, max(by_epoch) + 1)]
    untrained = ", ".join(
        f"{name}: {100 * rows[0][column]:.1f} %" for column, (name, _) in COLUMNS.items()
    )
    meaning = (
        f"Held-out accuracy on the frozen features of the encoder as it was after so many "
        f"epochs. Before pretraining, {untrained}."
    )
    return [
        {
            "title": "Accuracy against epochs",
            "meaning": meaning,
            "figure": plots.curves(series, "accuracy", percent=True),
        }
    ]


def finetuning(run: Run, task: Task) -> list[dict]:
    """Returns the curves of fine-tuning, as `learning` does.

    None where the head was solved for, without epochs.
    """
    logs = Path(run.uri(FINETUNER, "model_run") or "/nonexistent")
    logged = {name: scalars(logs / folder) for name, folder in FINETUNING_LOGS.items()}
    falls = "What fine-tuning makes small, mean of the epoch; it should fall."
    aims = (
        f"It should {'rise' if task.higher_is_better else 'fall'}. What counts is the number of "
        f"held-out images, above."
    )
    is_share = task.shown(1.0).endswith("%")
    shown = []
    for name, title, meaning, percent in [
        ("loss", "Loss", falls, False),
        (task.metric, metric_title(task), aims, is_share),
    ]:
        series = {encoder: values[name] for encoder, values in logged.items() if name in values}
        if series:
            shown.append(
                {
                    "title": title,
                    "meaning": meaning,
                    "figure": plots.curves(series, title, percent=percent),
                }
            )
    return shown


@dataclass(frozen=True)
class Model:
    """A row of the table of models; a number is None where it was not measured."""

    name: str
    run_id: str = ""
    is_this: bool = False
    epochs: int | None = None
    probe: float | None = (
        None  # the task's metric of a linear head, or of the pretrained encoder with its head
    )
    knn: float | None = None
    served: float | None = None
    verdict: str = ""


def models(run: Run, task: Task) -> list[Model]:
    """Returns this run's model, its encoder before pretraining, and the earlier models of the
    store.
    """
    this = measured(run)
    if not this:
        return []
    untrained = this.get(f"untrained_linear_{task.metric}", this.get(f"untrained_{task.metric}"))
    before = (
        [] if untrained is None else [Model("the same encoder before pretraining", probe=untrained)]
    )
    earlier = [_model("earlier run", other, task) for other in runs_with_other_models(run)]
    return [dataclasses.replace(_model("this run", run, task), is_this=True), *before, *earlier]


def _model(name: str, run: Run, task: Task) -> Model:
    found = measured(run)
    words = {True: "blessed", False: "refused", None: "not judged"}
    epochs = run.settings(PRETRAINER).get("pretraining", {}).get("epochs")
    probe = found.get(f"linear_{task.metric}", found.get(f"pretrained_{task.metric}"))
    return Model(
        name,
        run.run_id,
        False,
        epochs,
        probe,
        found.get(KNN),
        found.get(task.metric),
        words[run.blessed],
    )


def views(run: Run) -> dict:
    """Returns some pretraining images, each with two random views as training draws them."""
    import keras

    settings = run.settings(PRETRAINER)
    split = "pretrain" if "pretrain" in splits(run) else "train"
    images = some_examples(run, split, VIEWED_IMAGES).images
    augmentation = Augmentation(
        **{
            name: tuple(value) if isinstance(value, list) else value
            for name, value in settings["augmentation"].items()
        }
    )
    chance = keras.random.SeedGenerator(settings["pretraining"]["seed"])
    both = [
        np.asarray(augment(images, augmentation, tuple(settings["view_size"]), chance))
        for _ in range(2)
    ]
    drawn = [np.round(255 * views).astype(np.uint8) for views in both]
    triples = [
        [pictures.picture(picture) for picture in triple]
        for triple in zip(images, *drawn, strict=True)
    ]
    return {"triples": triples, "pixels": {"images": images, "first": drawn[0], "second": drawn[1]}}


def maps(task: Task, sample: Sample, told: list[list[str]]) -> dict:
    """Returns the maps of features and embeddings, and what is shown under the pointer."""
    vectors = [("Features h", "what the encoder gives, and what is used later", sample.features)]
    if sample.embeddings is not None:
        vectors.append(
            (
                "Embeddings g(h)",
                "what the projection head makes of them, for the loss alone",
                sample.embeddings,
            )
        )
    colours = kinds(task, sample)
    with ThreadPoolExecutor() as pool:
        points = list(pool.map(flat_map, [values for _, _, values in vectors]))
    figures = [
        {"title": title, "meaning": meaning, "figure": plots.flat_map(places, colours)}
        for (title, meaning, _), places in zip(vectors, points, strict=True)
    ]
    coloured_by = "" if colours is None else "class" if isinstance(colours, list) else task.target
    labels = [] if colours is None else [label(kind) for kind in colours]
    return {
        "figures": figures,
        "sheet": pictures.sheet(sample.images),
        "captions": told,
        "coloured_by": coloured_by,
        "labels": labels,
    }


def neighbours(task: Task, sample: Sample, told: list[list[str]]) -> list[dict]:
    """Returns some images, each with its nearest neighbours in feature space among the sampled
    ones.
    """
    found = kinds(task, sample)
    classes = found if isinstance(found, list) else None
    queries = spread(classes or [""] * len(sample.names), QUERIES)
    near = nearest(sample.features, NEIGHBOURS)[0][queries]
    rows = []
    for query, others in zip(queries, near, strict=True):
        shown = [
            {
                "uri": pictures.picture(sample.images[index]),
                "caption": told[index],
                "label": "" if found is None else label(found[index]),
                "look": ""
                if classes is None
                else "same"
                if classes[index] == classes[query]
                else "other",
            }
            for index in (query, *others)
        ]
        rows.append({"query": shown[0], "near": shown[1:], "classes": classes is not None})
    return rows


def spread(names: list[str], count: int) -> np.ndarray:
    """Returns `count` indices that take turns through the names, the same ones at every call."""
    seen: Counter = Counter()
    rounds = []
    for index, name in enumerate(names):
        rounds.append((seen[name], index))
        seen[name] += 1
    return np.array([index for _, index in sorted(rounds)[:count]])


def class_balance(run: Run, task: Task | None) -> dict | None:
    """Returns bars of images a class and split, where targets are class names."""
    counts = data.class_counts(run, task.target) if task and task.one_class_an_image else {}
    return plots.bars(counts, "class") if counts else None


def details(run: Run, name: str) -> dict:
    """Returns what a click on a node shows: state, seconds, parameters, artifacts in and out."""
    node = run.nodes[name]
    parameters = {key: value for key, value in run.parameters[name].items() if key not in HIDDEN}
    return {
        "name": name,
        "state": node.state,
        "seconds": node.seconds,
        "execution": node.execution_id,
        "parameters": [(key, _pretty(value)) for key, value in sorted(parameters.items())],
        "inputs": _artifacts(run.inputs[name]),
        "outputs": _artifacts(node.outputs),
    }


def _artifacts(by_key: dict[str, list]) -> list[dict]:
    return [
        {
            "key": key,
            "id": artifact.id,
            "type": artifact.type,
            "uri": artifact.uri,
            "properties": [
                (name, value) for name, value in properties(artifact).items() if name not in HIDDEN
            ],
        }
        for key, items in sorted(by_key.items())
        for artifact in items
    ]


def _pretty(value: Any) -> str:
    """Returns a parameter as text, JSON with one setting a line."""
    try:
        parsed = json.loads(value) if isinstance(value, str) else value
    except ValueError:
        return str(value)
    return (
        json.dumps(parsed, indent=1, ensure_ascii=False)
        if isinstance(parsed, dict | list)
        else str(value)
    )


def flat(settings: dict, prefix: str = "") -> list[tuple[str, Any]]:
    """Returns nested settings as (path, value)."""
    rows = []
    for name, value in settings.items():
        rows += (
            flat(value, f"{prefix}{name}.") if isinstance(value, dict) else [(prefix + name, value)]
        )
    return rows


def environment(run: Run) -> list[tuple[str, str]]:
    """Returns what the run ran on, as it noted when it began.

    Of a run that noted nothing, what this process runs on.
    """
    noted = {
        name.removeprefix("version."): str(value)
        for name, value in run.facts.items()
        if name in FACTS or name.startswith("version.")
    }
    now = {"git_commit": git_commit() or "unknown", "hardware": hardware()} | versions()
    return [(name.replace("_", " "), value) for name, value in (noted or now).items()]
