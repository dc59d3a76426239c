"""The import rules of the project, and the smoke test of the stack."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
RANKS = {"trainer_module": 0, "components": 1, "pipeline": 2, "local_runner": 3}
TFX_ALLOWED = (
    "components/",
    "pipeline/pipeline.py",
    "pipeline/runner.py",
    "pipeline/engines/use.py",
    "pipeline/orchestrators/",
)
STANDARD_LIBRARY_ONLY = (
    "local_runner",
    "pipeline.arguments",
    "pipeline.asked_model",
    "pipeline.check",
    "pipeline.compile",
    "pipeline.choices",
    "pipeline.data_check",
    "pipeline.datasets.files",
    "pipeline.datasets.of_recipe",
    "pipeline.flags",
    "pipeline.precedence",
    "pipeline.setting_types",
    "pipeline.lock",
    "pipeline.machines",
    "pipeline.orchestrators.choosing",
    "pipeline.orchestrators.container",
    "pipeline.orchestrators.names",
    "pipeline.orchestrators.step",
    "pipeline.plan",
    "pipeline.recipes",
    "pipeline.faults",
    "pipeline.left_folder",
    "pipeline.state_files",
    "pipeline.save_paths",
    "pipeline.weights",
    "pipeline.worker",
    "components.accuracy_by_epoch.table",
    "components.file_list_example_gen.held_out",
    "components.file_list_example_gen.layout",
    "components.file_list_example_gen.list_fingerprint",
    "components.file_list_example_gen.noticed",
    "components.file_list_example_gen.rows",
    "components.file_list_example_gen.same_images",
    "components.metadata.names",
    "components.metadata.url",
    "trainer_module.saved_encoder",
    "trainer_module.cluster",
    "trainer_module.dotted",
    "trainer_module.errors",
    "trainer_module.findings",
    "trainer_module.finished",
    "trainer_module.intervals",
    "trainer_module.memory",
    "trainer_module.log_files",
    "trainer_module.resnets",
    "trainer_module.settings",
    "trainer_module.small_views",
    "trainer_module.together",
    "trainer_module.weights.files",
    "trainer_module.weights.names",
    *(
        f"trainer_module.tasks.{path.stem}"
        for path in sorted((ROOT / "trainer_module" / "tasks").glob("*.py"))
    ),
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


def imports(path, top_level_only=False):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = tree.body if top_level_only else ast.walk(tree)
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def relative(path):
    return str(path.relative_to(ROOT))


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


@pytest.mark.parametrize("leaf", LEAVES)
def test_the_leaves_of_the_science_know_no_tensorflow(leaf):
    heavy = [
        name
        for name in imports(ROOT / "trainer_module" / f"{leaf}.py")
        if name.split(".")[0].startswith("tensorflow")
    ]
    assert not heavy


@pytest.mark.parametrize("module", STANDARD_LIBRARY_ONLY)
def test_what_a_command_line_needs_imports_only_the_standard_library(module):
    import sys

    path = ROOT / (module.replace(".", "/") + ".py")
    outside = [
        name
        for name in imports(path, top_level_only=True)
        if name.split(".")[0] not in {*sys.stdlib_module_names, *RANKS}
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
