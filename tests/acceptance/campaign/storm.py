"""A campaign over Celery: servers and workers are killed, paused, drained and added, and Redis comes and goes."""

from __future__ import annotations

import random
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from .app import PEOPLE
from .backing import Servers
from .campaign import Campaign
from .fleet import Life, until
from .killer import ADD, DRAIN, EVERYBODY, FLUSH, HANG, OUTAGE, PAUSE, ROLL, TIMED, Kill
from .nursery import Nursery
from .points import POINTS

THREADS = 4
"""Turns at one time in each worker."""

STOP = 20.0
"""Seconds that a drain may take: DAEMON_STOP_TIMEOUT, and what a busy machine needs besides."""

BACK = 8.0
"""Seconds after Redis is back by which every server must hear the others again."""

SOON = 5.0
"""Seconds within which a worker that is added must have work."""

WEB = "a server, any instant"
FAIL_OVER = "in a calm"
ON_SERVERS = ("in-accept", "after-accept", WEB)
"""What happens to servers; everything else happens to workers."""


def cards(dice: random.Random) -> Iterator[str]:
    """What happens, for ever: in each round every point once, and everything else."""
    while True:
        deck = [*POINTS, *[TIMED] * 6, *[PAUSE] * 3, *[DRAIN] * 3, WEB, EVERYBODY, ADD, FLUSH, FLUSH, OUTAGE, OUTAGE]
        deck += [HANG, ROLL]
        dice.shuffle(deck)
        yield from deck


class Storm(Campaign):
    """Servers w0, w1, ... and workers k0, k1, ... on one Postgres and one Redis. Lifetime: its `with` block.

    `waits` are seconds of which one passes until another takes the place of who was killed.
    """

    waits: Sequence[float] = (0.0, 0.0, 0.3, 4.0)

    def __init__(
        self,
        nursery: Nursery,
        folder: Path,
        servers: Servers,
        *,
        webs: int = 2,
        workers: int = 3,
        settings: Mapping[str, str] = MappingProxyType({}),
        **options: Any,
    ) -> None:
        super().__init__(nursery, folder, settings=settings, backing=servers, **options)
        self.redis = servers.redis
        self.drains: list[float] = []
        self.fail_overs: list[float] = []
        self._servers = servers
        self._webs = [f"w{number}" for number in range(webs)]
        self._workers = [f"k{number}" for number in range(workers)]
        self._added = 0

    def start(self, name: str) -> Life:
        """Start a process, and listen to it if it is a server."""
        return super().start(name) if name in self._webs else self.fleet.work(name, THREADS)

    def begin(self, rate: float = 2.0) -> None:
        """Start everybody, and let people post."""
        for name in [*self._webs, *self._workers]:
            self.start(name)
        self.crowd.begin({person: self.browser(person) for person in PEOPLE}, rate)

    def storm(self, kills: int) -> None:
        """Under load, until `kills` deaths have cut work short."""
        self.begin()
        ways = cards(self._dice)
        while self.counted() < kills:
            self.happen(next(ways))
        self.crowd.end(timeout=30)

    def happen(self, what: str) -> None:
        """One thing, and what has to be started after it."""
        self._mend()
        others: Mapping[str, Callable[[], None]] = {
            DRAIN: lambda: self.drain_one(self._one(self._workers)),
            ADD: self.add,
            FLUSH: self.flush,
            OUTAGE: lambda: self.outage(self._dice.uniform(0.5, 8.0)),
            HANG: lambda: self.hang(self._dice.uniform(0.5, 4.0)),
            ROLL: self.roll,
        }
        if what in others:
            others[what]()
            return
        names = list(self._workers) if what == EVERYBODY else [self._one_for(what)]
        struck = [self.fleet.life(name) for name in names]
        for life in struck:
            self.killer.strike(life, TIMED if what in (EVERYBODY, WEB) else what)
        threading.Event().wait(self._dice.choice(self.waits))
        for life in struck:
            if life.died is not None:
                self.start(life.name)

    def _one_for(self, what: str) -> str:
        return self._one(self._webs if what in ON_SERVERS else self._workers)

    def _one(self, names: list[str]) -> str:
        return self._dice.choice(names)

    def drain_one(self, name: str) -> None:
        """SIGTERM to a worker or a server; another takes its place when it has ended."""
        life = self.fleet.life(name)
        self._note(life.who, DRAIN, self.fleet.held(life))
        self.drains.append(self.fleet.drain(life, STOP))
        self.ears.lost(life)
        self.start(name)

    def add(self) -> None:
        """One more worker, which takes its share at once; then it goes."""
        self._added += 1
        life = self.start(f"x{self._added}")
        self._note(life.who, ADD, 0)
        if not self.crowd.stop.is_set():
            until(lambda: self.fleet.held(life), "a worker that was added takes work", timeout=SOON)
        self.drains.append(self.fleet.drain(life, STOP))

    def fail_over(self) -> float:
        """Kill a worker in a turn of its own while nobody else asks; seconds until another takes the turn up."""
        place = next(place for place in self.places if place.thread)
        self.crowd.give_up.clear()  # the others have gone
        self.poster("maya").post(place, milliseconds=1_500, handle="ada")

        def owner() -> Life | None:
            return next((life for life in self.fleet.alive() if life.threads and self.fleet.held(life)), None)

        life: Life = until(owner, "somebody answers")
        kill = self.killer.end(life, FAIL_OVER)
        until(owner, "another takes it up")
        took = time.monotonic() - (life.died or kill.at)
        until(self.is_drained, "the answer")
        self.start(life.name)
        self.fail_overs.append(took)
        return took

    def roll(self) -> None:
        """Everybody is replaced, one after the other."""
        self._note("everybody", ROLL, 0)
        for name in [*self._workers, *self._webs]:
            self.drain_one(name)

    def flush(self) -> None:
        """Redis forgets everything."""
        self._note("redis", FLUSH, 0)
        self._mend()
        self.redis.client.flushall()

    def outage(self, seconds: float) -> None:
        """Redis is stopped for a while, and comes back empty."""
        self._note("redis", OUTAGE, 0)
        since = time.monotonic()
        self.redis.stop()
        threading.Event().wait(seconds)
        self.redis.start()
        self._until_heard(since)
        for name in self._webs:  # what happened meanwhile was told to nobody: all are made to look again
            until(lambda: self.ears.is_cut(self.fleet.life(name)), "browsers look again", timeout=BACK)  # noqa: B023 -- called at once
        self.deaf[-1] = since, time.monotonic()
        self._mend()

    def hang(self, seconds: float) -> None:
        """Redis does not answer for a while."""
        self._note("redis", HANG, 0)
        since = time.monotonic()
        self.redis.signal(signal.SIGSTOP)
        threading.Event().wait(seconds)
        self.redis.signal(signal.SIGCONT)
        self._until_heard(since)
        self._mend()  # who gave Redis up meanwhile has made its browsers look again

    def _until_heard(self, since: float) -> None:
        try:
            until(lambda: self._servers.listening() >= len(self._webs), "all servers hear again", timeout=BACK)
        finally:
            self.deaf.append((since, time.monotonic()))

    def _mend(self) -> None:
        for name in self._webs:
            self.ears.mend(self.fleet.life(name), self.fleet.urls[name], self.browser("maya"))

    def _note(self, who: str, how: str, held: int) -> None:
        self.killer.kills.append(Kill(who, how, time.monotonic(), len(self.fleet.alive()), held))
