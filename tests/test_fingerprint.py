"""A fingerprint sees what an answer depends on, and nothing else.

Docs/caching.md and its test say it of the whole project.
"""

import ast
import importlib.metadata
import importlib.util
import platform
import re
from pathlib import Path

import pytest

from pipeline import definitions, fingerprint
from trainer_module.tasks.classification import Classification
from trainer_module.tasks.segmentation import Segmentation

ROOT = Path(__file__).resolve().parent.parent
OWN_TASK = "trainer_module.tasks.own.Own"
VERSION = importlib.metadata.version
RUN = """
from trainer_module.loss import loss
from trainer_module.tasks.registry import task_from_json


def run(text):
    return task_from_json(text).served(loss)
"""
TASK = """
class Task(Protocol):
    name = ""

    def served(self, loss):
        return self.scaled(loss)

    def scaled(self, loss):
        return loss

    def line(self):
        return "line"
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Returns a function that writes a module of a small project, whose node is
    `trainer_module.run.run`.
    """
    monkeypatch.setattr(definitions, "ROOT", tmp_path)

    def write(name, text):
        path = tmp_path / "trainer_module" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        for folder in (tmp_path / "trainer_module", path.parent):
            (folder / "__init__.py").touch()
        path.write_text(text)
        forget()

    write("tasks/task", f"from typing import Protocol\n\n{TASK}")
    write(
        "tasks/own",
        "from trainer_module.tasks.task import Task\n\n\nclass Own(Task):\n    name = 'own'\n",
    )
    write("tasks/registry", "def task_from_json(text):\n    return text\n")
    write("run", RUN)
    write("loss", "SCALE = 1\nUNUSED = 2\n\n\ndef loss():\n    return SCALE\n")
    yield write
    forget()


def forget():
    for function in (
        definitions.file_of,
        definitions.read,
        definitions.imported,
        fingerprint.node_fingerprint,
    ):
        function.cache_clear()


def digest():
    return fingerprint.code_fingerprint(["trainer_module.run.run"], OWN_TASK)


def changes(project, name, first, second):
    """Tells whether the second text of a module has another fingerprint than the first."""
    project(name, first)
    before = digest()
    project(name, second)
    return digest() != before


LOSS = "SCALE = 1\nUNUSED = 2\n\n\ndef loss():\n    return SCALE\n"


FIELD = "class B:\n    x = 1\n\n\nclass A:\n    b: B\n\n\nprint(A)\n"


@pytest.mark.parametrize(
    ("what", "first", "second"),
    [
        ("a constant that is used", LOSS, LOSS.replace("SCALE = 1", "SCALE = 3")),
        ("a constant that is added to later", LOSS, LOSS + "SCALE += 1\n"),
        (
            "one of two names at once",
            LOSS.replace("SCALE = 1", "SCALE, B = 1, 2"),
            LOSS.replace("SCALE = 1", "SCALE, B = 3, 2"),
        ),
        (
            "a name with a type",
            LOSS.replace("SCALE = 1", "SCALE: int = 1"),
            LOSS.replace("SCALE = 1", "SCALE: int = 3"),
        ),
        ("a second definition of a name", LOSS, LOSS + "SCALE = 3\n"),
        ("an attribute that is set", LOSS, LOSS + "loss.scale = 3\n"),
        ("a loose statement", LOSS, LOSS + "print(UNUSED)\n"),
        (
            "what a loose statement uses",
            LOSS + "print(UNUSED)\n",
            LOSS.replace("UNUSED = 2", "UNUSED = 3") + "print(UNUSED)\n",
        ),
        ("a call for its effect", LOSS + "_ = print(1)\n", LOSS + "_ = print(2)\n"),
        ("a decorated function that nobody mentions", LOSS, LOSS + "@register\ndef other(): ...\n"),
        (
            "a decorated class that nobody mentions",
            LOSS,
            LOSS + "@keras.register('x')\nclass Other: ...\n",
        ),
        (
            "an operator",
            LOSS.replace("return SCALE", "return SCALE + 1"),
            LOSS.replace("return SCALE", "return SCALE - 1"),
        ),
        ("what stands in which bracket", LOSS + "print([1], 2)\n", LOSS + "print([1, 2])\n"),
        ("the type of a field", LOSS + FIELD, LOSS + FIELD.replace("x = 1", "x = 2")),
        ("a default", LOSS.replace("loss()", "loss(a=1)"), LOSS.replace("loss()", "loss(a=2)")),
        (
            "a base",
            LOSS + "class A: ...\nclass B(A): ...\nprint(B)\n",
            LOSS + "class A: x = 1\nclass B(A): ...\nprint(B)\n",
        ),
        (
            "a base that is no name",
            LOSS + "class A(dict[str, int]): ...\nprint(A)\n",
            LOSS + "class A(dict[str, str]): ...\nprint(A)\n",
        ),
        (
            "how many statements there are",
            LOSS.replace("return", "pass\n    return"),
            LOSS.replace("return", "pass\n    pass\n    return"),
        ),
    ],
    ids=lambda value: value if "\n" not in value else "",
)
def test_it_counts(project, what, first, second):
    assert changes(project, "loss", first, second), what


@pytest.mark.parametrize(
    ("what", "first", "second"),
    [
        ("a constant that nobody uses", LOSS, LOSS.replace("UNUSED = 2", "UNUSED = 3")),
        ("a constant with a type that nobody uses", LOSS + "C: int = 1\n", LOSS + "C: int = 2\n"),
        ("a function that nobody uses", LOSS, LOSS + "def other(): ...\n"),
        (
            "a dataclass that nobody uses",
            LOSS,
            LOSS + "@dataclass(frozen=True)\nclass Other: ...\n",
        ),
        (
            "a dataclass of the module that nobody uses",
            LOSS,
            LOSS + "@dataclasses.dataclass(frozen=True)\nclass Other: ...\n",
        ),
        ("a comment", LOSS, LOSS.replace("SCALE = 1", "SCALE = 1  # why")),
        ("the u of a text", LOSS + "print('')\n", LOSS + "print(u'')\n"),
        ("layout", LOSS, LOSS.replace("SCALE = 1", "SCALE  =  (\n  1\n)")),
        ("a module's docstring", LOSS, f'"""Text."""\n{LOSS}'),
        ("a function's docstring", LOSS, LOSS.replace("return", '"""Text."""\n    return')),
        (
            "which type a signature names",
            LOSS.replace("()", "(a: B)") + "class B: ...\n",
            LOSS.replace("()", "(a: B)") + "class B: x = 1\n",
        ),
        (
            "which type it returns",
            LOSS.replace("()", "() -> B") + "class B: ...\n",
            LOSS.replace("()", "() -> B") + "class B: x = 1\n",
        ),
    ],
    ids=lambda value: value if "\n" not in value else "",
)
def test_it_does_not_count(project, what, first, second):
    assert not changes(project, "loss", first, second), what


@pytest.mark.parametrize(
    "use",
    [
        "from trainer_module import apart\n\n\ndef run():\n    return apart.VALUE\n",
        "from trainer_module import apart\n\n\ndef run():\n    return vars(apart)\n",
        "from trainer_module import apart\n\n\ndef run():\n    return apart.missing\n",
        "from trainer_module.apart import VALUE as other\n\n\ndef run():\n    return other\n",
        "from .apart import VALUE\n\n\ndef run():\n    return VALUE\n",
        "from . import apart\n\n\ndef run():\n    return apart.VALUE\n",
        "from trainer_module.apart import *\n\n\ndef run(): ...\n",
        "import trainer_module.apart\n\n\ndef run(): ...\n",
        "import trainer_module.apart as apart\n\n\ndef run():\n    return apart.VALUE\n",
        "def run():\n    from trainer_module.apart import VALUE\n\n    return VALUE\n",
        "def run():\n    if True:\n        import trainer_module.apart\n",
        "def run():\n    if 0: ...\n    else:\n        import trainer_module.apart\n",
        "def run():\n    try: ...\n    except OSError:\n        import trainer_module.apart\n",
        "def run():\n    try: ...\n    finally:\n        import trainer_module.apart\n",
        "def run():\n    match 1:\n        case 1:\n            import trainer_module.apart\n",
        "def run():\n    return 'trainer_module.apart'\n",
        "def run():\n    return 'trainer_module.apart.VALUE'\n",
        "from trainer_module.passed import VALUE\n\n\ndef run():\n    return VALUE\n",
        "from trainer_module import passed\n\n\ndef run():\n    return passed.module.VALUE\n",
        "try:\n    from trainer_module.apart import VALUE\nexcept ImportError:\n    VALUE = "
        "0\n\n\ndef run():\n    return VALUE\n",
    ],
)
def test_a_use_is_followed(project, use):
    project(
        "passed",
        "from trainer_module import apart as module\nfrom trainer_module.apart import VALUE\n",
    )
    project("run", use)
    assert changes(project, "apart", "VALUE = 1\n", "VALUE = 2\n")


@pytest.mark.parametrize(
    "use",
    [
        "from trainer_module.apart import VALUE\n\n\ndef run(): ...\n",
        "from trainer_module import apart\n\n\ndef run():\n    return apart.OTHER\n",
        "def run():\n    return 'trainer_module.apart.OTHER'\n",
        "def run():\n    return 'see trainer_module.apart'\n",
        "from trainer_module import passed\n\n\ndef run():\n    return passed.module.OTHER\n",
    ],
)
def test_what_is_imported_and_not_used_does_not_count(project, use):
    project("passed", "from trainer_module import apart as module\n")
    project("run", use)
    assert not changes(project, "apart", "VALUE = 1\nOTHER = 1\n", "VALUE = 2\nOTHER = 1\n")


def test_an_import_from_the_folder_above_is_followed(project):
    project(
        "tasks/registry", "from ..apart import VALUE\n\n\ndef task_from_json(text): return VALUE\n"
    )
    assert changes(project, "apart", "VALUE = 1\nOTHER = 1\n", "VALUE = 2\nOTHER = 1\n")
    assert not changes(project, "apart", "VALUE = 1\nOTHER = 1\n", "VALUE = 1\nOTHER = 2\n")


def test_a_loose_statement_counts_wherever_an_import_leads_to_it(project):
    project("between", "from trainer_module.apart import VALUE\n")
    project("run", "from trainer_module.between import x\n\n\ndef run(): ...\n")
    assert changes(project, "apart", "VALUE = 1\n", "VALUE = 1\nprint(VALUE)\n")


def test_an_import_in_the_file_of_a_package_is_followed_from_its_folder(project):
    project("tasks/apart", "VALUE = 1\n")
    project("tasks/__init__", "from .apart import VALUE\nfrom . import apart as also\n")
    project("run", "from trainer_module.tasks import VALUE\n\n\ndef run():\n    return VALUE\n")
    assert changes(project, "tasks/apart", "VALUE = 1\nOTHER = 1\n", "VALUE = 2\nOTHER = 1\n")
    assert not changes(project, "tasks/apart", "VALUE = 1\nOTHER = 1\n", "VALUE = 1\nOTHER = 2\n")


def test_a_loose_statement_of_the_package_counts(project):
    assert changes(project, "__init__", "", "print(1)\n")


@pytest.mark.parametrize("suffix", ["html", "css", "js"])
def test_a_file_beside_the_code_counts(project, tmp_path, suffix):
    before = digest()
    (tmp_path / "trainer_module" / f"page.{suffix}").write_text("new")
    forget()
    assert digest() != before


def test_any_other_file_beside_the_code_does_not(project, tmp_path):
    before = digest()
    (tmp_path / "trainer_module" / "notes.txt").write_text("new")
    forget()
    assert digest() == before


OWN = (
    "from trainer_module.tasks.task import Task\n\nUNIT = 1\n\n\n@dataclass(frozen=True)\nclass "
    "Own(Task):\n    name = 'own'\n"
)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("    def served(self, loss): return 1\n", "    def served(self, loss): return 2\n"),
        ("", "    def served(self, loss): return 2\n"),
        ("    def scaled(self, loss): return 1\n", "    def scaled(self, loss): return 2\n"),
        ("    scaled = staticmethod(int)\n", "    scaled = staticmethod(float)\n"),
        ("    def __eq__(self, other): return 1\n", "    def __eq__(self, other): return 2\n"),
        (
            "    def scaled(self, loss): return UNIT\n",
            "    def scaled(self, loss): return UNIT\n\n\nUNIT = 2\n",
        ),
    ],
)
def test_what_a_node_asks_the_task_for_counts(project, first, second):
    assert changes(project, "tasks/own", OWN + first, OWN + second)


@pytest.mark.parametrize(
    "more", ["    def line(self): return 'new'\n", "    metric = 'new'\n", "    name = 'new'\n"]
)
def test_what_no_node_asks_the_task_for_does_not(project, more):
    assert not changes(project, "tasks/own", OWN, OWN + more)


@pytest.mark.parametrize(
    ("own", "counts"),
    [
        ("return 1", False),
        ("return super().served(loss)", True),
        ("return Task.served(self, loss)", True),
    ],
)
def test_a_default_counts_unless_the_task_has_its_own(project, own, counts):
    project("tasks/own", f"{OWN}    def served(self, loss): {own}\n")
    text = f"from typing import Protocol\n\n{TASK}"
    assert (
        changes(
            project, "tasks/task", text, text.replace("return self.scaled(loss)", "return 2 * loss")
        )
        == counts
    )


def test_the_base_of_a_task_that_is_derived_from_another_counts(project):
    project(
        "tasks/derived",
        "from trainer_module.tasks.own import Own\n\n\nclass Derived(Own):\n    name = 'derived'\n",
    )
    digests = set()
    for answer in "12":
        project("tasks/own", f"{OWN}    def served(self, loss): return {answer}\n")
        digests.add(
            fingerprint.code_fingerprint(
                ["trainer_module.run.run"], "trainer_module.tasks.derived.Derived"
            )
        )
    assert len(digests) == 2


def test_a_task_that_is_named_in_the_code_counts_beside_the_one_that_is_given(project):
    project("tasks/other", OWN.replace("Own", "Other"))
    project(
        "run",
        RUN.replace("return", "from trainer_module.tasks.other import Other as O\n\n    return O,"),
    )
    other = OWN.replace("Own", "Other")
    assert changes(project, "tasks/other", other, other + "    def served(self, loss): return 2\n")


def test_a_member_that_is_named_with_its_class_counts(project):
    project(
        "run",
        "from trainer_module.tasks.own import Own\n\n\ndef run():\n    return Own.line.__name__\n",
    )
    assert changes(project, "tasks/own", OWN, OWN + "    def line(self): return 'new'\n")


def test_a_class_in_a_tasks_file_that_is_no_task_counts_whole(project):
    text = (
        "class Loss:\n    def called_by_keras(self): return 1\n\n\n"
        + OWN
        + "    def served(self, loss): return Loss()\n"
    )
    assert changes(project, "tasks/own", text, text.replace("return 1", "return 2"))


def test_a_task_is_asked_by_whoever_holds_it(project):
    project(
        "run",
        "class Run:\n    def call(self):\n        return self._task.line()\n\n\ndef run():\n    "
        "return Run()\n",
    )
    assert changes(project, "tasks/own", OWN, OWN + "    def line(self): return 'new'\n")
    project("run", "def run():\n    return held().task.line()\n")
    assert changes(project, "tasks/own", OWN, OWN + "    def line(self): return 'new'\n")
    project("run", "def run(registry):\n    return registry.task_from_json('').line()\n")
    assert changes(project, "tasks/own", OWN, OWN + "    def line(self): return 'new'\n")


def test_a_template_asks_the_task_too(project, tmp_path):
    (tmp_path / "trainer_module" / "page.html").write_text("{{ report.task.line() }}")
    assert changes(project, "tasks/own", OWN, OWN + "    def line(self): return 'new'\n")


def test_the_tasks_that_are_not_chosen_do_not_count(project):
    other = OWN.replace("Own", "Other")
    chosen = (
        "from trainer_module.tasks.other import Other\n\nTASKS = {'other': Other}\n\n\ndef "
        "task_from_json(text): return TASKS[text]\n"
    )
    project("tasks/registry", chosen)
    assert not changes(
        project, "tasks/other", other, other + "    def served(self, loss): return 2\n"
    )


def test_a_digest_is_short(project):
    assert re.fullmatch("[0-9a-f]{16}", digest())


@pytest.mark.parametrize("node", fingerprint.NODES)
def test_where_a_node_begins_there_is_code_of_ours_or_a_library(node):
    entry = fingerprint.NODES[node]
    module, rest = definitions.split(entry)
    installed = importlib.util.find_spec(entry) if not definitions.is_ours(entry) else None
    assert installed or (len(rest) == 1 and rest[0] in definitions.read(module).definitions)


def test_a_node_that_asks_no_task_is_the_same_for_all():
    assert fingerprint.node_fingerprint(
        "ModelCheck", Classification
    ) == fingerprint.node_fingerprint("ModelCheck", Segmentation)


CHECKED = (
    "@dataclass(frozen=True)\nclass Settings:\n    epochs: int = 1\n\n    def "
    "__post_init__(self): CHECK\n"
)


@pytest.mark.parametrize(
    ("settings", "checks", "counts"),
    [
        (CHECKED, ("check(1)", "check(2)"), False),
        (CHECKED, ("object.__setattr__(self, 'a', 1)", "object.__setattr__(self, 'a', 2)"), True),
        (CHECKED.replace("frozen=True", "frozen=False"), ("check(1)", "check(2)"), True),
        (CHECKED.replace("(frozen=True)", ""), ("check(1)", "check(2)"), True),
        (CHECKED.replace("__post_init__", "checked"), ("check(1)", "check(2)"), True),
        (CHECKED.replace("epochs: int = 1", "epochs: int = CHECK"), ("1", "2"), True),
    ],
)
def test_the_checks_of_a_frozen_dataclass_do_not_count(project, settings, checks, counts):
    texts = [
        f"from dataclasses import dataclass\n\n\n{settings.replace('CHECK', check)}\n\ndef loss(): "
        f"return Settings()\n"
        for check in checks
    ]
    assert changes(project, "loss", *texts) == counts


@pytest.mark.parametrize(("module", "name"), [("errors", "InputError"), ("errors", "require")])
def test_what_only_refuses_does_not_count(project, module, name):
    text = "def {}(): return {}\n"
    project("loss", f"from trainer_module.{module} import {name}\n\n\ndef loss():\n    {name}()\n")
    assert not changes(project, module, text.format(name, 1), text.format(name, 2))
    assert changes(
        project,
        module,
        text.format("other", 1) + f"{name} = 1\nother()\n",
        text.format("other", 2) + f"{name} = 1\nother()\n",
    )


def forget_versions():
    fingerprint._version.cache_clear()


@pytest.fixture
def versions():
    """Forgets them after a test that has made some up."""
    yield
    forget_versions()


def digest_with(monkeypatch, **versions):
    monkeypatch.setattr(
        importlib.metadata, "version", lambda name: versions.get(name) or VERSION(name)
    )
    forget_versions()
    return digest()


@pytest.mark.parametrize(
    "library", ["apache_beam", "keras", "numpy", "tensorflow", "tensorflow_transform", "tfx"]
)
@pytest.mark.usefixtures("versions")
def test_the_version_of_a_library_of_every_node_counts(project, monkeypatch, library):
    before = digest()
    assert digest_with(monkeypatch, **{library: "0.0"}) != before


@pytest.mark.parametrize(
    ("module", "package"),
    [
        ("scipy", "scipy"),
        ("PIL", "pillow"),
        ("google", "protobuf"),
        ("sklearn", "scikit-learn"),
        ("absl", "absl-py"),
    ],
)
@pytest.mark.usefixtures("versions")
def test_the_version_of_a_library_counts_where_the_code_names_it(
    project, monkeypatch, module, package
):
    before = digest()
    assert digest_with(monkeypatch, **{package: "0.0"}) == before
    project("loss", f"def loss():\n    import {module}.part\n\n    return {module}.part\n")
    before = digest_with(monkeypatch)
    assert digest_with(monkeypatch, **{package: "0.0"}) != before


def test_the_version_of_python_counts_but_not_its_repairs(project, monkeypatch):
    digests = []
    for version in (("3", "11", "1"), ("3", "11", "2"), ("3", "12", "2")):
        monkeypatch.setattr(platform, "python_version_tuple", lambda version=version: version)
        digests.append(digest())
    assert digests[0] == digests[1] != digests[2]


def test_a_function_of_ones_own_counts_in_the_projects_folder_with_what_it_uses(project, tmp_path):
    digests = []
    for used, unused in ("11", "12", "21"):
        mine = f"USED = {used}\nUNUSED = {unused}\n\n\ndef loss(): return USED\n"
        (tmp_path / "mine.py").write_text(mine)
        forget()
        entries = ["trainer_module.run.run", "mine.loss"]
        digests.append(fingerprint.code_fingerprint(entries, OWN_TASK))
    assert digests[0] == digests[1] != digests[2]


def test_a_function_of_ones_own_counts_elsewhere_with_its_file(project, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path / "elsewhere")
    digests = {fingerprint.code_fingerprint(["trainer_module.run.run"], OWN_TASK)}
    for value in "12":
        (tmp_path / "elsewhere").mkdir(exist_ok=True)
        (tmp_path / "elsewhere" / "theirs.py").write_text(f"def loss(): return {value}\n")
        importlib.invalidate_caches()
        digests.add(
            fingerprint.code_fingerprint(["trainer_module.run.run", "theirs.loss"], OWN_TASK)
        )
    assert len(digests) == 3


def test_variables_that_hold_a_task_are_called_so():
    wrong = []
    for path in [*(ROOT / "components").rglob("*.py"), *(ROOT / "trainer_module").glob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if (
                isinstance(node, ast.arg | ast.AnnAssign)
                and node.annotation
                and "Task" in names(node.annotation)
            ):
                held = [getattr(node, "arg", None) or node.target]
            elif isinstance(getattr(node, "value", 0), ast.Call) and "task_from_json" in names(
                node.value.func
            ):
                held = getattr(node, "targets", [])  # none where it is asked at once
            else:
                continue
            wrong += [
                f"{path.name}: {ast.unparse(node)}"
                for item in held
                if last_name(item) not in definitions.OF_A_TASK
            ]
    assert not wrong


def names(node):
    return {item.id for item in ast.walk(node) if isinstance(item, ast.Name)}


def last_name(target):
    return target if isinstance(target, str) else getattr(target, "attr", getattr(target, "id", ""))
