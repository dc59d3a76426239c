"""What a pushed model scores on any list: `python -m pipeline.evaluate MODEL LIST`, as its
Evaluator would have said it.

The rows are read and checked as ingest does, the served model answers, and TFMA computes the task's
own metrics: the number that gated the model, now on a list that it was not gated on, such as a test
split.
"""

import json
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.file_list_example_gen.image_index import Index, content_digest
from components.file_list_example_gen.noticed import noticed
from components.file_list_example_gen.rows import Row, check_rows, read_list, refuse
from components.file_list_example_gen.same_images import doubles
from components.file_list_example_gen.tally import Tally
from components.metadata.verdict import EXAMPLE_COUNT, numbers
from pipeline.arguments import BAD_INPUT, model_parser
from pipeline.asked_model import asked_model, loaded, model_of, task_of
from pipeline.data_check import layout_findings
from pipeline.least_images import with_least_images
from pipeline.stopping import run_tool
from pipeline.terminal import libraries_to_log
from trainer_module.decoding import REMARKS
from trainer_module.findings import Finding, counted, refuse_worst
from trainer_module.findings import table as table_of_findings
from trainer_module.intervals import SHARES, intervals_of, told
from trainer_module.tasks.task import Task

Score = dict[str, float]


@dataclass(frozen=True)
class Read:
    """A list that was read whole.

    Attributes:
      examples: TFRecord file of what ingest makes of the rows.
      digests: of the images, in the order of the rows.
      findings: what a run would have told.
    """

    examples: Path
    digests: list[bytes]
    findings: tuple[Finding, ...]


def evaluate(model_dir: Path, list_path: str) -> tuple[dict[str, Score], Read]:
    """Asks the served model about every row of a list.

    Args:
      model_dir: a SavedModel with the signatures that TFMA asks, as the Finetuner leaves it.
      list_path: list file, one `path,target` a line.

    Returns:
      '' -> name of a metric -> value over the whole list, and the same for each part that the task
      tells apart: a slice, or a class; and what was read.

    Raises:
      InputError: as `read_whole` and `loaded`.
      ValueError: if the model tells no task that it answers.
    """
    task = task_of(model_dir)
    if not task.has_target:
        raise ValueError(
            f"{model_dir}: tells no task that it answers, as an encoder, so there is nothing to "
            f"evaluate"
        )
    with tempfile.TemporaryDirectory() as folder:
        read = read_whole(list_path, task, Path(folder, "examples"))
        loaded(model_dir, "serving_default")  # TFMA tells a damaged one in words of its own
        return _judge(model_dir, task, read.examples, Path(folder, "evaluation")), read


def read_whole(list_path: str, task: Task, examples: Path) -> Read:
    """Reads a list and its images, and checks them as a run does its evaluation list.

    Args:
      list_path: list file, one `path,target` a line.
      task: that the targets are of.
      examples: TFRecord file to write what ingest makes of the rows into.

    Raises:
      InputError: naming bad rows, and an image with two targets; or what makes a number over these
        images meaningless.
    """
    file = read_list(list_path)
    rows, lists = file.rows, {"train": list_path, "eval": list_path}
    refuse([*file.problems, *check_rows(rows, task)])
    found = layout_findings(list_path, file) + doubles({"train": [], "eval": rows}, task)
    found += task.noticed_in_held_out([row.target for row in rows])
    tally = Tally()
    digests, index = _write_examples(rows, task, examples, tally)
    found += noticed({"eval": tally}, [], {"eval": index}, lists, task, REMARKS)
    refuse_worst(found)
    return Read(examples, digests, tuple(found))


def _write_examples(
    rows: list[Row], task: Task, path: Path, tally: Tally
) -> tuple[list[bytes], Index]:
    """Writes what ingest makes of the rows as a TFRecord file, and counts them; returns the digest
    of each image, and the index of all.
    """
    import tensorflow as tf

    from components.file_list_example_gen import reading

    problems, digests, records = [], [], []
    with tf.io.TFRecordWriter(str(path)) as writer:
        for made in reading.read_counted(rows, task, True, tally, problems):
            example = reading.example_of(made.fields)
            writer.write(example.SerializeToString())
            digests.append(content_digest(made.fields["image"]))
            records.append(reading.index_record(example))
    refuse(problems)
    return digests, Index(b"".join(sorted(records)))


def _judge(model_dir: Path, task: Task, examples: Path, output: Path) -> dict[str, Score]:
    """Runs TFMA with the task's configuration, thresholds left out."""
    import components.file_list_example_gen.executor  # noqa: F401, I001 (TFMA is whole after TFX)
    import tensorflow_model_analysis as tfma
    from apache_beam.options.pipeline_options import PipelineOptions
    from google.protobuf import json_format

    config = json_format.ParseDict(without_thresholds(task), tfma.EvalConfig())
    model = tfma.default_eval_shared_model(str(model_dir), eval_config=config)
    options = PipelineOptions(["--runner=FnApiRunner"])
    result = tfma.run_model_analysis(
        model,
        config,
        data_location=str(examples),
        output_path=str(output),
        pipeline_options=options,
    )
    return scores(result.slicing_metrics)


def without_thresholds(task: Task) -> dict[str, Any]:
    """Returns the task's evaluation, which counts the images, without what a gate asks."""
    settings = with_least_images(task.evaluation(0.0, 0.0), 1)
    for metric in (metric for spec in settings["metrics_specs"] for metric in spec["metrics"]):
        metric.pop("per_slice_thresholds", None)
    return settings


def scores(slicing_metrics: list) -> dict[str, Score]:
    """Returns TFMA's nested metrics as name of a part -> name of a metric -> value, without what
    was not measured; '' is the whole.
    """
    found: dict[str, Score] = {}
    for slice_key, outputs in slicing_metrics:
        in_slice = ", ".join(f"{name} {_text(value)}" for name, value in slice_key)
        for sub_key, metrics in outputs[""].items():
            part = " ".join(filter(None, [in_slice, sub_key.replace("classId:", "class ")]))
            if values := numbers(metrics):
                found[part] = values
    return found


def _text(value) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def table(found: dict[str, Score], task: Task) -> str:
    """Returns the scores for a person: the task's metric over the whole, then every part's first
    metric of the same kind.
    """
    whole = found.get("", {}).get(task.metric)
    lines = [
        f"  {task.metric.replace('_', ' ')}  "
        f"{'not measured' if whole is None else task.shown(whole)}"
        f"{_interval(found.get('', {}), task.metric)}"
    ]
    for part in sorted(set(found) - {""}, key=_natural):
        name = task.metric if task.metric in found[part] else next(iter(found[part]))
        value = task.shown(found[part][name])
        lines.append(f"    {part:<24} {value:>9}{_interval(found[part], name)}")
    return "\n".join(lines)


def _interval(score: Score, name: str) -> str:
    """Returns the 95 % interval of a metric as text, '' where it has none."""
    images = int(score.get(EXAMPLE_COUNT, 0))
    interval = intervals_of(score, images).get(name)
    return f"  {told(interval, images, name.endswith(SHARES))}" if interval else ""


def _natural(text: str) -> list:
    """Sorts `class 10` behind `class 9`."""
    return [(0, int(word), "") if word.isdecimal() else (1, 0, word) for word in text.split()]


def _seen(model_dir: Path, digests: list[bytes]) -> str:
    """Returns what to tell of images that the model was trained on; '' for none, and where its
    lineage is not known.
    """
    from pipeline.lineage.seen import trained_on

    known = model_of(model_dir)
    seen, images = len(trained_on(*known, digests)) if known else 0, len(digests)
    if not seen:
        return ""
    new = "says nothing about" if seen == images else "is better than that of"
    return (
        f"Note: {seen:,} of {counted(images, 'image')} {'is' if seen == 1 else 'are'} in the "
        f"training list of this model: the score {new} new images"
    )


def main(arguments: list[str]) -> int:
    """Runs one command line and returns its exit code."""
    parser = model_parser("evaluate", __doc__)
    parser.add_argument("list", help="list file, one `path,target` a line")
    parser.add_argument(
        "--json", action="store_true", help="every metric of every part, as one JSON object"
    )
    flags = parser.parse_args(arguments)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.argv = sys.argv[:1]  # Beam would read our flags as its own
    try:
        model_dir = asked_model(flags.model)
        with libraries_to_log(os.devnull):
            found, read = evaluate(model_dir, flags.list)
    except ValueError as error:
        print(f"pipeline.evaluate: {error}", file=sys.stderr)
        return BAD_INPUT
    if read.findings:
        print(table_of_findings(read.findings), file=sys.stderr)
    if told := _seen(model_dir, read.digests):
        print(told, file=sys.stderr)
    print(json.dumps(found) if flags.json else table(found, task_of(model_dir)))
    return 0


if __name__ == "__main__":
    run_tool(main)
