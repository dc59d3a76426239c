"""Fingerprints of code: a digest of all that a node's answer depends on, among the parameters that
the cache compares.

One idea: code is a graph of definitions, the functions, classes and constants at the top of modules
(definitions.py). From where a node begins, every name that a definition mentions is followed to the
definition it stands for, in its module or through an import, until nothing new is found; the digest
is of these definitions and of the versions of the libraries they mention. What a module holds
besides does not count.

- In doubt it counts: a module that is mentioned as such counts whole; a string that is the dotted
  name of our code is a mention; a statement that defines nothing counts for whoever imports its
  module, and a decorated definition, which may be registered somewhere, for whoever uses anything
  of its module. But a constant is taken for its value: what is called for its effect stands alone,
  or is assigned to `_`.
- A task is chosen by its name when a node runs, so it is given; of it count the members that are
  asked for, as in `task.loss` or `self._task.views`. Variables that hold a task are called so; a
  test looks after it.
- What only refuses does not count, because a node that fails leaves nothing to cache: REFUSALS, and
  the checks of a frozen dataclass. The types in a signature count as text, but are not followed.

Comments, docstrings and layout do not count either. docs/caching.md says what runs again after
which edit.
"""

import functools
import hashlib
import platform
import sys
from collections.abc import Iterable, Iterator

from components.environment import version_of
from components.metadata import names
from pipeline.definitions import LOOSE, Definition, imported, is_ours, read, split
from trainer_module import dotted

# Where each node begins: our code, or the library that does all of its work.
NODES = {
    names.EXAMPLE_GEN: "components.file_list_example_gen.executor.Executor",
    names.STATISTICS_GEN: "tensorflow_data_validation",
    names.SCHEMA_GEN: "tensorflow_data_validation",
    names.EXAMPLE_VALIDATOR: "tensorflow_data_validation",
    names.ANOMALY_GATE: "components.anomaly_gate.AnomalyGate",
    names.TRANSFORM: "trainer_module.preprocessing.preprocessing_fn",
    names.PRETRAINER: "trainer_module.pretrain_run_fn.run_fn",
    names.FINETUNER: "trainer_module.finetune_run_fn.run_fn",
    names.EPOCH_EVALUATION: "components.accuracy_by_epoch.component.EpochEvaluation",
    names.EVALUATOR: "tensorflow_model_analysis",
    names.MODEL_CHECK: "components.model_check.component.ModelCheck",
    names.RUN_REPORT: "components.report.executor.Executor",
}
REFUSALS = ("trainer_module.errors.InputError", "trainer_module.errors.require")
CHOSEN = ("trainer_module.tasks.registry.TASKS",)  # of these tasks one is given instead
LIBRARIES = {
    "apache_beam",
    "keras",
    "numpy",
    "tensorflow",
    "tensorflow_transform",
    "tfx",
}  # of every node
DISTRIBUTIONS = {
    "PIL": "pillow",
    "absl": "absl-py",
    "google": "protobuf",
    "sklearn": "scikit-learn",
}


@functools.cache
def node_fingerprint(node: str, task: type, *also: str) -> str:
    """Returns the digest of what a node's answer depends on.

    Args:
      node: a key of NODES.
      task: the class of the run's task.
      *also: dotted names of functions and classes that the node runs besides, by its settings.
    """
    return code_fingerprint([NODES[node], *also], f"{task.__module__}.{task.__qualname__}")


def code_fingerprint(entries: Iterable[str], task: str) -> str:
    """Returns the digest of all that is reached from dotted names, the class of the task being
    given by one, too.
    """
    entries = list(entries)
    definitions, libraries = reached(entries, task)
    digest = hashlib.sha256(".".join(platform.python_version_tuple()[:2]).encode())
    for name in sorted(definitions):
        digest.update(f"{name}\0{definitions[name].text}\0".encode())
    for entry in entries:
        digest.update(b"" if is_ours(entry) else f"{entry}\0{dotted.digest(entry)}\0".encode())
    for library in sorted(libraries | LIBRARIES):
        digest.update(f"{library}=={_version(library)}\0".encode())
    return digest.hexdigest()[:16]


def reached(entries: Iterable[str], task: str) -> tuple[dict[str, Definition], set[str]]:
    """Returns what is reached: definitions by `module:name`, and the libraries they mention."""
    found, libraries, asked, tasks = {}, set(), set(), {task}
    seen, waiting = {*REFUSALS, *CHOSEN}, {*entries}
    while waiting:
        seen |= waiting
        mentioned: set[str] = set()
        for name in waiting:
            if not is_ours(name):
                libraries.add(name.partition(".")[0])
                continue
            tasks |= _task_of(name)
            for key, definition in _at(name):
                found[key] = definition
                mentioned |= definition.mentions
                asked |= definition.asks
        waiting = (mentioned | {f"{one}.{member}" for one in tasks for member in asked}) - seen
    return found, libraries - sys.stdlib_module_names


def _at(name: str) -> Iterator[tuple[str, Definition]]:
    """Yields what a dotted name of ours stands for, and what runs when its module is imported."""
    origin, rest = split(name)
    module = read(origin)
    for other in imported(origin):
        yield f"{other}:{LOOSE}", read(other).definitions[LOOSE]
    if rest and rest[0] in module.bases:
        yield from _of_task(origin, rest[:2])
    elif rest and rest[0] in module.definitions:
        for wanted in (rest[0], *sorted(module.registered)):
            yield f"{origin}:{wanted}", module.definitions[wanted]
    elif rest and rest[0] in module.aliases:
        targets = {".".join([target, *rest[1:]]) for target in module.aliases[rest[0]]}
        yield f"{origin}:{rest[0]}", Definition("imported", targets)
    else:  # the module itself, or a name that is not understood
        for wanted, definition in module.definitions.items():
            yield f"{origin}:{wanted}", definition


def _task_of(name: str) -> set[str]:
    """Returns the task's class that a dotted name of ours begins with, as a set of one or none."""
    origin, rest = split(name)
    return {f"{origin}.{rest[0]}"} if rest and rest[0] in read(origin).bases else set()


def _of_task(origin: str, rest: list[str]) -> Iterator[tuple[str, Definition]]:
    """Yields the class of a task, and of its members the one that is named: its own, or else that
    of its bases.
    """
    module, name = read(origin), ".".join(rest)
    own = module.definitions.get(name)
    for wanted in (rest[0], *sorted(module.registered), *([name] if own else [])):
        yield f"{origin}:{wanted}", module.definitions[wanted]
    if not own or len(rest) == 1 or "super" in own.text:
        for base in filter(is_ours, module.bases[rest[0]]):
            of_base, found = split(base)
            yield from _of_task(of_base, found + rest[1:])


@functools.cache
def _version(library: str) -> str:
    """Returns the version of the library that a module belongs to, '' for one that was not
    installed as a package.
    """
    return version_of(DISTRIBUTIONS.get(library, library))
