"""Files that are not local, through Beam's file systems: `s3://`, `gs://` and what else Beam knows.

Credentials are found as each store's own programs find them (AWS_PROFILE, gcloud auth); what else
is to be said about a store are Beam's flags in SIMCLR_BEAM_ARGS, as --s3_endpoint_url.
"""

import contextlib
import functools
import glob
import importlib.util
import logging
import os
import shlex
import sys
import threading
from collections.abc import Iterator
from typing import Any

from trainer_module.errors import InputError

BEAM_ARGS_VARIABLE = "SIMCLR_BEAM_ARGS"
PATIENCE = 5  # seconds, before a person hears that a store is waited for
WAITING = "{}:// has not answered yet: is there a network, are there credentials? Waiting ..."
# scheme -> the module that Beam needs for it, and how to have it
NEEDED = {
    "s3": ("boto3", "make extra NAME=aws"),
    "gs": ("google.cloud.storage", "make install, which brings it"),
}


def file_systems(path: str) -> Any:
    """Returns Beam's FileSystems, ready for a path.

    Raises:
      InputError: if the package is missing that reads such paths.
    """
    scheme = path.partition("://")[0]
    module, fix = NEEDED.get(scheme, ("apache_beam", ""))
    if not _is_installed(module):
        raise InputError(
            f"{path}: {scheme}:// needs the package {module}, which is not installed. Fix: {fix}"
        )
    return _ready()


def read(path: str) -> bytes:
    """Returns the content of a file.

    Raises:
      OSError: if it cannot be read; of each store's many errors this is the one.
      InputError: as `file_systems`.
    """
    systems = file_systems(path)
    with _asking(path), systems.open(path, compression_type="uncompressed") as file:
        return file.read()


def sizes_and_times(paths: list[str]) -> dict[str, tuple[int, float]]:
    """Returns bytes and time of change, in seconds, of the files that are there.

    Raises:
      OSError, InputError: as `read`.
    """
    systems = file_systems(paths[0])
    with _asking(paths[0]):
        names = [glob.escape(path) for path in paths]  # `match` takes patterns
        found = [match.metadata_list for match in systems.match(names)]
    return {
        files[0].path: (files[0].size_in_bytes, files[0].last_updated_in_seconds)
        for files in found
        if files
    }


@contextlib.contextmanager
def _asking(path: str) -> Iterator[None]:
    """Asks a store: one kind of error comes out of it, and a person hears that it does not answer,
    which Google's client waits for two minutes.
    """
    timer = threading.Timer(PATIENCE, _tell_of_waiting, [path.partition("://")[0]])
    timer.daemon = True
    timer.start()
    try:
        yield
    except Exception as error:
        told = " ".join(str(error).split())
        raise OSError(told or type(error).__name__) from error
    finally:
        timer.cancel()


@functools.cache  # once a store's kind, not once an image
def _tell_of_waiting(scheme: str) -> None:
    print(WAITING.format(scheme), file=sys.stderr, flush=True)


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # of a package that it would lie in
        return False


@functools.cache
def _ready() -> Any:
    from apache_beam.io.filesystems import FileSystems
    from apache_beam.options.pipeline_options import PipelineOptions

    # Without credentials each of five tries would print a traceback; WAITING says what is up.
    logging.getLogger("apache_beam.utils.retry").setLevel(logging.ERROR)
    if getattr(FileSystems, "_pipeline_options", None) is None:  # a pipeline sets its own
        flags = shlex.split(os.environ.get(BEAM_ARGS_VARIABLE, ""))
        FileSystems.set_options(PipelineOptions(flags))
    return FileSystems
