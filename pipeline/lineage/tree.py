"""A model's story as lines for a person: what it is, the tree back to the lists, and what came of
it.
"""

import textwrap

from components.metadata.names import BASELINE_INPUT, INPUT_FINGERPRINT
from components.metadata.snapshot import Execution, Snapshot
from pipeline.lineage.models import Model, describe, fingerprints_of, lists_of

WIDTH = 120  # columns
INDENT = "   "
TIED = "\N{NO-BREAK SPACE}"  # a name and its value stay on one line
ORIGIN = "source", "fingerprint", "mapping"  # of an encoder that was brought in
# Parameters that TFX sets for itself, or that are told in another line.
NOISE = (
    "span",
    "output_data_format",
    "output_file_format",
    "force_tf_compat_v1",
    "disable_statistics",
    "infer_feature_shape",
)
TOLD_APART = (
    "fingerprint",
    "input_base",
    "input_config",
    INPUT_FINGERPRINT,
    "output_config",
    "push_destination",
)


def model_lines(snapshot: Snapshot, model: Model) -> list[str]:
    """Returns the story of a model, all of it."""
    lines = [*_head(snapshot, model), "", "Made from"]
    lines += _branch(snapshot, model.maker, INDENT, set())
    lines += ["", "Led to"]
    later = [
        execution
        for number, execution in snapshot.descendants(model.maker).items()
        if number != model.maker.id
    ]
    lines += [INDENT + _outcome(snapshot, execution) for execution in later] or [
        INDENT + "nothing yet"
    ]
    return lines


def _head(snapshot: Snapshot, model: Model) -> list[str]:
    told = describe(snapshot, model)
    run = told["run"]
    rows = [
        ("pushed", f"version {push['version']} in {push['folder']}") for push in told["pushed"]
    ] or [("pushed", "no")]
    rows.append(("artifact", f"Model {model.artifact.id} in {model.artifact.uri}"))
    rows.append(
        (
            "made",
            f"{told['made']} by {model.maker.node} in run {run['id']}"
            + (f" of {run['pipeline']}" if run["pipeline"] else ""),
        )
    )
    rows += [
        (name, str(run[key]))
        for name, key in (
            ("git commit", "git_commit"),
            ("recipe", "recipe"),
            ("hardware", "hardware"),
        )
        if key in run
    ]
    versions = [
        f"{name.removeprefix('version.')} {value}"
        for name, value in run.items()
        if name.startswith("version.")
    ]
    rows += [("versions", ", ".join(versions))] if versions else []
    rows += [(f"{node} found", _pairs(metrics)) for node, metrics in told["metrics"].items()]
    rows += [
        (f"{node} said", "blessed" if blessed else "REFUSED")
        for node, blessed in told["blessed"].items()
    ]
    width = max(len(name) for name, _ in rows)
    lines = [f"{model.name[0].upper()}{model.name[1:]}"]
    for name, value in rows:
        lines += _wrapped(value, f"{INDENT}{name:<{width}}  ", " " * (len(INDENT) + width + 2))
    return lines


def _branch(snapshot: Snapshot, execution: Execution, indent: str, told: set[int]) -> list[str]:
    """Returns an execution and, deeper, those it was made from.

    One that was told before is only named.
    """
    title = f"{indent}{execution.node}, execution {execution.id}"
    if execution.id in told:
        return [f"{title}: see above"]
    told.add(execution.id)
    facts = [f"{execution.state} in {execution.seconds:.1f} s", f"run {execution.run_id}"]
    if "fingerprint" in execution.parameters:
        facts.append(f"code {execution.parameters['fingerprint']}")
    lines = [f"{title}: {', '.join(facts)}", *_details(snapshot, execution, f"{indent}|  ")]
    # The longest branch first: what it tells the shorter ones need not repeat.
    for maker in sorted(
        snapshot.makers(execution), key=lambda maker: -len(snapshot.ancestors(maker))
    ):
        lines += _branch(snapshot, maker, indent + INDENT, told)
    return lines


def _details(snapshot: Snapshot, execution: Execution, indent: str) -> list[str]:
    rows = []
    fingerprints = fingerprints_of(execution)
    rows += [
        f"{split} list: {path} ({fingerprints.get(split, 'no fingerprint')})"
        for split, path in lists_of(execution).items()
    ]
    rows += [
        f"{name}: {item.properties[name]}"
        for item in snapshot.made_by(execution)
        for name in ORIGIN
        if name in item.properties
    ]
    sections: dict[str, dict] = {}
    for name, value in new_parameters(snapshot, execution).items():
        section, _, rest = name.rpartition(".")
        sections.setdefault(section, {})[rest] = value
    rows += [
        f"{section}: {_pairs(values)}" if section else _pairs(values)
        for section, values in sorted(sections.items())
    ]
    return [line for row in rows for line in _wrapped(row, indent, indent + INDENT)]


def new_parameters(snapshot: Snapshot, execution: Execution) -> dict:
    """Returns the parameters that no execution before this one on its road had with the same value.

    So a parameter is told where it first counts: the Finetuner is given those of pretraining again.
    """
    earlier = [
        before.parameters
        for number, before in snapshot.ancestors(execution).items()
        if number != execution.id
    ]
    return {
        name: value
        for name, value in execution.parameters.items()
        if name not in NOISE
        and name.split(".")[0] not in TOLD_APART
        and not any(known.get(name) == value for known in earlier)
    }


def _outcome(snapshot: Snapshot, execution: Execution) -> str:
    """Returns what an execution behind the model came to, in one line."""
    results = [_pairs(execution.metrics)] if execution.metrics else []
    for item in snapshot.made_by(execution):
        if "blessed" in item.properties:
            results.append("blessed" if item.properties["blessed"] else "REFUSED")
        elif "pushed_version" in item.properties:
            results.append(
                f"version {item.properties['pushed_version']}"
                if item.properties.get("pushed")
                else "not pushed"
            )
        elif item.type == "Model":
            results.append(f"model {item.id}")
    against = [f"against model {number}" for number in execution.inputs.get(BASELINE_INPUT, [])]
    told = (
        f"{execution.node}, execution {execution.id}: "
        f"{', '.join([execution.state, *results, *against])}"
    )
    return told.replace(TIED, " ")


def _pairs(values: dict) -> str:
    return ", ".join(f"{name} {shown(value)}".replace(" ", TIED) for name, value in values.items())


def _wrapped(text: str, first: str, later: str) -> list[str]:
    lines = textwrap.wrap(
        text,
        WIDTH,
        initial_indent=first,
        subsequent_indent=later,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [line.replace(TIED, " ") for line in lines]


def shown(value) -> str:
    """Returns a parameter or metric as a person reads it, floats to four digits."""
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1e-3 else f"{round(value, 4):g}"
    if isinstance(value, list):
        return f"[{', '.join(map(shown, value))}]"
    return " ".join(str(value).split())
