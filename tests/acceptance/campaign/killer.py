"""Deaths and pauses, and for each what shows that work was really running."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .ears import Ears
from .fleet import Fleet, Life, until
from .ledger import read_lines
from .points import DEATHS, POINTS

TIMED = "any instant"
PAUSE = "pause"
EVERYBODY = "everybody"
"""One after the other at any instant, until no process is left."""
DRAIN = "drain"
ADD = "add a worker"
FLUSH = "Redis emptied"
OUTAGE = "Redis stopped"
HANG = "Redis paused"
ROLL = "rolling restart"
HARMLESS = frozenset({PAUSE, DRAIN, ADD, FLUSH, OUTAGE, HANG, ROLL})
"""What kills no process in the middle of its work."""

POINT_PATIENCE = 2.0
"""Seconds that a process has to come to the point where it shall die; then it dies where it is."""


@dataclass(slots=True)
class Kill:
    """One death or pause. `held` is the turns that the rows gave the process just before, `cut` the model's calls."""

    who: str
    how: str
    at: float
    processes: int
    held: int
    cut: int = 0
    back: float | None = None

    @property
    def counts(self) -> bool:
        """Whether work was running."""
        return self.how not in HARMLESS and self.held + self.cut > 0


def deck(dice: random.Random, *, several: bool) -> Iterator[str]:
    """Ways to die, for ever: in each round every point once, as many at any instant; and what several can do."""
    while True:
        cards = [*POINTS, *[TIMED] * len(POINTS), *([PAUSE, PAUSE, EVERYBODY] if several else [])]
        dice.shuffle(cards)
        yield from cards


class Killer:
    """Kills and pauses. Lifetime: a campaign; used by its main thread."""

    def __init__(self, fleet: Fleet, ears: Ears, dice: random.Random, *, pause: float) -> None:
        self.kills: list[Kill] = []
        self._fleet = fleet
        self._ears = ears
        self._dice = dice
        self._pause = pause

    def strike(self, life: Life, how: str) -> Kill:
        """Kill a process in one of the ways, or pause it for longer than its leases."""
        wait = self._dice.uniform(0.0, 1.2)  # drawn always, so that a seed gives the same series
        held = self._wait_for_work(life)
        if how == PAUSE:
            return self._stop_and_go(life, held)
        if how == TIMED:
            threading.Event().wait(wait)
            held = self._fleet.held(life)
        else:
            self.die_at(life, how)
            held = self._fleet.held(life)  # its rows are as it left them, unless a neighbour was quicker
        return self.end(life, how, held)

    def end(self, life: Life, how: str, held: int | None = None) -> Kill:
        """SIGKILL now; `how` and `held` go into the record."""
        held = self._fleet.held(life) if held is None else held
        kill = Kill(life.who, how, time.monotonic(), len(self._fleet.alive()), held)
        self._fleet.kill(life)
        self._find_death(life, kill)
        self._ears.lost(life)
        self.kills.append(kill)
        return kill

    def _wait_for_work(self, life: Life) -> int:
        try:
            until(lambda: life.process.is_gone() or self._fleet.held(life), "work", timeout=5.0)
        except TimeoutError:
            return 0
        return self._fleet.held(life)

    def die_at(self, life: Life, point: str) -> None:
        """Let a process die as soon as it comes to a point; it has some time for that."""
        arm = self._arm(life)
        arm.write_text(f"kill {point}")
        try:
            until(lambda: life.process.is_gone(), point, timeout=POINT_PATIENCE, pause=0.005)
        except TimeoutError:
            pass
        finally:
            arm.unlink(missing_ok=True)

    def _find_death(self, life: Life, kill: Kill) -> None:
        died = [line for line in read_lines(self._fleet.folder / DEATHS) if line["who"] == life.who]
        if died:
            life.died = kill.at = died[0]["at"]
        elif kill.how in POINTS:
            kill.how = f"waiting for {kill.how}"

    def _stop_and_go(self, life: Life, held: int) -> Kill:
        kill = Kill(life.who, PAUSE, time.monotonic(), len(self._fleet.alive()), held)
        since = self._fleet.pause(life)
        threading.Event().wait(self._pause)
        self._fleet.resume(life, since)
        kill.back = time.monotonic()
        self.kills.append(kill)
        return kill

    def hold_at(self, life: Life, point: str) -> None:
        """Let the next thread of a process that comes to a point wait there, until `let_go`."""
        self._arm(life).write_text(f"hold {point}")

    def is_held(self, life: Life) -> bool:
        """Whether a thread waits at its point."""
        return self._held(life).exists()

    def let_go(self, life: Life) -> None:
        """Let the thread that waits go on."""
        self._held(life).unlink()

    def _arm(self, life: Life) -> Path:
        return self._fleet.folder / f"arm-{life.name}"

    def _held(self, life: Life) -> Path:
        return self._fleet.folder / f"held-{life.name}"
