"""Makes a trained Keras model servable: raw bytes in, the task's answer out, the transform graph
inside.

B requests, H x W pixels after Transform's resizing.
"""

import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import keras
import tensorflow as tf
import tensorflow_transform as tft

import trainer_module.resnet  # noqa: F401 (registers its layers with Keras, or no encoder could be loaded)
from trainer_module import dotted
from trainer_module.errors import InputError
from trainer_module.normalize import normalize
from trainer_module.preprocessing import CHANNEL_MEAN, CHANNEL_STD, IMAGE
from trainer_module.saved_encoder import (
    ENCODER_FILE,
    EXTRAS,
    HEAD_FILE,
    TASK_FILE,
    holds_encoder,
    read_record,
)
from trainer_module.stored_images import unpack_images
from trainer_module.tasks.registry import task_to_json
from trainer_module.tasks.task import Task

PROJECTION_HEAD_FILE = "projection_head.keras"
FEATURES = "features"  # the signature from image bytes to the features of the encoder


class ServedModel(tf.Module):
    """Transform graph, normalization and Keras model in one traceable object.

    The transform layer is Keras 2 and the model Keras 3: they meet only inside tf.functions, never
    in one Keras graph.
    """

    def __init__(
        self,
        model: keras.Model,
        transform: tft.TFTransformOutput,
        answer: Callable[[tf.Tensor, tf.Tensor], dict],
        judged: tuple[str, Callable[[dict, dict], dict]] | None = None,
    ):
        """Takes over a model.

        Args:
          model: normalized float32 images [B, H, W, 3] -> outputs [B, ...].
          transform: the graph that Transform learned.
          answer: outputs and encoded images -> dict of named tensors that the served model returns.
          judged: name of the target, and raw and transformed features -> what the Evaluator holds
            the answers against; None where there is no target.
        """
        super().__init__()
        self.model = model
        self.transform = transform.transform_features_layer()
        self._raw_spec = transform.raw_feature_spec()
        self._answer = answer
        self._target, self._judged = judged or ("", None)
        self._image_size = tuple(model.input_shape[1:3])

    def judged(self, serialized: tf.Tensor) -> dict:
        """Parses serialized tf.Examples [B] and returns what the Evaluator holds the answers
        against.
        """
        raw = tf.io.parse_example(serialized, {self._target: self._raw_spec[self._target]})
        return self._judged(raw, self._transformed(raw))

    def predict(self, encoded: tf.Tensor) -> dict:
        """Returns the answer for encoded image bytes, string [B]."""
        return self._answer(self.model(self._normalized(encoded), training=False), encoded)

    def features(self, encoded: tf.Tensor) -> dict:
        """Returns the encoder's features [B, D] of encoded image bytes, string [B]."""
        return {"features": self.encoder(self._normalized(encoded), training=False)}

    def _normalized(self, encoded: tf.Tensor) -> tf.Tensor:
        """Returns encoded images, string [B], as the model sees them: float32 [B, H, W, 3]."""
        # The layer prunes what its inputs do not feed; `image` alone feeds everything that
        # prediction needs.
        rows = self._transformed({IMAGE: _as_rank(encoded, self._raw_spec[IMAGE])})
        images = unpack_images(tf.reshape(rows[IMAGE], [-1]), *self._image_size)
        mean, std = (
            rows[name][:, tf.newaxis, tf.newaxis, :] for name in (CHANNEL_MEAN, CHANNEL_STD)
        )  # [B, 1, 1, 3]
        return normalize(images, mean, std)

    @tf.autograph.experimental.do_not_convert  # TFT's code needs none, and it would take seconds
    def _transformed(self, raw: dict) -> dict:
        """Returns the transformed features of raw ones, as many as these suffice for."""
        return self.transform(raw)

    def signatures(self) -> dict:
        """Returns the serving functions: on tf.Examples, on image bytes, features of those, and the
        one of the target for the Evaluator.
        """
        strings = tf.TensorSpec([None], tf.string)
        image_bytes = tf.TensorSpec([None], tf.string, name="image_bytes")
        # One graph for both ways to ask: it is traced, written and loaded once.
        predict = tf.function(self.predict, input_signature=[strings])
        served = {
            "serving_default": tf.function(
                lambda examples: predict(tf.reshape(self._parsed_image(examples), [-1])),
                input_signature=[tf.TensorSpec([None], tf.string, name="examples")],
            ),
            "from_images": tf.function(
                lambda image_bytes: predict(image_bytes), input_signature=[image_bytes]
            ),
            FEATURES: tf.function(
                lambda image_bytes: self.features(image_bytes), input_signature=[image_bytes]
            ),
        }
        if self._judged:
            served["transform_labels"] = tf.function(
                lambda examples: self.judged(examples), input_signature=[strings]
            )
        return {name: function.get_concrete_function() for name, function in served.items()}

    def _parsed_image(self, examples: tf.Tensor) -> tf.Tensor:
        return tf.io.parse_example(examples, {IMAGE: self._raw_spec[IMAGE]})[IMAGE]


def _as_rank(encoded: tf.Tensor, spec) -> tf.Tensor:
    """Shapes string [B] as the schema has it, [B] or [B, 1].

    A feature without a fixed shape is sparse.
    """
    if isinstance(spec, tf.io.VarLenFeature):
        return tf.sparse.from_dense(encoded[:, tf.newaxis])
    return tf.reshape(encoded, [-1, *spec.shape])


def save_served_model(
    served: ServedModel, directory: str, encoder: keras.Model, task: Task
) -> None:
    """Writes a SavedModel that TensorFlow Serving, TFMA and `pipeline.predict` load, with the
    encoder and the task beside it.

    Args:
      served: what to serve.
      directory: where to; made if it is not there.
      encoder: images -> features, kept as Keras file in assets.extra for the next Trainer.
      task: what the model answers; kept as JSON in assets.extra, for whoever shows its answers.
    """
    served.encoder = encoder
    tf.saved_model.save(served, directory, signatures=served.signatures())
    extras = os.path.join(directory, EXTRAS)
    tf.io.gfile.makedirs(extras)
    encoder.save(os.path.join(extras, ENCODER_FILE))
    Path(extras, TASK_FILE).write_text(task_to_json(task), encoding="utf-8")


def save_head(head: keras.Model, directory: str) -> None:
    """Keeps a classifier's head, features -> logits, beside a SavedModel, which other programs
    cannot take apart.
    """
    head.save(os.path.join(directory, EXTRAS, HEAD_FILE))


def save_projection_head(head: keras.Model, directory: str) -> None:
    """Keeps the projection head beside a SavedModel: training is done with it, but the report shows
    what it had learned.
    """
    head.save(os.path.join(directory, EXTRAS, PROJECTION_HEAD_FILE))


def load_projection_head(model_uri: str) -> keras.Model | None:
    """Loads the projection head that pretraining left beside a SavedModel, or None where there is
    none.

    Raises:
      InputError: if it is damaged.
    """
    return _loaded_if_there(os.path.join(model_uri, EXTRAS, PROJECTION_HEAD_FILE))


def load_head(model_uri: str) -> keras.Model | None:
    """Loads a classifier's head, features -> logits, or None where there is none.

    Raises:
      InputError: if it is damaged.
    """
    return _loaded_if_there(os.path.join(model_uri, EXTRAS, HEAD_FILE))


def load_encoder(model_uri: str, image_size: tuple[int, int] | None = None) -> keras.Model:
    """Loads the encoder that `save_served_model` left beside a SavedModel, for images of another
    size (H, W) if one is given.

    Raises:
      InputError: if it, or its record, is damaged.
    """
    if holds_encoder(model_uri):  # else it has no record, as one that is being made
        # whose module may register layers, without which nothing is loaded
        dotted.function(read_record(model_uri).encoder.builder)
    encoder = _loaded(os.path.join(model_uri, EXTRAS, ENCODER_FILE))
    if image_size is None or tuple(encoder.input_shape[1:3]) == tuple(image_size):
        return encoder
    resized = keras.models.clone_model(
        encoder, input_tensors=keras.Input((*image_size, 3), name="images")
    )
    resized.set_weights(encoder.get_weights())
    return resized


def _loaded_if_there(file: str) -> keras.Model | None:
    return _loaded(file) if tf.io.gfile.exists(file) else None


def _loaded(file: str) -> keras.Model:
    try:
        return keras.models.load_model(file, compile=False)
    except (OSError, ValueError, TypeError, LookupError, zipfile.BadZipFile) as error:
        reason = str(error)
        if "Could not locate" in reason:
            raise InputError(
                f"`{file}` must hold layers that are known. Received: {_unknown(reason)}. Fix: "
                f"its class registered with Keras, in the module of the encoder's builder or in "
                f"one that this imports"
            ) from error
        raise InputError(
            f"`{file}` must be a whole Keras file. Received: {_received(file, reason)}. Fix: a "
            f"whole copy of the folder, or another model"
        ) from error


def _unknown(reason: str) -> str:
    """Returns what Keras could not locate, as "class 'Scale'"."""
    return reason.partition("Could not locate ")[2].partition(".")[0]


def _received(file: str, reason: str) -> str:
    """Returns what is wrong with a Keras file; of one that is no archive Keras says that it is not
    there.
    """
    if not os.path.exists(file):
        return "none"
    if not zipfile.is_zipfile(file):
        return "one that was cut short, or something else"
    return reason.partition("\n")[0]
