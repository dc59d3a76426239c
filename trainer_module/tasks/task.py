"""What a task is: everything that differs between classifying, segmenting and measuring, and
nothing else.

A task is one file in this folder with one frozen dataclass that implements `Task`, and one line in
registry.py. Every other file of the project is given a task object and asks it. In the order of an
image's road, a task says

    rows       what the second column of a list means, what is wrong with it, what a constant
               answer would score
    ingest     what a row's target becomes in its tf.Example
    Transform  what the Trainers read of it, and what is learned about it from the training split
               (`statistics`)
    training   head, augmentation, loss and metrics
    serving    what the served model answers
    Evaluator  TFMA's configuration: the metric, its slices and its thresholds
    a person   one line and perhaps pictures for a prediction

Lists are checked before anything heavy is imported: the module of a task imports the standard
library alone at its top, and Keras or TensorFlow inside the methods that need them. The dataclass's
fields are what the training list fixes, such as the number of classes; they travel as JSON. A node
of the pipeline runs again if a method that it calls is edited (pipeline/fingerprint.py).

B images, H x W pixels as Transform stores them, D feature dims.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol

from trainer_module.findings import Finding
from trainer_module.intervals import SHARES, Interval
from trainer_module.settings import MILD, Augmentation, Finetuning, Target

Value = int | float | bytes | list[int] | list[float]  # of one field of a tf.Example


class Task(Protocol):
    """A task; where a body stands here it is the default, so that a plain task is short.

    Attributes:
      name: what `--task` takes.
      metric: what it is judged by: TFMA's name of the number that gates, and the name of the first
        of `metrics`.
      higher_is_better: which way the metric points.
      target: name of the field that holds the target, before and after Transform; '' if rows have
        none.
      target_is_file: whether the second column names a file. Its path is resolved as an image's is,
        its content is read by ingest, and its size and time of change belong to the list's
        fingerprint.
      one_class_an_image: whether targets are one class id an image, so that neighbours and a linear
        probe can watch pretraining. If `evaluation` asks for a MultiClassConfusionMatrixPlot the
        report shows which classes are taken for which, with images if `served` has a `class_id`.
      on_features: whether the head reads the encoder's features alone. With a frozen encoder these
        are then computed once, and linear heads before and after pretraining are compared; else the
        whole head is trained a second time, on an untrained encoder.
      fits_linear: whether there is a `fitted_linear` for a linear head on the features of a frozen
        encoder.
      statistics: names of what `transform` learns beside the target, the same in every row, such as
        the target's mean.
      judged_by: name of what `transform` hands on beside the target, bytes, for models to be
        compared by as the Evaluator judges the served one; '' where it is the target.
      mild: the views that a target survives.
    """

    name: ClassVar[str]
    metric: ClassVar[str]
    higher_is_better: ClassVar[bool] = True
    target: ClassVar[str] = ""
    target_is_file: ClassVar[bool] = False
    one_class_an_image: ClassVar[bool] = False
    on_features: ClassVar[bool] = True
    fits_linear: ClassVar[bool] = False
    statistics: ClassVar[tuple[str, ...]] = ()
    judged_by: ClassVar[str] = ""
    mild: ClassVar[Augmentation] = MILD

    @property
    def has_target(self) -> bool:
        """Whether there is anything to train for after pretraining."""
        return bool(self.target)

    # Rows: the standard library alone.

    @classmethod
    def from_targets(cls, targets: Sequence[str], settings: Target) -> "Task":
        """Returns the task that a training list fixes.

        Args:
          targets: the second column of the training list, '' where it is missing.
          settings: what the user said about targets, such as the number of classes.

        Raises:
          InputError: if no task can be made of these.
        """

    def problem(self, target: str) -> str:
        """Returns what is wrong with the second column of a row, or ''.

        The file it may name is looked at by `example_fields`.
        """

    def constant_score(self, targets: Sequence[str]) -> float:
        """Returns what the best constant answer to these targets scores, which a model must beat.

        0 if a list does not tell.
        """
        del targets
        return 0.0

    def class_name(self, target: str) -> str:
        """Returns the name of a good label's class, as in `names_by_id`: an id may be spelled in
        several ways.

        Of `one_class_an_image` alone.
        """
        return target

    def noticed_in_rows(self, targets: Sequence[str]) -> list[Finding]:
        """Returns what a person should know about the targets of the training list.

        Each is good by itself: `problem` has none of them.
        """
        del targets
        return []

    def noticed_in_held_out(self, targets: Sequence[str]) -> list[Finding]:
        """Returns what makes the targets of the held out images say little; each is good by itself.

        Files that they name are looked at by `noticed_in_images`.
        """
        del targets
        return []

    # Ingest.

    def example_fields(self, target: str | bytes, image_size: tuple[int, int]) -> dict[str, Value]:
        """Returns what a row's target becomes in its tf.Example: {self.target: value}.

        Args:
          target: the second column, or the content of the file it names if `target_is_file`.
          image_size: (height, width) in pixels of the image as it is on disk.

        Raises:
          ValueError: what is wrong with the content of the file.
        """

    @property
    def placeholder(self) -> dict[str, Value]:
        """The fields of images that have no target, so that all splits have the same ones.

        Nobody reads it.
        """

    def counts(self, target: str | bytes) -> dict[str, int]:
        """Returns what to add up over the images of a list, name -> number, of one target as
        `example_fields` takes it.
        """
        del target
        return {}

    def noticed_in_images(self, sums: Mapping[str, Mapping[str, int]]) -> list[Finding]:
        """Returns what a person should know about the targets of all images.

        Args:
          sums: split, as the lists name them -> name -> sum of `counts`.
        """
        del sums
        return []

    # Transform.

    def transform(self, inputs: dict, image_size: tuple[int, int]) -> dict:
        """Transforms the target inside TFT's preprocessing_fn.

        Args:
          inputs: batched raw fields. When a model is served there is `image` alone: leave out
            what cannot be made of that.
          image_size: (H, W).

        Returns:
          {self.target: int64, float32 or string [B] or [B, ...]} and every one of `statistics`, [B,
          ...] with equal rows; `judged_by`, string [B], where there is one.
        """

    def targets(self, rows: dict, image_size: tuple[int, int]):
        """Returns the targets of transformed examples as training needs them, [B, ...], from a
        batch of what `transform` made.
        """
        del image_size
        return rows[self.target]

    # Training; `statistics` holds name -> numpy array [...] of what Transform learned.

    @classmethod
    def learns_from_views(cls, settings: Finetuning) -> bool:
        """Tells whether the images themselves are trained on, in ever new views, and not features
        that are computed once.
        """
        return not (settings.freeze and cls.on_features)

    def solves_head(self, settings: Finetuning) -> bool:
        """Tells whether the head is fitted at once (`fitted_linear`), not by gradient steps."""
        linear = settings.head == "linear"
        return self.fits_linear and linear and not self.learns_from_views(settings)

    def learns_by_steps(self, settings: Finetuning) -> bool:
        """Tells whether anything is trained by gradient steps: the network, or a head that is not
        fitted at once.
        """
        whole = self.learns_from_views(settings) or settings.beside_scratch
        return self.has_target and (whole or not self.solves_head(settings))

    def learns_from_copies(self, settings: Finetuning) -> bool:
        """Tells whether `settings.copies` of the images are learned from, too, where there are any:
        by a head that is fitted at once, of classes, because a crop leaves a class as it is, and no
        number.
        """
        return self.one_class_an_image and self.solves_head(settings)

    def head(self, encoder, kind: str):
        """Returns a Keras model from normalized images [B, H, W, 3] to the outputs, sharing the
        encoder's weights.

        Args:
          encoder: normalized images -> features [B, D]; `trainer_module.resnet.stage_outputs` gives
            its stages.
          kind: 'linear' or 'mlp'. A linear head on features ends in a Dense layer named `logits`
            (trainer_module/heads.py).
        """

    def fitted_linear(self, features, targets) -> list:
        """Returns kernel [D, outputs] and bias [outputs] of a linear fit.

        Asked only if `fits_linear`.

        Args:
          features: [N, D]; of `one_class_an_image` also [(1 + R) * N, D], those of the images, then
            of R copies of all of them one after another.
          targets: [N, ...].
        """

    def views(self, images, targets, chance, settings: Augmentation):
        """Returns one random view of every image, and the target of that view.

        Args:
          images: uint8 [B, H, W, 3].
          targets: [B, ...].
          chance: keras.random.SeedGenerator; what is drawn with it, by trainer_module/chance.py, is
            the same for an image however many machines share a batch.
          settings: `finetuning.views`, which are `mild` where recipe and user left them alone.

        Returns:
          float32 [B, H, W, 3] in [0, 1] and [B, ...].
        """
        from trainer_module.augment import augment

        return augment(images, settings, images.shape[1:3], chance), targets

    def loss(self, statistics: dict, settings: Finetuning):
        """Returns the Keras loss of outputs against targets, a mean over images."""

    def metrics(self, statistics: dict) -> list:
        """Returns the Keras metrics of outputs against targets, the one named `metric` first."""

    def contributions(self, targets, outputs, statistics: dict):
        """Returns what each image adds to the metric, numpy [B, K], or None if the metric is no
        function of sums over images: differences between models are then told without an interval.

        Args:
          targets: [B, ...], numpy; of a task that has `judged_by` a list of B bytes.
          outputs: of the head, [B, ...], numpy.
          statistics: name -> array.
        """
        del targets, outputs, statistics

    def metric_of(self, sums, images: int):
        """Returns the metric [...] from sums of `contributions` [..., K] over so many images."""
        return sums[..., 0] / images

    def interval(self, contributions) -> Interval | None:
        """Returns the 95 % interval of the metric of images that add so much, [M, K]: of a share,
        else of images drawn anew; None where they are too few to tell.
        """
        from trainer_module.gains import own_interval

        return own_interval(contributions, self.metric_of)

    # Serving and Evaluator.

    def served(self, outputs, encoded, statistics: dict) -> dict:
        """Returns what the served model answers.

        Args:
          outputs: of the head, [B, ...].
          encoded: the images as they were sent, string [B].
          statistics: name -> array.

        Returns:
          Named tensors, [B, ...] each.
        """

    def judged(self, raw: dict, transformed: dict) -> dict:
        """Returns what the Evaluator holds the answers against, {name: [B, ...]}, from the raw and
        the transformed target.
        """
        del raw
        return {self.target: transformed[self.target]}

    def evaluation(self, limit: float, max_drop: float) -> dict:
        """Returns TFMA's EvalConfig as a dict.

        TFMA calls the signatures `serving_default` and `transform_labels`, which returns `judged`.

        Args:
          limit: what the metric must reach: at least, or at most where less is better.
          max_drop: how far it may fall behind the latest blessed model's.
        """

    # A person.

    def names_by_id(self) -> list[str]:
        """Returns the names of all classes in the order of their ids, or [] where they have none.

        Of `one_class_an_image` alone.
        """
        return []

    def shown(self, value: float) -> str:
        """Returns a value of the metric as a person reads it."""
        return f"{100 * value:.2f} %"

    def told(self, name: str, value: float) -> str:
        """Returns any number of a run as a person reads it: its metric as `shown`, of others the
        shares by their names' endings as such.
        """
        if name.endswith(self.metric):
            return self.shown(value)
        return f"{100 * value:.2f} %" if name.endswith(SHARES) else f"{value:.4g}"

    def line(self, answer: dict[str, Any]) -> str:
        """Returns one line about the answer to one image, of what `served` returns as numpy values
        without the first axis.
        """
        return ", ".join(f"{name} {value}" for name, value in answer.items())

    def unpadded(self, answer: dict[str, Any]) -> dict[str, Any]:
        """Returns the answer to one image without what `served` adds where a batch has larger ones:
        an answer is the same whatever it was asked beside.
        """
        return answer

    def drawn(self, answer: dict[str, Any], encoded: bytes) -> dict[str, bytes]:
        """Returns pictures of the answer to one image, ending of the file name -> content, as in
        {'overlay.png': ...}.
        """
        del answer, encoded
        return {}
