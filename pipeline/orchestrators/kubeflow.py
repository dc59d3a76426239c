"""The pipeline as Kubeflow Pipelines 2 and Vertex AI read it: each node a container.

TFX's KubeflowV2DagRunner compiles the graph of a run on this machine. Three things differ, and are
handed to the graph: how the model to beat is found (Kubeflow runs no resolver of TFX's, Vertex its
own); the fingerprint of the rows, which our driver would make when the node runs and these
orchestrators do not ask for; and what the containers run (container.py). kfp then reads what was
made, before anything is written.
"""

import json
import re
from pathlib import Path

import yaml
from google.protobuf import json_format
from kfp import components as kfp_components
from kfp.pipeline_spec import pipeline_spec_pb2
from tfx.components import Trainer
from tfx.dsl.components.common.resolver import Resolver
from tfx.dsl.input_resolution.strategies.latest_blessed_model_strategy import (
    LatestBlessedModelStrategy,
)
from tfx.orchestration.kubeflow.v2.kubeflow_v2_dag_runner import (
    KubeflowV2DagRunner,
    KubeflowV2DagRunnerConfig,
)
from tfx.orchestration.pipeline import Pipeline
from tfx.types.channel import Channel
from tfx.types.standard_artifacts import Model, ModelBlessing

from components.file_list_example_gen.component import FileListExampleGen
from components.file_list_example_gen.driver import ListDriver
from components.metadata import names
from pipeline.orchestrators.choosing import BUCKETS, KUBEFLOW, VERTEX, Compilation
from pipeline.orchestrators.names import CHECKPOINTS_VARIABLE
from pipeline.pipeline import Folders, Part, graph_of, read_lists
from pipeline.plan import Plan
from pipeline.root import Root
from trainer_module.finished import CHECKPOINTS
from trainer_module.whole_files import write_text

COMMAND = ("python", "-m", "pipeline.orchestrators.container")


def compile_into(plan: Plan, compilation: Compilation, engine: str = "") -> str:
    """Writes what the orchestrator reads; returns what to tell."""
    del engine  # the containers' own, in process
    job = compiled(plan, compilation)
    spec = job["pipelineSpec"]
    validate(spec)
    if compilation.orchestrator == VERTEX:
        bucket = job["runtimeConfig"]["gcsOutputDirectory"].removeprefix(BUCKETS)
        job["runtimeConfig"]["gcsOutputDirectory"] = f"gs://{bucket}"
        text = json.dumps(job, indent=1, sort_keys=True)
    else:
        keep_checkpoints(spec, plan.choices.root / CHECKPOINTS)
        text = yaml.safe_dump_all([spec, *platform(spec, compilation.volume)], sort_keys=True)
    write_text(compilation.output, text)
    count = len(spec["deploymentSpec"]["executors"])
    return f"{compilation.output}: {count} nodes, image {compilation.image}"


def compiled(plan: Plan, compilation: Compilation) -> dict:
    """Returns the job of a plan: `pipelineSpec` and `runtimeConfig`, as plain values."""
    config = KubeflowV2DagRunnerConfig(
        default_image=compilation.image, default_commands=list(COMMAND), use_pipeline_spec_2_1=True
    )
    return KubeflowV2DagRunner(config).run(pipeline_of(plan, compilation), write_out=False)


def pipeline_of(plan: Plan, compilation: Compilation) -> Pipeline:
    """Returns the graph of a plan with what these orchestrators need of it."""
    root = Root(plan.choices.root)
    baseline = no_baseline if compilation.orchestrator == KUBEFLOW else latest_blessed_model
    folders = Folders(str(root.artifacts), str(root.serving), baseline=baseline)
    pipeline = graph_of(plan)(plan, folders, with_rows(read_lists(plan)))
    pipeline.pipeline_info.pipeline_name = legal(plan.name)
    return pipeline


def keep_checkpoints(spec: dict, folder: Path) -> None:
    """Has every container of a pipeline keep its checkpoints in a folder of the volume: Kubeflow
    keeps nothing of one that fails.
    """
    variable = {"name": CHECKPOINTS_VARIABLE, "value": str(folder)}
    for executor in spec["deploymentSpec"]["executors"].values():
        executor["container"]["env"] = [variable]


def legal(name: str) -> str:
    """Returns a pipeline's name as these orchestrators allow it."""
    return re.sub(r"[^a-z0-9-]", "-", name.lower()).lstrip("-") or "simclr"


def with_rows(node: FileListExampleGen) -> FileListExampleGen:
    """Returns the node with the fingerprint of the rows, as they are now, among its parameters:
    the cache sees an image edited since the pipeline was compiled last.
    """
    found = dict(node.exec_properties)
    ListDriver(None).resolve_exec_properties(found, None, None)
    node.exec_properties["rows"] = found[names.INPUT_FINGERPRINT]
    return node


def no_baseline(finetuner: Trainer) -> Part:
    """Has the Evaluator judge by the thresholds alone."""
    del finetuner
    return Part((), {})


def latest_blessed_model(finetuner: Trainer) -> Part:
    """Builds the node that Vertex puts its own in place of."""
    del finetuner
    resolver = Resolver(
        strategy_class=LatestBlessedModelStrategy,
        model=Channel(type=Model),
        model_blessing=Channel(type=ModelBlessing),
    ).with_id(names.BASELINE)
    return Part((resolver,), {names.BASELINE_INPUT: resolver.outputs["model"]})


def validate(spec: dict) -> None:
    """Has kfp read a pipeline as it would read a file.

    Raises:
      RuntimeError: if it is none for kfp.
    """
    try:
        json_format.ParseDict(spec, pipeline_spec_pb2.PipelineSpec())
        kfp_components.load_component_from_text(yaml.safe_dump(spec))
    except (ValueError, TypeError, KeyError, json_format.ParseError) as error:
        raise RuntimeError(f"kfp does not read what TFX compiled: {error}") from error


def platform(spec: dict, volume: str) -> list[dict]:
    """Returns the document that has Kubeflow mount a volume in every container, [] for none.

    Args:
      spec: the pipeline.
      volume: CLAIM:FOLDER, or ''.
    """
    if not volume:
        return []
    claim, _, folder = volume.partition(":")
    mount = {"pvcMount": [{"constant": claim, "mountPath": folder}]}
    executors = spec["deploymentSpec"]["executors"]
    mounted = {name: mount for name, one in executors.items() if "container" in one}
    return [{"platforms": {"kubernetes": {"deploymentSpec": {"executors": mounted}}}}]
