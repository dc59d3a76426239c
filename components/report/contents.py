"""What a report tells about a run, section by section, as plain values that page.html shows.

A section without its artifacts is None, or empty where it is a list.

N sampled images of H x W pixels.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np

from components.metadata.names import FINETUNER, PRETRAINER
from components.metadata.stored_run import StoredRun
from components.report import data, drawing, pictures
from components.report.answers import MOST_DRAWN, answers, captions
from components.report.details import details, environment, flat
from components.report.learning import accuracy_by_epoch, finetuning, learning
from components.report.maps import LEAST_POINTS, NEIGHBOURS, maps, neighbours
from components.report.sample import Sample, splits, take_sample
from components.report.scores import ModelRow, gains, metric_title, models, scores, verdict
from components.report.views import views
from trainer_module.findings import Finding
from trainer_module.tasks.registry import task_from_json
from trainer_module.tasks.task import Task

# Images on the maps; the page has to be made in less than a minute and to stay small.
MOST_POINTS, LEAST_POINTS_OF_LARGE_IMAGES, MOST_PIXELS = 1_500, 300, 1_500 * 64 * 64
# Of the settings, those that a person chooses.
SECTIONS = ("image_size", "view_size", "encoder", "augmentation", "pretraining", "finetuning")


@dataclass(frozen=True)
class Contents:
    """The sections of a report; see the functions below for what each holds."""

    title: str
    run_id: str
    started: str
    task: Task | None
    verdict: dict
    scores: list[dict]
    gains: dict
    learning: list[dict]
    finetuning: list[dict]
    models: list[ModelRow]
    answers: dict | None
    views: dict | None
    maps: dict | None
    neighbours: list[dict]
    no_numbers: bool  # features that are no numbers: nothing is near anything
    splits: list[data.SplitRow]
    class_balance: dict | None
    findings: list[Finding]
    anomalies: list[str]
    drawing: drawing.Drawing
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


def collect(run: StoredRun) -> Contents:
    """Reads and computes everything that the report of a run tells."""
    settings = run.settings(FINETUNER) or run.settings(PRETRAINER)
    task = task_from_json(settings["task"]) if settings else None
    sample = _sample(run, task) if run.encoder_uri and splits(run) else None
    told = captions(task, sample) if sample else []
    return Contents(
        title=run.row.pipeline,
        run_id=run.id,
        started=f"{datetime.fromtimestamp(run.started):%Y-%m-%d %H:%M}" if run.nodes else "",
        task=task,
        verdict=verdict(run),
        scores=scores(run, task) if task else [],
        gains=gains(run),
        learning=learning(run) + accuracy_by_epoch(run),
        finetuning=finetuning(run, task) if task else [],
        models=models(run, task) if task else [],
        answers=answers(run, task, sample) if sample else None,
        views=views(run) if run.uri(PRETRAINER, "model") and splits(run) else None,
        **nearness(task, sample, told),
        splits=data.describe_splits(run),
        class_balance=data.class_balance(run, task),
        findings=data.findings(run),
        anomalies=data.anomalies(run),
        drawing=drawing.draw(run),
        details=[details(run, name) for name in run.nodes],
        settings=flat({name: settings[name] for name in SECTIONS if name in settings}),
        environment=environment(run),
        sample=sample,
    )


def nearness(task: Task, sample: Sample | None, told: list[list[str]]) -> dict:
    """Returns what lies near what: `maps`, `neighbours`, and `no_numbers` where features that are
    no numbers forbid both.
    """
    count = len(sample.names) if sample and sample.finite else 0
    return {
        "maps": maps(task, sample, told) if count >= LEAST_POINTS else None,
        "neighbours": neighbours(task, sample, told) if count > NEIGHBOURS else [],
        "no_numbers": sample is not None and not sample.finite,
    }


def _sample(run: StoredRun, task: Task) -> Sample:
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
