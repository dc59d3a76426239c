"""What is added up while the images of a list are read, in any order and by any number of workers.

Standard library alone.
"""

import heapq
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from components.file_list_example_gen.rows import Row
from trainer_module.findings import MOST_EXAMPLES

Example = tuple[int, str]  # line of the list, path of the image


@dataclass
class Tally:
    """The sums of one list.

    Attributes:
      images: that were read.
      remarks: key of a remark -> images.
      examples: key of a remark -> its first images.
      counts: what the task counts, name -> sum.
      kept: target -> rows that were read; of tasks of one class an image alone.
      lost: target -> rows that were not.
    """

    images: int = 0
    remarks: Counter = field(default_factory=Counter)
    examples: dict[str, list[Example]] = field(default_factory=dict)
    counts: Counter = field(default_factory=Counter)
    kept: Counter = field(default_factory=Counter)
    lost: Counter = field(default_factory=Counter)

    def add(self, row: Row, remarks: Iterable[str], counts: Mapping[str, int]) -> None:
        """Counts an image that was read."""
        self.images += 1
        if counts:
            self.counts.update(counts)
        for remark in remarks:
            self.remarks[remark] += 1
            self._keep(remark, [(row.line, row.path)])

    def merge(self, other: "Tally") -> "Tally":
        """Adds the sums of another part of the list to these, and returns them."""
        self.images += other.images
        for name in ("remarks", "counts", "kept", "lost"):
            getattr(self, name).update(getattr(other, name))
        for remark, examples in other.examples.items():
            self._keep(remark, examples)
        return self

    def _keep(self, remark: str, examples: list[Example]) -> None:
        known = self.examples.get(remark, [])
        if len(known) < MOST_EXAMPLES or min(examples) < known[-1]:
            self.examples[remark] = heapq.nsmallest(MOST_EXAMPLES, [*known, *examples])

    def to_dict(self) -> dict[str, Any]:
        """Returns the sums as JSON-able values."""
        return dict(vars(self))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Tally":
        """Returns what `to_dict` wrote."""
        sums = {name: Counter(values[name]) for name in ("remarks", "counts", "kept", "lost")}
        examples = {
            remark: [(line, path) for line, path in places]
            for remark, places in values["examples"].items()
        }
        return cls(images=values["images"], examples=examples, **sums)
