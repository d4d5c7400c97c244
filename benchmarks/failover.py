"""A worker is killed in the middle of a turn: how long until another one asks the model again."""

from __future__ import annotations

import os
import random
import signal
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flask_neolith_orchestrator.settings import load_settings

from .app import close, db, neolith, world
from .fleet import Fleet, fleet, until
from .rows import Faults, Row, median, quantile
from .servers import postgres_server, redis_server
from .witness import inspect, watch

WORKERS, THREADS = 3, 4
JOB = 0.8
"""Seconds of the model: the kill comes in the first half."""


TAKEN_OVER = "A turn was taken over"
"""What the processes are to say here."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One setting. `lease` and `renew` in seconds; `apart`: workers see each other's death by the lease alone."""

    kills: int
    lease: float
    renew: float
    apart: bool

    @property
    def where(self) -> str:
        """As the table says it."""
        return "on another machine" if self.apart else "on the same machine"


DEFAULT = load_settings({}, {})
TRIALS = (
    Trial(20, 2.0, 0.5, apart=True),
    Trial(6, DEFAULT.lease / 1000, DEFAULT.renew_interval / 1000, apart=True),
    Trial(6, DEFAULT.lease / 1000, DEFAULT.renew_interval / 1000, apart=False),
)


def measure(*, quick: bool = False) -> Sequence[Row]:
    """With a short lease and with the default one, as between machines; and on one machine, where a lock file tells."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = stack.enter_context(postgres_server())
        broker = stack.enter_context(redis_server(folder))
        rows = []
        for trial in [Trial(1, 1.0, 0.25, apart=True)] if quick else TRIALS:
            url = server.database()
            with world(1, SQLALCHEMY_DATABASE_URI=url) as made:
                close(made.app)
                settings = {
                    "DAEMON_LEASE": f"{trial.lease * 1000:.0f}",
                    "DAEMON_RENEW_INTERVAL": f"{trial.renew * 1000:.0f}",
                }
                with watch(TAKEN_OVER) as witness, fleet(made, url, broker, JOB, **settings) as here:
                    times, faults = _killed(here, trial)
                    rows.append(_row(trial, times, faults + inspect(here.world) + witness.faults))
    return rows


def _row(trial: Trial, times: list[float], faults: Faults) -> Row:
    p95, aim = quantile(times, 0.95), trial.lease + 1.0
    return Row(
        f"a worker dies by SIGKILL in a turn, another {trial.where} asks the model again, lease {trial.lease:g} s, p95",
        f"{p95:.2f} s",
        f"<= lease + 1 s = {aim:g} s",
        p95 <= aim,
        f"{trial.lease:g} s: the lease" if trial.apart else f"{DEFAULT.sweep_interval / 1000:g} s: the sweep",
        f"{p95 - trial.lease:+.2f} s" if trial.apart else "-",
        faults,
        (
            f"{trial.kills} kills, {WORKERS} workers, renewed every {trial.renew:g} s",
            f"p50 {median(times):.2f} s, from {min(times):.2f} to {max(times):.2f} s",
        ),
    )


def _killed(here: Fleet, trial: Trial) -> tuple[list[float], Faults]:
    """One turn at a time; whoever has it is killed, and replaced as a supervisor does."""
    moments, times, problems = random.Random(2), [], []
    for _ in range(WORKERS):
        _join(here, trial)
    with here.world.app.app_context():
        neolith.manager.start_daemon(here.world.orchestrators[0])
        for number in range(trial.kills):
            took, found = _one_kill(here, trial, number, moments.uniform(0.1, JOB / 2))
            times.append(took)
            problems += found
    twice = len(here.calls()) - trial.kills
    if twice:
        problems.append(f"{twice} calls more than questions came to their end")
    return times, Faults(violations=len(problems), details=tuple(problems[:3])) + _unexpected(here)


def _one_kill(here: Fleet, trial: Trial, number: int, pause: float) -> tuple[float, list[str]]:
    neolith.chat.post(here.world.person, here.world.channel, f"@agent0 job {number}.0")
    db.session.commit()
    (first,) = until(lambda: _calls(here, number), "a worker has it", pause=0.002)
    threading.Event().wait(pause)
    problems = ["the kill came too late"] if here.answered() != number else []
    os.kill(first[0], signal.SIGKILL)
    at = time.monotonic()
    again = until(lambda: _calls(here, number)[1:], "another takes it over", trial.lease + 10.0, 0.005)
    if again[0][0] == first[0]:
        problems.append("the dead one took it over")
    _join(here, trial)  # only now: its start must not look like load
    until(lambda: here.answered() == number + 1, "the answer")
    return again[0][4] - at, problems


def _join(here: Fleet, trial: Trial) -> None:
    apart = {"NEOLITH_STATE_DIR": str(here.folder / f"machine-{len(here.workers)}")} if trial.apart else {}
    here.start(THREADS, environment=apart)


def _calls(here: Fleet, number: int) -> list[list[Any]]:
    return [one for one in here.begun() if one[2] == number]


def _unexpected(here: Fleet) -> Faults:
    """What workers complained of, but for what they are to say: that they took a turn over."""
    return here.faults(TAKEN_OVER)
