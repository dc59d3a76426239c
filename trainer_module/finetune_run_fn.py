"""The Finetuner's run_fn: a pretrained encoder and labelled examples in, a servable model of the task out.

Beside it stands the comparison that makes the number honest: the same linear evaluation of the same encoder before
pretraining, and proof that a frozen encoder did not move.
"""

import dataclasses
import json
from pathlib import Path

import keras
import tensorflow_transform as tft
from tfx.components.trainer.fn_args_utils import FnArgs

from trainer_module.examples import Examples, read_split
from trainer_module.export import ServedModel, load_encoder, save_served_model
from trainer_module.finetune import Labelled, finetune
from trainer_module.linear_eval import fit_linear, linear_accuracy, weights_checksum
from trainer_module.monitor import knn_accuracy
from trainer_module.pretrain import untrained_encoder
from trainer_module.resnet import stem_for
from trainer_module.saved_encoder import EXTRAS
from trainer_module.settings import Encoder, Finetuning
from trainer_module.tasks.registry import task_from_json

EVALUATION_FILE = "linear_evaluation.json"


def run_fn(fn_args: FnArgs) -> None:
    """Fine-tunes for the task; see TFX's Trainer for what `fn_args` holds.

    Raises:
      RuntimeError: if an encoder that should be frozen has changed.
    """
    keras.utils.clear_session()
    settings = fn_args.custom_config
    task = task_from_json(settings["task"])
    finetuning = Finetuning(**settings["finetuning"])
    transform = tft.TFTransformOutput(fn_args.transform_output)
    train, held_out = (_labelled(read_split(files, transform, settings)) for files in (fn_args.train_files, fn_args.eval_files))
    encoder = load_encoder(fn_args.base_model)
    before = weights_checksum(encoder)
    features = train.features(encoder), held_out.features(encoder)  # [N, D], [M, D]
    untrained = untrained_encoder(_encoder_of(settings), train.images.shape[1:3], settings["pretraining"]["seed"])
    untrained_features = train.features(untrained), held_out.features(untrained)
    metrics = {
        "linear_accuracy": _linear_accuracy(task, *features, train, held_out),
        "untrained_linear_accuracy": _linear_accuracy(task, *untrained_features, train, held_out),
        "knn_accuracy": knn_accuracy(features[0], train.labels, features[1], held_out.labels),
    }
    report = {"metrics": metrics}
    model = finetune(encoder, task, train, finetuning, features[0])
    names = task.names_by_id(_vocabulary(transform))
    served = ServedModel(model, transform, lambda outputs: task.served(outputs, names))
    save_served_model(served, fn_args.serving_model_dir, encoder, target="label")
    report["freeze"] = _freeze_proof(finetuning, before, weights_checksum(load_encoder(fn_args.serving_model_dir)))
    for folder in (Path(fn_args.model_run_dir), Path(fn_args.serving_model_dir, EXTRAS)):  # the pushed model carries its report
        folder.mkdir(parents=True, exist_ok=True)
        (folder / EVALUATION_FILE).write_text(json.dumps(report, indent=1), encoding="utf-8")


def _encoder_of(settings: dict) -> Encoder:
    """Returns the encoder's settings with the stem that pretraining chose for its views."""
    encoder = Encoder(**settings["encoder"])
    return dataclasses.replace(encoder, stem=stem_for(encoder, tuple(settings["view_size"])))


def _linear_accuracy(task, features, held_out_features, train: Labelled, held_out: Labelled) -> float:
    """Returns the held-out accuracy of a linear classifier on frozen features."""
    kernel, bias = fit_linear(features, train.labels, task.num_classes)
    return linear_accuracy(kernel, bias, held_out_features, held_out.labels)


def _freeze_proof(finetuning: Finetuning, before: str, after: str) -> dict:
    if finetuning.freeze and before != after:
        raise RuntimeError(f"The encoder was to stay frozen, but its weights changed: sha256 {before} before, {after} after")
    return {"frozen": finetuning.freeze, "encoder_sha256_before": before, "encoder_sha256_after": after}


def _labelled(examples: Examples) -> Labelled:
    return Labelled(examples.images, examples.labels, examples.channel_mean, examples.channel_std)


def _vocabulary(transform: tft.TFTransformOutput) -> list[str]:
    if not transform.vocabulary_file_by_name("labels"):
        return []
    return [name.decode() for name in transform.vocabulary_by_name("labels")]
