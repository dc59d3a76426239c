"""The Finetuner's run_fn: a pretrained encoder and labelled examples in, a servable model of the
task out.

Beside it stands the comparison that makes the number honest: the same head on the same encoder
before pretraining, and proof that a frozen encoder did not move.
"""

import dataclasses
import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import keras
import tensorflow_transform as tft
from tfx.components.trainer.fn_args_utils import FnArgs

from trainer_module import metric_names
from trainer_module.event_log import EventLog
from trainer_module.examples import Examples, read_split
from trainer_module.export import ServedModel, load_encoder, save_head, save_served_model
from trainer_module.finetune import (
    Kept,
    digest_of_examples,
    features_to_learn,
    finetune,
    fit_on_features,
    head_alone,
    judge,
    labelled_subset,
    outputs_of,
)
from trainer_module.finetune_job import job_of, lay_out
from trainer_module.finished import checkpoint_dir, mark_finished
from trainer_module.gains import FROM_SCRATCH, PIXELS, UNTRAINED, Gain, Judged, as_dict, gain_of
from trainer_module.log_files import EVALUATION_FILE, LOGS, SCRATCH_LOGS, UNTRAINED_LOGS
from trainer_module.neighbours import knn_accuracy
from trainer_module.pretrain import untrained_encoder
from trainer_module.resnets import with_stem
from trainer_module.saved_encoder import EXTRAS, encoder_record, write_record
from trainer_module.settings import Encoder, Finetuning, FinetuningScience, from_json
from trainer_module.tasks.registry import task_from_json
from trainer_module.tasks.task import Task
from trainer_module.thumbnails import thumbnails
from trainer_module.together import meeting_place, train_together
from trainer_module.weights_checksum import weights_checksum


def run_fn(fn_args: FnArgs) -> None:
    """Fine-tunes for the task; see TFX's Trainer for what `fn_args` holds.

    Raises:
      RuntimeError: if an encoder that should be frozen has changed.
    """
    keras.utils.clear_session()
    settings = from_json(FinetuningScience, fn_args.custom_config)
    task, finetuning = task_from_json(settings.task), settings.finetuning
    transform = tft.TFTransformOutput(fn_args.transform_output)
    train, held_out = (
        read_split(files, transform, task, settings.image_size)
        for files in (fn_args.train_files, fn_args.eval_files)
    )
    train = _with_few_labels(train, finetuning)
    untrained = untrained_encoder(
        _encoder_of(settings), train.images.shape[1:3], settings.pretraining.seed
    )
    encoder = (
        load_encoder(fn_args.base_model, train.images.shape[1:3])
        if fn_args.base_model
        else untrained
    )
    before = weights_checksum(encoder)
    learn, run = _learner(fn_args.base_model, task), _Run.of_node(settings, fn_args)
    model, metrics, gains = learn(encoder, untrained, task, (train, held_out), finetuning, run)
    answer = lambda outputs, encoded: task.served(outputs, encoded, train.statistics)  # noqa: E731
    served = ServedModel(model, transform, answer, (task.target, task.judged))
    save_served_model(served, fn_args.serving_model_dir, encoder, task)
    if task.one_class_an_image:
        save_head(head_alone(encoder, model), fn_args.serving_model_dir)
    write_record(fn_args.serving_model_dir, encoder_record(_encoder_of(settings), train))
    proof = _freeze_proof(
        finetuning, before, weights_checksum(load_encoder(fn_args.serving_model_dir))
    )
    measured = {
        "labels": len(train.images),
        "metrics": metrics,
        "gains": [as_dict(gain) for gain in gains],
        "freeze": proof,
    }
    for folder in (
        run.logs,
        Path(fn_args.serving_model_dir, EXTRAS),
    ):  # the pushed model carries it
        folder.mkdir(parents=True, exist_ok=True)
        (folder / EVALUATION_FILE).write_text(json.dumps(measured, indent=1), encoding="utf-8")
    mark_finished(run.checkpoints)


@dataclass(frozen=True)
class _Run:
    """What the trainings of a run share: what its other machines are told, and where they leave
    things.
    """

    science: FinetuningScience
    checkpoints: Path
    logs: Path

    @classmethod
    def of_node(cls, science: FinetuningScience, fn_args: FnArgs) -> "_Run":
        return cls(science, Path(checkpoint_dir(fn_args)), Path(fn_args.model_run_dir))

    def of(self, name: str) -> "_Run":
        """Returns the same for one of the trainings."""
        return _Run(self.science, self.checkpoints / name, self.logs / name)


def _encoder_of(settings: FinetuningScience) -> Encoder:
    """Returns the encoder's settings with the stem that pretraining chose for its views."""
    return with_stem(settings.encoder, settings.view_size)


def _with_few_labels(train: Examples, finetuning: Finetuning) -> Examples:
    """Returns the images whose targets fine-tuning may use."""
    if finetuning.label_fraction == 1:
        return train  # without a copy
    chosen = labelled_subset(train.targets, finetuning.label_fraction, finetuning.seed)
    return dataclasses.replace(
        train, images=train.images.take(chosen, axis=0), targets=train.targets[chosen]
    )


def _learner(model_uri: str | None, task: Task):
    """Returns the function that fine-tunes and measures what pretraining was worth, if there was
    any.
    """
    if not model_uri:
        return _from_scratch
    return _beside_linear_heads if task.on_features else _beside_an_untrained_twin


def _from_scratch(
    encoder,
    untrained,
    task: Task,
    splits: tuple[Examples, Examples],
    finetuning: Finetuning,
    run: _Run,
):
    """Returns the model that learned from the labels alone; there is nothing to compare it with."""
    del untrained
    return _trained(encoder, task, splits, finetuning, run.of(SCRATCH_LOGS)), {}, []


def _beside_linear_heads(
    encoder,
    untrained,
    task: Task,
    splits: tuple[Examples, Examples],
    finetuning: Finetuning,
    run: _Run,
):
    """Returns the fine-tuned model, what linear heads on frozen features score, before and after
    pretraining and of pixels alone, and how they differ.
    """
    train, held_out = splits
    linear = dataclasses.replace(finetuning, head="linear", freeze=True)
    # [N, D] and [M, D], the first longer where copies help
    features, untrained_features = (
        (features_to_learn(network, task, train, linear), held_out.features(network))
        for network in (encoder, untrained)
    )
    pretrained = {
        metric_names.LINEAR + task.metric: _linear_head(encoder, task, splits, features, linear)
    }
    before = {
        metric_names.UNTRAINED_LINEAR + task.metric: _linear_head(
            untrained, task, splits, untrained_features, linear
        )
    }
    by_pixels = {metric_names.PIXELS_LINEAR + task.metric: _of_pixels(task, splits, linear)}
    gains = [
        _gain(task, pretrained | before, UNTRAINED),
        _gain(task, pretrained | by_pixels, PIXELS),
    ]
    metrics = {name: one.score for name, one in (pretrained | before | by_pixels).items()}
    if task.one_class_an_image:
        metrics["knn_accuracy"] = knn_accuracy(
            features[0][: len(train.images)], train.targets, features[1], held_out.targets
        )
    model = _trained(encoder, task, splits, finetuning, run.of(LOGS), features[0])
    if finetuning.beside_scratch:
        score, gain = _beside_scratch(model, untrained, task, splits, finetuning, run)
        metrics |= score
        gains.append(gain)
    return model, metrics, gains


def _of_pixels(task: Task, splits: tuple[Examples, Examples], linear: Finetuning) -> Judged:
    encoder = thumbnails(splits[0].images.shape[1:3])
    return _linear_head(encoder, task, splits, [part.features(encoder) for part in splits], linear)


def _linear_head(
    encoder, task: Task, splits: tuple[Examples, Examples], features, linear: Finetuning
) -> Judged:
    keras.utils.set_random_seed(linear.seed)
    head = head_alone(encoder, task.head(encoder, linear.head))
    fit_on_features(head, task, splits[0], features[0], linear)
    return judge(task, splits[1], [head.predict(features[1], verbose=0)])


def _beside_an_untrained_twin(
    encoder,
    untrained,
    task: Task,
    splits: tuple[Examples, Examples],
    finetuning: Finetuning,
    run: _Run,
):
    """Returns the fine-tuned model, its score at the size of Transform, that of the same training
    on an encoder never pretrained, and how they differ.
    """
    model = _trained(encoder, task, splits, finetuning, run.of(LOGS))
    print("The same head and training on the untrained encoder, for comparison:")
    twin = _trained(untrained, task, splits, finetuning, run.of(UNTRAINED_LOGS))
    judged = {
        prefix + task.metric: judge(task, splits[1], outputs_of(one, splits[1]))
        for prefix, one in ((metric_names.PRETRAINED, model), (metric_names.UNTRAINED, twin))
    }
    metrics = {name: one.score for name, one in judged.items()}
    gains = [_gain(task, judged, UNTRAINED)]
    if finetuning.beside_scratch and finetuning.freeze:
        score, gain = _beside_scratch(model, untrained, task, splits, finetuning, run)
        metrics |= score
        gains.append(gain)
    return model, metrics, gains


def _beside_scratch(
    model,
    untrained,
    task: Task,
    splits: tuple[Examples, Examples],
    finetuning: Finetuning,
    run: _Run,
) -> tuple[dict[str, float], Gain]:
    """Returns what the whole network scores that learns from the labels alone, and how the
    fine-tuned model differs from it.
    """
    print("The whole network from the labels alone, for comparison:")
    whole = dataclasses.replace(finetuning, freeze=False)
    scratch = _trained(untrained, task, splits, whole, run.of(SCRATCH_LOGS))
    scored = metric_names.FROM_SCRATCH + task.metric
    judged = {
        name: judge(task, splits[1], outputs_of(one, splits[1]))
        for name, one in ((task.metric, model), (scored, scratch))
    }
    return {scored: judged[scored].score}, _gain(task, judged, FROM_SCRATCH)


def _trained(
    encoder,
    task: Task,
    splits: tuple[Examples, Examples],
    finetuning: Finetuning,
    run: _Run,
    features=None,
) -> keras.Model:
    """Returns the model that the machines of a run train together, or this one alone where it
    learns from features, or there is no other.
    """
    train, kept = splits[0], Kept([EventLog(str(run.logs))])
    if task.learns_from_views(finetuning):
        kept = Kept(kept.callbacks, str(run.checkpoints), digest_of_examples(train))
        if place := meeting_place():  # they leave a checkpoint: nothing is left to do below
            science = dataclasses.replace(run.science, finetuning=finetuning)
            job = job_of(science, train, kept, str(run.logs))
            train_together(place, job, partial(lay_out, encoder, train))
    return finetune(encoder, task, train, finetuning, features, kept)


def _gain(task: Task, judged: dict[str, Judged], against: str) -> Gain:
    """Returns how the first of two models differs from the second."""
    first, second = judged
    both = judged[first], judged[second]
    return gain_of((first, second), against, both, task.metric_of, task.higher_is_better)


def _freeze_proof(finetuning: Finetuning, before: str, after: str) -> dict:
    if finetuning.freeze and before != after:
        raise RuntimeError(
            f"The encoder was to stay frozen, but its weights changed: sha256 {before} before, "
            f"{after} after"
        )
    return {
        "frozen": finetuning.freeze,
        "encoder_sha256_before": before,
        "encoder_sha256_after": after,
    }
