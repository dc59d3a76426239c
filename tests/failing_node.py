"""A node that fails, for tests of what a run then tells."""

import errno
import os

from tfx.dsl.component.experimental.annotations import Parameter
from tfx.dsl.component.experimental.decorators import component

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
