"""What StatisticsGen describes of the examples."""

from typing import Any

from tensorflow_metadata.proto.v0 import schema_pb2

from trainer_module.tasks.task import Task


def describing(task: Task) -> Any:
    """Returns TFDV's options: of features that are whole files nothing but their sizes is told.

    As words, they would be sorted and counted, which takes as long as all else and says nothing.
    """
    import tensorflow_data_validation as tfdv  # which cannot be imported before tfx

    files = ["image", task.target] if task.target_is_file else ["image"]
    domain = schema_pb2.ImageDomain()
    return tfdv.StatsOptions(
        schema=schema_pb2.Schema(
            feature=[
                schema_pb2.Feature(name=name, type=schema_pb2.BYTES, image_domain=domain)
                for name in files
            ]
        )
    )
