"""A run that is asked to stop, by Ctrl-C or SIGTERM, ends within seconds, whatever it is doing.

Python handles a signal in the main thread, between two of its own steps: not while TensorFlow
computes, and what the handler raises may be swallowed, or told as an error of another kind, by a
library on its way. So it counts whether a stop was asked for, not which exception arrives; and
where none arrives in time the process ends itself, as a kill would end it, which `--resume`
survives. Standard library alone.
"""

import atexit
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple, NoReturn

from pipeline.arguments import FAILED
from pipeline.faults import fault_of_a_tool
from pipeline.loading import EXIT_INTERRUPTED, TOLD_INTERRUPTED

SIGNALS = (signal.SIGINT, signal.SIGTERM)
GRACE = 3.0  # seconds, in which a run notes its state


class Stop(NamedTuple):
    """What asked for a stop, in the words of a person, and when, in seconds since 1970."""

    by: str
    at: float


_stops: list[Stop] = []  # of the latest `stoppable` block; the first counts
_raised = threading.Event()


def asked_to_stop() -> bool:
    """Tells whether the latest `stoppable` block was asked to stop."""
    return bool(_stops)


def the_stop() -> Stop:
    """Returns what stopped the latest `stoppable` block; only where it was asked to stop."""
    return _stops[0]


def run_tool(main: Callable[[list[str]], int]) -> NoReturn:
    """Ends the process with what a tool makes of its command line; one line where it was stopped,
    whatever a library made of that on its way, and where the machine failed it.
    """
    try:
        with stoppable(lambda: TOLD_INTERRUPTED):
            code = main(sys.argv[1:])
            sys.stdout.flush()
    except BaseException as error:
        told, code = (
            (TOLD_INTERRUPTED, EXIT_INTERRUPTED)
            if asked_to_stop()
            else (fault_of_a_tool(error), FAILED)
        )
        if not told:
            raise
        print(told if asked_to_stop() else f"{_name(main)}: {told}", file=sys.stderr)
        _leave_stdout()
    sys.exit(code)


def _name(main: Callable) -> str:
    spec = main.__globals__.get("__spec__")
    return spec.name.removesuffix(".__main__") if spec else os.path.basename(sys.argv[0])


def _leave_stdout() -> None:
    """Has nothing more written where writing may have failed: Python would try again at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)


@contextmanager
def stoppable(
    told: Callable[[], str], grace: float = GRACE, code: int = EXIT_INTERRUPTED
) -> Iterator[None]:
    """Raises KeyboardInterrupt in a block that is asked to stop, once, and ends the process where
    that does not end the block. A signal that is ignored, as in the background, stays so.

    Args:
      told: returns what a person reads where the block has no time to say it; called in another
        thread.
      grace: seconds from the signal to the end of the process.
      code: that the process then ends with.
    """
    _stops.clear()
    _raised.clear()
    left = threading.Event()
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    heeded = [number for number in SIGNALS if signal.getsignal(number) != signal.SIG_IGN]
    handlers = {number: signal.signal(number, _stop) for number in heeded}
    # Written to at once, whatever the main thread does.
    wakeup = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    given = (reading, left, grace, told, code)
    watcher = threading.Thread(target=_watch, args=given, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        left.set()
        signal.set_wakeup_fd(wakeup)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        os.close(writing)


def leave(code: int) -> NoReturn:
    """Ends the process after what libraries want done at its end, as Beam ends its job servers, but
    without taking them down module by module: of TensorFlow and Beam that takes 2 s.
    """
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)  # for nothing is left to be stopped
    logging.disable()  # what they say of it stands behind all that was told
    atexit._run_exitfuncs()
    sys.stdout.flush()
    os._exit(code)


def _stop(signum, frame) -> None:
    _note(signum)
    if not _raised.is_set():
        _raised.set()
        raise KeyboardInterrupt


def _note(signum: int) -> None:
    if not _stops:
        by = "Ctrl-C" if signum == signal.SIGINT else signal.Signals(signum).name
        _stops.append(Stop(by, time.time()))


def _watch(
    reading: int, left: threading.Event, grace: float, told: Callable[[], str], code: int
) -> None:
    """Waits for a signal, or for the end of the block, which closes the other end."""
    signals = os.read(reading, 1)
    os.close(reading)
    if signals:
        _note(signals[0])  # for the main thread may never come to its handler
    if signals and not left.wait(grace):
        print(told(), flush=True)
        os._exit(code)
