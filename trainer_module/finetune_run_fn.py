"""The Finetuner's run_fn: a pretrained encoder and labelled examples in, a servable model of the
task out.

Beside it stands the comparison that makes the number honest: the same head on the same network with
random weights, and proof that a frozen encoder did not move.
"""

import dataclasses
import json
import math
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
from trainer_module.findings import counted
from trainer_module.finetune import (
    Kept,
    digest_of_examples,
    features_to_learn,
    finetune,
    fit_on_features,
    head_alone,
)
from trainer_module.finetune_job import job_of, lay_out
from trainer_module.finished import checkpoint_dir, mark_finished
from trainer_module.gains import (
    OVER_PIXELS,
    OVER_SCRATCH,
    OVER_UNTRAINED,
    Gain,
    Judged,
    as_dict,
    gain_of,
)
from trainer_module.intervals import Interval
from trainer_module.judging import judge, outputs_of
from trainer_module.labelled_subset import labelled_subset
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
        read_split(files, transform, task, settings.image_size, to_judge)
        for files, to_judge in ((fn_args.train_files, False), (fn_args.eval_files, True))
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
    folders = Path(checkpoint_dir(fn_args)), Path(fn_args.model_run_dir)
    run = _Run(settings, task, (train, held_out), encoder, untrained, *folders)
    before = weights_checksum(encoder)
    model, judged, gains = _way_to_learn(fn_args.base_model, task)(run)
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
        "metrics": {name: one.score for name, one in judged.items()},
        "intervals": _intervals(task, judged),
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
    """What the trainings of a run share.

    Attributes:
      science: what its other machines are told.
      task: which one.
      splits: to learn from, and held out.
      encoder: pretrained, or as it begins where nothing is.
      untrained: the same network with random weights.
      checkpoints: folder of a folder for each training.
      logs: likewise.
    """

    science: FinetuningScience
    task: "Task"  # in quotes, so that the cache follows what is asked of it, not all of the class
    splits: tuple[Examples, Examples]
    encoder: keras.Model
    untrained: keras.Model
    checkpoints: Path
    logs: Path

    @property
    def finetuning(self) -> Finetuning:
        """How the head is put on the encoder."""
        return self.science.finetuning

    def score(self, models: dict[str, keras.Model]) -> dict[str, Judged]:
        """Returns what models say of the held-out images, and how the task judges it, by name."""
        held_out = self.splits[1]
        return {
            name: judge(self.task, held_out, outputs_of(model, held_out))
            for name, model in models.items()
        }


def _encoder_of(settings: FinetuningScience) -> Encoder:
    """Returns the encoder's settings with the stem that pretraining chose for its views."""
    return with_stem(settings.encoder, settings.view_size)


def _with_few_labels(train: Examples, finetuning: Finetuning) -> Examples:
    """Returns the images whose targets fine-tuning may use."""
    if finetuning.label_fraction == 1:
        return train  # without a copy
    return train.some(labelled_subset(train.targets, finetuning.label_fraction, finetuning.seed))


def _intervals(task: Task, judged: dict[str, Judged]) -> dict[str, Interval]:
    """Returns the 95 % intervals of those numbers that have one, by their names."""
    found = {
        name: task.interval(one.contributions)
        for name, one in judged.items()
        if one.contributions is not None
    }
    return {name: ends for name, ends in found.items() if ends and all(map(math.isfinite, ends))}


def _way_to_learn(model_uri: str | None, task: Task):
    """Returns the function that fine-tunes and measures what pretraining was worth, if there was
    any: of a run to its model, other models on the held-out images by the names of their numbers,
    and gains.
    """
    if not model_uri:
        return _from_scratch
    return _beside_linear_heads if task.on_features else _beside_an_untrained_twin


def _from_scratch(run: _Run):
    """Returns the model that learned from the labels alone; there is nothing to compare it with."""
    return _trained(run, SCRATCH_LOGS, run.encoder, run.finetuning), {}, []


def _beside_linear_heads(run: _Run):
    """Returns the fine-tuned model, what linear heads on frozen features score, before and after
    pretraining and of pixels alone, and how they differ.
    """
    task, (train, held_out) = run.task, run.splits
    linear = dataclasses.replace(run.finetuning, head="linear", freeze=True)
    images = counted(len(train.images) + len(held_out.images), "image")
    print(f"Features of {images}, by the encoder and by one of random weights", flush=True)
    # [N, D] and [M, D], the first longer where copies help
    features, untrained_features = (
        (features_to_learn(network, task, train, linear), held_out.features(network))
        for network in (run.encoder, run.untrained)
    )
    print("Linear heads on these, and on pixels alone", flush=True)
    pretrained = {
        metric_names.LINEAR + task.metric: _linear_head(run, run.encoder, features, linear)
    }
    before = {
        metric_names.UNTRAINED_LINEAR + task.metric: _linear_head(
            run, run.untrained, untrained_features, linear
        )
    }
    by_pixels = {metric_names.PIXELS_LINEAR + task.metric: _of_pixels(run, linear)}
    gains = [
        _gain(task, pretrained | before, OVER_UNTRAINED),
        _gain(task, pretrained | by_pixels, OVER_PIXELS),
    ]
    judged = pretrained | before | by_pixels
    if task.one_class_an_image:
        knn = knn_accuracy(
            features[0][: len(train.images)], train.targets, features[1], held_out.targets
        )
        judged[metric_names.KNN] = Judged(knn, None)
    model = _trained(run, LOGS, run.encoder, run.finetuning, features[0])
    if run.finetuning.beside_scratch:
        scratch, gain = _beside_scratch(run, model)
        judged |= scratch
        gains.append(gain)
    return model, judged, gains


def _of_pixels(run: _Run, linear: Finetuning) -> Judged:
    encoder = thumbnails(run.splits[0].images.shape[1:3])
    return _linear_head(run, encoder, [part.features(encoder) for part in run.splits], linear)


def _linear_head(run: _Run, encoder, features, linear: Finetuning) -> Judged:
    keras.utils.set_random_seed(linear.seed)
    task, (train, held_out) = run.task, run.splits
    head = head_alone(encoder, task.head(encoder, linear.head))
    fit_on_features(head, task, train, features[0], linear)
    return judge(task, held_out, [head.predict(features[1], verbose=0)])


def _beside_an_untrained_twin(run: _Run):
    """Returns the fine-tuned model, the one of the same training on an encoder never pretrained as
    it is judged, and how they differ.
    """
    metric = run.task.metric
    model = _trained(run, LOGS, run.encoder, run.finetuning)
    print("The same head and training on an encoder of random weights, for comparison:")
    twin = _trained(run, UNTRAINED_LOGS, run.untrained, run.finetuning)
    untrained = metric_names.UNTRAINED + metric
    both = run.score({metric: model, untrained: twin})
    judged, gains = {untrained: both[untrained]}, [_gain(run.task, both, OVER_UNTRAINED)]
    if run.finetuning.beside_scratch and run.finetuning.freeze:
        scratch, gain = _beside_scratch(run, model)
        judged |= scratch
        gains.append(gain)
    return model, judged, gains


def _beside_scratch(run: _Run, model: keras.Model) -> tuple[dict[str, Judged], Gain]:
    """Returns the whole network that learns from the labels alone as it is judged, and how the
    fine-tuned model differs from it.
    """
    print("The whole network from the labels alone, for comparison:")
    whole = dataclasses.replace(run.finetuning, freeze=False)
    scratch = _trained(run, SCRATCH_LOGS, run.untrained, whole)
    scored = metric_names.FROM_SCRATCH + run.task.metric
    judged = run.score({run.task.metric: model, scored: scratch})
    return {scored: judged[scored]}, _gain(run.task, judged, OVER_SCRATCH)


def _trained(
    run: _Run, name: str, encoder: keras.Model, finetuning: Finetuning, features=None
) -> keras.Model:
    """Returns the model that the machines of a run train together, or this one alone where it
    learns from features, or there is no other.

    Args:
      run: which one.
      name: of the training, and of its folders.
      encoder: that it begins with.
      finetuning: how.
      features: of the encoder, where they are there.
    """
    train, logs = run.splits[0], str(run.logs / name)
    kept = Kept([EventLog(logs)])
    if run.task.learns_from_views(finetuning):
        kept = Kept(kept.callbacks, str(run.checkpoints / name), digest_of_examples(train))
        if place := meeting_place():  # they leave a checkpoint: nothing is left to do below
            science = dataclasses.replace(run.science, finetuning=finetuning)
            job = job_of(science, train, kept, logs)
            train_together(place, job, partial(lay_out, encoder, train))
    return finetune(encoder, run.task, train, finetuning, features, kept)


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
