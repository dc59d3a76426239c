"""Turns list files into tf.Examples: reads each image in parallel, decodes it once to be sure,
keeps its bytes.

Each example holds `image` (the file's bytes, or a PNG of what Transform cannot decode, see
decoding.py), `image_id`, `height`, `width` (pixels, upright) and what the task makes of the row's
target. Bad rows are all collected before the component fails, or counted
and skipped if that was asked for.
"""

import dataclasses
import json
import os
from collections.abc import Iterable
from typing import Any

import apache_beam as beam
import tensorflow as tf
from google.protobuf import struct_pb2
from tfx.components.example_gen.base_example_gen_executor import BaseExampleGenExecutor
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils, standard_component_specs
from tfx.utils import proto_utils

from components.file_list_example_gen import image_index, rows
from trainer_module.decoding import prepared
from trainer_module.tasks.registry import task_from_json
from trainer_module.tasks.task import Value

BAD = "bad"
REPORT = "ingest_report"


def list_path(input_base: str, pattern: str) -> str:
    """Returns where a split's list lies; patterns are relative to `input_base`."""
    return f"{input_base.rstrip('/')}/{pattern}"


def options_of(exec_properties: dict[str, Any]) -> dict[str, str]:
    """Returns the component's options: `task` (JSON), `unlabelled` (a pattern), `on_bad_row`."""
    config = example_gen_pb2.CustomConfig()
    proto_utils.json_to_proto(exec_properties[standard_component_specs.CUSTOM_CONFIG_KEY], config)
    options = struct_pb2.Struct()
    config.custom_config.Unpack(options)
    return dict(options)


class ReadImage(beam.DoFn):
    """Row -> tf.Example, or a Problem on the output `bad`."""

    def __init__(self, task_json: str, labelled: bool):
        self._task_json = task_json
        self._labelled = labelled

    def setup(self):
        """Rebuilds the task in the worker."""
        self._task = task_from_json(self._task_json)

    def process(self, row: rows.Row) -> Iterable:
        """Yields the example of one row."""
        try:
            stored = prepared(rows.read_bytes(row.path))
            target = self._target_features(row, (stored.height, stored.width))
        except (OSError, ValueError) as error:
            yield beam.pvalue.TaggedOutput(
                BAD, rows.Problem(row.list_path, row.line, row.path, _reason(error))
            )
            return
        features = {
            "image": stored.encoded,
            "image_id": row.image_id,
            "height": stored.height,
            "width": stored.width,
            **target,
        }
        yield tf.train.Example(
            features=tf.train.Features(
                feature={key: _feature(value) for key, value in features.items()}
            )
        )

    def _target_features(self, row: rows.Row, size: tuple[int, int]) -> dict[str, Value]:
        if not self._task.has_target:
            return {}
        if not self._labelled:
            return self._task.placeholder
        return self._task.features(
            rows.read_bytes(row.target_path) if self._task.target_is_file else row.target, size
        )


def _reason(error: Exception) -> str:
    return (error.strerror or str(error)).lower() if isinstance(error, OSError) else str(error)


def _feature(value: Value) -> tf.train.Feature:
    values = value if isinstance(value, list) else [value]
    if isinstance(values[0], bytes):
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))
    if isinstance(values[0], float):
        return tf.train.Feature(float_list=tf.train.FloatList(value=values))
    return tf.train.Feature(int64_list=tf.train.Int64List(value=values))


@beam.ptransform_fn
@beam.typehints.with_input_types(beam.Pipeline)
@beam.typehints.with_output_types(tf.train.Example)
def rows_to_examples(pipeline: beam.Pipeline, exec_properties: dict[str, Any], split_pattern: str):
    """The PTransform of one split: list -> rows -> reshuffle -> examples.

    Bad rows go to a report beside the output.

    Args:
      pipeline: the Beam pipeline.
      exec_properties: the component's parameters, with `report_dir` where the report goes.
      split_pattern: the list's path relative to `input_base`.
    """
    options = options_of(exec_properties)
    path = list_path(exec_properties[standard_component_specs.INPUT_BASE_KEY], split_pattern)
    labelled = split_pattern != options["unlabelled"]
    read = (
        pipeline
        | "ListFile" >> beam.Create([path])
        | "ReadRows" >> beam.FlatMap(rows.read_rows)
        | "Reshuffle" >> beam.Reshuffle()  # breaks fusion: else one worker reads every image
        | "ReadImage"
        >> beam.ParDo(ReadImage(options["task"], labelled)).with_outputs(BAD, main="examples")
    )
    report = os.path.join(
        exec_properties["report_dir"], f"{REPORT}.{split_pattern.replace('/', '_')}.json"
    )
    _ = (
        read[BAD]
        | "GatherProblems" >> beam.CombineGlobally(beam.combiners.ToListCombineFn())
        | "WriteReport" >> beam.Map(_write_report, report)
    )
    return read.examples


def index_record(example: tf.train.Example) -> bytes:
    """Returns what the index keeps of an example: id, digest of the image, digest of all that is
    target.
    """
    features = example.features.feature
    target = {
        name: features[name].SerializeToString(deterministic=True)
        for name in features
        if name not in image_index.NAMED_ELSEWHERE
    }
    flat = b"".join(name.encode() + value for name, value in sorted(target.items()))
    return image_index.record(
        features["image_id"].int64_list.value[0], features["image"].bytes_list.value[0], flat
    )


def _write_report(problems: list[rows.Problem], path: str) -> None:
    ordered = sorted(problems, key=lambda problem: problem.line)
    with open(path, "w", encoding="utf-8") as file:
        json.dump([dataclasses.asdict(problem) for problem in ordered], file, indent=1)


class Executor(BaseExampleGenExecutor):
    """Stock ExampleGen executor with our reading, and a verdict over the bad rows of all lists at
    the end.
    """

    def GetInputSourceToExamplePTransform(self) -> beam.PTransform:  # noqa: N802 (TFX's name)
        """Returns the PTransform that reads one list."""
        return rows_to_examples

    def GenerateExamplesByBeam(  # noqa: N802 (named by TFX)
        self, pipeline: beam.Pipeline, exec_properties: dict[str, Any]
    ) -> dict[str, beam.PCollection]:
        """Returns split -> examples as the base class does, and has an index of each split's images
        written beside them.
        """
        splits, folder = (
            super().GenerateExamplesByBeam(pipeline, exec_properties),
            exec_properties["report_dir"],
        )
        for split, examples in splits.items():
            _ = (
                examples
                | f"IndexRecord[{split}]" >> beam.Map(index_record)
                | f"GatherIndex[{split}]" >> beam.CombineGlobally(beam.combiners.ToListCombineFn())
                | f"WriteIndex[{split}]" >> beam.Map(image_index.write, folder, split)
            )
        return splits

    def Do(self, input_dict, output_dict, exec_properties) -> None:  # noqa: N802 (TFX's name)
        """Ingests every list, then refuses the bad rows of all of them together.

        Raises:
          InputError: naming the bad rows, unless the option `on_bad_row` is 'skip'.
        """
        folder = artifact_utils.get_single_uri(output_dict[standard_component_specs.EXAMPLES_KEY])
        super().Do(input_dict, output_dict, exec_properties | {"report_dir": folder})
        problems = []
        for name in sorted(os.listdir(folder)):
            if name.startswith(REPORT):
                with open(os.path.join(folder, name), encoding="utf-8") as file:
                    problems += [rows.Problem(**problem) for problem in json.load(file)]
        if options_of(exec_properties)["on_bad_row"] == "fail":
            rows.refuse(problems)
