"""What a measurement says: one row, with what would make it void beside it."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

HEADINGS = ("what", "figure", "reference", "ratio", "aim", "violations / errors / skipped renewals", "verdict")


@dataclass(frozen=True, slots=True)
class Faults:
    """What must not have happened while a figure was taken. `details` says what did, in words."""

    violations: int = 0
    errors: int = 0
    skipped_renewals: int = 0
    details: tuple[str, ...] = ()

    @property
    def any(self) -> bool:
        """Whether the figure is void."""
        return bool(self.violations or self.errors or self.skipped_renewals)

    def __add__(self, other: Faults) -> Faults:
        """Both together."""
        return Faults(
            self.violations + other.violations,
            self.errors + other.errors,
            self.skipped_renewals + other.skipped_renewals,
            self.details + other.details,
        )

    def __str__(self) -> str:
        """As the table shows it."""
        return f"{self.violations} / {self.errors} / {self.skipped_renewals}"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. `reached` says whether the figure is as good as `aim` asks."""

    what: str
    figure: str
    aim: str
    reached: bool
    reference: str = "-"
    ratio: str = "-"
    faults: Faults = field(default_factory=Faults)
    notes: tuple[str, ...] = ()

    @property
    def verdict(self) -> str:
        """VOID if anything went wrong meanwhile, whatever the figure says."""
        if self.faults.any:
            return "VOID"
        return "reached" if self.reached else "missed"

    def to_json(self) -> dict[str, Any]:
        """For another process."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Row:
        """What `to_json` gave."""
        faults = dict(data["faults"])
        faults["details"] = tuple(faults["details"])
        return cls(**{**data, "faults": Faults(**faults), "notes": tuple(data["notes"])})


@dataclass(frozen=True, slots=True)
class Spent:
    """Seconds by the clock, and of processor time of this process, which a busy machine changes less."""

    seconds: float
    processor: float


class Meter:
    """Measures from its making on."""

    def __init__(self) -> None:
        self._began = time.perf_counter()
        self._busy = time.process_time()

    def read(self) -> Spent:
        """Until now."""
        return Spent(time.perf_counter() - self._began, time.process_time() - self._busy)


def median(values: Iterable[float]) -> float:
    """The middle one."""
    return statistics.median(values)


def quantile(values: Iterable[float], share: float) -> float:
    """The value below which `share` of the values lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def milliseconds(seconds: float) -> str:
    """Such as 1.25 ms."""
    return f"{seconds * 1000:.2f} ms"


def table(rows: Sequence[Row]) -> str:
    """For a terminal: one line for each row, what is to be said about it below."""
    lines = [_cells(row) for row in rows]
    widths = [max(len(line[place]) for line in [HEADINGS, *lines]) for place in range(len(HEADINGS))]
    shown = []
    for line, row in zip([HEADINGS, *lines], [None, *rows], strict=True):
        shown.append("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
        shown += [f"    {note}" for note in (_remarks(row) if row else ())]
    return "\n".join(shown)


def markdown(rows: Sequence[Row]) -> str:
    """For the documentation: a table, and the notes as a list below it."""
    lines = ["| " + " | ".join(HEADINGS) + " |", "|" + " --- |" * len(HEADINGS)]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in _cells(row)) + " |" for row in rows]
    noted = [f"- **{row.what}**: {'; '.join(_remarks(row))}." for row in rows if _remarks(row)]
    return "\n".join([*lines, "", *noted])


def _cells(row: Row) -> tuple[str, ...]:
    return (row.what, row.figure, row.reference, row.ratio, row.aim, str(row.faults), row.verdict)


def _remarks(row: Row) -> tuple[str, ...]:
    return (*row.notes, *row.faults.details)
