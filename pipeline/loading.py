"""What a stop does while the program itself is still loading: one line, where Python would print a
traceback.

Imported first of all, so it imports next to nothing itself; later `stopping.stoppable` takes over.
"""

import os
import signal

INTERRUPTED = "Interrupted before the run began. The same command starts it."


def end_at_once_on_signals() -> None:
    """Has Ctrl-C and SIGTERM end the process at once, where they are not ignored as in the
    background.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _end)


def _end(*_) -> None:
    os.write(1, f"{INTERRUPTED}\n".encode())
    os._exit(1)
