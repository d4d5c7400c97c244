"""One campaign: processes, load, deaths, a drain, and the verdict."""

from __future__ import annotations

import json
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from statistics import median
from types import MappingProxyType
from typing import Self

import requests

from .app import PEOPLE, PLACES
from .auditor import Violation, audit
from .backing import Backing
from .ears import Ears
from .evidence import Evidence, read_calls, read_replies
from .fleet import Fleet, Life, until
from .killer import EVERYBODY, HARMLESS, PAUSE, TIMED, Kill, Killer, deck
from .load import Crowd, Place, Poster, read_everything
from .nursery import Nursery

LEASE, RENEW = 2.5, 0.5
PAUSED = LEASE + 1.0
MOST_WAITING = 40
"""Deliveries under way at which people stop to post for a while: the drain should not become the campaign."""

SETTINGS = {
    "DAEMON_LEASE": f"{LEASE * 1000:.0f}",
    "DAEMON_RENEW_INTERVAL": f"{RENEW * 1000:.0f}",
    "DAEMON_SWEEP_INTERVAL": "200",
    "DAEMON_MAX_ATTEMPTS": "100",  # each death of a process uses one up, and here they die all the time
}


@dataclass(slots=True)
class Report:
    """What a campaign found. `recoveries` is seconds from a death (or the next process being up) to the next call."""

    seed: int
    kills: Sequence[Kill]
    violations: Sequence[Violation]
    posts: int = 0
    acknowledged: int = 0
    posted_again: int = 0
    called_twice: int = 0
    calls: int = 0
    heard: int = 0
    recoveries: Sequence[float] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)

    def count(self, *kinds: str) -> int:
        """How many violations of these kinds."""
        return sum(violation.kind in kinds for violation in self.violations)

    @property
    def kinds(self) -> set[str]:
        """The kinds of violations."""
        return {violation.kind for violation in self.violations}

    @property
    def counted(self) -> int:
        """Deaths in which work was running."""
        return sum(kill.counts for kill in self.kills)

    def lines(self) -> list[str]:
        """The summary, as lines of a table."""
        figures = {
            "kills counted (work was running)": self.counted,
            "kills not counted": sum(kill.how not in HARMLESS for kill in self.kills) - self.counted,
            "pauses past the lease": sum(kill.how == PAUSE for kill in self.kills),
            "calls cut by kills": sum(kill.cut for kill in self.kills if kill.how not in HARMLESS),
            "messages posted": self.posts,
            "messages acknowledged": self.acknowledged,
            "posted again, not acknowledged": self.posted_again,
            "lost": self.count("lost", "not-answered"),
            "doubled": self.count("answered-twice", "accepted-twice", "done-twice"),
            "model calls": self.calls,
            "deliveries with a second call": self.called_twice,
            "events heard by browsers": self.heard,
            "recovery, median s": f"{median(self.recoveries):.2f}" if self.recoveries else "-",
            "recovery, longest s": f"{max(self.recoveries):.2f}" if self.recoveries else "-",
            "violations": len(self.violations),
        }
        ways = Counter(f"{kill.processes} process{'es' * (kill.processes > 1)}, {kill.how}" for kill in self.kills)
        lines = [f"{name:<34} {value:>8}" for name, value in figures.items()]
        lines += ["", *(f"{way:<44} {count:>4}" for way, count in sorted(ways.items()))]
        lines += ["", *(f"{count:>6} x {line}" for line, count in self.errors.most_common(20))]
        return [*lines, "", *(f"VIOLATION {violation}" for violation in self.violations[:100])]


class Campaign:
    """Lifetime: its `with` block; used by one thread."""

    def __init__(
        self,
        nursery: Nursery,
        folder: Path,
        *,
        seed: int = 0,
        fault: str = "",
        settings: Mapping[str, str] = MappingProxyType({}),
        backing: Backing | None = None,
    ) -> None:
        self.seed = seed
        self._dice = random.Random(seed)
        self.fleet = Fleet(nursery, folder, settings={**SETTINGS, **settings}, fault=fault, backing=backing)
        self.places = [Place(**place) for place in json.loads((folder / PLACES).read_text())]
        self.ears = Ears(sorted({place.channel for place in self.places}))
        self.crowd = Crowd(self.fleet.urls, self.places, seed)
        self.crowd.full = self._is_full
        self.killer = Killer(self.fleet, self.ears, self._dice, pause=PAUSED)
        self.deaf: list[tuple[float, float]] = []
        self._people: dict[str, requests.Session] = {}

    def start(self, name: str) -> Life:
        """Start a process and listen to it."""
        life = self.fleet.start(name)
        self.ears.connect(life, self.fleet.urls[name], self.browser("maya"))
        return life

    def browser(self, person: str) -> requests.Session:
        """The browser in which a person has logged in; the cookie holds in every process."""
        if person not in self._people:
            found = self._people[person] = requests.Session()
            url = next(iter(self.fleet.urls.values()))
            assert found.post(f"{url}/login/{PEOPLE.index(person) + 1}", timeout=10).status_code == 200
        return self._people[person]

    def poster(self, person: str) -> Poster:
        """A person who posts when told."""
        return Poster(self.crowd, person, self.browser(person))

    def _is_full(self) -> bool:
        return self._under_way() >= MOST_WAITING

    def _under_way(self) -> int:
        statement = "SELECT count(*) FROM neolith_delivery WHERE state IN ('waiting', 'running')"
        return int(self.fleet.rows(statement)[0][0])

    def rampage(
        self,
        processes: Sequence[int],
        kills: int,
        *,
        rate: float = 2.0,
        ways: Callable[[int], Iterator[str]] | None = None,
    ) -> None:
        """Under load, for each number of processes, kill until its share of counted kills is reached.

        `ways` gives the series of ways to die for a number of processes; by default a deck that is shuffled.
        """
        for number, count in enumerate(processes):
            wanted = kills * (number + 1) // len(processes)
            while len(self.fleet.alive()) < count:
                self.start(f"p{len(self.fleet.urls)}")
            if number == 0:
                self.crowd.begin({person: self.browser(person) for person in PEOPLE}, rate)
            cards = ways(count) if ways is not None else deck(self._dice, several=count > 1)
            while self.counted() < wanted:
                self._strike(next(cards), count)
        self.crowd.end(timeout=30)

    def _strike(self, how: str, count: int) -> None:
        names = [f"p{number}" for number in range(count)]
        self._dice.shuffle(names)
        pause = self._dice.choice((0.0, 0.0, 0.3))
        struck = [self.fleet.life(name) for name in (names if how == EVERYBODY else names[:1])]
        for life in struck:
            self.killer.strike(life, TIMED if how == EVERYBODY else how)
        threading.Event().wait(pause)
        for life in struck:
            if life.died is not None:
                self.start(life.name)

    def counted(self) -> int:
        """Kills so far in which the rows show that work was running."""
        return sum(kill.counts for kill in self.killer.kills)

    def is_drained(self) -> bool:
        """Whether no accepted message is under way."""
        return self._under_way() == 0

    def drain(self, timeout: float = 60.0) -> None:
        """Let everything come to its end, if it does, and the browsers hear of it."""
        try:
            until(self.is_drained, "the drain", timeout=timeout)
            until(lambda: self.ears.is_quiet(0.5), "silence", timeout=10)
        except TimeoutError:
            return  # the auditor says what is left

    def judge(self) -> Report:
        """Put everything together and judge it."""
        url = next(self.fleet.urls[life.name] for life in self.fleet.alive() if life.name in self.fleet.urls)
        replies = read_replies(read_everything(url, self.browser("maya"), self.places))
        lives = {life.who: life for life in self.fleet.lives}
        self.ears.note_cuts()
        calls = read_calls(self.fleet.folder, lives, lease=LEASE, renew=RENEW)
        evidence = Evidence(
            posts=self.crowd.posts,
            calls=calls,
            replies=replies,
            events=list(self.ears.events),
            listening=self.ears.listening,
            lives=lives,
            rows=self.fleet.rows,
            ended=[life.who for life in self.fleet.alive() if life.process.is_gone()],
            deaf=self.deaf,
            broken=self.fleet.backing.broken,
        )
        for kill in self.killer.kills:
            kill.cut = sum(call.who == kill.who and call.begin < kill.at <= call.end for call in calls)
        return self._report(evidence)

    def _report(self, evidence: Evidence) -> Report:
        calls = evidence.calls_of()
        return Report(
            seed=self.seed,
            kills=self.killer.kills,
            violations=audit(evidence),
            posts=len(evidence.posts),
            acknowledged=sum(bool(post.ids) for post in evidence.posts),
            posted_again=sum(post.tries > max(1, len(post.ids)) for post in evidence.posts),
            called_twice=sum(len(found) > 1 for found in calls.values()),
            calls=len(evidence.calls),
            heard=len(evidence.events),
            recoveries=_recoveries(evidence),
            errors=_errors(self.fleet.log()),
        )

    def close(self) -> None:
        """End everything. Safe twice."""
        self.crowd.end(timeout=0)
        self.fleet.close()
        self.ears.close()
        for browser in self._people.values():
            browser.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_exc: object) -> None:
        if kind is not None:  # pytest shows it with the failure
            print(self.fleet.log()[-10_000:], *self.ears.events[-20:], sep="\n")
        self.close()


def _recoveries(evidence: Evidence) -> list[float]:
    """For each turn whose call a death cut: from when a process was there to the next call for its first question."""
    found = []
    able_to = [life for life in evidence.lives.values() if life.threads] or list(evidence.lives.values())
    for number, calls in evidence.calls_of().items():
        for first, second in pairwise(calls):
            died = evidence.lives[first.who].died
            if first.asked[0] != number or not first.cut or died is None or died != first.end:
                continue
            others = [life for life in able_to if life.up < second.begin and life.who != first.who]
            able = [max(died, life.up) for life in others if life.died is None or life.died > died]
            found.append(second.begin - min(able, default=died))
    return found


def _errors(log: str) -> Counter[str]:
    """The log lines that tell of an error, without their times and numbers."""
    lines = (line for line in log.splitlines() if " ERROR " in line or " WARNING " in line)
    return Counter(line.split(" ", 3)[-1][:110] for line in lines)
