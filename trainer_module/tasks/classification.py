"""Classification: one label an image, a head of C logits, accuracy with per-class slices.

See task.py for what each part is for.

B images, D feature dims, C classes.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property

from trainer_module.errors import InputError
from trainer_module.findings import Finding, in_line
from trainer_module.settings import Finetuning, Target
from trainer_module.tasks.labels import one_answer, one_class, refuse_files
from trainer_module.tasks.task import Task, Value

SHOWN_NAMES = 5
MOST_CLASSES = 100_000
# of the labels must be integers for them to be class ids; the others are then typing errors
LEAST_ID_SHARE = 0.9


@dataclass(frozen=True)
class Classification(Task):
    """The task, fixed by the training list: class ids when every label is an integer, else class
    names.

    Integers that do not begin at 0, or leave out most of what is below the largest, are names too:
    as ids they would make classes without images.

    Attributes:
      num_classes: C, the number of logits.
      class_names: sorted names of the training list, or empty when labels are class ids in [0, C).
        A name's id is its place.
    """

    num_classes: int
    class_names: tuple[str, ...] = ()

    name = "classification"
    metric = "accuracy"
    target = "label"
    one_class_an_image = True
    fits_linear = True

    @classmethod
    def from_targets(cls, targets: Sequence[str], settings: Target) -> "Classification":
        """Learns from the training rows whether labels are ids or names, and how many classes there
        are if `num_classes` is 0.

        Raises:
          InputError: if the list names more classes than `num_classes`, or only one.
        """
        # rows without a label are told with all other bad rows
        given = [label for label in targets if label]
        if not given:
            raise InputError(
                "The training list has no labels: a row of this task is `path,label`. Without "
                "labels: --task=pretrain"
            )
        refuse_files(given, cls.name)
        whole = [label for label in given if _is_integer(label)]
        integers = len(whole) >= LEAST_ID_SHARE * len(given)
        labels = set(whole if integers else given)
        different = set(map(int, labels)) if integers else labels
        if len(different) == 1 and len(whole) in (0, len(given)):
            raise InputError(one_class(Counter(given)))
        ids = integers and _are_ids(labels, settings.num_classes)
        found = max(map(int, labels)) + 1 if ids else len(labels)
        classes = settings.num_classes or found
        if not 2 <= classes <= MOST_CLASSES:
            raise InputError(
                f"`num_classes` must be from 2 to {MOST_CLASSES}. Received: num_classes={classes}"
            )
        names = () if ids else tuple(sorted(labels, key=_as_numbers if integers else None))
        if len(names) > classes:
            more = ", ..." if len(names) > SHOWN_NAMES else ""
            shown = ", ".join(in_line(names[:SHOWN_NAMES])) + more
            raise InputError(
                f"The training list names {len(names)} classes ({shown}), more than "
                f"`num_classes`. Received: num_classes={classes}"
            )
        return cls(classes, names)

    def problem(self, target: str) -> str:
        """Returns what is wrong with a row's label, or '' if nothing is."""
        if not target:
            return "no label: a row of this task is `path,label`"
        if self.class_names:
            return (
                ""
                if target in self._known
                else f"label {target!r} does not occur in the training list"
            )
        if not _is_integer(target):
            return f"label {target!r} is not an integer, as the labels of the training list are"
        return (
            ""
            if 0 <= int(target) < self.num_classes
            else f"label {target} lies outside [0, {self.num_classes})"
        )

    @cached_property
    def _known(self) -> frozenset[str]:
        return frozenset(self.class_names)

    def class_name(self, target: str) -> str:
        """Returns the name of a label's class: 0 and 00 are one id."""
        return target if self.class_names else str(int(target))

    def noticed_in_rows(self, targets: Sequence[str]) -> list[Finding]:
        """Returns what is odd about the labels of the training list: how they are read, classes
        that it does not show, or far less often than others.
        """
        from trainer_module.tasks.labels import noticed

        images = Counter(targets), Counter(map(self.class_name, targets))
        return noticed(*images, self.class_names, self.num_classes)

    def noticed_in_held_out(self, targets: Sequence[str]) -> list[Finding]:
        """Returns a warning if one class alone is held out."""
        known, answer = set(map(self.class_name, targets)), f"the class {targets[0]!r}"
        return one_answer("class", answer, len(targets)) if len(known) == 1 else []

    def constant_score(self, targets: Sequence[str]) -> float:
        """Returns the share of the most frequent class, at least chance, 1 / C."""
        ((_, most),) = Counter(map(self.class_name, targets)).most_common(1)
        return max(most / len(targets), 1 / self.num_classes)

    def example_fields(self, target: str | bytes, image_size: tuple[int, int]) -> dict[str, Value]:
        """Returns an int64 class id or the bytes of a class name."""
        del image_size
        return {"label": target.encode() if self.class_names else int(target)}

    @property
    def placeholder(self) -> dict[str, Value]:
        """The first class."""
        return self.example_fields(self.class_names[0] if self.class_names else "0", (0, 0))

    def transform(self, inputs: dict, image_size: tuple[int, int]) -> dict:
        """Turns the label, [B] or [B, 1], int64 or string, into a class id, int64 [B]."""
        del image_size
        if "label" not in inputs:
            return {}
        import tensorflow as tf

        label = tf.reshape(inputs["label"], [-1])
        return {"label": self._name_table().lookup(label) if self.class_names else label}

    def _name_table(self):
        import tensorflow as tf
        import tensorflow_transform as tft

        def table() -> tf.lookup.StaticHashTable:
            ids = tf.range(len(self.class_names), dtype=tf.int64)
            return tf.lookup.StaticHashTable(
                tf.lookup.KeyValueTensorInitializer(tf.constant(self.class_names), ids), -1
            )

        return tft.make_and_track_object(table, name="class_names")

    def head(self, encoder, kind: str):
        """Returns a model from normalized images to logits [B, C]."""
        from trainer_module.heads import attach_head

        return attach_head(encoder, self.num_classes, kind)

    def fitted_linear(self, features, targets) -> list:
        """Returns kernel [D, C] and bias [C] of multinomial logistic regression."""
        from trainer_module.linear_eval import fit_linear

        return list(fit_linear(features, targets, self.num_classes))

    def loss(self, statistics: dict, settings: Finetuning):
        """Returns the cross entropy of logits [B, C] and class ids [B]."""
        del statistics, settings
        import keras

        return keras.losses.SparseCategoricalCrossentropy(from_logits=True, name="cross_entropy")

    def metrics(self, statistics: dict) -> list:
        """Returns the accuracy."""
        del statistics
        import keras

        return [keras.metrics.SparseCategoricalAccuracy(name="accuracy")]

    def contributions(self, targets, outputs, statistics: dict):
        """Returns 1 for every image that is classified as labelled, else 0; int64 [B, 1]."""
        del statistics
        return (outputs.argmax(axis=-1) == targets.reshape(-1)).astype("int64")[:, None]

    def served(self, outputs, encoded, statistics: dict) -> dict:
        """Returns probabilities [B, C], the likeliest class's id [B] and its name [B]."""
        del encoded, statistics
        import tensorflow as tf

        class_id = tf.argmax(outputs, axis=-1)  # [B]
        return {
            "probabilities": tf.nn.softmax(outputs),
            "class_id": class_id,
            "class_name": tf.gather(tf.constant(self.names_by_id()), class_id),
        }

    def names_by_id(self) -> list[str]:
        """Returns C names in the order of class ids: the training list's, or the ids themselves."""
        names = (
            list(self.class_names)
            if self.class_names
            else [str(index) for index in range(self.num_classes)]
        )
        return names + [f"unused {index}" for index in range(len(names), self.num_classes)]

    def judged(self, raw: dict, transformed: dict) -> dict:
        """Returns the class ids; named apart from the raw label, by which the Evaluator makes its
        slices, so that these have names.
        """
        del raw
        return {"class_id": transformed["label"]}

    def evaluation(self, limit: float, max_drop: float) -> dict:
        """Returns TFMA's EvalConfig as a dict: accuracy with thresholds, one slice a class, the
        confusion matrix.
        """
        threshold = {
            "value_threshold": {"lower_bound": limit},
            "change_threshold": {"direction": "HIGHER_IS_BETTER", "absolute": -max_drop},
        }
        overall = [{"slicing_specs": [{}], "threshold": threshold}]  # a single class may fall below
        return {
            "model_specs": [
                {
                    "signature_name": "serving_default",
                    "prediction_key": "probabilities",
                    "label_key": "class_id",
                    "preprocessing_function_names": ["transform_labels"],
                }
            ],
            "slicing_specs": [{}, {"feature_keys": ["label"]}],
            "metrics_specs": [
                {
                    "metrics": [
                        {"class_name": "ExampleCount"},
                        {
                            "class_name": "SparseCategoricalAccuracy",
                            "config": '"name": "accuracy"',
                            "per_slice_thresholds": overall,
                        },
                        {"class_name": "SparseCategoricalCrossentropy"},
                        {
                            "class_name": "MultiClassConfusionMatrixPlot",
                            "config": '"num_thresholds": 2',
                        },
                    ]
                }
            ],
        }

    def line(self, answer: dict) -> str:
        """Returns the class and its probability."""
        return f"{answer['class_name'].decode()}  {max(answer['probabilities']):.3f}"


def _are_ids(labels: Collection[str], num_classes: int) -> bool:
    """Tells whether integers are class ids, and not names that are made of digits.

    Args:
      labels: the different ones.
      num_classes: as the user said, or 0.
    """
    numbers = {int(label) for label in labels}
    one_spelling = len(numbers) == len(labels)
    if one_spelling and any(label != str(int(label)) for label in labels):
        return False  # as 007
    if num_classes and (max(numbers) < num_classes or len(numbers) != num_classes):
        return True
    from_zero = 0 in numbers and 2 * len(numbers) > max(numbers)
    several = max(numbers) > 0  # -1 and 0 have one id between them, so they are names
    return several and (not one_spelling or from_zero)


def _as_numbers(label: str) -> tuple[int, str]:
    return int(label), label


def _is_integer(text: str) -> bool:
    return text.removeprefix("-").isdigit() and text.isascii()
