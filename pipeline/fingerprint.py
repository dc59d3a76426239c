"""Fingerprints of code: what a component's module and everything it imports from this project amount to.

A dotted path in a component's parameters says where code is, not what it says; its fingerprint among the parameters
makes the cache see an edit. Comments, docstrings and layout do not count.
"""

import ast
import functools
import hashlib
import importlib.metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("components", "trainer_module")
TASKS = ROOT / "trainer_module" / "tasks"
# The module that each node runs, and the methods of a task that it calls: an edit of a task's loss does not read the images again.
NODES = {
    "FileListExampleGen": ("components.file_list_example_gen.executor", ("features", "placeholder")),
    "Transform": ("trainer_module.preprocessing", ("transform",)),
    "Pretrainer": ("trainer_module.pretrain_run_fn", ("targets",)),
    "Finetuner": (
        "trainer_module.finetune_run_fn",
        ("targets", "head", "fitted_linear", "views", "loss", "metrics", "served", "judged"),
    ),
    "EpochEvaluation": ("components.epoch_evaluation.component", ("targets",)),
    "ModelCheck": ("components.model_check.probe", ()),
    "RunReport": ("components.report.executor", ("targets", "shown", "line", "drawn")),
}
BESIDE_CODE = (".html", ".css", ".js")  # files that the modules in their folder write out
LIBRARIES = ("tensorflow", "keras", "tensorflow-transform", "tfx")


def node_fingerprint(node: str) -> str:
    """Returns the digest of the code that a node of the pipeline runs."""
    return code_fingerprint(*NODES[node])


def code_fingerprint(module: str, task_methods: tuple[str, ...] = ()) -> str:
    """Returns a digest of a module, of the project's modules it imports directly or not, and of the library versions.

    Args:
      module: dotted name inside `components` or `trainer_module`.
      task_methods: of the methods that trainer_module/tasks/task.py describes, those that count; not the others, nor what only they import.
    """
    digest = hashlib.sha256()
    modules = sorted(imported_modules(module, task_methods))
    for name in modules:
        digest.update(f"{name}\0{_dumped(_module(name, task_methods))}\0".encode())
    for path in sorted({path for name in modules for path in _path(name).parent.glob("*") if path.suffix in BESIDE_CODE}):
        digest.update(path.read_bytes())
    for library in LIBRARIES:
        digest.update(f"{library}=={importlib.metadata.version(library)}\0".encode())
    return digest.hexdigest()[:16]


def imported_modules(module: str, task_methods: tuple[str, ...] = ()) -> set[str]:
    """Returns `module` and every module of this project that it imports, directly or through others."""
    seen: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name not in seen and _path(name).exists():
            seen.add(name)
            waiting += _imports(_module(name, task_methods))
    return seen


def _path(module: str) -> Path:
    path = ROOT / module.replace(".", "/")
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _module(name: str, task_methods: tuple[str, ...]) -> ast.Module:
    path = _path(name)
    return _tree(path, task_methods if path.parent.name == TASKS.name else ())  # of other files there is one version


@functools.cache
def _dumped(tree: ast.Module) -> str:
    return ast.dump(tree)


@functools.cache
def _imports(tree: ast.Module) -> list[str]:
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return [name for name in found if name.split(".")[0] in PACKAGES]


@functools.cache
def _tree(path: Path, task_methods: tuple[str, ...]) -> ast.Module:
    """Parses a file and leaves out its docstrings, and of a task's methods all that are not named."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
            node.body = body[1:] or [ast.Pass()]
        if isinstance(node, ast.ClassDef) and path.parent.name == TASKS.name:
            left_out = _task_methods() - set(task_methods)
            node.body = [item for item in node.body if getattr(item, "name", "") not in left_out] or [ast.Pass()]
    return tree


@functools.cache
def _task_methods() -> set[str]:
    """Returns the names of the methods of a task."""
    classes = [node for node in ast.parse((TASKS / "task.py").read_text(encoding="utf-8")).body if isinstance(node, ast.ClassDef)]
    return {item.name for item in classes[0].body if isinstance(item, ast.FunctionDef)}
