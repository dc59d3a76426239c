"""Which Beam runner the data nodes run on, and what is wrong with it before any work is begun.

`--beam_runner` names it; what else it needs are Beam's own flags in SIMCLR_BEAM_ARGS, written as in
a shell. Neither is part of a cache key: where examples were made changes nothing about them.
docs/scale.md says what each engine needs. Standard library alone, so that a wrong flag is told at
once.
"""

import glob
import os
import shlex
import shutil
import socket
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from components.file_list_example_gen.remote import BEAM_ARGS_VARIABLE
from trainer_module.errors import InputError

PROJECT = Path(__file__).resolve().parent.parent.parent
WORKER_START = Path(__file__).resolve().parent / "worker_start"
IN_PROCESS = "in_process"
RUNNERS = {
    IN_PROCESS: "FnApiRunner",
    "prism": "PrismRunner",
    "flink": "FlinkRunner",
    "spark": "SparkRunner",
    "portable": "PortableRunner",
}
JARS = {"flink": "flink_job_server_jar", "spark": "spark_job_server_jar"}
ARTIFACTS = {
    "flink": "beam-runners-flink-2.2-job-server",
    "spark": "beam-runners-spark-3-job-server",
}
BUILT = PROJECT / ".engines"  # by `make engine NAME=NAME`: NAME/NAME-job-server.jar
CACHES = ("~/.apache_beam/cache/jars", "~/.m2/repository/org/apache/beam/*/*")  # of Beam and Maven
ADDRESSES = ("job_endpoint", "flink_master", "spark_master_url")
LOOPBACK = ("localhost", "127.0.0.1", "::1")
PATIENCE = 3.0  # seconds for an address to answer
REFUSED = {
    "dask": "Beam's Dask runner loses outputs without an error: ExampleGen ends well and leaves no "
    "examples",
    "dataflow": "Dataflow's workers see no folder of yours, and the pipeline root is one",
    "direct": "Beam's DirectRunner is what in_process is, but for a download that it tries",
}
FIX = f"Fix: --beam_runner={IN_PROCESS}, or another of {', '.join(RUNNERS)} (docs/scale.md)"


@dataclass(frozen=True)
class Engine:
    """A Beam runner and its flags."""

    name: str = IN_PROCESS
    flags: tuple[str, ...] = ()

    @property
    def is_elsewhere(self) -> bool:
        """Whether workers are other processes than this one, which are to be asked first."""
        return self.name != IN_PROCESS or "multi_processing" in " ".join(self.flags)

    def value(self, name: str) -> str:
        """Returns the value of one of Beam's flags, '' if it is not given."""
        found = ""
        for at, flag in enumerate(self.flags):
            if flag == f"--{name}" and at + 1 < len(self.flags):
                found = self.flags[at + 1]
            elif flag.startswith(f"--{name}="):
                found = flag.partition("=")[2]
        return found


def engine_asked_for(name: str | None) -> Engine:
    """Returns what `engine_of` makes of `--beam_runner` and the flags in the environment; None
    where it is not given.
    """
    return engine_of(name or IN_PROCESS, os.environ.get(BEAM_ARGS_VARIABLE, ""))


def engine_of(name: str, text: str) -> Engine:
    """Returns what to run the data nodes on.

    Args:
      name: of `--beam_runner`.
      text: more of Beam's flags, written as in a shell.

    Raises:
      InputError: if it is refused, or something that it needs is not there.
    """
    try:
        more = shlex.split(text)
    except ValueError as error:
        raise InputError(
            f"{BEAM_ARGS_VARIABLE} must be flags as in a shell. Received: {text!r}, {error}"
        ) from error
    words = [word for word in more if not word.startswith("--")]
    if more and not more[0].startswith("--"):
        raise InputError(
            f"{BEAM_ARGS_VARIABLE} must be flags that begin with --. Received: {words[0]!r}"
        )
    if runner := Engine(name, tuple(more)).value("runner"):
        raise InputError(
            f"{BEAM_ARGS_VARIABLE} must name no runner, of which nothing would be checked. "
            f"Received: --runner={runner}. Fix: --beam_runner=NAME, one of {', '.join(RUNNERS)}"
        )
    refuse_by_name(name)
    engine = Engine(name, (f"--runner={RUNNERS[name]}", *more))
    if not engine.value("job_endpoint"):
        engine = _with_built_jar(engine)
        for needs in (_refuse_without_java, _refuse_without_jar, _refuse_without_prism):
            needs(engine)
    _refuse_silent(engine)
    return engine


def refuse_by_name(name: str) -> None:
    """Raises an InputError if a runner is one of REFUSED."""
    if name in REFUSED:
        raise InputError(f"`--beam_runner` cannot be {name}: {REFUSED[name]}. {FIX}")


def _with_built_jar(engine: Engine) -> Engine:
    """Returns the engine with the job server that was built for it, where none is named."""
    jar = BUILT / engine.name / f"{engine.name}-job-server.jar"
    flag = JARS.get(engine.name, "")
    if not flag or engine.value(flag) or not jar.is_file():
        return engine
    return Engine(engine.name, (*engine.flags, f"--{flag}={jar}"))


def _refuse_without_java(engine: Engine) -> None:
    if engine.name in JARS and not shutil.which("java"):
        raise InputError(
            f"`--beam_runner={engine.name}` needs Java 11 or 17 for Beam's job server, and there "
            f"is no `java`. Fix: sudo apt-get install openjdk-17-jre-headless, or name a job "
            f'server that runs elsewhere, {BEAM_ARGS_VARIABLE}="--job_endpoint=HOST:PORT"'
        )


def _refuse_without_jar(engine: Engine) -> None:
    if engine.name not in JARS:
        return
    flag, artifact = JARS[engine.name], ARTIFACTS[engine.name]
    given, wanted = engine.value(flag), f"{artifact}-{version('apache-beam')}.jar"
    found = [jar for cache in CACHES for jar in glob.glob(os.path.expanduser(f"{cache}/{wanted}"))]
    if given and not os.path.isfile(given):
        raise InputError(f"`--{flag}` must be a file. Received: {given}, which is not there")
    if not given and not found:
        raise InputError(
            f"`--beam_runner={engine.name}` needs Beam's job server, which is neither built "
            f"({BUILT.name}/{engine.name}) nor, as {wanted}, in {' or '.join(CACHES)}. Fix: make "
            f"engine NAME={engine.name}, or mvn dependency:get -Dtransitive=false -Dartifact="
            f"org.apache.beam:{artifact}:{version('apache-beam')}, or "
            f'{BEAM_ARGS_VARIABLE}="--{flag}=FILE", or "--job_endpoint=HOST:PORT" of one that runs'
        )


def _refuse_without_prism(engine: Engine) -> None:
    if engine.name != "prism":
        return
    given = engine.value("prism_location")
    if not os.path.isfile(given) or not os.access(given, os.X_OK):
        raise InputError(
            f"`--beam_runner=prism` needs the program prism, by its path in "
            f'{BEAM_ARGS_VARIABLE}="--prism_location=FILE". Received: {given!r}. Fix: GOBIN=$PWD '
            f"go install github.com/apache/beam/sdks/v2/go/cmd/prism@v{version('apache-beam')}"
        )


def _refuse_silent(engine: Engine) -> None:
    """Refuses an engine one of whose addresses does not answer."""
    names = list(ADDRESSES)
    if engine.name == "portable" and not engine.value("job_endpoint"):
        raise InputError(
            f"`--beam_runner=portable` needs the address of a Beam job server that runs. Fix: "
            f'{BEAM_ARGS_VARIABLE}="--job_endpoint=HOST:PORT"'
        )
    if engine.value("environment_type").upper() == "EXTERNAL" and not _is_pool_of_each(engine):
        names.append("environment_config")
    for name in names:
        address = engine.value(name)
        if _host(address) and not _answers(address):
            raise InputError(
                f"`--{name}` must be the HOST:PORT of a program that runs. Received: {address}, "
                f"where nothing answers. Fix: start it, or name another"
            )


def _is_pool_of_each(engine: Engine) -> bool:
    """Returns whether the pool is that of each machine of a cluster, not of this one: an address of
    the loopback, where the cluster's is another.
    """
    clusters = [engine.value(name) for name in ADDRESSES]
    elsewhere = [one for one in clusters if _host(one) not in ("", *LOOPBACK)]
    return bool(elsewhere) and _host(engine.value("environment_config")) in LOOPBACK


def _host(address: str) -> str:
    """Returns the host of an address; '' of none, and of a cluster within the job server."""
    if address == "local" or address.startswith(("[", "local[")):
        return ""
    try:
        return _place(address).hostname or address
    except ValueError:  # of brackets
        return address


def _place(address: str) -> SplitResult:
    return urlsplit(address if "://" in address else f"//{address}")


def _answers(address: str) -> bool:
    try:
        place = _place(address)
        with socket.create_connection((place.hostname, place.port or 80), PATIENCE):
            return True
    except (OSError, ValueError):
        return False


def worker_environment() -> dict[str, str]:
    """Returns what a Beam worker needs in its environment: the project and what TFDV misses on
    Python's path, this Python first among the programs, since Beam's pool starts `python`.
    """
    import sys

    own = [str(WORKER_START), str(PROJECT)]
    before = [one for one in os.environ.get("PYTHONPATH", "").split(os.pathsep) if one]
    path = [one for one in before if one not in own]
    return {
        "PYTHONPATH": os.pathsep.join([*own, *path]),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
    }
