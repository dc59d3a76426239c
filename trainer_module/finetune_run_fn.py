"""The Finetuner's run_fn: a pretrained encoder and labelled examples in, a servable model of the
task out.

Beside it stands the comparison that makes the number honest: the same head on the same encoder
before pretraining, and proof that a frozen encoder did not move.
"""

import dataclasses
import json
from pathlib import Path

import keras
import tensorflow_transform as tft
from tfx.components.trainer.fn_args_utils import FnArgs

from trainer_module.event_log import EventLog
from trainer_module.examples import Examples, read_split
from trainer_module.export import ServedModel, load_encoder, save_head, save_served_model
from trainer_module.finetune import (
    features_to_learn,
    finetune,
    fit_on_features,
    head_alone,
    labelled_subset,
    outputs_of,
    score,
)
from trainer_module.linear_eval import weights_checksum
from trainer_module.log_files import EVALUATION_FILE, LOGS, UNTRAINED_LOGS
from trainer_module.neighbours import knn_accuracy
from trainer_module.pretrain import untrained_encoder
from trainer_module.resnets import stem_for
from trainer_module.saved_encoder import EXTRAS, encoder_record, write_record
from trainer_module.settings import Encoder, Finetuning, FinetuningScience, from_json
from trainer_module.tasks.registry import task_from_json
from trainer_module.tasks.task import Task


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
    learn, logs = _learner(fn_args.base_model, task), Path(fn_args.model_run_dir)
    model, metrics = learn(encoder, untrained, task, (train, held_out), finetuning, logs)
    answer = lambda outputs, encoded: task.served(outputs, encoded, train.statistics)  # noqa: E731
    served = ServedModel(model, transform, answer, (task.target, task.judged))
    save_served_model(served, fn_args.serving_model_dir, encoder, task)
    if task.one_class_an_image:
        save_head(head_alone(encoder, model), fn_args.serving_model_dir)
    write_record(fn_args.serving_model_dir, encoder_record(_encoder_of(settings), train))
    proof = _freeze_proof(
        finetuning, before, weights_checksum(load_encoder(fn_args.serving_model_dir))
    )
    report = {"metrics": metrics, "freeze": proof}
    for folder in (
        logs,
        Path(fn_args.serving_model_dir, EXTRAS),
    ):  # the pushed model carries its report
        folder.mkdir(parents=True, exist_ok=True)
        (folder / EVALUATION_FILE).write_text(json.dumps(report, indent=1), encoding="utf-8")


def _encoder_of(settings: FinetuningScience) -> Encoder:
    """Returns the encoder's settings with the stem that pretraining chose for its views."""
    stem = stem_for(settings.encoder, settings.view_size)
    return dataclasses.replace(settings.encoder, stem=stem)


def _with_few_labels(train: Examples, finetuning: Finetuning) -> Examples:
    """Returns the images whose targets fine-tuning may use."""
    if finetuning.label_fraction == 1:
        return train  # without a copy
    chosen = labelled_subset(train.targets, finetuning.label_fraction, finetuning.seed)
    return dataclasses.replace(train, images=train.images[chosen], targets=train.targets[chosen])


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
    logs: Path,
):
    """Returns the model that learned from the labels alone; there is nothing to compare it with."""
    del untrained
    return finetune(
        encoder, task, splits[0], finetuning, callbacks=[EventLog(str(logs / LOGS))]
    ), {}


def _beside_linear_heads(
    encoder,
    untrained,
    task: Task,
    splits: tuple[Examples, Examples],
    finetuning: Finetuning,
    logs: Path,
):
    """Returns the fine-tuned model and what linear heads on frozen features score, before and after
    pretraining.
    """
    train, held_out = splits
    linear = dataclasses.replace(finetuning, head="linear", freeze=True)
    # [N, D] and [M, D], the first longer where copies help
    features, untrained_features = (
        (features_to_learn(network, task, train, linear), held_out.features(network))
        for network in (encoder, untrained)
    )
    metrics = {
        f"linear_{task.metric}": _linear_score(encoder, task, splits, features, linear),
        f"untrained_linear_{task.metric}": _linear_score(
            untrained, task, splits, untrained_features, linear
        ),
    }
    if task.one_class_an_image:
        metrics["knn_accuracy"] = knn_accuracy(
            features[0][: len(train.images)], train.targets, features[1], held_out.targets
        )
    return finetune(
        encoder, task, train, finetuning, features[0], [EventLog(str(logs / LOGS))]
    ), metrics


def _linear_score(
    encoder, task: Task, splits: tuple[Examples, Examples], features, linear: Finetuning
) -> float:
    keras.utils.set_random_seed(linear.seed)
    head = head_alone(encoder, task.head(encoder, linear.head))
    fit_on_features(head, task, splits[0], features[0], linear)
    return score(task, splits[1], [head.predict(features[1], verbose=0)])


def _beside_an_untrained_twin(
    encoder,
    untrained,
    task: Task,
    splits: tuple[Examples, Examples],
    finetuning: Finetuning,
    logs: Path,
):
    """Returns the fine-tuned model, its score at the size of Transform, and that of the same
    training on an encoder never pretrained.
    """
    train, held_out = splits
    model = finetune(encoder, task, train, finetuning, callbacks=[EventLog(str(logs / LOGS))])
    print("The same head and training on the untrained encoder, for comparison:")
    twin = finetune(
        untrained, task, train, finetuning, callbacks=[EventLog(str(logs / UNTRAINED_LOGS))]
    )
    scores = [score(task, held_out, outputs_of(candidate, held_out)) for candidate in (model, twin)]
    return model, {f"pretrained_{task.metric}": scores[0], f"untrained_{task.metric}": scores[1]}


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
