"""Is it flat? The first third of the samples (after the warm-up) beside the last, each bound with its reason."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from .probe import TABLES, Sample

WARM = 0.15
"""The share of the time at the start that is not judged: pools, caches and statement texts fill."""


@dataclass(frozen=True, slots=True)
class Measure:
    """Something that is sampled. It may grow by `growth` from the first third to the last, and a `share` of itself.

    `of` takes the lowest where load moves it up and down (every few seconds all are quiet, and what is used then is
    what stays: a leak raises the floor), the median where the time of the next look would decide.
    """

    name: str
    value: Callable[[Sample], float]
    of: Callable[[Sequence[float]], float]
    growth: float | None
    share: float
    reason: str


def _rows(table: str) -> Callable[[Sample], float]:
    return lambda sample: float(sample.rows[table])


def measures(minutes: float) -> list[Measure]:
    """What is judged, and by which bound; a short soak is still warming up."""
    # measured: Python's own blocks stay the same; SQLite's page caches (2 MB per connection at the most) fill as the
    # history grows, 4 MB in the first ten minutes and ever less; 2 kB lost at each answer are more than that in 30
    memory = 6.0 if minutes >= 5 else 15.0
    # two of each connection to SQLite, and two pools of five fill as chance has it: three connections, or five at first
    files = 6 if minutes >= 5 else 10
    # it is begun again from its start when no reader is in it, so it finds its size by chance within a few minutes; at
    # 4,000 pages of 4 kB some commit copies it at the latest (store.sql.sqlite_host.MOST_PAGES)
    log = 4.2 if minutes >= 5 else 16.4
    # each is kept for a minute after its last call, so a short soak has all that its busiest moment made
    model = 2 if minutes >= 5 else None
    # rows follow the load, and the outages of the provider are as long as a third of a short soak
    rows = 30.0 if minutes >= 5 else None
    kept = "kept for a fixed time, so as many as the load of that time"
    return [
        Measure("memory, MB", lambda s: s.rss, median, memory, 0.03, "each connection caches up to 2 MB of the file"),
        Measure("threads", lambda s: float(s.threads), min, 3, 0.0, "pools at rest; a leak per answer is hundreds"),
        Measure(
            "files and sockets",
            lambda s: float(s.files - s.model_sockets),  # those have a line of their own
            min,
            files,
            0.0,
            "connections to the database are kept in pools",
        ),
        Measure("sockets to the model", lambda s: float(s.model_sockets), min, model, 0.0, "kept alive for reuse"),
        Measure("write-ahead log, MB", lambda s: s.wal, max, log, 0.0, "copied beside the commits"),
        *(Measure(f"rows of {name}", _rows(name), median, rows, 0.5, kept) for name in TABLES if name != "message"),
        Measure("rows of message", _rows("message"), median, None, 0.0, "history: kept for ever"),
        Measure("database, MB", lambda s: s.database, median, None, 0.0, "grows with the history alone"),
    ]


@dataclass(frozen=True, slots=True)
class Line:
    """One row of the table. `bound` is the most that the last may be, None where growth is meant, or not judged."""

    name: str
    first: float
    last: float
    bound: float | None
    reason: str

    @property
    def flat(self) -> bool:
        """Whether it keeps its bound."""
        return self.bound is None or self.last <= self.bound


def judge(samples: Sequence[Sample]) -> list[Line]:
    """One line for each measure. Raises ValueError where there are too few samples to judge."""
    begin = samples[0].at + WARM * (samples[-1].at - samples[0].at)
    judged = [one for one in samples if one.at >= begin]
    third = len(judged) // 3
    if third < 3:
        msg = f"{len(samples)} samples are too few to judge."
        raise ValueError(msg)
    lines = []
    for one in measures((samples[-1].at - samples[0].at) / 60):
        first, last = (one.of([one.value(s) for s in part]) for part in (judged[:third], judged[-third:]))
        bound = None if one.growth is None else first * (1 + one.share) + one.growth
        lines.append(Line(one.name, first, last, bound, one.reason))
    return lines


def table(lines: Sequence[Line]) -> str:
    """As it is printed."""
    shown = [f"{'':24}{'first third':>12}{'last third':>12}{'bound':>10}   verdict"]
    for one in lines:
        bound = "-" if one.bound is None else f"{one.bound:.1f}"
        verdict = "flat" if one.bound is not None and one.flat else "not judged" if one.flat else "GROWS"
        shown.append(f"{one.name:24}{one.first:12.1f}{one.last:12.1f}{bound:>10}   {verdict}: {one.reason}")
    return "\n".join(shown)
