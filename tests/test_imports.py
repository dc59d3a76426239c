"""The import rules of the project, and the smoke test of the stack."""

import ast
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
RANKS = {"trainer_module": 0, "components": 1, "pipeline": 2, "local_runner": 3}
TFX_ALLOWED = (
    "components/",
    "pipeline/compiled.py",
    "pipeline/pipeline.py",
    "pipeline/runner.py",
    "pipeline/engines/use.py",
    "pipeline/orchestrators/",
)
# What a command line needs, besides all modules that say in their docstrings what they import.
LIGHT = (
    "local_runner.py",
    "pipeline/asked_model.py",
    "pipeline/check.py",
    "pipeline/compile.py",
    "pipeline/datasets/of_recipe.py",
    "pipeline/flags.py",
    "pipeline/orchestrators/container.py",
    "pipeline/orchestrators/names.py",
    "pipeline/orchestrators/step.py",
    "pipeline/recipes.py",
    "pipeline/worker.py",
    "components/file_list_example_gen/held_out.py",
    "components/metadata/names.py",
    "trainer_module/log_files.py",
    "trainer_module/metric_names.py",
    "trainer_module/tasks/",
    "trainer_module/thumbnails.py",
    "trainer_module/together.py",
    "trainer_module/weights/files.py",
)
LEAVES = (
    "augment",
    "segmentation/decoder",
    "segmentation/paired_views",
    "segmentation/pixel_loss",
    "resnet",
    "heads",
    "loss",
    "optimizer",
    "learner",
    "normalize",
    "features",
    "linear_eval",
)
SOURCES = [
    path
    for folder in ("trainer_module", "components", "pipeline")
    for path in sorted((ROOT / folder).rglob("*.py"))
]
SOURCES.append(ROOT / "local_runner.py")


def imports(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def relative(path):
    return str(path.relative_to(ROOT))


def at_once(nodes):
    """Yields what runs when a module is imported: all but what stands in functions."""
    for node in nodes:
        yield node
        if not isinstance(node, ast.FunctionDef):
            yield from at_once(ast.iter_child_nodes(node))


def imported_at_once(path):
    """Yields the dotted names that a file imports when it is imported itself; of a package of ours
    its modules.
    """
    for node in at_once(ast.parse(path.read_text(encoding="utf-8")).body):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def files_of(name):
    """Returns the files of ours that an import of a dotted name runs: packages, and the module."""
    parts = name.split(".")
    above = [ROOT.joinpath(*parts[:count]) for count in range(1, len(parts) + 1)]
    files = [file for one in above for file in (one / "__init__.py", one.with_suffix(".py"))]
    return {file for file in files if file.is_file()}


def reached(path):
    """Returns a file and all others of ours that are imported with it."""
    found, waiting = set(), files_of(".".join(path.relative_to(ROOT).with_suffix("").parts))
    while waiting:
        found |= waiting
        names = [name for one in waiting for name in imported_at_once(one)]
        waiting = {file for name in names for file in files_of(name)} - found
    return found


def is_light(path):
    told = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    says_so = re.search(r"standard library\s+(alone|only)", told, re.IGNORECASE)
    return bool(says_so) or relative(path).startswith(LIGHT)


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_imports_go_one_way(path):
    own = RANKS[relative(path).split("/")[0].removesuffix(".py")]
    above = [name for name in imports(path) if RANKS.get(name.split(".")[0], -1) > own]
    assert not above


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_tfx_appears_only_where_it_may(path):
    name = relative(path)
    allowed = name.startswith(TFX_ALLOWED) or "run_fn" in path.name
    assert allowed or not [module for module in imports(path) if module.split(".")[0] == "tfx"]


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_the_store_is_read_and_written_in_one_folder_alone(path):
    calls = re.findall(r"\bstore\.(?:get|put)_\w+", path.read_text(encoding="utf-8"))
    assert relative(path).startswith("components/metadata/") or not calls


@pytest.mark.parametrize("leaf", LEAVES)
def test_the_leaves_of_the_science_know_no_tensorflow(leaf):
    heavy = [
        name
        for name in imports(ROOT / "trainer_module" / f"{leaf}.py")
        if name.split(".")[0].startswith("tensorflow")
    ]
    assert not heavy


@pytest.mark.parametrize("path", [*filter(is_light, SOURCES)], ids=relative)
def test_what_a_command_line_needs_imports_only_the_standard_library(path):
    known = {*sys.stdlib_module_names, *RANKS}
    outside = [
        f"{relative(one)}: {name}"
        for one in reached(path)
        for name in imported_at_once(one)
        if name.split(".")[0] not in known
    ]
    assert not outside


@pytest.mark.tfx
def test_every_component_of_the_stack_is_there():
    # tfx.components swallows ImportErrors: a broken dependency shows only as a missing name.
    from tfx import components

    for name in (
        "Evaluator",
        "ExampleValidator",
        "Pusher",
        "SchemaGen",
        "StatisticsGen",
        "Trainer",
        "Transform",
    ):
        assert getattr(components, name, None) is not None
