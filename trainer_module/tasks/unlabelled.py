"""No task at all: images without targets, for pretraining alone."""

from dataclasses import dataclass

NAME = "pretrain"


@dataclass(frozen=True)
class Unlabelled:
    """Rows are `path`; a second column is allowed and ignored, so that a labelled list can be pretrained on."""

    name = NAME
    metric = "knn_accuracy"
    has_target = False

    def problem(self, target: str) -> str:
        """Returns '': there is no target to be wrong."""
        del target
        return ""

    def features(self, target: str) -> dict:
        """Returns no feature."""
        del target
        return {}

    def transform(self, inputs: dict) -> dict:
        """Returns no transformed target."""
        del inputs
        return {}
