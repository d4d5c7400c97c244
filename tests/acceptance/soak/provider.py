"""The provider of the soak: a fake Claude that misbehaves by a seeded script, in a process of its own.

It prints its URL. `GET /fake/report` says what it has done; SIGUSR1 makes it behave from then on, SIGTERM ends it.
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
import threading
from collections import Counter
from collections.abc import Mapping
from typing import Any

from flask_neolith_orchestrator.testing import (
    FakeClaude,
    Step,
    drop,
    error,
    raw,
    silence,
    stream_error,
    text,
    truncate,
)

WELL = "answer"
FAULTS = {
    "429": 3,
    "529": 3,
    "500": 3,
    "cut": 3,
    "cut-first": 1,
    "truncated": 2,
    "silence": 2,
    "silence-first": 1,
    "error-in-stream": 2,
    "html": 1,
}
"""Faults by weight, among `ANSWERS` answers. Refused connections are `OUTAGES`."""
ANSWERS = 70
OUTAGES = (10.0, 40.0)
"""Seconds between two times when it takes no connections (and cuts those it has)."""
OUTAGE = 1.0
WORDS = ("stone", "tablet", "fire", "`flint`", "**ochre**", "river\n", "- bone", "mammoth,", "cave.", "\n\n")


class Script:
    """What it does next. Lifetime: the process. At first every fault once, then by chance."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        self._asked = 0
        self._first = [*FAULTS]
        self._random.shuffle(self._first)
        self.done: Counter[str] = Counter()
        self.well = threading.Event()

    def next(self, _body: Mapping[str, Any]) -> Step:
        """The answer to one request."""
        with self._lock:
            kind = self._kind()
            self.done[kind] += 1
            return self._step(kind)

    def _kind(self) -> str:
        if self.well.is_set():
            return WELL
        # one by one among good answers, so that no breaker holds back the rest of them
        self._asked += 1
        if self._first and self._asked % 2:
            return self._first.pop()
        return self._random.choices([WELL, *FAULTS], [ANSWERS, *FAULTS.values()])[0]

    def _step(self, kind: str) -> Step:
        chance = self._random
        said = " ".join(chance.choices(WORDS, k=int(chance.paretovariate(0.9) * 5) % 400 + 1))
        stream: dict[str, Any] = {"gap": chance.choice((0.0, 0.002, 0.01)), "piece": chance.choice((5, 20, 80))}
        after = chance.randint(4, 12)
        steps: dict[str, Any] = {
            WELL: lambda: text(said.strip() or "Yes.", **stream),
            "429": lambda: error(429, retry_after=chance.choice((0.5, 1))),
            "529": lambda: error(529),
            "500": lambda: error(500),
            "cut": lambda: drop(after, said + " and so on" * 20, **stream),
            "cut-first": lambda: drop(1),
            "truncated": lambda: truncate(after, said + " and so on" * 20, **stream),
            "silence": lambda: silence(after, said + " and so on" * 20, **stream),
            "silence-first": lambda: silence(before_headers=True),
            "error-in-stream": lambda: stream_error(after, chance.choice((500, 529)), say=said + " and on" * 20),
            "html": lambda: raw("<html>Log in to the hotel's network.</html>", status=503),
        }
        made: Step = steps[kind]()
        return made


class Provider(FakeClaude):
    """A fake Claude that counts what it is asked instead of keeping it. Lifetime: until its next outage."""

    def __init__(self, port: int, script: Script) -> None:
        super().__init__(port)
        self._told = script
        self.answer_with(script.next)

    def received(self, path: str, headers: Mapping[str, str], body: object) -> None:
        """Half an hour of questions is too much to keep."""
        self._told.done["requests"] += 1

    def report(self) -> Mapping[str, Any]:
        """What was done so far, by kind."""
        with self._changed:
            return {"done": dict(self._told.done), "open": self._open, "connections": len(self._connections)}


def main() -> int:
    """Serve until a signal says to stop."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    options = parser.parse_args()
    stop, script = threading.Event(), Script(options.seed)
    chance = random.Random(options.seed)
    signal.signal(signal.SIGUSR1, lambda *_: script.well.set())
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    pause = 5.0
    while not stop.is_set():
        with Provider(options.port, script) as api:
            sys.stdout.write(f"{api.url}\n")
            sys.stdout.flush()
            stop.wait(pause)
            while script.well.is_set() and not stop.wait(0.1):
                pass
        if not stop.is_set():
            script.done["outage"] += 1
            stop.wait(OUTAGE)
            pause = chance.uniform(*OUTAGES)
    return 0


if __name__ == "__main__":
    sys.exit(main())
