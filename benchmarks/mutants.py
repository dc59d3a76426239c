"""How many small faults the tests notice: `python benchmarks/mutants.py [FILE[:NUMBERS]...]` puts
them into judging and caching code, place by place.

Comparisons, boolean and arithmetic operators, conditions, constants, results and statements made
for their effect are each changed once in a copy of the project, and the tests of the file are run
on the copy. The libraries are imported once, in a process that is forked for each change. Every
change is printed with its number as soon as it is tried, then one JSON line. With NUMBERS, such as
`pipeline/definitions.py:7,12,200-`, only these changes are tried: those that survived, or what an
interrupted run has left.
"""

import ast
import contextlib
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PATIENCE, LEAST_SECONDS = 5, 60  # times as long as without a change, and no less; longer hangs
MOST_SECONDS = 900
NOTICED, HUNG, SURVIVED = "noticed", "hung", "SURVIVED"  # what became of a change
CACHING, JUDGED = (
    ["test_fingerprint.py", "test_caching.py"],
    ("constant_score", "judged", "evaluation"),
)
FILES = {  # file -> its tests, and the names of the definitions that judge where not all of it does
    "pipeline/fingerprint.py": (CACHING, ()),
    "pipeline/definitions.py": (CACHING, ()),
    "components/mean_iou.py": (["test_mean_iou.py"], ()),
    "trainer_module/segmentation/iou.py": (["test_mean_iou.py", "test_gains.py"], ()),
    "components/anomaly_gate.py": (["test_anomaly_gate.py"], ()),
    "components/baseline.py": (["test_baseline.py", "test_graphs.py"], ()),
    "components/model_check/component.py": (
        ["test_model_check.py", "test_model_check_node.py"],
        (),
    ),
    "components/model_check/probe.py": (["test_model_check.py"], ()),
    "components/metadata/stored_run.py": (["test_stored_run.py"], ("blessed", "_says")),
    "components/metadata/verdict.py": (["test_verdict.py"], ()),
    "components/file_list_example_gen/driver.py": (["test_driver.py"], ()),
    "pipeline/choices.py": (["test_evaluation.py"], ("Gate",)),
    **{
        f"trainer_module/tasks/{name}.py": (["test_evaluation.py"], JUDGED)
        for name in ("classification", "regression", "segmentation")
    },
}
OTHERS = {  # operator -> what it becomes, each in turn
    **{
        ast.Lt: (ast.LtE, ast.GtE),
        ast.LtE: (ast.Lt, ast.Gt),
        ast.Gt: (ast.GtE, ast.LtE),
        ast.GtE: (ast.Gt, ast.Lt),
    },
    **{ast.Eq: (ast.NotEq,), ast.NotEq: (ast.Eq,), ast.In: (ast.NotIn,), ast.NotIn: (ast.In,)},
    **{ast.Is: (ast.IsNot,), ast.IsNot: (ast.Is,), ast.And: (ast.Or,), ast.Or: (ast.And,)},
    **{
        ast.Add: (ast.Sub,),
        ast.Sub: (ast.Add,),
        ast.Mult: (ast.Add,),
        ast.Div: (ast.Mult,),
        ast.FloorDiv: (ast.Mult,),
    },
    **{ast.BitOr: (ast.BitAnd,), ast.BitAnd: (ast.BitOr,)},
}


def mutants(source: str, names: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Yields a description and the text of every changed file."""
    tree = ast.parse(source)
    for owner, field, index, node in list(places(tree, names)):
        line = getattr(node, "lineno", getattr(owner, "lineno", 0))
        for other in replacements(owner, field, node):
            put(owner, field, index, other)
            yield (
                f"{line}: {shown(node)} -> {shown(other)}",
                ast.unparse(ast.fix_missing_locations(tree)),
            )
            put(owner, field, index, node)


def put(owner: ast.AST, field: str, index: int | None, node: ast.AST) -> None:
    """Puts a node into its place in the tree."""
    if index is None:
        setattr(owner, field, node)
    else:
        getattr(owner, field)[index] = node


def shown(node: ast.AST) -> str:
    """Returns a node as code, an operator by its name."""
    return (
        ast.unparse(ast.fix_missing_locations(node))
        if isinstance(node, ast.expr | ast.stmt)
        else type(node).__name__
    )


def places(
    node: ast.AST, names: tuple[str, ...]
) -> Iterator[tuple[ast.AST, str, int | None, ast.AST]]:
    """Yields (owner, field, index, node) of every node that is run.

    Of named definitions alone if there are names.
    """
    for field, value in ast.iter_fields(node):
        if field in ("annotation", "returns") or isinstance(
            node, ast.Raise | ast.JoinedStr | ast.Import | ast.ImportFrom
        ):
            continue  # what an error says is no judgement
        for index, item in enumerate(value) if isinstance(value, list) else [(None, value)]:
            inside = not names or getattr(item, "name", "") in names
            is_docstring = isinstance(item, ast.Expr) and isinstance(item.value, ast.Constant)
            if isinstance(item, ast.AST) and inside and not is_docstring:
                yield node, field, index, item
            if isinstance(item, ast.AST) and not is_docstring:
                yield from places(item, () if inside else names)


def replacements(owner: ast.AST, field: str, node: ast.AST) -> Iterator[ast.AST]:
    """Yields what a node becomes, in turn."""
    yield from (kind() for kind in OTHERS.get(type(node), ()))
    plain = not isinstance(node, ast.Compare | ast.UnaryOp | ast.BoolOp | ast.Constant)
    if isinstance(node, ast.Constant) and isinstance(node.value, bool | int | float | str):
        value = node.value
        yield ast.Constant(
            not value
            if isinstance(value, bool)
            else f"{value}_"
            if isinstance(value, str)
            else value + 1
        )
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield node.operand
    if plain and (
        field in ("test", "ifs") or (isinstance(owner, ast.BoolOp) and field == "values")
    ):
        yield ast.UnaryOp(ast.Not(), node)
    if isinstance(node, ast.Return) and node.value and not isinstance(node.value, ast.Constant):
        yield ast.Return(ast.Constant(None))
    if isinstance(node, ast.Expr | ast.AugAssign) or (
        isinstance(node, ast.Assign) and not isinstance(node.targets[0], ast.Name)
    ):
        yield ast.Pass()


def outcome(project: Path, tests: list[str], most_seconds: float) -> str:
    """Runs the tests on the copy of the project, in a forked process, and says how they ended.

    Args:
        project: the copy.
        tests: names of files with tests.
        most_seconds: after which the tests hang.

    Returns:
        NOTICED if a test failed, HUNG if none ended in time, SURVIVED if all passed.
    """
    child = os.fork()
    if child == 0:
        os._exit(tested(project, tests))
    end, ended = time.monotonic() + most_seconds, False
    while not ended and time.monotonic() < end:
        time.sleep(0.02)
        ended, status = os.waitpid(child, os.WNOHANG)
    with contextlib.suppress(ProcessLookupError):  # the tests, or what they have left running
        os.killpg(child, signal.SIGKILL)
    if not ended:
        os.waitpid(child, 0)
        return HUNG
    return NOTICED if status else SURVIVED


def tested(project: Path, tests: list[str]) -> int:
    """Runs tests until one fails, in this process, silently, and returns pytest's exit code."""
    os.setpgrp()
    os.chdir(project)
    own = (ROOT, ROOT / "benchmarks")
    sys.path[:] = [
        str(project),
        *(path for path in sys.path if Path(path or ".").resolve() not in own),
    ]
    for stream in (1, 2):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
    import pytest

    files = [f"tests/{name}" for name in tests]
    return int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", *files]))


def wanted(numbers: str, count: int) -> list[int]:
    """Returns the changes, from 1 to `count`, that a text such as '7,12,200-' means; '' is all."""
    found = set()
    for part in (numbers or "1-").split(","):
        first, dash, last = part.partition("-")
        found |= set(range(int(first), int(last or (count if dash else first)) + 1))
    return sorted(found & set(range(1, count + 1)))


def measured(project: Path, name: str, numbers: str) -> dict[str, int]:
    """Makes changes of a file in the copy of the project, and returns how many ended in which
    way.
    """
    tests, names = FILES[name]
    source, started = (project / name).read_text(encoding="utf-8"), time.monotonic()
    if outcome(project, tests, MOST_SECONDS) != SURVIVED:
        raise SystemExit(f"{tests} fail without any change")
    patience = max(LEAST_SECONDS, PATIENCE * (time.monotonic() - started))
    counts, changes = dict.fromkeys((NOTICED, HUNG, SURVIVED), 0), list(mutants(source, names))
    for number in wanted(numbers, len(changes)):
        what, text = changes[number - 1]
        (project / name).write_text(text, encoding="utf-8")
        ended = outcome(project, tests, patience)
        counts[ended] += 1
        print(f"{ended} {number} {name}:{what}", flush=True)
    (project / name).write_text(source, encoding="utf-8")
    return counts


def main(chosen: list[str]) -> None:
    """Changes the chosen files, or all."""
    sys.dont_write_bytecode = True
    import tfx.components  # noqa: F401 (once, for all processes; TensorFlow and Beam with it)

    left_out = shutil.ignore_patterns(".*", "__pycache__", "runs", "data")
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(ROOT, folder, ignore=left_out, dirs_exist_ok=True)
        counts = {}
        for argument in chosen or FILES:
            name, _, numbers = argument.partition(":")
            counts[name] = measured(Path(folder), name, numbers)
    print(json.dumps(counts))


if __name__ == "__main__":
    main(sys.argv[1:])
