"""The head of the page: the verdict and the run's numbers; and the table that holds them against
the untrained encoder and earlier models.
"""

import dataclasses
from dataclasses import dataclass

from components.metadata.names import EVALUATOR, PUSHER
from components.metadata.snapshot import INTERRUPTED
from components.metadata.stored_run import StoredRun, runs_with_other_models
from trainer_module import metric_names
from trainer_module.gains import advice, from_dict, words
from trainer_module.intervals import SHARES, ends, told
from trainer_module.metric_names import EPOCHS, KNN, NEIGHBOURS
from trainer_module.origin import is_brought
from trainer_module.tasks.task import Task
from trainer_module.thumbnails import SIDE

# What stands before the task's metric in the name of a number -> what the number is, for a person.
SCORES = {
    "": ("", "of the final model on held-out images"),
    metric_names.LINEAR: (", linear", "of a linear head on the frozen, pretrained features"),
    metric_names.UNTRAINED_LINEAR: (
        ", untrained",
        "of the same linear head on features of the same network with random weights",
    ),
    metric_names.PIXELS_LINEAR: (
        ", of pixels",
        f"of the same linear head on {SIDE} x {SIDE} pixels, without a network",
    ),
    metric_names.UNTRAINED: (
        ", untrained",
        "of the same head and training on the same network with random weights",
    ),
    metric_names.FROM_SCRATCH: (
        ", from scratch",
        "of the whole network trained from the labels alone",
    ),
}
KNN_MEANING = (
    f"of the majority among the {NEIGHBOURS} nearest training images, by pretrained features"
)
WORDS = {True: "blessed", False: "refused", None: "not judged"}
MOST_EARLIER_MODELS = 20
BROKEN = ("failed", "canceled", INTERRUPTED)  # states of a node


def verdict(run: StoredRun) -> dict:
    """Returns whether the model was accepted, a word for it, and every reason against it."""
    broken = [name for name, node in run.nodes.items() if node.state in BROKEN]
    if run.blessed is False:
        state = "refused"
    elif broken or PUSHER not in run.nodes:
        state = "unfinished"
    else:
        state = "blessed" if run.pushed else "done"
    reasons = [*run.refusals, *(f"{name} did not finish" for name in broken)]
    return {"state": state, "reasons": reasons, "pushed": run.pushed}


def scores(run: StoredRun, task: Task) -> list[dict]:
    """Returns the run's numbers as texts, with what they mean."""
    found, title, intervals = run.metrics, metric_title(task), _intervals(run)
    rows = [
        {
            "name": title + suffix,
            "value": task.shown(found[prefix + task.metric]),
            "interval": intervals.get(prefix + task.metric, ""),
            "meaning": meaning,
        }
        for prefix, (suffix, meaning) in SCORES.items()
        if prefix + task.metric in found
    ]
    others = [name for name in run.metrics_by_node.get(EVALUATOR, {}) if name != task.metric]
    rows += [
        {
            "name": heading(name),
            "value": task.told(name, found[name]),
            "interval": intervals.get(name, ""),
            "meaning": SCORES[""][1],
        }
        for name in others
    ]
    if KNN in found:
        value = f"{100 * found[KNN]:.2f} %"
        rows.append(
            {
                "name": "Accuracy of neighbours (kNN)",
                "value": value,
                "interval": intervals.get(KNN, ""),
                "meaning": KNN_MEANING,
            }
        )
    return rows


def gains(run: StoredRun) -> dict:
    """Returns what pretraining brought, or an encoder that it did not make alone: a sentence for
    each comparison, and what to try where it brought nothing.
    """
    found = [from_dict(values) for values in run.gains]
    behind = advice(found, run.metrics, run.training_settings)
    return {
        "brought": is_brought(run.encoder_of),
        "told": [words(gain) for gain in found],
        "advice": behind.splitlines(),
    }


def _intervals(run: StoredRun) -> dict[str, str]:
    """Returns the 95 % intervals of the run's numbers as texts, by their names."""
    images = run.held_out_images.get("", 0)
    return {
        name: told(interval, images, percent=name.endswith(SHARES))
        for name, interval in run.intervals.items()
    }


def _ends(run: StoredRun) -> dict[str, str]:
    """Returns the ends of these intervals alone, for a table of many numbers."""
    return {
        name: ends(interval, percent=name.endswith(SHARES))
        for name, interval in run.intervals.items()
    }


def metric_title(task: Task) -> str:
    """Returns the metric's name as a heading."""
    return heading(task.metric)


def heading(name: str) -> str:
    """Returns a metric's name as a heading."""
    return name.replace("_", " ").capitalize().replace("iou", "IoU")


@dataclass(frozen=True)
class ModelRow:
    """A row of the table of models; a number is None where it was not measured."""

    name: str
    run_id: str = ""
    is_this: bool = False
    epochs: int | None = None
    probe: float | None = None  # the task's metric of a linear head
    knn: float | None = None
    served: float | None = None
    verdict: str = ""
    intervals: dict[str, str] = dataclasses.field(default_factory=dict)  # by the names above


def models(run: StoredRun, task: Task) -> list[ModelRow]:
    """Returns this run's model, its network with random weights, and the earlier models of the
    store.
    """
    this = run.metrics
    if {*this} <= {EPOCHS}:
        return []
    names = {
        "probe": metric_names.UNTRAINED_LINEAR + task.metric,
        "served": metric_names.UNTRAINED + task.metric,  # of the same head and training
    }
    told_ends = _ends(run)
    before = [
        ModelRow(
            "the same network with random weights",
            **{column: this[name]},
            intervals={column: told_ends.get(name, "")},
        )
        for column, name in names.items()
        if name in this
    ]
    others = runs_with_other_models(run)[:MOST_EARLIER_MODELS]
    earlier = [_model("earlier run", other, task) for other in others]
    return [dataclasses.replace(_model("this run", run, task), is_this=True), *before, *earlier]


def _model(name: str, run: StoredRun, task: Task) -> ModelRow:
    found, told_ends = run.metrics, _ends(run)
    linear = metric_names.LINEAR + task.metric
    names = {"probe": linear, "knn": KNN, "served": task.metric}
    return ModelRow(
        name,
        run.id,
        epochs=run.pretraining_epochs,
        probe=found.get(linear),
        knn=found.get(KNN),
        served=found.get(task.metric),
        verdict=WORDS[run.blessed],
        intervals={column: told_ends.get(name, "") for column, name in names.items()},
    )
