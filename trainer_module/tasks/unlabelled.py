"""No task at all: images without targets, for pretraining alone."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from trainer_module.metric_names import KNN
from trainer_module.settings import Target
from trainer_module.tasks.task import Task, Value


@dataclass(frozen=True)
class Unlabelled(Task):
    """Rows are `path`; a second column is allowed and ignored, so that a labelled list can be
    pretrained on.
    """

    name = "pretrain"
    metric = KNN

    @classmethod
    def from_targets(cls, targets: Sequence[str], settings: Target) -> "Unlabelled":
        """Returns the one task of this kind."""
        del targets, settings
        return cls()

    def problem(self, target: str) -> str:
        """Returns '': there is no target to be wrong."""
        del target
        return ""

    def example_fields(self, target: str | bytes, image_size: tuple[int, int]) -> dict[str, Value]:
        """Returns no field."""
        del target, image_size
        return {}

    def transform(self, inputs: dict, image_size: tuple[int, int]) -> dict:
        """Returns no transformed target."""
        del inputs, image_size
        return {}

    def line(self, answer: dict) -> str:
        """Returns the features as a list of numbers."""
        return json.dumps(answer["features"].tolist())
