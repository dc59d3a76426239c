"""Python files as definitions: the functions, classes and constants at their top, each with what it
mentions.

Nothing is imported or run: the files are parsed. Comments, docstrings and layout leave no trace.
"""

import ast
import functools
import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOOSE = ""  # the name of the statements of a module that define nothing
TASK = "trainer_module.tasks.task.Task"
OF_A_TASK = ("task", "_task")  # names of variables that hold a task, and of no others
BESIDE_CODE = (".html", ".css", ".js")  # files that the modules in their folder write out
NO_MEANING = "kind"  # the field of a syntax tree that tells u"" from ""
DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")


@dataclass
class Definition:
    """A statement at the top of a module, or a member of a task.

    Attributes:
      text: its syntax tree, without what has no meaning.
      mentions: dotted names of what it uses.
      asks: names of what it asks a task for, as `task.loss` does.
    """

    text: str = ""
    mentions: set[str] = field(default_factory=set)
    asks: set[str] = field(default_factory=set)


@dataclass
class Module:
    """A file.

    Attributes:
      name: its dotted name.
      names: what its statements define.
      aliases: name -> dotted names that imports anywhere in it give to this name.
      bases: class of a task -> dotted names of its bases.
      definitions: name -> definition; of a task's class one for each member, under `CLASS.MEMBER`.
      registered: names of definitions with a decorator that may tell others of them.
    """

    name: str
    names: set[str] = field(default_factory=set)
    aliases: dict[str, set[str]] = field(default_factory=dict)
    bases: dict[str, list[str]] = field(default_factory=dict)
    definitions: dict[str, Definition] = field(default_factory=dict)
    registered: set[str] = field(default_factory=set)


@functools.cache
def file_of(module: str) -> Path | None:
    """Returns the file of one of our modules, None if the name is none of ours."""
    path = ROOT / module.replace(".", "/")
    found = [file for file in (path / "__init__.py", path.with_suffix(".py")) if file.is_file()]
    return found[0] if found else None


def is_ours(name: str) -> bool:
    """Tells whether a dotted name begins with a module in this project's folder."""
    return file_of(name.partition(".")[0]) is not None


def split(name: str) -> tuple[str, list[str]]:
    """Returns the module that a dotted name of ours begins with, and the parts after it."""
    parts = name.split(".")
    for count in range(len(parts), 1, -1):
        if file_of(module := ".".join(parts[:count])):
            return module, parts[count:]
    return parts[0], parts[1:]


@functools.cache
def read(name: str) -> Module:
    """Parses one of our modules."""
    path, module = file_of(name), Module(name)
    body = _without_docstring(ast.parse(path.read_text(encoding="utf-8")).body)
    module.names = {defined for statement in body for defined in _defined(statement)}
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for alias, target in _imports(body, package):
        module.aliases.setdefault(alias, set()).add(target)
    module.definitions[LOOSE] = _beside(path.parent)
    module.definitions[LOOSE].mentions |= module.aliases.pop(LOOSE, set())
    for statement in body:
        if isinstance(statement, ast.ClassDef) and _is_task(module, statement):
            module.bases[statement.name] = _bases(module, statement)
    for statement in body:
        if getattr(statement, "name", "") in module.bases:
            _read_task(module, statement)
        elif not isinstance(statement, ast.Import | ast.ImportFrom):
            _read_statement(module, statement)
    return module


@functools.cache
def imported(name: str) -> list[str]:
    """Returns a module and all others of ours imported with it, packages around them too."""
    seen: list[str] = []
    waiting = [name]
    while waiting:
        module = waiting.pop()
        if module in seen:
            continue
        seen.append(module)
        targets = {
            *itertools.chain(*read(module).aliases.values()),
            *read(module).definitions[LOOSE].mentions,
        }
        waiting += [split(target)[0] for target in targets if is_ours(target)]
        waiting += [parent] if file_of(parent := module.rpartition(".")[0]) else []
    return seen


def _beside(folder: Path) -> Definition:
    """Returns what the files that belong to all code of a folder amount to.

    Templates ask the task, too.
    """
    files = sorted(path for path in folder.iterdir() if path.suffix in BESIDE_CODE)
    text = "".join(f"{path.name}\0{path.read_text(encoding='utf-8')}\0" for path in files)
    return Definition(text, asks=set(re.findall(r"\btask\.(\w+)", text)))


def _imports(body: Sequence[ast.stmt], package: str) -> Iterator[tuple[str, str]]:
    """Yields name and target of every import in a file.

    Under LOOSE where all of the target is meant.
    """
    for node in _statements(body):
        if isinstance(node, ast.Import):
            for item in node.names:
                yield item.asname or (LOOSE if "." in item.name else item.name), item.name
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")
            above = parts[: len(parts) + 1 - node.level] if node.level else []
            origin = ".".join([*above, *([node.module] if node.module else [])])
            for item in node.names:
                all_of_it = item.name == "*"
                yield (
                    (LOOSE, origin)
                    if all_of_it
                    else (item.asname or item.name, f"{origin}.{item.name}")
                )


def _statements(body: Sequence[ast.AST]) -> Iterator[ast.AST]:
    """Yields all statements, also those within others."""
    for statement in body:
        yield statement
        for name in ("body", "orelse", "handlers", "finalbody", "cases"):
            yield from _statements(getattr(statement, name, ()))


def _defined(statement: ast.stmt) -> list[str]:
    """Returns the names that a statement defines, [] for one that may do anything else, as
    `_ = call()`.
    """
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        return [statement.name]
    targets = getattr(statement, "targets", [getattr(statement, "target", None)])
    if not isinstance(statement, ast.Assign | ast.AnnAssign):
        return []
    leaves = [leaf for target in targets for leaf in _leaves(target)]
    names = [getattr(leaf, "id", "_") for leaf in leaves]
    return [] if "_" in names else names


def _leaves(target: ast.expr) -> list[ast.expr]:
    return (
        [leaf for item in target.elts for leaf in _leaves(item)]
        if isinstance(target, ast.Tuple)
        else [target]
    )


def _is_task(module: Module, node: ast.ClassDef) -> bool:
    """Tells whether a class is Task or derives from it."""
    places = [split(name) for name in _bases(module, node) if is_ours(name)]
    derived = [
        rest
        for origin, rest in places
        if rest and rest[0] in (module if origin == module.name else read(origin)).bases
    ]
    return bool(derived) or f"{module.name}.{node.name}" == TASK


def _bases(module: Module, node: ast.ClassDef) -> list[str]:
    return [name for base in node.bases for name in _resolved(module, _chain(base))]


def _read_task(module: Module, node: ast.ClassDef) -> None:
    """Enters the members of a task's class one by one.

    What nobody asks for by a name belongs to the class.
    """
    whole = module.definitions.setdefault(node.name, Definition())
    for item in (*node.decorator_list, *node.keywords, *_without_docstring(node.body)):
        names = [name for name in _defined(item) if not name.startswith("__")]
        members = [
            module.definitions.setdefault(f"{node.name}.{name}", Definition()) for name in names
        ]
        for definition in members or [whole]:
            _read(module, item, definition)


def _read_statement(module: Module, node: ast.stmt) -> None:
    for name in _defined(node) or [LOOSE]:
        _read(module, node, module.definitions.setdefault(name, Definition()))
    decorators = [
        _chain(getattr(item, "func", item))[-1:] for item in getattr(node, "decorator_list", ())
    ]
    if any(name != ["dataclass"] for name in decorators):
        module.registered.add(node.name)


def _read(module: Module, node: ast.AST, definition: Definition) -> None:
    parts = [definition.text]
    _visit(module, node, definition, parts, follow=True)
    definition.text = " ".join(parts)


def _visit(
    module: Module, node: ast.AST, definition: Definition, parts: list[str], follow: bool
) -> None:
    """Appends the text of a syntax tree to `parts` and, if it is to be followed, notes what it
    mentions.
    """
    if follow:
        _note(module, node, definition)
    if chain := _chain(node):
        parts.append(".".join(chain))
        return
    parts.append(type(node).__name__)
    for name, items in _fields(node):
        parts.append(str(len(items)))
        # The types of a signature are for people; those of a dataclass's fields are used.
        inner = (
            follow
            and name != "returns"
            and not (name == "annotation" and isinstance(node, ast.arg))
        )
        for item in items:
            if isinstance(item, ast.AST):
                _visit(module, item, definition, parts, inner)
            else:
                parts.append(repr(item))


def _fields(node: ast.AST) -> Iterator[tuple[str, list]]:
    for name in node._fields:
        value = getattr(node, name, None)
        if name == "body" and isinstance(value, list):
            yield name, _without_checks(node, _without_docstring(value))
        elif name != NO_MEANING:
            yield name, value if isinstance(value, list) else [value]


def _note(module: Module, node: ast.AST, definition: Definition) -> None:
    if chain := _chain(node):
        definition.mentions.update(_resolved(module, chain))
        pairs = itertools.pairwise(chain)
        definition.asks.update(name for owner, name in pairs if module.bases or owner in OF_A_TASK)
    elif isinstance(node, ast.Attribute) and (module.bases or _is_called_task(node.value)):
        definition.asks.add(node.attr)
    elif (
        isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and DOTTED.fullmatch(node.value)
    ):
        definition.mentions.update({node.value} if is_ours(node.value) else ())


def _is_called_task(node: ast.expr) -> bool:
    """Tells whether an expression is a task, by its name: `task_from_json(...)`, or
    `settings().task`.
    """
    if isinstance(node, ast.Call):
        return _chain(node.func)[-1:] == ["task_from_json"]
    return isinstance(node, ast.Attribute) and node.attr in OF_A_TASK


def _chain(node: ast.AST) -> list[str]:
    """Returns the names of `a.b.c`; [] for what does not begin with a name."""
    names = []
    while isinstance(node, ast.Attribute):
        names.insert(0, node.attr)
        node = node.value
    return [node.id, *names] if isinstance(node, ast.Name) else []


def _resolved(module: Module, chain: list[str]) -> list[str]:
    """Returns the dotted names that `a.b.c` may stand for in a module, [] for a local variable or a
    built-in.
    """
    if not chain:
        return []
    first, *rest = chain
    targets = {
        *module.aliases.get(first, ()),
        *([f"{module.name}.{first}"] if first in module.names else []),
    }
    return [".".join([target, *rest]) for target in sorted(targets)]


def _without_checks(node: ast.AST, body: list[ast.stmt]) -> list[ast.stmt]:
    """Returns a body, of a frozen dataclass without `__post_init__`, which can but refuse what it
    is given.
    """
    words = [
        word
        for item in getattr(node, "decorator_list", ())
        for word in getattr(item, "keywords", ())
    ]
    if not (isinstance(node, ast.ClassDef) and "frozen=True" in map(ast.unparse, words)):
        return body
    return [
        item
        for item in body
        if getattr(item, "name", "") != "__post_init__" or "__setattr__" in ast.unparse(item)
    ]


def _without_docstring(body: list[ast.stmt]) -> list[ast.stmt]:
    text = body[0].value if body and isinstance(body[0], ast.Expr) else None
    return body[1:] if isinstance(text, ast.Constant) and isinstance(text.value, str) else body
