"""EarlierBlessedModel: which model a new one must not fall behind.

TFX's own LatestBlessedModelStrategy, asked again after a blessed run, answers with the very model
that was blessed: the same run is then evaluated once more, against itself. Here the baseline is the
latest model *older* than the candidate that every gate blessed, Evaluator and ModelCheck, so the
same candidate always meets the same baseline and an unchanged run is cached from end to end.
"""

from tfx import types
from tfx.components.evaluator import constants
from tfx.dsl.components.common.resolver import ResolverStrategy

CANDIDATE, MODEL, BLESSING, INFRA_BLESSING = (
    "candidate",
    "model",
    "model_blessing",
    "infra_blessing",
)


class EarlierBlessedModel(ResolverStrategy):
    """For `Resolver(strategy_class=EarlierBlessedModel, candidate=..., model=...,
    model_blessing=..., infra_blessing=...)`.
    """

    def resolve_artifacts(
        self, store, input_dict: dict[str, list[types.Artifact]]
    ) -> dict[str, list[types.Artifact]]:
        """Returns the same keys, each with the one artifact chosen, or with none where there is no
        earlier blessed model.

        Args:
          store: the ML Metadata store; not used.
          input_dict: `candidate`: the new model; `model`: every model of this pipeline;
            `model_blessing`: every blessing of the Evaluator; `infra_blessing`: every one of
            ModelCheck. Both name their model by the Evaluator's property.
        """
        del store
        candidates = input_dict[CANDIDATE]
        gates = {key: _blessings(input_dict[key]) for key in (BLESSING, INFRA_BLESSING)}
        newest = max((candidate.id for candidate in candidates), default=0)
        earlier = [
            model
            for model in input_dict[MODEL]
            if model.id < newest and all(model.id in blessed for blessed in gates.values())
        ]
        chosen = max(earlier, key=lambda model: model.id, default=None)
        return {
            CANDIDATE: candidates,
            MODEL: [chosen] if chosen else [],
            **{key: [blessed[chosen.id]] if chosen else [] for key, blessed in gates.items()},
        }


def _blessings(artifacts: list[types.Artifact]) -> dict[int, types.Artifact]:
    """Returns the blessings that a gate gave, by the id of the model."""
    return {
        blessing.get_int_custom_property(constants.ARTIFACT_PROPERTY_CURRENT_MODEL_ID_KEY): blessing
        for blessing in artifacts
        if blessing.get_int_custom_property(constants.ARTIFACT_PROPERTY_BLESSED_KEY) == 1
    }
