"""How many small faults the tests notice: `python benchmarks/mutants.py [FILE...]` changes judging
and caching code, place by place.

Comparisons, boolean and arithmetic operators, conditions, constants, results and statements made
for their effect are each changed once in a copy of the project, and the tests of the file are run
on the copy. The libraries are imported once, in a process that is forked for each change. Survivors
are printed, then one JSON line.
"""

import ast
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
PATIENCE = 5  # times as long as without a change; tests that take longer hang
MOST_SECONDS = 600
CACHING, JUDGED = (
    ["test_fingerprint.py", "test_caching.py"],
    ("constant_score", "judged", "evaluation"),
)
FILES = {  # file -> its tests, and the names of the definitions that judge where not all of it does
    "pipeline/fingerprint.py": (CACHING, ()),
    "pipeline/definitions.py": (CACHING, ()),
    "components/mean_iou.py": (["test_mean_iou.py"], ()),
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


def noticed(project: Path, tests: list[str], most_seconds: float) -> bool:
    """Tells whether the tests fail on the copy of the project, in a forked process.

    Tests that hang have failed.
    """
    child = os.fork()
    if child == 0:
        os.setpgrp()
        os.chdir(project)
        sys.path[:] = [
            str(project),
            *(
                path
                for path in sys.path
                if Path(path or ".").resolve() not in (ROOT, ROOT / "benchmarks")
            ),
        ]
        for stream in (1, 2):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
        import pytest

        os._exit(
            pytest.main(
                ["-x", "-q", "-p", "no:cacheprovider", *(f"tests/{name}" for name in tests)]
            )
        )
    end = time.monotonic() + most_seconds
    while time.monotonic() < end:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return status != 0
        time.sleep(0.02)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return True


def main(chosen: list[str]) -> None:
    """Changes the chosen files, or all."""
    sys.dont_write_bytecode = True
    import tfx.components  # noqa: F401 (once, for all processes; TensorFlow and Beam with it)

    project, counts = Path(tempfile.mkdtemp()), {}
    shutil.copytree(
        ROOT,
        project,
        ignore=shutil.ignore_patterns(".*", "__pycache__", "runs", "data"),
        dirs_exist_ok=True,
    )
    for name in chosen or FILES:
        tests, names = FILES[name]
        source, results, started = (
            (project / name).read_text(encoding="utf-8"),
            [],
            time.monotonic(),
        )
        if noticed(project, tests, MOST_SECONDS):
            raise SystemExit(f"{tests} fail without any change")
        patience = PATIENCE * (time.monotonic() - started)
        for what, text in mutants(source, names):
            (project / name).write_text(text, encoding="utf-8")
            results.append(noticed(project, tests, patience))
            if not results[-1]:
                print(f"{name}:{what}", flush=True)
        (project / name).write_text(source, encoding="utf-8")
        counts[name] = [sum(results), len(results)]
        print(name, *counts[name], flush=True)
    print(
        json.dumps(
            {
                "noticed": sum(first for first, _ in counts.values()),
                "changes": sum(last for _, last in counts.values()),
                "files": counts,
            }
        )
    )


if __name__ == "__main__":
    main(sys.argv[1:])
