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
LIBRARIES = ("tensorflow", "keras", "tensorflow-transform", "tfx")


def code_fingerprint(module: str) -> str:
    """Returns a digest of a module, of the project's modules it imports directly or not, and of the library versions.

    Args:
      module: dotted name inside `components` or `trainer_module`.
    """
    digest = hashlib.sha256()
    for name in sorted(imported_modules(module)):
        digest.update(f"{name}\0{_normalized(_path(name))}\0".encode())
    for library in LIBRARIES:
        digest.update(f"{library}=={importlib.metadata.version(library)}\0".encode())
    return digest.hexdigest()[:16]


def imported_modules(module: str) -> set[str]:
    """Returns `module` and every module of this project that it imports, directly or through others."""
    seen: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name not in seen and _path(name).exists():
            seen.add(name)
            waiting += _imports(_path(name))
    return seen


def _path(module: str) -> Path:
    path = ROOT / module.replace(".", "/")
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _imports(path: Path) -> list[str]:
    found = []
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return [name for name in found if name.split(".")[0] in PACKAGES]


@functools.cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _normalized(path: Path) -> str:
    tree = _tree(path)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
            node.body = body[1:] or [ast.Pass()]  # without its docstring
    return ast.dump(tree)
