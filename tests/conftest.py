"""Fixtures that several test files share: tiny real images and list files."""

import ctypes
import os
import signal
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


def pytest_addoption(parser):
    parser.addoption(
        "--no_skips",
        action="store_true",
        help="a skipped test fails the run, for machines that have everything",
    )
    parser.addoption(
        "--but",
        action="append",
        default=[],
        metavar="WHAT",
        help="with --no_skips: one whose reason says WHAT may be skipped, as NAME=spark",
    )


def pytest_configure():
    # A run in the background, as by nohup, would hand Ctrl-C on as ignored to what the tests start.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items):
    # Of two processes that share the files neither is left with a long one at the end.
    long, longer = (
        {item.path for item in items if item.get_closest_marker(name)}
        for name in ("tfx", "end_to_end")
    )
    items.sort(key=lambda item: (item.path not in longer, item.path not in long))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session):
    yield  # so that it is the last that is told, where the end of a long log is all that is shown
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    but = session.config.getoption("but")
    skipped = {
        report.nodeid: report.longrepr[2]
        for report in (reporter.stats.get("skipped", []) if reporter else [])
        if not any(what in report.longrepr[2] for what in but)
    }
    if session.config.getoption("no_skips") and skipped:
        reporter.write_line("")
        for name, reason in skipped.items():
            reporter.write_line(f"skipped, where nothing may be: {name}: {reason}")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(autouse=True)
def _arguments_of_pytest_stay_away_from_absl(monkeypatch):
    # Beam components re-read sys.argv as absl flags; pytest's own would be refused.
    monkeypatch.setattr(sys, "argv", sys.argv[:1])


@pytest.fixture(autouse=True)
def _what_the_runner_sets_for_its_libraries_ends_with_the_test(monkeypatch):
    # Else a later test's own process would compute with oneDNN, and this one without.
    for name in ("TF_CPP_MIN_LOG_LEVEL", "TF_ENABLE_ONEDNN_OPTS", "PYTHONPATH", "PATH"):
        if name in os.environ:
            monkeypatch.setenv(name, os.environ[name])
        else:
            monkeypatch.setenv(name, "")
            monkeypatch.delenv(name)


@pytest.fixture
def without_rights():
    """Returns a context in which this thread, and those that it starts, may not read what the mode
    of a file forbids: root may, elsewhere.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # of version 3; this thread
    read_all = 1 << 1 | 1 << 2  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH

    @contextmanager
    def context():
        sets = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable; twice
        assert libc.capget(header, sets) == 0
        effective = sets[0]
        sets[0] = effective & ~read_all
        assert libc.capset(header, sets) == 0
        try:
            yield
        finally:
            sets[0] = effective
            assert libc.capset(header, sets) == 0

    return context


@pytest.fixture
def image_list(tmp_path):
    """Returns a function that writes `count` small images and their list, and gives back the list's
    path.
    """

    def write(
        name: str = "train",
        count: int = 12,
        size: int = 16,
        labels: tuple[str, ...] = ("cat", "dog"),
    ) -> Path:
        rng = np.random.default_rng([count, size, len(name)])
        rows = []
        for index in range(count):
            pixels = rng.integers(0, 256, (size, size, 3), dtype=np.uint8)
            file = tmp_path / name / f"{index}.png"
            file.parent.mkdir(exist_ok=True)
            Image.fromarray(pixels).save(file)
            rows.append(
                f"{name}/{index}.png,{labels[index % len(labels)]}"
                if labels
                else f"{name}/{index}.png"
            )
        path = tmp_path / f"{name}.csv"
        path.write_text("\n".join(rows) + "\n", encoding="utf-8")
        return path

    return write
