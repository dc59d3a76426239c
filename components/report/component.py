"""RunReport: the last node of a run, one HTML page about all of it."""

from tfx.dsl.components.base.base_component import BaseComponent
from tfx.dsl.components.base.executor_spec import ExecutorClassSpec
from tfx.types.artifact import Artifact
from tfx.types.channel import BaseChannel, Channel
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter
from tfx.types.standard_artifacts import (
    ExampleAnomalies,
    Examples,
    ExampleStatistics,
    InfraBlessing,
    Model,
    ModelBlessing,
    ModelEvaluation,
    ModelRun,
    PushedModel,
    TransformGraph,
)

from components.metadata.names import REPORT
from components.report.executor import Executor


class HtmlReport(Artifact):
    """A folder with the page, `report.html`, and what TensorBoard shows of the same images,
    `tensorboard`.
    """

    TYPE_NAME = "simclr.HtmlReport"  # Kubeflow wants a prefix


def _optional(kind: type[Artifact]) -> ChannelParameter:
    return ChannelParameter(type=kind, optional=True)


class RunReportSpec(ComponentSpec):
    """What the page is about; whatever a graph does not have is left out of the page."""

    PARAMETERS = {  # noqa: RUF012 (as TFX wants it)
        "fingerprint": ExecutionParameter(type=str),
        "findings": ExecutionParameter(type=str),
    }
    INPUTS = {  # noqa: RUF012
        "examples": ChannelParameter(type=Examples),
        "statistics": ChannelParameter(type=ExampleStatistics),
        "anomalies": _optional(ExampleAnomalies),
        "transformed_examples": ChannelParameter(type=Examples),
        "transform_graph": ChannelParameter(type=TransformGraph),
        "pretrained_model": _optional(Model),
        "pretraining": _optional(ModelRun),
        "by_epoch": _optional(ModelEvaluation),
        "model": _optional(Model),
        "finetuning": _optional(ModelRun),
        "evaluation": _optional(ModelEvaluation),
        "blessing": _optional(ModelBlessing),
        "infra_blessing": _optional(InfraBlessing),
        "pushed_model": ChannelParameter(type=PushedModel),
    }
    OUTPUTS = {REPORT: ChannelParameter(type=HtmlReport)}  # noqa: RUF012


class RunReport(BaseComponent):
    """Makes the report once everything else is done.

    What the inputs cannot tell (which nodes ran, earlier runs) is read from ML Metadata as it is at
    that moment; a run whose inputs are the same finds the page in the cache.
    """

    SPEC_CLASS = RunReportSpec
    EXECUTOR_SPEC = ExecutorClassSpec(Executor)

    def __init__(self, fingerprint: str, findings: str = "[]", **channels: BaseChannel):
        """Describes the node.

        Args:
          fingerprint: digest of the code that makes the page.
          findings: what the checks before the run noticed, as JSON (trainer_module/findings.py).
          **channels: the inputs of `RunReportSpec`.
        """
        super().__init__(
            RunReportSpec(
                fingerprint=fingerprint,
                findings=findings,
                report=Channel(type=HtmlReport),
                **channels,
            )
        )
