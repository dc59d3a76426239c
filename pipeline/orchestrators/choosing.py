"""Which orchestrator a pipeline is compiled for, and what it cannot do, told before any work.

docs/scale.md says what each of them needs. Standard library alone, so that a wrong flag is told at
once.
"""

import argparse
import os
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from components.metadata.url import FORM
from pipeline.arguments import at_home, nearest
from pipeline.choices import IMAGES_FOLDER, Choices
from pipeline.datasets.of_recipe import DATA
from pipeline.engines.engine import IN_PROCESS
from trainer_module.errors import InputError, require

AIRFLOW, KUBEFLOW, VERTEX = "airflow", "kubeflow", "vertex"
ENDINGS = {AIRFLOW: ".py", KUBEFLOW: ".yaml", VERTEX: ".json"}  # of the file that each reads
CONTAINERS = (KUBEFLOW, VERTEX)  # run each node in a container, with a store of their own
BUCKETS = "/gcs/"  # where Vertex shows every bucket to its containers
OF_THE_MACHINE = ("resume", "print_config", "recheck")  # flags of a run on this machine


@dataclass(frozen=True)
class Compilation:
    """What a pipeline is compiled for, and into."""

    orchestrator: str
    output: Path
    image: str = ""  # of the containers
    volume: str = ""  # CLAIM:FOLDER that every container gets on Kubeflow

    @property
    def files(self) -> list[Path]:
        """What is written: for Airflow also the settings, which each task reads."""
        settings = [self.output.with_suffix(".yaml")] if self.orchestrator == AIRFLOW else []
        return [self.output, *settings]


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Adds what `pipeline.compile` takes beside the flags of local_runner.py."""
    group = parser.add_argument_group("what to compile for")
    group.add_argument(
        "--for", dest="orchestrator", metavar="NAME", help=f"one of {', '.join(ENDINGS)}"
    )
    group.add_argument("--output", metavar="FILE", help="what the orchestrator reads")
    group.add_argument("--image", help="of the containers: Containerfile, built and pushed")
    group.add_argument(
        "--volume", metavar="CLAIM:FOLDER", help="Kubeflow: the volume with lists, images and root"
    )


def compilation_of(flags: argparse.Namespace, choices: Choices) -> Compilation:
    """Returns what to compile into.

    Raises:
      InputError: naming what is missing, or what the orchestrator cannot do.
    """
    name, known = flags.orchestrator or "", ", ".join(ENDINGS)
    if name not in ENDINGS:
        hint = nearest(name, ENDINGS, "Fix: one of them")
        raise InputError(f"`--for` must be one of {known}. Received: {name!r}. {hint}")
    require(bool(flags.output), "`--output` must be a file", output=flags.output or "")
    compilation = Compilation(
        name, Path(at_home(flags.output)).absolute(), flags.image or "", flags.volume or ""
    )
    _refuse_flags_of_this_machine(flags)
    _refuse_file(compilation, flags.config)
    _refuse_root(compilation, flags, choices)
    if name in CONTAINERS:
        _refuse_in_containers(compilation, flags, choices)
    return compilation


def _refuse_flags_of_this_machine(flags: argparse.Namespace) -> None:
    given = [f"--{name}" for name in OF_THE_MACHINE if getattr(flags, name)]
    if given:
        raise InputError(f"{', '.join(given)}: of a run on this machine, and nothing to compile")


def _refuse_file(compilation: Compilation, config: str | None) -> None:
    ending, folder = ENDINGS[compilation.orchestrator], compilation.output.parent
    rule = f"`--output` for {compilation.orchestrator} must end in {ending}"
    require(compilation.output.suffix == ending, rule, output=str(compilation.output))
    rule = "`--output` must lie in a folder that is there and can be written to"
    require(folder.is_dir() and os.access(folder, os.W_OK), rule, output=str(compilation.output))
    written = [path.resolve() for path in compilation.files]
    rule = (
        f"`--output` must not write over what `--config` names: {' and '.join(map(str, written))} "
        f"would be written. Fix: another name for one of them"
    )
    named = bool(config) and Path(config).resolve() in written
    require(not named, rule, output=str(compilation.output), config=config)


def _refuse_root(compilation: Compilation, flags: argparse.Namespace, choices: Choices) -> None:
    rule = (
        "`--pipeline_root` must be absolute: tasks run elsewhere, and see that folder under the "
        "same path"
    )
    given = str(flags.pipeline_root or choices.pipeline_root)
    require(os.path.isabs(given), rule, pipeline_root=given)
    if compilation.orchestrator == VERTEX:
        rule = (
            f"`--pipeline_root` for vertex must be {BUCKETS}BUCKET/FOLDER, as Vertex shows a "
            f"bucket to its containers"
        )
        inside = given.startswith(BUCKETS) and len(Path(given).parts) > len(Path(BUCKETS).parts) + 1
        require(inside, rule, pipeline_root=given)


def _refuse_in_containers(
    compilation: Compilation, flags: argparse.Namespace, choices: Choices
) -> None:
    name = compilation.orchestrator
    rule = f"`--image` must name the image of the containers for {name} (Containerfile)"
    require(bool(compilation.image), rule, image=compilation.image)
    claim, colon, folder = compilation.volume.partition(":")
    whole = bool(claim and colon and folder.startswith("/"))
    rule = "`--volume` must be CLAIM:FOLDER with an absolute folder, for kubeflow alone"
    require(not compilation.volume or (whole and name == KUBEFLOW), rule, volume=compilation.volume)
    paths = choices.save_paths
    unable = {
        "--pretrain_save_path": paths.pretrain,
        "--finetune_save_path": paths.finetune,
        "--encoder_weights": choices.weights.file,
        f"--metadata={FORM}": choices.metadata,
        f"--beam_runner={flags.beam_runner}": flags.beam_runner not in (None, IN_PROCESS),
    }
    given = [flag for flag, value in unable.items() if value]
    if given:
        raise InputError(
            f"{', '.join(given)}: not for {name}, whose nodes run alone in their containers, with "
            f"its own store and nothing behind the last node. Fix: leave it out, or --for={AIRFLOW}"
        )
    _refuse_unseen(compilation, {"--pipeline_root": str(choices.root), **_read(choices)})
    if find_spec("kfp") is None:
        raise InputError(f"`--for={name}` needs the package kfp. Fix: make extra NAME=kubeflow")


def _read(choices: Choices) -> dict[str, str]:
    """Returns flag -> what nodes read behind it: lists, images, or where a data set is written."""
    dataset, lists = choices.dataset, choices.lists
    if dataset.name:
        images = dataset.source if dataset.name == IMAGES_FOLDER else str(DATA.absolute())
        return {"--images" if dataset.name == IMAGES_FOLDER else "--recipe": images}
    named = {
        "--train_file_path": lists.train,
        "--val_file_path": lists.eval,
        "--pretrain_file_path": lists.pretrain,
    }
    return {flag: path for flag, path in named.items() if path}


def _refuse_unseen(compilation: Compilation, places: dict[str, str]) -> None:
    """Refuses what no container would see."""
    _, _, folder = compilation.volume.partition(":")
    seen = BUCKETS if compilation.orchestrator == VERTEX else folder
    rule = "`--volume` must be CLAIM:FOLDER, with the pipeline root and the lists below FOLDER"
    require(bool(seen), rule, volume=compilation.volume)
    for flag, path in places.items():
        bucket = path.startswith("gs://")  # which the image can read
        here = "://" not in path and Path(os.path.abspath(path)).is_relative_to(seen)
        rule = f"What `{flag}` names must lie below {seen}, which is all that the containers see"
        require(bucket or here, rule, **{flag.removeprefix("--"): path})
