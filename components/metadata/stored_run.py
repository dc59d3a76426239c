"""One run as ML Metadata and its artifacts tell it: the value that runner, summary, report and
lineage ask what the run came to.

Of a run that failed or still goes on it tells what there is so far.
"""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from components.accuracy_by_epoch.table import with_intervals
from components.metadata import verdict
from components.metadata.names import (
    ENCODER,
    EPOCH_EVALUATION,
    EPOCHS_FILE,
    EVALUATOR,
    FINETUNER,
    GATES,
    MODEL_CHECK,
    PRETRAINER,
    PUSHED_DESTINATION,
    PUSHER,
    REPORT,
    REPORT_FILE,
    RUN_REPORT,
    TRAINERS,
)
from components.metadata.snapshot import INTERRUPTED, Artifact, Execution, Run, Snapshot
from trainer_module import metric_names
from trainer_module.intervals import Interval, intervals_of, of_share
from trainer_module.log_files import EVALUATION_FILE, HISTORY_FILE
from trainer_module.origin import BROUGHT, PRETRAINING, SAVED, brought_and

GOOD = ("done", "cached")  # states of a node
STOPPED = "stopped"  # as it was asked to; by a kill it is INTERRUPTED
NOWHERE = Path("/nonexistent")


@dataclass(frozen=True)
class StoredRun:
    """One run of a snapshot; files of its artifacts are read when they are asked for."""

    snapshot: Snapshot
    id: str

    @property
    def row(self) -> Run:
        """What the store holds of the run itself; of one that it does not know, nothing."""
        return self.snapshot.runs.get(self.id, Run(self.id))

    @property
    def executions(self) -> list[Execution]:
        """Everything that was executed, in order; a node twice where the run was continued."""
        return [self.snapshot.executions[number] for number in self.row.executions]

    @cached_property
    def nodes(self) -> dict[str, Execution]:
        """The latest execution of each node, by its id."""
        return {execution.node: execution for execution in self.executions}

    @property
    def state(self) -> str:
        """How it ended ('done', 'refused', 'failed', 'stopped'), or 'running' or 'interrupted'.

        Where the runner left no word of it, what its nodes say.
        """
        facts = self.row.facts
        if facts.get("state") == "running":
            return "running" if self.row.goes_on else INTERRUPTED
        bad = [execution.state for execution in self.executions if execution.state not in GOOD]
        return str(facts.get("state") or (bad[0] if bad else "done"))

    @property
    def started(self) -> float:
        """When the first node began, in seconds since 1970; 0 before."""
        return min((execution.started for execution in self.executions), default=0.0)

    @property
    def ended(self) -> float:
        """When the last node ended, in seconds since 1970; 0 before."""
        ends = [execution.started + execution.seconds for execution in self.executions]
        return max(ends, default=0.0)

    def artifact(self, node: str, key: str) -> Artifact | None:
        """Returns the artifact that a node put out under a key, or None."""
        found = self.nodes[node].outputs.get(key, []) if node in self.nodes else []
        return self.snapshot.artifacts[found[0]] if found else None

    def folder(self, node: str, key: str) -> Path:
        """Returns the folder of that artifact; one that does not exist where there is none."""
        artifact = self.artifact(node, key)
        return Path(artifact.uri) if artifact else NOWHERE

    def uri(self, node: str, key: str) -> str:
        """Returns an artifact's folder as text; '' where there is none, or none any more."""
        folder = self.folder(node, key)
        return str(folder) if folder.exists() else ""

    def json_file(self, node: str, key: str, file: str) -> dict:
        """Returns what a JSON file in that folder holds, {} where there is none."""
        path = self.folder(node, key) / file
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}

    def settings(self, node: str) -> dict:
        """Returns a Trainer's settings (pipeline/pipeline.py), or {}."""
        told = self.nodes[node].properties if node in self.nodes else {}
        return json.loads(told.get("custom_config") or "{}")

    @property
    def training_settings(self) -> dict:
        """The settings of the first Trainer that ran, or {}."""
        return self.settings(PRETRAINER) or self.settings(FINETUNER)

    @property
    def fingerprints(self) -> dict[str, str]:
        """The digests of the code that nodes answered by, of those that have one."""
        digests = {name: node.parameters.get("fingerprint") for name, node in self.nodes.items()}
        return {name: digest for name, digest in digests.items() if digest}

    @property
    def encoder_uri(self) -> str:
        """Where the model lies whose features are shown: the pretrained one, or without pretraining
        the final one; '' for none.
        """
        return (
            self.uri(PRETRAINER, "model")
            or self.uri(ENCODER, "result")
            or self.uri(FINETUNER, "model")
        )

    @property
    def blessed(self) -> bool | None:
        """Whether every gate accepted the model; False as soon as one refused it.

        None where one has not been asked: not yet, or never, as of an encoder alone, which can be
        refused but has no metric to be blessed for.
        """
        said = [self._says(gate) for gate in GATES]
        if False in said:
            return False
        return None if None in said else True

    def _says(self, gate: str) -> bool | None:
        artifact = self.artifact(gate, "blessing")
        blessed = artifact.properties.get("blessed") if artifact else None
        return None if blessed is None else bool(blessed)

    @property
    def refusals(self) -> list[str]:
        """Every reason against the model, a sentence each."""
        evaluation, check = self.uri(EVALUATOR, "evaluation"), self.uri(MODEL_CHECK, "blessing")
        reasons = []
        if self._says(EVALUATOR) is False and evaluation:
            reasons += verdict.evaluator_refusals(evaluation)
        if self._says(MODEL_CHECK) is False and check:
            reasons.append(verdict.model_check_refusal(check))
        return reasons

    @property
    def pushed(self) -> str:
        """The folder that the model was pushed to, or ''."""
        artifact = self.artifact(PUSHER, "pushed_model")
        told = artifact.properties if artifact else {}
        return told.get(PUSHED_DESTINATION, "") if told.get("pushed") else ""

    @cached_property
    def metrics_by_node(self) -> dict[str, dict[str, float]]:
        """What was measured, by node: as the run noted it when it ended, or before that from its
        artifacts.
        """
        if self.row.metrics:
            return self.row.metrics
        evaluation = self.uri(EVALUATOR, "evaluation")
        found = {EVALUATOR: verdict.evaluated_metrics(evaluation)} if evaluation else {}
        for node in TRAINERS:
            if told := self.json_file(node, "model_run", EVALUATION_FILE):
                found[node] = verdict.measured(told["metrics"])
        history = self.json_file(PRETRAINER, "model_run", HISTORY_FILE)
        if history.get("minutes"):  # what `--minutes` came to, which no setting tells
            found[PRETRAINER] = {metric_names.EPOCHS: history["epochs"]}
        return found

    @property
    def metrics(self) -> dict[str, float]:
        """Every number of the run by its name."""
        by_node = self.metrics_by_node.values()
        return {name: value for metrics in by_node for name, value in metrics.items()}

    @property
    def pretraining_epochs(self) -> int | None:
        """How many epochs it pretrained, of minutes as many as fitted; None without pretraining."""
        asked = self.settings(PRETRAINER).get("pretraining", {}).get("epochs")
        return self.metrics.get(metric_names.EPOCHS, asked)

    @property
    def encoder_of(self) -> str:
        """What made the encoder that the Finetuner began with (trainer_module/origin.py)."""
        imported = self.artifact(ENCODER, "result")
        if not imported:
            return PRETRAINING
        if PRETRAINER in self.nodes:
            return brought_and(int(self.pretraining_epochs or 0))
        return BROUGHT if imported.properties.get("mapping") else SAVED

    @property
    def gains(self) -> list[dict]:
        """What pretraining brought, or the encoder that it did not make alone, as
        trainer_module/gains.py writes it; [] where nothing was compared.
        """
        # with NumPy: only if asked
        from trainer_module.gains import as_dict, from_dict, with_origin

        found = self.json_file(FINETUNER, "model_run", EVALUATION_FILE).get("gains", [])
        return [as_dict(with_origin(from_dict(gain), self.encoder_of)) for gain in found]

    @property
    def labels(self) -> int:
        """How many labels fine-tuning learned from; 0 where there was none."""
        return self.json_file(FINETUNER, "model_run", EVALUATION_FILE).get("labels", 0)

    @property
    def metrics_by_class(self) -> dict[str, float]:
        """The Evaluator's metric of each class that occurs."""
        evaluation = self.uri(EVALUATOR, "evaluation")
        return verdict.metrics_by_class(evaluation) if evaluation else {}

    @cached_property
    def held_out_images(self) -> dict[str, int]:
        """How many images the Evaluator judged by: '' -> all, class -> those of the class."""
        evaluation = self.uri(EVALUATOR, "evaluation")
        return verdict.held_out_images(evaluation) if evaluation else {}

    @cached_property
    def intervals(self) -> dict[str, Interval]:
        """95 % intervals of those of `metrics` that have one; {} before the Evaluator counted the
        images.
        """
        images = self.held_out_images.get("", 0)
        if not images:
            return {}
        evaluation = self.uri(EVALUATOR, "evaluation")
        ends = verdict.ends_of_intervals(evaluation) if evaluation else {}
        told = self.json_file(FINETUNER, "model_run", EVALUATION_FILE).get("intervals", {})
        found = told | intervals_of(self.metrics | ends, images)
        return {name: tuple(found[name]) for name in self.metrics if name in found}

    @property
    def intervals_by_class(self) -> dict[str, Interval]:
        """95 % intervals of `metrics_by_class`, where these are accuracies."""
        images = self.held_out_images
        by_class = self.metrics_by_class if "accuracy" in self.metrics else {}
        return {name: of_share(share, images[name])
                for name, share in by_class.items() if images.get(name)}  # fmt: skip

    @property
    def accuracy_by_epoch(self) -> list[dict]:
        """Accuracy of the encoders that were kept along the way, one row an epoch with 95 %
        intervals; [] where none were kept.
        """
        found = self.json_file(EPOCH_EVALUATION, "evaluation", EPOCHS_FILE)
        return with_intervals(found.get("rows", []), found.get("eval_images", 0))

    @property
    def report(self) -> str | None:
        """The page about the run, or None where it was not made."""
        page = self.folder(RUN_REPORT, REPORT) / REPORT_FILE
        return str(page) if page.exists() else None


def runs_with_other_models(run: StoredRun) -> list[StoredRun]:
    """Returns the runs of the same pipeline before this one that made a model of their own, the
    latest first.
    """
    ids = [*run.snapshot.runs]
    model = run.artifact(FINETUNER, "model")
    seen, others = {model.id if model else None, None}, []
    # oldest first: a model belongs to the run that made it, not to those that found it in the cache
    for run_id in ids[: ids.index(run.id)] if run.id in ids else ids:
        other = StoredRun(run.snapshot, run_id)
        made = other.artifact(FINETUNER, "model")
        if made and made.id not in seen and other.row.pipeline == run.row.pipeline:
            seen.add(made.id)
            others.append(other)
    return others[::-1]
