"""What a person sees of a run: one line a component.

Everything that libraries print goes to the log file.

The streams are parted at the level of file descriptors, so that C++ libraries and child processes
are caught too.
"""

import json
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

# As LocalDagRunner and its launcher log them.
RUNNING, EXECUTES, FINISHED = (
    "Component %s is running.",
    "Going to run a new execution %d",
    "Component %s is finished.",
)
NAME_WIDTH = 20
CLEAR_LINE = "\x1b[K"  # from the cursor on


@contextmanager
def libraries_to_log(log_path: str) -> Iterator[None]:
    """Sends file descriptors 1 and 2 to a log file, while Python's `sys.stdout` stays with the
    person.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    terminal, saved_stdout, saved_error = os.dup(1), sys.stdout, os.dup(2)
    log = os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    sys.stdout = os.fdopen(os.dup(terminal), "w", buffering=1, encoding="utf-8", errors="replace")
    try:
        yield
    finally:
        sys.stdout.flush()
        with suppress(OSError):  # the disk of the log may be full
            sys.stderr.flush()
        sys.stdout = saved_stdout
        os.dup2(terminal, 1)
        os.dup2(saved_error, 2)
        for descriptor in (terminal, saved_error, log):
            os.close(descriptor)


@contextmanager
def line_on_terminal() -> Iterator[Callable[[str], None]]:
    """Yields what shows a text in a line of its own on stderr, in place of the one before, also
    while `libraries_to_log` has that; nothing where stderr is no terminal.
    """
    if not sys.stderr.isatty():
        yield lambda text: None
        return
    with os.fdopen(os.dup(sys.stderr.fileno()), "w", encoding="utf-8") as terminal:

        def show(text: str) -> None:
            terminal.write(f"\r{CLEAR_LINE}{text}")
            terminal.flush()

        try:
            yield show
        finally:
            show("")


class ProgressHandler(logging.Handler):
    """Turns the log records of LocalDagRunner into progress lines, one a node."""

    def __init__(self, total: int, state_of: Callable[[str], str], long_nodes: tuple[str, ...]):
        """Takes what the lines need.

        Args:
          total: number of nodes in the pipeline.
          state_of: node id -> its state in this run ('done', 'cached', ...), asked once it has
            finished.
          long_nodes: nodes announced when they start, since they print progress of their own.
        """
        super().__init__(logging.INFO)
        self._total, self._state_of, self._long_nodes = total, state_of, long_nodes
        self._node, self._count, self._started = "", 0, 0.0

    def emit(self, record: logging.LogRecord) -> None:
        """Prints the line of a node that starts or has finished; ignores every other record."""
        if record.msg == RUNNING:
            self._node, self._count, self._started = (
                record.args[0],
                self._count + 1,
                time.perf_counter(),
            )
        elif record.msg == EXECUTES and self._node in self._long_nodes:
            print(self._line("..."))
        elif record.msg == FINISHED:
            state = self._state_of(self._node)
            seconds = f"{time.perf_counter() - self._started:8.1f} s"
            print(self._line(seconds if state == "done" else f"{state:>10}"))

    def _line(self, text: str) -> str:
        return f"[{self._count:2d}/{self._total}] {self._node:<{NAME_WIDTH}} {text}"


class Hiding(logging.Filter):
    """Blots a secret out of every record: TFX logs the whole connection to its store."""

    def __init__(self, secret: str):
        """Takes the secret; messages of protobuf hold it escaped."""
        super().__init__()
        escaped = json.dumps(secret)[1:-1]
        octal = "".join(
            chr(byte) if 32 <= byte < 127 else f"\\{byte:03o}" for byte in escaped.encode()
        )
        self._forms = sorted({secret, escaped, octal} - {""}, key=len, reverse=True)

    def filter(self, record: logging.LogRecord) -> bool:
        """Lets every record pass, without the secret."""
        message = record.getMessage()
        if any(form in message for form in self._forms):
            for form in self._forms:
                message = message.replace(form, "***")
            record.msg, record.args = message, ()
        return True


@contextmanager
def progress(handler: ProgressHandler, hidden: str = "") -> Iterator[None]:
    """Attaches the handler to absl's logger, through which TFX speaks, and keeps the secret
    `hidden` out of what it says.
    """
    from absl import logging as absl_logging

    logger, hiding = absl_logging.get_absl_logger(), Hiding(hidden)
    absl_logging.set_verbosity(absl_logging.INFO)
    logger.addFilter(hiding)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.removeFilter(hiding)
        absl_logging.set_verbosity(absl_logging.WARNING)
