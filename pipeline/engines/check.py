"""Asks an engine's workers, before a run begins on them, whether they are fit for it.

A small Beam pipeline goes the way that the run's pipelines will: it finds an engine that does not
start, workers with other code, or workers that do not see the pipeline root or the lists, while
nothing is lost. Each worker that gets a part of it leaves its answer in a folder of the root.
"""

import argparse
import hashlib
import json
import os
import shutil
import sys
import uuid
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from components.file_list_example_gen.remote import BEAM_ARGS_VARIABLE
from pipeline.arguments import nearest
from pipeline.engines.engine import IN_PROCESS, PROJECT, Engine
from trainer_module.errors import InputError

PARTS = 8  # of the small pipeline: more than there are workers, mostly
CODE = ("components", "trainer_module")
LIBRARIES = ("apache-beam", "tensorflow-transform", "tfx")


def code_and_libraries() -> dict[str, str]:
    """Returns what must be the same here and in every worker: name -> version or digest."""
    digest = hashlib.sha256()
    for folder in CODE:
        for path in sorted((PROJECT / folder).rglob("*.py")):
            digest.update(f"{path.relative_to(PROJECT)}\0".encode() + path.read_bytes() + b"\0")
    python = ".".join(map(str, sys.version_info[:2]))
    libraries = {name: version(name) for name in LIBRARIES}
    return {"Python": python, **libraries, "the project's code": digest.hexdigest()[:16]}


def answer(part: int, folder: str, files: Sequence[str]) -> None:
    """Runs in a worker: writes there what it has, and which of the files it does not see."""
    import tensorflow_data_validation  # noqa: F401 (which StatisticsGen needs)

    told = {
        "has": code_and_libraries(),
        "missing": [one for one in files if not os.path.exists(one)],
    }
    Path(folder, f"{part}.json").write_text(json.dumps(told), encoding="utf-8")


def refuse_unread_flags(engine: Engine) -> None:
    """Raises an InputError for a flag that neither Beam nor the engine's job server knows, or whose
    value is of another type.
    """
    from apache_beam.options.pipeline_options import PipelineOptions

    found = []
    PipelineOptions([]).get_all_options(add_extra_args_fn=found.append)
    parser = found[0]
    parser.exit_on_error = False
    try:
        words = parser.parse_known_args(list(engine.flags))[1]
    except argparse.ArgumentError as error:
        raise InputError(f"{BEAM_ARGS_VARIABLE} must be flags of Beam. Received: {error}") from None
    unknown = [word.split("=")[0] for word in words if word.startswith("-")]
    if unknown and engine.name != IN_PROCESS:
        passed_on = _names_passed_on(engine)
        unknown = [flag for flag in unknown if flag.removeprefix("--") not in passed_on]
    if unknown:
        known = [name for action in parser._actions for name in action.option_strings]
        hint = nearest(unknown[0], known, "Fix: leave it out")
        raise InputError(
            f"{BEAM_ARGS_VARIABLE} must be flags that Beam, or the engine's job server, knows. "
            f"Received: {unknown[0]!r}. {hint}"
        )


def _names_passed_on(engine: Engine) -> set[str]:
    """Returns the names of the options that a job server gets: Beam asks it for those that it
    knows.
    """
    from apache_beam.options.pipeline_options import PipelineOptions
    from apache_beam.runners.runner import create_runner

    try:
        runner = create_runner(engine.value("runner"))
        service = runner.create_job_service(PipelineOptions(list(engine.flags)))
        return {urn.split(":")[2] for urn in service.get_pipeline_options().fields}
    except (Exception, SystemExit) as error:  # argparse's, of a value that the server refuses
        raise _does_not_run(engine, error) from error


def _does_not_run(engine: Engine, error: BaseException) -> InputError:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return InputError(
        f"The engine of `--beam_runner={engine.name}` does not run a small pipeline: "
        f"{type(error).__name__}: {lines[-1].strip() if lines else ''} (the log has all of it)"
    )


def refuse_unfit_workers(engine: Engine, root: Path, lists: Sequence[str]) -> None:
    """Runs the small pipeline.

    Args:
      engine: that the run will use.
      root: the pipeline root, which the workers must see.
      lists: paths of the lists; remote ones are seen everywhere.

    Raises:
      InputError: naming what is unfit.
    """
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions

    folder = root / f".engine-{uuid.uuid4().hex[:8]}"
    folder.mkdir()
    try:
        options = PipelineOptions(list(engine.flags))
        with beam.Pipeline(options=options) as pipeline:
            parts = pipeline | beam.Create(range(PARTS)) | beam.Reshuffle()
            _ = parts | beam.Map(answer, str(folder), [one for one in lists if "://" not in one])
        told = [json.loads(file.read_text(encoding="utf-8")) for file in folder.glob("*.json")]
    except Exception as error:
        raise _does_not_run(engine, error) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    _refuse(engine, root, told)


def _refuse(engine: Engine, root: Path, told: list[dict]) -> None:
    if len(told) < PARTS:
        raise InputError(
            f"The workers of `--beam_runner={engine.name}` must see the pipeline root {root} under "
            f"this path, and {PARTS - len(told)} of {PARTS} answers did not arrive there. Fix: a "
            f"shared folder, as of NFS"
        )
    own = code_and_libraries()
    for one in told:
        other = [f"{name} {one['has'].get(name)}, here {own[name]}" for name in own
                 if one["has"].get(name) != own[name]]  # fmt: skip
        if other:
            raise InputError(
                f"The workers of `--beam_runner={engine.name}` must have the code and the "
                f"libraries of this program. Received: {'; '.join(other)}. Fix: the same checkout "
                f"and lock file there, then start them again"
            )
        if one["missing"]:
            raise InputError(
                f"The workers of `--beam_runner={engine.name}` must see the lists under the same "
                f"paths. Received: no {', '.join(one['missing'])} there"
            )
