"""EpochEvaluation: accuracy of the frozen features against epochs of pretraining.

The artifact holds `accuracy_by_epoch.json` (`rows`, each with the columns of
trainer_module/epoch_evaluation.py, accuracies in [0, 1]; the row of epoch 0 is the encoder before
pretraining, of random weights or of those that were brought), and the same as `.md` table. The
report draws the curves.
"""

import json
from pathlib import Path

import keras
import tensorflow_transform as tft
from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.types.artifact_utils import get_split_uris
from tfx.types.standard_artifacts import Examples, Model, ModelEvaluation, TransformGraph
from tfx.utils import path_utils

from components.accuracy_by_epoch.table import table, with_intervals
from components.metadata.names import EPOCHS_FILE, EPOCHS_TABLE
from trainer_module.checkpoint import milestone_file
from trainer_module.epoch_evaluation import evaluate_epochs
from trainer_module.examples import read_split
from trainer_module.export import load_encoder
from trainer_module.pretrain import untrained_encoder
from trainer_module.saved_encoder import EXTRAS, read_record
from trainer_module.settings import EvaluationScience, from_json
from trainer_module.tasks.registry import task_from_json


@component
def EpochEvaluation(  # noqa: N802, PLR0913 (a TFX component)
    examples: InputArtifact[Examples],
    transform_graph: InputArtifact[TransformGraph],
    model: InputArtifact[Model],
    evaluation: OutputArtifact[ModelEvaluation],
    settings: Parameter[str],
    fingerprint: Parameter[str] = "",
    base_model: InputArtifact[Model] = None,
) -> None:
    """Evaluates the encoders that pretraining kept along the way.

    Args:
      examples: transformed examples with the splits `train` and `eval`.
      transform_graph: what Transform learned.
      model: the pretrained model; its encoders of earlier epochs lie in `assets.extra`.
      evaluation: the rows, see the top of this file.
      settings: JSON of an `EvaluationScience`.
      fingerprint: digest of the code.
      base_model: the encoder that pretraining began with, if not with random weights.
    """
    del fingerprint
    keras.utils.clear_session()
    options = from_json(EvaluationScience, json.loads(settings))
    serving = path_utils.serving_model_path(model.uri)
    transform = tft.TFTransformOutput(transform_graph.uri)
    task = task_from_json(options.task)
    train, held_out = (
        read_split(_files(examples, name), transform, task, options.image_size)
        for name in ("train", "eval")
    )
    begun_with = path_utils.serving_model_path(base_model.uri) if base_model else ""
    encoder = encoder_before(serving, begun_with, options)
    milestones = {
        epoch: milestone_file(Path(serving, EXTRAS), epoch) for epoch in options.eval_epochs
    }
    rows = evaluate_epochs(encoder, milestones, train, held_out)
    write(Path(evaluation.uri), rows, len(train.images), len(held_out.images))


def encoder_before(serving: str, begun_with: str, options: EvaluationScience) -> keras.Model:
    """Returns the encoder as it was before pretraining.

    Args:
      serving: folder of the pretrained model.
      begun_with: of the one that pretraining began with, '' for random weights.
      options: with the size of the images and the seed of random weights.
    """
    if begun_with:
        return load_encoder(begun_with, options.image_size)
    return untrained_encoder(read_record(serving).encoder, options.image_size, options.seed)


def write(folder: Path, rows: list[dict], train_images: int, eval_images: int) -> None:
    """Writes what the artifact holds."""
    told = table(with_intervals(rows, eval_images))
    result = {"train_images": train_images, "eval_images": eval_images, "rows": rows}
    files = {EPOCHS_FILE: json.dumps(result, indent=1), EPOCHS_TABLE: told}
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")


def _files(examples: Examples, split: str) -> list[str]:
    return [str(Path(get_split_uris([examples], split)[0], "*"))]
