"""What stands beside the drawing of the run, and below it: what each node was told, read and made,
the settings, and what the run ran on.
"""

import json
from typing import Any

from components.environment import git_commit, hardware, versions
from components.metadata.stored_run import StoredRun

# Of what a run notes about itself (pipeline/summary.py).
FACTS = ("git_commit", "hardware", "command")
# What TFX notes for itself.
HIDDEN = (
    "tfx_version",
    "name",
    "state",
    "producer_component",
    "pipeline_name",
    "component_id",
    "is_external",
)


def details(run: StoredRun, name: str) -> dict:
    """Returns what a click on a node shows: state, seconds, parameters, artifacts in and out."""
    node = run.nodes[name]
    parameters = {key: value for key, value in node.properties.items() if key not in HIDDEN}
    return {
        "name": name,
        "state": node.state,
        "seconds": node.seconds,
        "execution": node.id,
        "parameters": [(key, _pretty(value)) for key, value in parameters.items()],
        "inputs": _artifacts(run, node.inputs),
        "outputs": _artifacts(run, node.outputs),
    }


def _artifacts(run: StoredRun, by_key: dict[str, list[int]]) -> list[dict]:
    found = [
        (key, run.snapshot.artifacts[number])
        for key, numbers in sorted(by_key.items())
        for number in numbers
    ]
    return [
        {
            "key": key,
            "id": artifact.id,
            "type": artifact.type,
            "uri": artifact.uri,
            "properties": [
                (name, value) for name, value in artifact.properties.items() if name not in HIDDEN
            ],
        }
        for key, artifact in found
    ]


def _pretty(value: Any) -> str:
    """Returns a parameter as text, JSON with one setting a line."""
    try:
        parsed = json.loads(value) if isinstance(value, str) else value
    except ValueError:
        return str(value)
    return (
        json.dumps(parsed, indent=1, ensure_ascii=False)
        if isinstance(parsed, dict | list)
        else str(value)
    )


def flat(settings: dict, prefix: str = "") -> list[tuple[str, Any]]:
    """Returns nested settings as (path, value)."""
    rows = []
    for name, value in settings.items():
        rows += (
            flat(value, f"{prefix}{name}.") if isinstance(value, dict) else [(prefix + name, value)]
        )
    return rows


def environment(run: StoredRun) -> list[tuple[str, str]]:
    """Returns what the run ran on, as it noted when it began.

    Of a run that noted nothing, what this process runs on.
    """
    noted = {
        name.removeprefix("version."): str(value)
        for name, value in run.row.facts.items()
        if name in FACTS or name.startswith("version.")
    }
    now = {"git_commit": git_commit() or "unknown", "hardware": hardware()} | versions()
    return [(name.replace("_", " "), value) for name, value in (noted or now).items()]
