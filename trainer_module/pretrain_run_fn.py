"""The Pretrainer's run_fn: transformed examples in, a self-supervised encoder out, as a Keras file
and a served model.
"""

import dataclasses
import json
import shutil
from functools import partial
from pathlib import Path

import keras
import tensorflow_transform as tft
from tfx.components.trainer.fn_args_utils import FnArgs

from trainer_module.checkpoint import milestone_file
from trainer_module.devices import precision_here
from trainer_module.encoded_images import digest_of
from trainer_module.examples import Examples, read_split
from trainer_module.export import (
    ServedModel,
    load_encoder,
    save_projection_head,
    save_served_model,
)
from trainer_module.finished import checkpoint_dir, mark_finished
from trainer_module.log_files import HISTORY_FILE
from trainer_module.monitor import Watched
from trainer_module.pretrain import Images, Places, pretrain
from trainer_module.pretrain_job import job_of, lay_out
from trainer_module.resnets import with_stem
from trainer_module.saved_encoder import EXTRAS, encoder_record, write_record
from trainer_module.settings import PretrainingScience, from_json, with_batch_for
from trainer_module.tasks.registry import task_from_json
from trainer_module.tasks.task import Task
from trainer_module.tasks.unlabelled import Unlabelled
from trainer_module.together import meeting_place, train_together


def run_fn(fn_args: FnArgs) -> None:
    """Pretrains an encoder with SimCLR; see TFX's Trainer for what `fn_args` holds.

    `custom_config` carries a `PretrainingScience`. Checkpoints lie beside the node's outputs, in a
    folder named after settings, data and what is begun with: a killed or failed run finds them
    again, whatever its run id, until one has ended.
    """
    keras.utils.clear_session()
    settings = from_json(PretrainingScience, fn_args.custom_config)
    transform = tft.TFTransformOutput(fn_args.transform_output)
    task = task_from_json(settings.task)
    examples = read_split(fn_args.train_files, transform, task, settings.image_size)
    checkpoints, milestones = checkpoint_dir(fn_args), settings.eval_epochs
    fitting = with_batch_for(settings.pretraining, len(examples.images))
    settings = dataclasses.replace(settings, pretraining=fitting)
    data = Images(
        examples.images,
        examples.channel_mean,
        examples.channel_std,
        settings.view_size,
        load_encoder(fn_args.base_model) if fn_args.base_model else None,
        digest_of(examples.images),
    )
    places = Places(checkpoints, fn_args.model_run_dir, milestones)
    watched = _watched(fn_args, task, transform, examples)
    if place := meeting_place():  # they leave a checkpoint, of which nothing is left to do below
        job = job_of(settings, data, places, precision_here(fitting.precision))
        train_together(place, job, partial(lay_out, data, watched))
    encoder, projection_head, learned = pretrain(
        data, settings.encoder, settings.augmentation, fitting, places, watched
    )
    Path(fn_args.model_run_dir).mkdir(parents=True, exist_ok=True)
    Path(fn_args.model_run_dir, HISTORY_FILE).write_text(json.dumps(learned), encoding="utf-8")
    served = ServedModel(encoder, transform, lambda features, _: {"features": features})
    save_served_model(served, fn_args.serving_model_dir, encoder, Unlabelled())
    save_projection_head(projection_head, fn_args.serving_model_dir)
    for epoch in milestones:
        kept = milestone_file(Path(fn_args.serving_model_dir, EXTRAS), epoch)
        kept.parent.mkdir(exist_ok=True)
        shutil.copy(milestone_file(checkpoints, epoch), kept)
    chosen = with_stem(settings.encoder, settings.view_size)
    write_record(fn_args.serving_model_dir, encoder_record(chosen, examples, milestones))
    mark_finished(checkpoints)


def _watched(
    fn_args: FnArgs,
    task: Task,
    transform: tft.TFTransformOutput,
    pretrained_on: Examples,
) -> Watched | None:
    """Returns the labelled images to watch the learning on, or None where there are none."""
    if not task.one_class_an_image:
        return None
    size = pretrained_on.images.shape[1:3]
    # The labels that count are always those of `train`, also where the images of another split are
    # pretrained on.
    labelled = [
        str(Path(pattern).parents[1] / "Split-train" / "*") for pattern in fn_args.train_files
    ]
    train = (
        pretrained_on
        if "Split-train" in fn_args.train_files[0]
        else read_split(labelled, transform, task, size)
    )
    held_out = read_split(fn_args.eval_files, transform, task, size)
    return Watched(train.images, train.targets, held_out.images, held_out.targets)
