"""Turns list files into tf.Examples: has chunks of rows read in parallel, decodes each image once
to be sure, keeps its bytes.

Each example holds `image` (the file's bytes, or a PNG of what Transform cannot decode, see
decoding.py), `image_id`, `height`, `width` (pixels, upright) and what the task makes of the row's
target. Bad rows are all collected before the component fails, or counted and skipped if that was
asked for; what else was noticed lies in findings.json beside the examples.
"""

import dataclasses
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam
from google.protobuf import struct_pb2
from tfx.components.example_gen.utils import generate_output_split_names
from tfx.components.util import examples_utils
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils, standard_component_specs
from tfx.types.standard_artifacts import Examples
from tfx.utils import proto_utils

from components.file_list_example_gen import image_index, rows
from components.file_list_example_gen.chunks import (
    Account,
    Chunk,
    chunks_of,
    read_chunk,
    remove_chunks,
)
from components.file_list_example_gen.noticed import FINDINGS_FILE, SKIPPED, noticed
from components.file_list_example_gen.tally import Tally
from trainer_module.decoding import REMARKS
from trainer_module.findings import REFUSED, Finding, as_dicts, refuse_worst, table
from trainer_module.tasks.registry import task_from_json

TALLY = "tally"
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


class ReadChunks(beam.DoFn):
    """Chunk -> its Account; what its images became lies in a file then."""

    def __init__(self, task_json: str, labelled: bool, folder: str):
        self._task_json, self._labelled, self.folder = task_json, labelled, folder

    def setup(self):
        """Rebuilds the task in the worker."""
        self._task = task_from_json(self._task_json)

    def process(self, chunk: Chunk) -> Iterable[Account]:
        """Yields the account of one chunk."""
        yield read_chunk(chunk, self._task, self._labelled, self.folder)


class AddUp(beam.CombineFn):
    """Accounts of chunks -> the account of a list."""

    def create_accumulator(self):
        """Returns an empty one."""
        return Account()

    def add_input(self, accumulator, element):
        """Adds one."""
        return accumulator.merge(element)

    def merge_accumulators(self, accumulators):
        """Adds several."""
        whole = Account()
        for accumulator in accumulators:
            whole.merge(accumulator)
        return whole

    def extract_output(self, accumulator):
        """Returns the sums."""
        return accumulator


def read_list(
    pipeline: beam.Pipeline, name: str, path: str, read: beam.DoFn, splits: Sequence[str]
) -> None:
    """Adds to a pipeline what reads one list: list -> chunks of rows -> files; and beside them the
    bad rows, the tally and the index of images.

    Args:
      pipeline: of Beam.
      name: of the list among those that are read.
      path: where it lies.
      read: what reads its chunks, as `ReadChunks`.
      splits: that the list becomes.
    """
    _ = (
        pipeline
        | f"List[{name}]" >> beam.Create([path])
        | f"Chunks[{name}]" >> beam.FlatMap(chunks_of, splits)
        | f"Spread[{name}]" >> beam.Reshuffle()  # breaks fusion: else one worker reads all
        | f"Read[{name}]" >> beam.ParDo(read)
        | f"AddUp[{name}]" >> beam.CombineGlobally(AddUp())
        | f"Write[{name}]" >> beam.Map(_write, read.folder, name)
    )


def _write(account: Account, folder: str, name: str) -> None:
    """Writes the account of a list beside the examples."""
    ordered = sorted(account.problems, key=lambda problem: problem.line)
    texts = {
        REPORT: json.dumps([dataclasses.asdict(problem) for problem in ordered], indent=1),
        TALLY: json.dumps(account.tally.to_dict()),
    }
    for kind, text in texts.items():
        Path(folder, file_name(kind, name)).write_text(text, encoding="utf-8")
    for split, records in account.records.items():
        image_index.write(records, folder, split)


def file_name(kind: str, name: str) -> str:
    """Returns the name of the file that holds the bad rows or the tally of a list."""
    return f"{kind}.{name}.json"


class Executor(BaseBeamExecutor):
    """Reads every list, with a verdict over the bad rows of all of them at the end.

    Not TFX's BaseExampleGenExecutor, which hands each example through Beam by itself.
    """

    def Do(self, input_dict, output_dict, exec_properties) -> None:  # noqa: N802 (TFX's name)
        """Ingests every list, then tells what was noticed about all of them together.

        Raises:
          InputError: naming the bad rows, unless the option `on_bad_row` is 'skip'; or what makes
            a result of these images meaningless.
        """
        examples = artifact_utils.get_single_instance(
            output_dict[standard_component_specs.EXAMPLES_KEY]
        )
        folder, options = examples.uri, options_of(exec_properties)
        patterns = _patterns(exec_properties)
        base = exec_properties[standard_component_specs.INPUT_BASE_KEY]
        lists = {split: list_path(base, pattern) for split, pattern in patterns.items()}
        splits = _described(examples, exec_properties)
        remove_chunks(folder, splits)  # of an attempt that was ended
        with self._make_beam_pipeline() as pipeline:
            for split, pattern in patterns.items():
                becomes = splits if len(patterns) == 1 else [split]
                labelled = pattern != options["unlabelled"]
                read = ReadChunks(options["task"], labelled, folder)
                read_list(pipeline, split, lists[split], read, becomes)
        remove_chunks(folder, [])
        problems = [
            rows.Problem(**problem)
            for split in patterns
            for problem in _read_json(folder, REPORT, split)
        ]
        tallies = {split: Tally.from_dict(_read_json(folder, TALLY, split)) for split in patterns}
        found = noticed(
            tallies,
            problems,
            image_index.read(folder),
            lists,
            task_from_json(options["task"]),
            REMARKS,
        )
        if options["on_bad_row"] == "fail":
            rows.refuse_of_run(problems, all(finding.severity != REFUSED for finding in found))
        found = [_with_files(finding, folder, patterns) for finding in found]
        with open(os.path.join(folder, FINDINGS_FILE), "w", encoding="utf-8") as file:
            json.dump({"findings": as_dicts(found)}, file, indent=1)
        if told := table([finding for finding in found if finding.severity != REFUSED]):
            print(told, flush=True)
        refuse_worst(found)


def _with_files(finding: Finding, folder: str, names: Iterable[str]) -> Finding:
    """Returns a finding about skipped rows with the files that hold all of them."""
    if finding.kind != SKIPPED:
        return finding
    files = [
        os.path.join(folder, file_name(REPORT, name))
        for name in names
        if _read_json(folder, REPORT, name)
    ]
    return dataclasses.replace(finding, fix=f"{finding.fix}; all are in {', '.join(files)}")


def _described(examples: Examples, exec_properties: dict[str, Any]) -> list[str]:
    """Says of an artifact how it is written, as TFX's ExampleGens do; returns its splits."""
    split_config = example_gen_pb2.Output()
    proto_utils.json_to_proto(
        exec_properties[standard_component_specs.OUTPUT_CONFIG_KEY], split_config
    )
    splits = generate_output_split_names(_input_config(exec_properties), split_config)
    examples.split_names = artifact_utils.encode_split_names(splits)
    examples_utils.set_payload_format(examples, example_gen_pb2.FORMAT_TF_EXAMPLE)
    examples_utils.set_file_format(examples, "tfrecords_gzip")
    return splits


def _patterns(exec_properties: dict[str, Any]) -> dict[str, str]:
    """Returns split -> list, relative to the input's base, of the lists that are read."""
    return {split.name: split.pattern for split in _input_config(exec_properties).splits}


def _input_config(exec_properties: dict[str, Any]) -> example_gen_pb2.Input:
    config = example_gen_pb2.Input()
    proto_utils.json_to_proto(exec_properties[standard_component_specs.INPUT_CONFIG_KEY], config)
    return config


def _read_json(folder: str, kind: str, name: str) -> Any:
    with open(os.path.join(folder, file_name(kind, name)), encoding="utf-8") as file:
        return json.load(file)
