"""Tasks by name, and their way through JSON: components receive a task as one string."""

import dataclasses
import json

from trainer_module.errors import InputError
from trainer_module.tasks.classification import Classification
from trainer_module.tasks.regression import Regression
from trainer_module.tasks.segmentation import Segmentation
from trainer_module.tasks.task import Task
from trainer_module.tasks.unlabelled import Unlabelled

TASKS: dict[str, type[Task]] = {
    task.name: task
    for task in (
        Unlabelled,
        Classification,
        Regression,
        Segmentation,
    )
}


def task_to_json(task: Task) -> str:
    """Returns the task as a JSON string with stable order, fit for a cache key."""
    return json.dumps({"task": task.name, **dataclasses.asdict(task)}, sort_keys=True)


def task_from_json(text: str) -> Task:
    """Returns the task that `task_to_json` wrote.

    Raises:
      InputError: if no task has that name, or it has other fields, as of another version.
    """
    values = json.loads(text)
    name = values.pop("task", "")
    if name not in TASKS:
        raise InputError(f"`task` must be one of {sorted(TASKS)}. Received: task={name!r}")
    fields = {
        key: tuple(value) if isinstance(value, list) else value for key, value in values.items()
    }
    try:
        return TASKS[name](**fields)
    except TypeError as error:
        raise InputError(
            f"`task` must be as this version of the code writes it. Received: {text}; {error}"
        ) from error
