"""The Finetuner's run_fn: a pretrained encoder and labelled examples in, a servable model of the task out.

Beside it stands the comparison that makes the number honest: the same linear evaluation of the same encoder before
pretraining, and proof that a frozen encoder did not move.
"""

import json
import sys
from pathlib import Path

import keras
import tensorflow_transform as tft
from tfx.components.trainer.fn_args_utils import FnArgs

from trainer_module.examples import Examples, read_split
from trainer_module.export import EXTRAS, ServedModel, load_encoder, save_served_model
from trainer_module.finetune import Labelled, accuracy, finetune
from trainer_module.linear_eval import weights_checksum
from trainer_module.monitor import knn_accuracy
from trainer_module.pretrain import untrained_encoder
from trainer_module.settings import Encoder, Finetuning
from trainer_module.tasks.registry import task_from_json

EVALUATION_FILE = "linear_evaluation.json"
LINEAR = Finetuning(head="linear", freeze=True)


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
    report = {"metrics": _linear_evaluation(encoder, task, train, held_out, settings)}
    model = finetune(encoder, task, train, finetuning, verbose=1 if sys.stdout.isatty() else 2)
    report["freeze"] = _freeze_proof(finetuning, before, weights_checksum(encoder))
    names = task.names_by_id(_vocabulary(transform))
    served = ServedModel(model, transform, lambda outputs: task.served(outputs, names))
    save_served_model(served, fn_args.serving_model_dir, encoder, target="label")
    for folder in (Path(fn_args.model_run_dir), Path(fn_args.serving_model_dir, EXTRAS)):  # the pushed model carries its report
        folder.mkdir(parents=True, exist_ok=True)
        (folder / EVALUATION_FILE).write_text(json.dumps(report, indent=1), encoding="utf-8")


def _linear_evaluation(encoder: keras.Model, task, train: Labelled, held_out: Labelled, settings: dict) -> dict[str, float]:
    """Returns held-out accuracies of the frozen encoder, pretrained and untrained (same seed, same evaluation)."""
    untrained = untrained_encoder(Encoder(**settings["encoder"]), train.images.shape[1:3], settings["pretraining"]["seed"])
    return {
        "linear_accuracy": accuracy(finetune(encoder, task, train, LINEAR), held_out),
        "untrained_linear_accuracy": accuracy(finetune(untrained, task, train, LINEAR), held_out),
        "knn_accuracy": knn_accuracy(train.features(encoder), train.labels, held_out.features(encoder), held_out.labels),
    }


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
