"""What a stop does while the program itself is still loading: one line and the exit code of a stop,
where Python would print a traceback.

Imported first of all, so it imports next to nothing itself; later `stopping.stoppable` takes over.
Python's own start, before the first line of ours, is out of reach.
"""

import os
import signal
import sys

EXIT_INTERRUPTED = 128 + 2  # exit code of all that is stopped, as shells have it: by signal 2
TOLD_INTERRUPTED = "Interrupted."
NOT_BEGUN = "Interrupted before the run began. The same command starts it."
COMMAND = "simclr"  # setup.py installs it


def end_at_once_on_signals(told: str = TOLD_INTERRUPTED) -> None:
    """Has Ctrl-C and SIGTERM end the process at once with a line, where they are not ignored as in
    the background.
    """

    def end(*_) -> None:
        os.write(2, f"{told}\n".encode())
        os._exit(EXIT_INTERRUPTED)

    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, end)


def starts_a_tool() -> bool:
    """Tells whether Python was started for a tool of ours and is importing the package of it, not
    for a program that uses the package.
    """
    if sys.argv[0] != "-m":  # which stands there until the module of `python -m` is found
        return os.path.basename(sys.argv[0]) == COMMAND
    return any(word.removeprefix("-m").startswith("pipeline.") for word in sys.orig_argv)
