"""Flink and Spark on this machine: the data nodes make there what they make in this process.

Each needs its job server, which `make engine NAME=flink` or `NAME=spark` builds, and Java.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.engines.engine import BUILT, PROJECT

OF_THE_ENGINE = ("engine", "flags", "nodes", "seconds")  # what two lines may differ in


@pytest.fixture(scope="module")
def lists(tmp_path_factory):
    """Returns the flags of two lists of 24 and 12 images of noise, of two classes."""
    folder = tmp_path_factory.mktemp("lists")
    rng = np.random.default_rng(0)
    flags = []
    for flag, count in (("train", 24), ("val", 12)):
        names = [f"{flag}{number}.png" for number in range(count)]
        for name in names:
            Image.fromarray(rng.integers(0, 256, (16, 16, 3), np.uint8)).save(folder / name)
        rows = "".join(f"{name},{number % 2}\n" for number, name in enumerate(names))
        (folder / f"{flag}.csv").write_text(rows, encoding="utf-8")
        flags.append(f"--{flag}_file_path={folder / flag}.csv")
    return flags


@pytest.fixture(scope="module")
def in_process(lists):
    """Returns the digests of what this process makes."""
    return digests("in_process", lists)


def digests(engine: str, lists: list[str]) -> dict:
    """Returns the digests of what an engine makes of the lists."""
    command = [sys.executable, "benchmarks/engines.py", f"--beam_runner={engine}", *lists]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr[-4000:]
    made = json.loads(done.stdout.splitlines()[-1])
    return {name: value for name, value in made.items() if name not in OF_THE_ENGINE}


@pytest.mark.tfx
@pytest.mark.parametrize("engine", ["flink", "spark"])
def test_an_engine_makes_what_this_process_makes(engine, lists, in_process):
    jar = Path(BUILT, engine, f"{engine}-job-server.jar")
    if not jar.is_file() or not shutil.which("java"):
        pytest.skip(f"needs Java and `make engine NAME={engine}`")
    made = digests(engine, lists)
    assert made == in_process
    assert made["FileListExampleGen Split-train"].startswith("24 ")
