"""Classification: one label an image, a head of `num_classes` logits, accuracy with per-class slices.

A task file says how a row's target is read and checked, how Transform turns it into a number, which head, loss and
metrics train on it, how TFMA judges it and what the served model returns. Nothing else in the project knows
that the task is classification. B images, D feature dims, C classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from trainer_module.errors import InputError

NAME = "classification"
SHOWN_NAMES = 5
MOST_CLASSES = 100_000
LEAST_ID_SHARE = 0.9  # of the labels must be integers for them to be class ids; the others are then typing errors


@dataclass(frozen=True)
class Classification:
    """The task, fixed by the training list: class ids when every label is an integer, else class names.

    Attributes:
      num_classes: C, the number of logits.
      class_names: sorted names of the training list, or empty when labels are class ids in [0, C).
    """

    num_classes: int
    class_names: tuple[str, ...] = ()

    name = NAME
    metric = "accuracy"
    has_target = True

    @classmethod
    def from_targets(cls, targets: Sequence[str], num_classes: int) -> "Classification":
        """Learns from the training rows whether labels are ids or names.

        Args:
          targets: the label column of the training list.
          num_classes: C as the user gave it, or 0 to count the classes of the list.

        Raises:
          InputError: if the list names more classes than `num_classes`, or only one.
        """
        given = [label for label in targets if label]  # rows without a label are told with all other bad rows
        ids = [label for label in given if _is_integer(label)]
        named = len(ids) < LEAST_ID_SHARE * len(given)
        labels = set(given if named else ids)
        counted = len(labels) if named else max((int(label) for label in labels), default=0) + 1
        classes = num_classes or counted
        if not given:
            raise InputError("The training list has no labels: a row of this task is `path,label`. Without labels: --task=pretrain")
        if not 2 <= classes <= MOST_CLASSES:
            raise InputError(f"`num_classes` must be from 2 to {MOST_CLASSES}. Received: num_classes={classes}")
        names = tuple(sorted(labels)) if named else ()
        if len(names) > classes:
            shown = ", ".join(names[:SHOWN_NAMES])
            raise InputError(
                f"The training list names {len(names)} classes ({shown}, ...), more than `num_classes`. Received: num_classes={classes}"
            )
        return cls(classes, names)

    def problem(self, target: str) -> str:
        """Returns what is wrong with a row's label, or '' if nothing is."""
        if not target:
            return "no label: a row of this task is `path,label`"
        if self.class_names:
            return "" if target in self.class_names else f"label {target!r} does not occur in the training list"
        if not _is_integer(target):
            return f"label {target!r} is not an integer, as the labels of the training list are"
        return "" if 0 <= int(target) < self.num_classes else f"label {target} lies outside [0, {self.num_classes})"

    def features(self, target: str) -> dict[str, int | bytes]:
        """Returns what a row's label becomes in its tf.Example: an int64 class id or the bytes of a class name."""
        return {"label": target.encode() if self.class_names else int(target)}

    @property
    def placeholder(self) -> str:
        """A label for images that have none, so that all splits have the same features; nobody reads it."""
        return self.class_names[0] if self.class_names else "0"

    def transform(self, inputs: dict) -> dict:
        """Turns the raw label into a class id inside TFT's preprocessing_fn.

        Args:
          inputs: batched raw features; `label` is [B] or [B, 1], int64 or string. Serving feeds none.

        Returns:
          {'label': int64 [B]}, or nothing where there is no label. Names get the ids of a vocabulary in the asset `labels`.
        """
        if "label" not in inputs:
            return {}
        import tensorflow as tf
        import tensorflow_transform as tft

        label = tf.reshape(inputs["label"], [-1])
        if self.class_names:
            label = tft.compute_and_apply_vocabulary(label, vocab_filename="labels")
        return {"label": label}

    def head(self, kind: str):
        """Returns the Keras layers from features [B, D] to logits [B, C]; `kind` is 'linear' or 'mlp'."""
        import keras

        layers = [keras.layers.Dense(self.num_classes, name="logits", dtype="float32")]
        if kind == "mlp":
            layers.insert(0, keras.layers.Dense(512, activation="relu", name="hidden"))
        return layers

    def loss(self):
        """Returns the Keras loss of logits [B, C] against class ids [B]."""
        import keras

        return keras.losses.SparseCategoricalCrossentropy(from_logits=True, name="cross_entropy")

    def metrics(self) -> list:
        """Returns the Keras metrics shown while a head trains."""
        import keras

        return [keras.metrics.SparseCategoricalAccuracy(name="accuracy")]

    def served(self, logits, names: Sequence[str]) -> dict:
        """Returns what the served model answers, from logits [B, C] and the class names in the order of their ids."""
        import tensorflow as tf

        class_id = tf.argmax(logits, axis=-1)  # [B]
        return {
            "probabilities": tf.nn.softmax(logits),
            "class_id": class_id,
            "class_name": tf.gather(tf.constant(list(names)), class_id),
        }

    def names_by_id(self, vocabulary: Sequence[str]) -> list[str]:
        """Returns C names in the order of class ids: the learned vocabulary, or the ids themselves."""
        names = list(vocabulary) if self.class_names else [str(index) for index in range(self.num_classes)]
        return names + [f"unused {index}" for index in range(len(names), self.num_classes)]

    def evaluation(self, min_metric: float, max_metric_drop: float) -> dict:
        """Returns TFMA's EvalConfig as a dict: accuracy with thresholds, one slice a class, the confusion matrix.

        Args:
          min_metric: least accuracy in [0, 1]; chance, 1 / C, is asked for in any case.
          max_metric_drop: how far the accuracy may fall behind the baseline model's.
        """
        threshold = {
            "value_threshold": {"lower_bound": max(min_metric, 1 / self.num_classes)},
            "change_threshold": {"direction": "HIGHER_IS_BETTER", "absolute": -max_metric_drop},
        }
        overall = [{"slicing_specs": [{}], "threshold": threshold}]  # a single class may fall below
        return {
            "model_specs": [
                {
                    "signature_name": "serving_default",
                    "prediction_key": "probabilities",
                    "label_key": "label",
                    "preprocessing_function_names": ["transform_labels"],
                }
            ],
            "slicing_specs": [{}, {"feature_keys": ["label"]}],
            "metrics_specs": [
                {
                    "metrics": [
                        {"class_name": "ExampleCount"},
                        {"class_name": "SparseCategoricalAccuracy", "config": '"name": "accuracy"', "per_slice_thresholds": overall},
                        {"class_name": "SparseCategoricalCrossentropy"},
                        {"class_name": "MultiClassConfusionMatrixPlot", "config": '"num_thresholds": 2'},
                    ]
                }
            ],
        }


def _is_integer(text: str) -> bool:
    return text.removeprefix("-").isdigit() and text.isascii()
