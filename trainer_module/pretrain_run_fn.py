"""The Pretrainer's run_fn: transformed examples in, a self-supervised encoder out, as a Keras file and a served model."""

import json
import os
import sys
from pathlib import Path

import keras
import tensorflow_transform as tft
from tfx.components.trainer.fn_args_utils import FnArgs

from trainer_module.examples import read_split
from trainer_module.export import ServedModel, save_served_model
from trainer_module.pretrain import Images, Places, pretrain
from trainer_module.settings import Augmentation, Encoder, Pretraining
from trainer_module.tasks.registry import task_from_json

HISTORY_FILE = "history.json"


def run_fn(fn_args: FnArgs) -> None:
    """Pretrains an encoder with SimCLR; see TFX's Trainer for what `fn_args` holds.

    `custom_config` carries the settings as dicts (pipeline/pipeline.py). A killed run finds its checkpoints again: they lie
    beside the node's outputs, in a folder named after the settings and the data.
    """
    keras.utils.clear_session()
    settings = fn_args.custom_config
    transform = tft.TFTransformOutput(fn_args.transform_output)
    examples = read_split(fn_args.train_files, transform, settings)
    encoder, history = pretrain(
        Images(examples.images, examples.channel_mean, examples.channel_std, tuple(settings["view_size"])),
        Encoder(**settings["encoder"]),
        Augmentation(**tuples(settings["augmentation"])),
        Pretraining(**settings["pretraining"]),
        Places(checkpoints=checkpoint_dir(fn_args), logs=fn_args.model_run_dir),
        watched=_watched(fn_args, transform, settings),
    )
    Path(fn_args.model_run_dir).mkdir(parents=True, exist_ok=True)
    Path(fn_args.model_run_dir, HISTORY_FILE).write_text(json.dumps(history), encoding="utf-8")
    served = ServedModel(encoder, transform, lambda features: {"features": features})
    save_served_model(served, fn_args.serving_model_dir, encoder)


def tuples(values: dict) -> dict:
    """Returns settings with the lists that JSON makes of tuples turned back."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
