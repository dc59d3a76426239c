"""Nodes that fail, or are stopped, for tests of what a run then tells."""

import errno
import hashlib
import os
import signal
from pathlib import Path

from tfx.dsl.component.experimental.annotations import Parameter
from tfx.dsl.component.experimental.decorators import component

from components.metadata.names import METADATA_VARIABLE
from components.metadata.snapshot import read
from components.metadata.store import open_store
from trainer_module.errors import InputError


@component
def FailingNode(fault: Parameter[str]) -> None:  # noqa: N802 (a TFX component)
    """Raises what the fault stands for, inside an error of another kind, as Beam does."""
    errors = {
        "bad input": InputError("list.csv:3: no image"),
        "full disk": OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/disk/file"),
        "read-only disk": OSError(errno.EROFS, os.strerror(errno.EROFS), "/disk/file"),
        "full store": RuntimeError("ResourceExhausted; database or disk is full"),
        "held store": RuntimeError("Concurrent writes aborted after max number of retries."),
    }
    try:
        raise errors[fault]
    except Exception as error:
        raise RuntimeError(f"{type(error).__name__} [while running 'Write']") from error


@component
def StoppedNode(heard: Parameter[str]) -> None:  # noqa: N802 (a TFX component)
    """Is asked to stop; it is interrupted, tells that as an error of its own, or is deaf to it."""
    try:
        os.kill(os.getpid(), signal.SIGTERM)
    except KeyboardInterrupt as error:
        if heard == "as an error":
            raise RuntimeError("KeyboardInterrupt") from error
        if heard == "at once":
            raise
    hashlib.pbkdf2_hmac("sha256", b"", b"", 100_000_000)  # long and without the GIL


@component
def OnceStoppedNode(file: Parameter[str]) -> None:  # noqa: N802 (a TFX component)
    """Is stopped the first time, and then writes which state it has in the store into a file."""
    if not os.path.exists(file):
        Path(file).touch()
        os.kill(os.getpid(), signal.SIGTERM)
    executions = read(open_store(os.environ[METADATA_VARIABLE])).executions.values()
    Path(file).write_text(" ".join(execution.state for execution in executions))
