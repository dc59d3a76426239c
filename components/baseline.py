"""EarlierBlessedModel: which model a new one must not fall behind.

TFX's own LatestBlessedModelStrategy, asked again after a blessed run, answers with the very model that was blessed: the
same run is then evaluated once more, against itself. Here the baseline is the latest blessed model *older* than the
candidate, so the same candidate always meets the same baseline and an unchanged run is cached from end to end.
"""

from tfx import types
from tfx.components.evaluator import constants
from tfx.dsl.components.common.resolver import ResolverStrategy

CANDIDATE, MODEL, BLESSING = "candidate", "model", "model_blessing"


class EarlierBlessedModel(ResolverStrategy):
    """For `Resolver(strategy_class=EarlierBlessedModel, candidate=..., model=..., model_blessing=...)`."""

    def resolve_artifacts(self, store, input_dict: dict[str, list[types.Artifact]]) -> dict[str, list[types.Artifact]]:
        """Returns the same keys, each with the one artifact chosen, or with none where there is no earlier blessed model.

        Args:
          store: the ML Metadata store; not used.
          input_dict: `candidate`: the new model; `model`: every model of this pipeline; `model_blessing`: every blessing.
        """
        del store
        candidates = input_dict[CANDIDATE]
        blessings = {
            blessing.get_int_custom_property(constants.ARTIFACT_PROPERTY_CURRENT_MODEL_ID_KEY): blessing
            for blessing in input_dict[BLESSING]
            if blessing.get_int_custom_property(constants.ARTIFACT_PROPERTY_BLESSED_KEY) == 1
        }
        newest = max((candidate.id for candidate in candidates), default=0)
        earlier = [model for model in input_dict[MODEL] if model.id in blessings and model.id < newest]
        chosen = max(earlier, key=lambda model: model.id, default=None)
        return {
            CANDIDATE: candidates,
            MODEL: [chosen] if chosen else [],
            BLESSING: [blessings[chosen.id]] if chosen else [],
        }
