"""What was noticed about somebody's data: one kind of value for everything that checks, so that
nothing is left out, guessed or found odd in silence.

The checks before a run and ingest make findings; the terminal, the report and summary.json show the
same ones. One that makes a result meaningless is refused and stops the run. Standard library alone.
"""

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trainer_module.errors import InputError, visible

NOTE, WARNING, REFUSED = "note", "warning", "refused"
SEVERITIES = (REFUSED, WARNING, NOTE)  # the worst first
SHOWN_EXAMPLES = 3  # on the terminal; the report and summary.json have all that a finding holds
MOST_EXAMPLES = 20  # in a finding
HEADING = "What we noticed about your data"


@dataclass(frozen=True)
class Finding:
    """One thing that was noticed. Its texts have escapes for what no terminal shows, in whatever
    characters it was told: line breaks, and bytes of a file's name that are no UTF-8.

    Attributes:
      severity: NOTE, WARNING, or REFUSED, which stops the run.
      kind: a few words that are the same every time, for programs.
      told: what was noticed, a sentence for a person.
      count: of rows, images, classes or files, whatever the sentence speaks of.
      examples: the first of them, at most MOST_EXAMPLES.
      fix: what to do about it; '' if nothing has to be done.
    """

    severity: str
    kind: str
    told: str
    count: int = 1
    examples: tuple[str, ...] = ()
    fix: str = ""

    def __post_init__(self):
        for name in ("told", "fix"):
            object.__setattr__(self, name, visible(getattr(self, name), kept=""))
        shown = tuple(visible(example, kept="") for example in self.examples)
        object.__setattr__(self, "examples", shown)


def first(examples: Iterable[Any], most: int = MOST_EXAMPLES) -> tuple[str, ...]:
    """Returns the first of some examples as a finding holds them."""
    return tuple(str(example) for example, _ in zip(examples, range(most), strict=False))


def counted(count: int, noun: str, plural: str = "") -> str:
    """Returns '1 row' or '1,200 rows'."""
    return f"{count:,} {noun if count == 1 else plural or f'{noun}s'}"


def quoted(name: str) -> str:
    """Returns a name in double quotes, with escapes for those within."""
    return json.dumps(name, ensure_ascii=False)


def in_line(names: Sequence[str]) -> list[str]:
    """Returns names as they stand in a line with commas: where one holds a comma or a quote, all of
    them in quotes.
    """
    unclear = any(mark in name for name in names for mark in ",\"'")
    return [quoted(name) for name in names] if unclear else list(names)


def refuse_worst(findings: Sequence[Finding]) -> None:
    """Raises an InputError that tells every finding that makes a result meaningless.

    Raises:
      InputError: if there is one.
    """
    worst = [finding for finding in findings if finding.severity == REFUSED]
    if worst:
        error = InputError("\n".join(line for finding in worst for line in _lines(finding, "")))
        error.findings = tuple(findings)
        raise error


def table(findings: Sequence[Finding]) -> str:
    """Returns the findings for the terminal, the worst first; '' if there are none."""
    if not findings:
        return ""
    ordered = sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity))
    width = max(len(severity) for severity in SEVERITIES) + 2
    lines = [
        f"  {finding.severity if not number else '':<{width}}{line}"
        for finding in ordered
        for number, line in enumerate(_lines(finding, "  "))
    ]
    return "\n".join([f"{HEADING}:", *lines])


def _lines(finding: Finding, indent: str) -> list[str]:
    shown = finding.examples if not indent else finding.examples[:SHOWN_EXAMPLES]
    more = finding.count - len(shown) if shown else 0
    fix = [f"{indent}Fix: {finding.fix}"] if finding.fix else []
    rest = [f"{indent}... and {more:,} more"] if more > 0 else []
    return [finding.told, *(f"{indent}{example}" for example in shown), *rest, *fix]


def to_json(findings: Iterable[Finding]) -> str:
    """Returns findings as a JSON list of objects."""
    return json.dumps(as_dicts(findings), ensure_ascii=False)


def as_dicts(findings: Iterable[Finding]) -> list[dict[str, Any]]:
    """Returns findings as JSON-able values."""
    return [{**dataclasses.asdict(one), "examples": list(one.examples)} for one in findings]


def from_dicts(rows: Iterable[Mapping[str, Any]]) -> tuple[Finding, ...]:
    """Returns the findings that `as_dicts` wrote."""
    return tuple(Finding(**{**row, "examples": tuple(row["examples"])}) for row in rows)


def merged(before: Iterable[Finding], ingest: Sequence[Finding]) -> tuple[Finding, ...]:
    """Returns all findings of a run: of a kind that ingest knows better, its own."""
    kinds = {finding.kind for finding in ingest}
    return (*(finding for finding in before if finding.kind not in kinds), *ingest)
