"""What changed between two models: inputs, parameters, code, metrics; only what differs."""

from components.file_list_example_gen import image_index
from components.metadata.snapshot import Execution, Snapshot
from pipeline.lineage.models import Model, fingerprints_of, judgement, lists_of
from pipeline.lineage.table import aligned
from pipeline.lineage.tree import new_parameters, shown

SECTIONS = ("inputs", "parameters", "code", "metrics")
ABSENT = "-"


def compare(snapshot: Snapshot, first: Model, second: Model) -> dict:
    """Returns what differs as `{'inputs': {name: [of first, of second]}, 'parameters', 'code',
    'metrics', 'images'}`.

    `images` tells, split by split, how many images were added, removed, edited (other bytes) and
    relabelled, where both sets of examples have an index.
    """
    told = [_facts(snapshot, model) for model in (first, second)]
    changes = {section: _differences(*(facts[section] for facts in told)) for section in SECTIONS}
    return {
        "models": [_name(model) for model in (first, second)],
        **changes,
        "images": _images(snapshot, first, second),
    }


def _facts(snapshot: Snapshot, model: Model) -> dict[str, dict]:
    road = snapshot.ancestors(model.maker)
    run = snapshot.runs[model.maker.run_id].facts
    judged = judgement(snapshot, model)
    inputs, parameters, code = {}, {}, {}
    for execution in road.values():
        inputs |= {f"{split} list": path for split, path in lists_of(execution).items()}
        inputs |= {
            f"{split} fingerprint": digest for split, digest in fingerprints_of(execution).items()
        }
        parameters |= {
            f"{execution.node} {name}": value
            for name, value in new_parameters(snapshot, execution).items()
        }
        if "fingerprint" in execution.parameters:
            code[f"{execution.node} code"] = execution.parameters["fingerprint"]
    code |= {"git commit": run["git_commit"]} if "git_commit" in run else {}
    code |= {
        name.removeprefix("version."): value
        for name, value in run.items()
        if name.startswith("version.")
    }
    metrics = {
        f"{node} {name}": value
        for node, values in judged.metrics.items()
        for name, value in values.items()
    }
    metrics |= {f"blessed by {node}": blessed for node, blessed in judged.blessed.items()}
    return {"inputs": inputs, "parameters": parameters, "code": code, "metrics": metrics}


def _differences(first: dict, second: dict) -> dict[str, list]:
    names = sorted({*first, *second})
    return {
        name: [first.get(name), second.get(name)]
        for name in names
        if first.get(name) != second.get(name)
    }


def _images(snapshot: Snapshot, first: Model, second: Model) -> dict[str, dict[str, int]]:
    before, after = (_indexes(snapshot, model.maker) for model in (first, second))
    changes = {}
    for split in sorted({*before} & {*after}):
        if before[split].records != after[split].records:
            old, new = before[split].by_id(), after[split].by_id()
            common = [(old[number], new[number]) for number in old.keys() & new.keys()]
            changes[split] = {
                "added": len(new.keys() - old.keys()),
                "removed": len(old.keys() - new.keys()),
                "edited": sum(one[0] != other[0] for one, other in common),
                "relabelled": sum(one[1] != other[1] for one, other in common),
            }
    return changes


def _indexes(snapshot: Snapshot, maker: Execution) -> dict[str, image_index.Index]:
    found = {}
    for execution in snapshot.ancestors(maker).values():
        if lists_of(execution):
            for item in snapshot.made_by(execution):
                found |= image_index.read(item.uri)
    return found


def _name(model: Model) -> str:
    return f"{model.name} (model {model.artifact.id})" if model.pushed else model.name


def diff_lines(told: dict) -> list[str]:
    """Returns the differences for a person, a column a model."""
    lines = [" against ".join(told["models"])]
    for section in SECTIONS:
        rows = [(name, *_cells(*values)) for name, values in told[section].items()]
        lines += ["", section, *aligned(rows, indent="   ")] if rows else []
        if section == "inputs":
            lines += [
                f"   {split} images: {_counted(counts)}" for split, counts in told["images"].items()
            ]
    same = [section for section in SECTIONS if not told[section]]
    return [*lines, "", f"The same: {', '.join(same)}"] if same else lines


def _cells(first, second) -> tuple[str, str, str]:
    numbers = all(
        isinstance(value, int | float) and not isinstance(value, bool) for value in (first, second)
    )
    change = f"{second - first:+.4g}" if numbers else ""
    return _shown(first), _shown(second), change


def _shown(value) -> str:
    return ABSENT if value is None else shown(value)


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {what}" for what, count in counts.items() if count)
