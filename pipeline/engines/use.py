"""Puts an engine into a compiled pipeline, after its digest was made: which engine made an answer
is no part of it, so a run may be resumed on another.
"""

import os

from tfx.proto.orchestration.executable_spec_pb2 import BeamExecutableSpec
from tfx.proto.orchestration.pipeline_pb2 import IntermediateDeploymentConfig

from pipeline.engines.engine import Engine, worker_environment


def use_engine(graph, engine: Engine) -> None:
    """Has every node of a compiled pipeline that works through Beam use an engine's flags.

    Workers that this process starts inherit what they need from its environment.
    """
    if engine.is_elsewhere:
        os.environ.update(worker_environment())
    deployment = IntermediateDeploymentConfig()
    graph.deployment_config.Unpack(deployment)
    for packed in deployment.executor_specs.values():
        spec = BeamExecutableSpec()
        if packed.Is(spec.DESCRIPTOR):
            packed.Unpack(spec)
            spec.beam_pipeline_args.extend(engine.flags)
            for flag in engine.flags:
                spec.beam_pipeline_args_placeholders.add().value.string_value = flag
            packed.Pack(spec)
    graph.deployment_config.Pack(deployment)
