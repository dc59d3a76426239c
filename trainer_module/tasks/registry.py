"""Tasks by name, and their way through JSON: components receive a task as one string."""

import dataclasses
import json

from trainer_module.errors import InputError
from trainer_module.tasks.classification import Classification
from trainer_module.tasks.regression import Regression
from trainer_module.tasks.segmentation import Segmentation
from trainer_module.tasks.task import Task
from trainer_module.tasks.unlabelled import Unlabelled

SHOWN = 200  # characters of what is no task
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
      InputError: if it is none, as of another version, whose tasks have other names or fields.
    """
    try:
        fields = {
            key: tuple(value) if isinstance(value, list) else value
            for key, value in json.loads(text).items()
        }
        return TASKS[fields.pop("task")](**fields)
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise InputError(
            f"`task` must be one of {', '.join(TASKS)}, as this version of the code writes it. "
            f"Received: {text[:SHOWN]!r}; {error}"
        ) from error
