"""Turns list files into tf.Examples: reads each image in parallel, decodes it once to be sure,
keeps its bytes.

Each example holds `image` (the file's bytes, or a PNG of what Transform cannot decode, see
decoding.py), `image_id`, `height`, `width` (pixels, upright) and what the task makes of the row's
target. Bad rows are all collected before the component fails, or counted and skipped if that was
asked for; what else was noticed lies in findings.json beside the examples.
"""

import dataclasses
import json
import os
from collections.abc import Iterable
from typing import Any

import apache_beam as beam
import tensorflow as tf
from apache_beam.utils.windowed_value import WindowedValue
from google.protobuf import struct_pb2
from tfx.components.example_gen.base_example_gen_executor import BaseExampleGenExecutor
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils, standard_component_specs
from tfx.utils import proto_utils

from components.file_list_example_gen import image_index, rows
from components.file_list_example_gen.noticed import FILE, SKIPPED, noticed
from components.file_list_example_gen.reading import example_of, index_record, read_row
from components.file_list_example_gen.tally import Tally
from trainer_module.decoding import REMARKS
from trainer_module.findings import REFUSED, Finding, as_dicts, refuse_worst, table
from trainer_module.tasks.registry import task_from_json

BAD, TALLY = "bad", "tally"
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
    """Row -> tf.Example, or a Problem on the output `bad`; and the tally of each bundle on the
    output `tally`.
    """

    def __init__(self, task_json: str, labelled: bool):
        self._task_json = task_json
        self._labelled = labelled

    def setup(self):
        """Rebuilds the task in the worker."""
        self._task = task_from_json(self._task_json)

    def start_bundle(self):
        """Begins to count."""
        self._tally = Tally()

    def process(self, row: rows.Row | rows.Problem) -> Iterable:
        """Yields the example of one row; what is a problem already is handed on."""
        is_row = isinstance(row, rows.Row)
        made = read_row(row, self._task, self._labelled) if is_row else row
        bad = isinstance(made, rows.Problem)
        if is_row and self._labelled and self._task.one_class_an_image:
            (self._tally.lost if bad else self._tally.kept)[row.target] += 1
        if bad:
            yield beam.pvalue.TaggedOutput(BAD, made)
            return
        self._tally.add(row, made.remarks, made.counts)
        yield example_of(made.features)

    def finish_bundle(self):
        """Yields what was counted."""
        window = beam.transforms.window.GlobalWindow()
        counted = WindowedValue(self._tally, window.max_timestamp(), [window])
        yield beam.pvalue.TaggedOutput(TALLY, counted)


class AddUp(beam.CombineFn):
    """Tallies of bundles -> the tally of a list."""

    def create_accumulator(self):
        """Returns an empty one."""
        return Tally()

    def add_input(self, accumulator, element):
        """Adds one."""
        return accumulator.merge(element)

    def merge_accumulators(self, accumulators):
        """Adds several."""
        whole = Tally()
        for accumulator in accumulators:
            whole.merge(accumulator)
        return whole

    def extract_output(self, accumulator):
        """Returns the sums."""
        return accumulator


def rows_and_problems(list_path: str) -> list[rows.Row | rows.Problem]:
    """Returns the rows of a list and its malformed rows: what is skipped is told."""
    found, problems = rows.parse_rows(list_path)
    return [*found, *problems]


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
        | "ReadRows" >> beam.FlatMap(rows_and_problems)
        | "Reshuffle" >> beam.Reshuffle()  # breaks fusion: else one worker reads every image
        | "ReadImage"
        >> beam.ParDo(ReadImage(options["task"], labelled)).with_outputs(
            BAD, TALLY, main="examples"
        )
    )
    report, tally = (
        os.path.join(exec_properties["report_dir"], file_name(kind, split_pattern))
        for kind in (REPORT, TALLY)
    )
    _ = (
        read[BAD]
        | "GatherProblems" >> beam.CombineGlobally(beam.combiners.ToListCombineFn())
        | "WriteReport" >> beam.Map(_write_report, report)
    )
    _ = (
        read[TALLY]
        | "AddUp" >> beam.CombineGlobally(AddUp())
        | "WriteTally" >> beam.Map(_write_tally, tally)
    )
    return read.examples


def _write_report(problems: list[rows.Problem], path: str) -> None:
    ordered = sorted(problems, key=lambda problem: problem.line)
    with open(path, "w", encoding="utf-8") as file:
        json.dump([dataclasses.asdict(problem) for problem in ordered], file, indent=1)


def _write_tally(tally: Tally, path: str) -> None:
    with open(path, "w", encoding="utf-8") as file:
        json.dump(tally.to_dict(), file)


def file_name(kind: str, split_pattern: str) -> str:
    """Returns the name of the file that holds the bad rows or the tally of a list."""
    return f"{kind}.{split_pattern.replace('/', '_')}.json"


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
        """Ingests every list, then tells what was noticed about all of them together.

        Raises:
          InputError: naming the bad rows, unless the option `on_bad_row` is 'skip'; or what makes
            a result of these images meaningless.
        """
        folder = artifact_utils.get_single_uri(output_dict[standard_component_specs.EXAMPLES_KEY])
        super().Do(input_dict, output_dict, exec_properties | {"report_dir": folder})
        options, patterns = options_of(exec_properties), _patterns(exec_properties)
        problems = [
            rows.Problem(**problem)
            for pattern in patterns.values()
            for problem in _read_json(folder, REPORT, pattern)
        ]
        if options["on_bad_row"] == "fail":
            rows.refuse(problems)
        base = exec_properties[standard_component_specs.INPUT_BASE_KEY]
        lists = {split: list_path(base, pattern) for split, pattern in patterns.items()}
        tallies = {
            split: Tally.from_dict(_read_json(folder, TALLY, pattern))
            for split, pattern in patterns.items()
        }
        found = noticed(
            tallies,
            problems,
            image_index.read(folder),
            lists,
            task_from_json(options["task"]),
            REMARKS,
        )
        found = [_with_files(finding, folder, patterns.values()) for finding in found]
        with open(os.path.join(folder, FILE), "w", encoding="utf-8") as file:
            json.dump({"findings": as_dicts(found)}, file, indent=1)
        if told := table([finding for finding in found if finding.severity != REFUSED]):
            print(told, flush=True)
        refuse_worst(found)


def _with_files(finding: Finding, folder: str, patterns: Iterable[str]) -> Finding:
    """Returns a finding about skipped rows with the files that hold all of them."""
    if finding.kind != SKIPPED:
        return finding
    files = [
        os.path.join(folder, file_name(REPORT, pattern))
        for pattern in patterns
        if _read_json(folder, REPORT, pattern)
    ]
    return dataclasses.replace(finding, fix=f"{finding.fix}; all are in {', '.join(files)}")


def _patterns(exec_properties: dict[str, Any]) -> dict[str, str]:
    """Returns split -> list, relative to the input's base, of the lists that are read."""
    config = example_gen_pb2.Input()
    proto_utils.json_to_proto(exec_properties[standard_component_specs.INPUT_CONFIG_KEY], config)
    return {split.name: split.pattern for split in config.splits}


def _read_json(folder: str, kind: str, pattern: str) -> Any:
    with open(os.path.join(folder, file_name(kind, pattern)), encoding="utf-8") as file:
        return json.load(file)
