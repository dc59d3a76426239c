"""What comes from elsewhere is read as data and never run: models, archives, settings, names."""

import ast
import dataclasses
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest

from benchmarks.lineage import fill
from components.metadata.snapshot import read
from components.metadata.store import open_store
from components.metadata.stored_run import StoredRun
from components.report.contents import collect
from components.report.page import render
from trainer_module.checkpoint import DAMAGED, _read

ROOT = Path(__file__).resolve().parent.parent
SOURCES = [
    ROOT / "local_runner.py",
    *(path for folder in ("trainer_module", "components", "pipeline")
      for path in sorted((ROOT / folder).rglob("*.py"))),
]  # fmt: skip
RUNS_WHAT_IT_READS = {
    "eval", "exec", "compile", "__import__", "os.system", "os.popen", "pickle.load",
    "pickle.loads", "marshal.load", "marshal.loads", "shelve.open", "yaml.unsafe_load",
    "yaml.full_load", "yaml.Loader", "yaml.UnsafeLoader", "joblib.load", "dill.load", "dill.loads",
    "keras.config.enable_unsafe_deserialization",
}  # fmt: skip
SCRIPT = "<script>alert(1)</script>"


def relative(path):
    return str(path.relative_to(ROOT))


def named(node):
    """Returns the dotted name that an expression is, '' for any other."""
    if isinstance(node, ast.Name):
        return node.id
    return f"{named(node.value)}.{node.attr}" if isinstance(node, ast.Attribute) else ""


def calls(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [node for node in ast.walk(tree) if isinstance(node, ast.Call)]


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_nothing_that_is_read_is_run(path):
    assert not [call for call in calls(path) if named(call.func) in RUNS_WHAT_IT_READS]


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_no_call_takes_pickles_shells_lambdas_or_archives_on_trust(path):
    unsafe = {("allow_pickle", True), ("shell", True), ("safe_mode", False)}
    for call in calls(path):
        given = {(word.arg, getattr(word.value, "value", None)) for word in call.keywords}
        assert not unsafe & given
        assert named(call.func).rpartition(".")[2] not in (
            "extractall",
            "extract",
            "unpack_archive",
        )


def test_only_the_restricted_reader_of_cifar_10_knows_pickles():
    found = [
        relative(path)
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Import) and any(name.name == "pickle" for name in node.names)
    ]
    assert found == ["pipeline/datasets/cifar10.py"]


class Malicious:
    """What leaves a file when it is unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


def test_a_checkpoint_with_a_pickle_in_it_is_damaged_and_does_not_run(tmp_path):
    mark, file = tmp_path / "ran", tmp_path / "checkpoint.npz"
    np.savez(file, record=np.array("{}"), weights=np.array([Malicious(mark)], object))
    mark.unlink(missing_ok=True)
    with zipfile.ZipFile(file) as archive:
        assert pickle.PROTO in archive.read("weights.npy")
    with pytest.raises(DAMAGED, match="allow_pickle=False"):
        _read(file)
    assert not mark.exists()


def test_a_report_shows_names_flags_and_addresses_and_runs_none(tmp_path):
    folder = tmp_path / "a<bdo>"
    folder.mkdir()
    fill(str(folder / "metadata.sqlite"), folder, ["data"])
    snapshot = read(open_store(str(folder / "metadata.sqlite")))
    contents = dataclasses.replace(
        collect(StoredRun(snapshot, [*snapshot.runs][-1])),
        title=SCRIPT,
        settings=[(SCRIPT, SCRIPT)],
        environment=[("command", f"python local_runner.py --recipe={SCRIPT}")],
        anomalies=[SCRIPT],
        class_balance={"data": [{"name": SCRIPT}]},
        verdict={"state": "refused", "reasons": [SCRIPT], "pushed": SCRIPT},
    )
    page = render(contents)
    assert page.count("&lt;script&gt;alert(1)&lt;/script&gt;") >= 7
    assert SCRIPT not in page and "a<bdo>" not in page
