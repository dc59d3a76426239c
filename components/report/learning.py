"""How the training went: curves over epochs, each with what it shows; none where nothing was
logged.
"""

from components.accuracy_by_epoch.table import COLUMNS, shown
from components.metadata.names import FINETUNER, PRETRAINER
from components.metadata.stored_run import StoredRun
from components.report import plots
from components.report.event_file import scalars
from components.report.scores import metric_title
from trainer_module import metric_names
from trainer_module.log_files import HISTORY_FILE, LOGS, SCRATCH_LOGS, UNTRAINED_LOGS
from trainer_module.tasks.task import Task

# Names in the history, as trainer_module/monitor.py gives them.
WATCHED = {
    metric_names.KNN: "kNN",
    metric_names.UNTRAINED_KNN: "kNN, untrained",
    metric_names.PROBE: "linear probe",
}
EMBEDDING = ("alignment", "uniformity")
FINETUNED = {"pretrained": LOGS, "untrained": UNTRAINED_LOGS, "from scratch": SCRATCH_LOGS}


def learning(run: StoredRun) -> list[dict]:
    """Returns the curves of pretraining: what each shows, and the figure."""
    history = run.json_file(PRETRAINER, "model_run", HISTORY_FILE).get("history", {})
    rates = scalars(run.folder(PRETRAINER, "model_run")).get("learning_rate")
    shown = [
        (
            "Loss",
            "What pretraining makes small, mean of the epoch; it should fall.",
            {"loss": history["loss"]} if "loss" in history else {},
            "loss",
        ),
        (
            "Learning rate",
            "At the end of each epoch.",
            {"learning rate": rates} if rates else {},
            "learning rate",
        ),
        (
            "What the features are good for",
            "Held-out accuracy of the nearest neighbours (kNN) and of a quick linear probe on the "
            "features; it should rise.",
            {name: history[key] for key, name in WATCHED.items() if key in history},
            "accuracy",
        ),
        (
            "Where the embeddings go",
            "Alignment: distance between two views of one image. Uniformity: how evenly images "
            "spread. Both should fall.",
            {name: history[name] for name in EMBEDDING if name in history},
            "value",
        ),
    ]
    return [
        _curve(title, meaning, series, unit, percent=unit == "accuracy")
        for title, meaning, series, unit in shown
        if series
    ]


def accuracy_by_epoch(run: StoredRun) -> list[dict]:
    """Returns the curves of the encoders that were kept along the way, each frozen; none where none
    were kept.
    """
    rows, series, ends = run.accuracy_by_epoch, {}, {}
    if not rows:
        return []
    for column, name in COLUMNS.items():
        by_epoch = {row["epoch"]: row[column] for row in rows}
        series[name] = [by_epoch.get(epoch) for epoch in range(1, max(by_epoch) + 1)]
        intervals = {row["epoch"]: row.get("intervals", {}).get(column) for row in rows}
        ends[name] = [intervals.get(epoch) for epoch in range(1, max(by_epoch) + 1)]
    untrained = ", ".join(f"{name}: {shown(rows[0], column)}" for column, name in COLUMNS.items())
    meaning = (
        f"Held-out accuracy on the frozen features of the encoder as it was after so many "
        f"epochs, with 95 % intervals. Before pretraining, {untrained}."
    )
    figure = plots.curves(series, "accuracy", percent=True, ends=ends)
    return [{"title": "Accuracy against epochs", "meaning": meaning, "figure": figure}]


def finetuning(run: StoredRun, task: Task) -> list[dict]:
    """Returns the curves of fine-tuning, [] where the head was solved for, without epochs."""
    folder = run.folder(FINETUNER, "model_run")
    logged = {encoder: scalars(folder / name) for encoder, name in FINETUNED.items()}
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
            shown.append(_curve(title, meaning, series, title, percent))
    return shown


def _curve(title: str, meaning: str, series: dict, y_title: str, percent: bool) -> dict:
    figure = plots.curves(series, y_title, percent=percent)
    return {"title": title, "meaning": meaning, "figure": figure}
