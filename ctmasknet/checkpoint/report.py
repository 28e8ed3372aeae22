"""What a checkpoint filled, as a table."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from tabulate import tabulate

COLUMNS = ("loaded", "converted", "ignored", "missing")


@dataclass(frozen=True)
class LoadReport:
    """What became of each tensor; printed as one table.

    Attributes:
        loaded: names filled from the file.
        converted: names filled from the file, which got them from another project's layout.
        ignored: names in the file only -> why.
        missing: names left as initialised.
    """

    loaded: tuple[str, ...] = ()
    converted: tuple[str, ...] = ()
    ignored: Mapping[str, str] = field(default_factory=dict)
    missing: tuple[str, ...] = ()

    def __str__(self) -> str:
        counts = {column: Counter(map(_part, getattr(self, column))) for column in COLUMNS}
        parts = list(dict.fromkeys(part for column in counts.values() for part in column))
        rows = [
            [part, *(counts[column][part] for column in COLUMNS), self._note(part)]
            for part in parts
        ]
        rows.append(["total", *(sum(counts[column].values()) for column in COLUMNS), ""])
        return tabulate(rows, ["part", *COLUMNS, "why"])

    def _note(self, part: str) -> str:
        notes = {why for name, why in self.ignored.items() if _part(name) == part}
        if any(_part(name) == part for name in self.missing):
            notes.add("missing: starts as initialised")
        return "; ".join(sorted(notes))


def _part(name: str) -> str:
    deep = name.startswith(("roi_heads", "backbone"))
    part = ".".join(name.split(".")[: 2 if deep else 1])
    return "backbone.fpn" if part.startswith("backbone.fpn") else part
