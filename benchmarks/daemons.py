"""Ten thousand orchestrators that do nothing, beside as many threads and scheduler jobs as a machine bears."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .app import World, close, want_running, world
from .idle_process import PERIOD
from .rows import Faults, Row, median, milliseconds

COUNT = 10_000
NAIVE = 1_000
"""Threads with a job each. Ten thousand are beyond what a process is usually allowed."""

QUIET = 32.0
"""Seconds of doing nothing: a little more than a heartbeat interval."""


def measure(*, quick: bool = False) -> Sequence[Row]:
    """Each figure from a fresh process, so that nobody else's memory is in it."""
    count, naive, quiet = (1_000, 100, 8.0) if quick else (COUNT, NAIVE, QUIET)
    with _database(1) as few, _database(count) as many:
        base = _Process("ours", few.folder, 1, 1.0).result()
        crowd, alone = _Process("ours", many.folder, count, quiet), _Process("naive", many.folder, naive, quiet)
        ours, theirs = crowd.result(), alone.result()
    return _rows(count, naive, quiet, base, ours, theirs)


def _rows(
    count: int, naive: int, quiet: float, base: dict[str, Any], ours: dict[str, Any], theirs: dict[str, Any]
) -> Sequence[Row]:
    faults = Faults(**{**ours["faults"], "details": tuple(ours["faults"]["details"])})
    each, their_each = (ours["rss"] - base["rss"]) / count, (theirs["rss"] - theirs["rss_before"]) / naive
    share = max(1.0, PERIOD / quiet)
    beat, beat_busy = (sum(one[place] for one in ours["beats"]) * share for place in (0, 1))
    who, them = f"{count:,} idle daemons", f"{naive:,} threads with a job each"

    def row(what: str, figure: str, aim: str, reached: bool, reference: str, ratio: float, *notes: str) -> Row:
        shown = f"{ratio:.3f} per daemon"
        return Row(f"{who}: {what}", figure, aim, reached, f"{reference}: {them}", shown, faults, notes)

    per, their_per = ours["start"] / count, theirs["start"] / naive
    cpu, their_cpu = ours["cpu"] / count, max(theirs["cpu"], 1e-9) / naive
    rounds = ", ".join(milliseconds(one[0]) for one in ours["beats"])
    one_round = median(one[0] for one in ours["beats"]) if ours["beats"] else 0.0
    return [
        row(
            "start (first request of a new process until all run)",
            f"{ours['start']:.2f} s",
            "<= 1 s",
            ours["start"] <= 1.0,
            f"{theirs['start']:.2f} s",
            per / their_per,
            f"processor time: {ours['start_busy']:.2f} s",
            f"{ours['threads']} threads in the process; {theirs['threads']} in the other",
        ),
        row(
            "resident memory each",
            f"{each / 1000:.2f} kB",
            "<= 2 kB",
            each <= 2_000,
            f"{their_each / 1000:.1f} kB",
            each / their_each,
            f"a process with one daemon has {base['rss'] / 1e6:.0f} MB",
        ),
        row(
            f"processor time while idle, {quiet:.0f} s",
            f"{ours['cpu']:.2%} of a core",
            "<= 0.5 %",
            ours["cpu"] <= 0.005,
            f"{theirs['cpu']:.2%}",
            cpu / their_cpu,
            f"a process with one daemon takes {base['cpu']:.2%}",
        ),
        row(
            "one heartbeat round (a run of the job, which writes those that are due)",
            milliseconds(one_round),
            "<= 20 ms",
            bool(ours["beats"]) and one_round <= 0.020,
            milliseconds(theirs["beat"] * naive),
            (beat / count) / theirs["beat"],
            f"median of the rounds in which all have beaten once: {rounds}",
            f"their sum: {milliseconds(beat)}, processor time: {milliseconds(beat_busy)}; the ratio is of the sum",
        ),
    ]


class _Process:
    """A measurement in a process of its own (`idle_process`), begun at once."""

    def __init__(self, kind: str, folder: Path, count: int, quiet: float) -> None:
        command = [sys.executable, "-m", "benchmarks.idle_process", kind, str(folder), str(count), str(quiet)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self._process.stdout.readline()  # it has started everybody: the next one may begin

    def result(self) -> dict[str, Any]:
        """What it measured."""
        said, _ = self._process.communicate(timeout=180)
        if self._process.returncode:
            msg = f"{self._process.args!r} ended with {self._process.returncode}"
            raise RuntimeError(msg)
        found: dict[str, Any] = json.loads(said)
        return found


@contextmanager
def _database(count: int) -> Iterator[World]:
    """A closed app whose orchestrators all want to run."""
    with world(count) as made:
        want_running(made)
        close(made.app)
        yield made
