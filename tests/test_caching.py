"""Each row of docs/caching.md: the edit is made in a copy of the project, whose graph must then
have these keys and no others changed.
"""

import hashlib
import json
import multiprocessing
import re
import shutil
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "caching.md").read_text(encoding="utf-8")
SOURCES = ("components", "pipeline", "trainer_module", "README.md")
CELL = re.compile(r"`(.*)`|(.*)")

pytestmark = pytest.mark.tfx


def cells(line):
    return [
        CELL.fullmatch(cell.strip()).expand(r"\1\2").replace("\\n", "\n")
        for cell in line.strip("|").split("|")
    ]


def table():
    lines = [cells(line) for line in PAGE.splitlines() if line.startswith("| ")]
    return lines[1:]  # without the heading


def keys(project, task_name):
    """Returns the graph of a task as a project has it: node -> digest of the parameters that the
    cache compares.

    It is called in a process of its own, which has TFX from its parent and nothing of this project.
    """
    for name in [name for name in sys.modules if name.split(".")[0] in SOURCES]:
        del sys.modules[name]
    # Bytecode goes by seconds and bytes: of an edit undone in its second it would be taken for the
    # file as it was.
    sys.dont_write_bytecode = True
    sys.path.insert(0, str(project))
    from pipeline.choices import Choices, Lists
    from pipeline.pipeline import Folders, graph_of
    from pipeline.plan import as_chosen
    from pipeline.precedence import stacked
    from trainer_module.tasks.classification import Classification
    from trainer_module.tasks.regression import Regression
    from trainer_module.tasks.segmentation import Segmentation
    from trainer_module.tasks.unlabelled import Unlabelled

    task = {
        "segmentation": Segmentation(3),
        "regression": Regression(),
        "pretrain": Unlabelled(),
    }.get(task_name, Classification(3))
    lists = Lists("/lists/train.csv", "" if task_name == "one list" else "/lists/eval.csv")
    recipe = Choices(
        name="own",
        lists=lists,
        eval_epochs=(10,) if task.one_class_an_image else (),
    )
    choices = stacked(recipe, {}, {"task": task.name})
    plan = as_chosen(choices, task)
    graph = graph_of(plan)(plan, Folders("/root/artifacts", "/root/serving"))
    # which has no key
    nodes = {node.id: node for node in graph.components if node.id != "Baseline"}
    given = {
        name: sorted((key, str(value)) for key, value in node.exec_properties.items())
        for name, node in nodes.items()
    }
    return {
        name: hashlib.sha256(json.dumps(values).encode()).hexdigest()
        for name, values in given.items()
    }


@pytest.fixture(scope="module")
def keys_of(tmp_path_factory):
    """Returns a function that gives the keys of a copy of the project, with one text of one file
    replaced if that is asked for.
    """
    import tfx.components  # noqa: F401 (once, for all processes)

    project = tmp_path_factory.mktemp("project")
    for name in SOURCES:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, project / name)
    unedited = {}

    def run(task):
        with multiprocessing.get_context("fork").Pool(1) as pool:
            return pool.apply(keys, (project, task))

    def edited(task, name, this, other):
        unedited[task] = unedited.get(task) or run(task)
        path = project / name
        text = path.read_text(encoding="utf-8")
        assert this in text, f"{name} has no {this!r}"
        path.write_text(text.replace(this, other, 1), encoding="utf-8")
        try:
            return unedited[task], run(task)
        finally:
            path.write_text(text, encoding="utf-8")

    return edited


@pytest.mark.parametrize("row", table(), ids=lambda row: f"{row[0]}, {row[4]}".removesuffix(", "))
def test_exactly_these_nodes_run_after_an_edit(keys_of, row):
    _, name, this, other, task, nodes = row
    before, after = keys_of(task, name, this, other)
    assert [node for node in before if after[node] != before[node]] == [
        node for node in before if node in nodes.split(", ")
    ]
