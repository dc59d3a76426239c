"""The pipeline as TFX compiles it, and what is done to it before a node runs: the libraries are
loaded, and the graph becomes that of one run in one store.
"""

import gc
import hashlib
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from components.metadata.names import METADATA_VARIABLE
from components.metadata.store import connection, note_run, reopen
from pipeline.imported import bring_in
from pipeline.plan import Plan
from pipeline.root import Root

ENVIRONMENT = {
    "TF_CPP_MIN_LOG_LEVEL": "2",
    # off by default without AVX-512, where it halves the time of a training step all the same
    "TF_ENABLE_ONEDNN_OPTS": "1",
}


def set_environment() -> None:
    """Sets what libraries read when they are imported; what a person has set stays."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)


def load_libraries() -> None:
    """Loads what nodes need, once this process is fit for it."""
    set_environment()
    # TFX hands sys.argv to absl when Beam starts; our flags are not absl's.
    sys.argv = sys.argv[:1]
    with _imports_without_collection():
        import pipeline.pipeline  # noqa: F401 (all of TFX)
    _use_gpu_sparingly()


@contextmanager
def _imports_without_collection() -> Iterator[None]:
    """Holds back the garbage collector: it finds nothing in what imports build, and takes a fifth
    of their time.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def _use_gpu_sparingly() -> None:
    """Lets TensorFlow take GPU memory as it needs it: several components share this process and the
    card.
    """
    import tensorflow as tf

    for gpu in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(gpu, True)


def compiled_pipeline(plan: Plan, root: Root, create: Callable | None):
    """Returns the pipeline as TFX's intermediate representation, without a run id and without its
    metadata store.
    """
    load_libraries()
    from tfx.dsl.compiler import compiler

    from pipeline.pipeline import Folders, graph_of

    imported = bring_in(plan.saved_encoder, root.path)
    folders = Folders(str(root.artifacts), str(root.serving), imported)
    return compiler.Compiler().compile((create or graph_of(plan))(plan, folders))


def graph_digest(graph) -> str:
    """Returns a digest of a compiled pipeline that is the same in every process: maps inside an Any
    have no order in bytes.
    """
    from google.protobuf import json_format

    told = json_format.MessageToJson(graph, sort_keys=True)
    return hashlib.sha256(told.encode()).hexdigest()[:16]


def enter_store(graph, root: Root, run_id: str, facts: dict[str, str]) -> None:
    """Binds a compiled pipeline to a run that the store knows from then on."""
    bind(graph, root, run_id)
    from tfx.orchestration.metadata import Metadata
    from tfx.orchestration.portable.mlmd.context_lib import prepare_contexts

    with Metadata(connection(root.metadata)) as handle:
        prepare_contexts(handle, graph.nodes[0].pipeline_node.contexts)
        note_run(handle.store, run_id, facts)
        reopen(handle.store, run_id)


def bind(graph, root: Root, run_id: str) -> None:
    """Makes a compiled pipeline that of one run, with the store of its root."""
    from tfx.orchestration.portable.runtime_parameter_utils import substitute_runtime_parameter

    substitute_runtime_parameter(graph, {"pipeline-run-id": run_id})
    use_metadata(graph, root.metadata)
    os.environ[METADATA_VARIABLE] = root.metadata


def use_metadata(graph, metadata: str) -> None:
    """Puts the connection to the store into a compiled pipeline.

    Its digest, made before, knows no password.
    """
    from tfx.proto.orchestration.pipeline_pb2 import IntermediateDeploymentConfig

    deployment = IntermediateDeploymentConfig()
    graph.deployment_config.Unpack(deployment)
    deployment.metadata_connection_config.Pack(connection(metadata))
    graph.deployment_config.Pack(deployment)
