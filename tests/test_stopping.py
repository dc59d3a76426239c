"""What is asked to stop ends in time, whatever it is doing, and says so once."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.command import MODULES

ROOT = Path(__file__).resolve().parent.parent
FRAME = """
import hashlib, time
from pipeline.stopping import asked_to_stop, stoppable

def wait():
    print("ready", flush=True)
    {body}

try:
    with stoppable(lambda: "told by the watcher", grace=0.5):
        {call}
except KeyboardInterrupt:
    print("interrupted")
print("asked" if asked_to_stop() else "not asked")
"""
BUSY = 'hashlib.pbkdf2_hmac("sha256", b"", b"", 100_000_000)'  # long and without the GIL
SWALLOWED = """
    for _ in range(60):
        try:
            time.sleep(0.5)
        except BaseException:
            pass
"""


def stop(number, body, call="wait()", before=""):
    """Sends a signal to a block once it is ready; returns exit code, lines and seconds."""
    source = before + FRAME.format(body=body, call=call)
    process = subprocess.Popen(
        [sys.executable, "-c", source], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.3)  # so that it is in the midst of it
    sent = time.monotonic()
    process.send_signal(number)
    told = process.stdout.read().splitlines()
    return process.wait(), told, time.monotonic() - sent


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_interrupts_the_block_at_once(number):
    code, told, seconds = stop(number, "time.sleep(30)")
    assert (code, told) == (0, ["interrupted", "asked"]) and seconds < 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_long_step_of_a_library_does_not_hold_it_up(number):
    code, told, seconds = stop(number, BUSY)
    assert (code, told) == (130, ["told by the watcher"]) and seconds < 3


def test_an_interruption_that_a_library_swallows_ends_the_process_all_the_same():
    code, told, seconds = stop(signal.SIGTERM, SWALLOWED)
    assert (code, told) == (130, ["told by the watcher"]) and seconds < 3


def test_after_the_block_the_signal_has_its_old_meaning():
    code, told, _ = stop(signal.SIGTERM, "pass", call="pass\n    wait()\n    time.sleep(30)")
    assert (code, told) == (-signal.SIGTERM, [])


def test_a_signal_that_is_ignored_in_the_background_stays_ignored():
    before = "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n"
    assert stop(signal.SIGINT, "time.sleep(1)", before=before)[:2] == (0, ["not asked"])


TOOL = """
import time
from pipeline.stopping import run_tool

def main(arguments):
    print("ready", flush=True)
    {body}
    return 0

run_tool(main)
"""
TURNED_INTO_ANOTHER_ERROR = """
    try:
        time.sleep(30)
    except KeyboardInterrupt as error:
        raise RuntimeError("KeyboardInterrupt") from error
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("body", ["time.sleep(30)", TURNED_INTO_ANOTHER_ERROR])
def test_a_tool_that_is_stopped_says_one_line_and_ends_with_130(number, body):
    process = subprocess.Popen(
        [sys.executable, "-c", TOOL.format(body=body)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    assert process.communicate() == ("", "Interrupted.\n")
    assert process.returncode == 130


@pytest.mark.parametrize(
    ("body", "output", "told"),
    [
        ("print(1)", "/dev/full", "no space left on device"),
        ('open("/proc/self/made", "w")', "/dev/null", "/proc/self/made: no such file or directory"),
        ('open("/sys/kernel/notes", "wb")', "/dev/null", "/sys/kernel/notes: "),
        ('raise RuntimeError("x") from OSError(28, "")', "/dev/null", "No space left on the disk"),
    ],
)
def test_what_the_machine_does_to_a_tool_is_one_line_and_exit_code_1(body, output, told):
    command = [sys.executable, "-c", TOOL.format(body=body)]
    with open(output, "w", encoding="utf-8") as stdout:
        ended = subprocess.run(
            command, cwd=ROOT, stdout=stdout, stderr=subprocess.PIPE, text=True, check=False
        )
    assert ended.returncode == 1
    assert told in ended.stderr and ended.stderr.count("\n") == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    "tool", [["-m", "pipeline.predict"], ["-c", "import sys; sys.argv[0] = 'bin/simclr'; BODY"]]
)
def test_a_stop_while_a_tool_is_still_loading_is_a_line_too(number, tool):
    body = "import pipeline.command; pipeline.command.main()"
    command = [word.replace("BODY", body) for word in (sys.executable, "-X", "importtime", *tool)]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    while "argparse" not in process.stderr.readline():  # the first that most tools import
        pass
    process.send_signal(number)
    _, errors = process.communicate()
    said = [line for line in errors.splitlines() if not line.startswith("import time:")]
    assert (process.returncode, said) == (130, ["Interrupted."])


def test_a_program_that_uses_the_package_keeps_its_own_signals():
    source = "import signal, pipeline; print(signal.getsignal(signal.SIGINT).__name__)"
    command = [sys.executable, "-c", source, "-m", "pipeline.predict"]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert told == "default_int_handler\n"


def test_a_run_leaves_after_what_libraries_want_done_at_its_end():
    code = (
        "import atexit, logging; from pipeline.stopping import leave\n"
        "atexit.register(logging.warning, 'ending'); atexit.register(print, 'ended'); leave(3)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr, done.returncode) == ("ended\n", "", 3)


def test_every_tool_is_stopped_in_that_one_place():
    places = ("{}.py", "{}/__main__.py")
    modules = [module.replace(".", "/") for module, _ in MODULES.values()][1:]  # not the runner
    files = [ROOT / place.format(module) for module in modules for place in places]
    sources = [file.read_text(encoding="utf-8") for file in files if file.exists()]
    assert len(sources) == len(modules)
    assert all(
        source.endswith('if __name__ == "__main__":\n    run_tool(main)\n') for source in sources
    )
