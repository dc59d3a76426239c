"""Functions named by dotted path, `package.module.function`: checked and digested without running
them, imported where they are called.

Standard library alone, so that a mistyped path is told before anything heavy is imported.
"""

import ast
import hashlib
import importlib
import importlib.util
from collections.abc import Callable
from pathlib import Path


def problem(path: str) -> str:
    """Returns why `path` names no function, or ''."""
    module, dot, name = path.rpartition(".")
    if not dot:
        return f"{path!r} has no dot between a module and a function"
    if not all(part.isidentifier() for part in path.split(".")):
        return f"{path!r} is no name of a module and a function"
    source = _source(module)
    if source is None:
        return f"there is no module {module!r} on Python's path"
    try:
        body = ast.parse(source.read_text(encoding="utf-8")).body
    except (SyntaxError, ValueError) as error:
        return f"{source.name} is not written in Python: {error}"
    defined = {node.name for node in body if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
    return "" if name in defined else f"{source.name} defines no function {name!r}"


def digest(path: str) -> str:
    """Returns a digest of the file in which the function stands, but for comments and layout.

    What it imports does not count.
    """
    source = _source(path.rpartition(".")[0])
    return (
        hashlib.sha256(
            ast.dump(ast.parse(source.read_text(encoding="utf-8"))).encode()
        ).hexdigest()[:16]
        if source
        else ""
    )


def function(path: str) -> Callable:
    """Imports and returns the function."""
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


def _source(module: str) -> Path | None:
    try:
        spec = importlib.util.find_spec(module) if module else None
    except (ImportError, ValueError):
        return None
    return Path(spec.origin) if spec and spec.origin and spec.origin.endswith(".py") else None
