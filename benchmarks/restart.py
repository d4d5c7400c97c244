"""A server process is killed in the middle of a turn; how long until the next one has the turn again."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass

from sqlalchemy import select

from .app import DATABASE, World, close, copy_of, db, neolith, want_running, world
from .claude import fake_claude, report, requests
from .live import ROOT, log_in
from .procs import stop
from .rows import Faults, Row, median, milliseconds
from .witness import skipped_renewals

GAP = 0.02
"""Seconds between two events of the answer: it takes about a second and a half, so the kill meets it half way."""

QUESTION = "@agent0 " + "what would you say to this " * 15


@dataclass(frozen=True, slots=True)
class Seen:
    """Seconds after a process listens: its first HTTP answer, the claim, the model's request."""

    answered: float
    claimed: float
    requested: float


def measure(*, quick: bool = False) -> Sequence[Row]:
    """From the moment at which the new process listens until the turn is claimed again; it is asked something then."""
    rounds = 1 if quick else 5
    faults, times, asked, answered = Faults(), [], [], []
    with fake_claude(GAP) as api, world() as made:
        with made.app.app_context():
            neolith.chat.post(made.person, made.channel, QUESTION)
            db.session.commit()
        close(made.app)  # its runtime too, which would otherwise answer
        want_running(made)
        close(made.app)
        for _ in range(rounds):
            with copy_of(made) as copy:
                seen, found = _round(copy, api)
            times.append(seen.claimed)
            asked.append(seen.requested)
            answered.append(seen.answered)
            faults += found
    return [
        Row(
            "restart after SIGKILL in a turn, from listening to the first claim",
            milliseconds(median(times)),
            "<= 1 s",
            max(times) <= 1.0,
            f"{milliseconds(median(answered))}: its first HTTP answer",
            f"{median(times) / median(answered):.2f}",
            faults,
            (
                f"{rounds} kills: " + ", ".join(milliseconds(one) for one in times),
                f"the model's first request: {milliseconds(median(asked))} (the provider's SDK is imported for it)",
            ),
        )
    ]


def _round(made: World, api: str) -> tuple[Seen, Faults]:
    before = len(report(api)["requests"])
    victim, *_ = _serve(made, api)
    try:
        requests(api, before + 1)
        threading.Event().wait(0.3)  # the turn is in the middle of its answer
        running = report(api)["openStreams"]
    finally:
        victim.kill()
        victim.communicate()
    successor, url, listening, answered = _serve(made, api)
    try:
        claimed = _claimed_again(made)
        again = requests(api, before + 2)[before + 1]["at"]
        problems = _judged(made)
        skipped = _skipped(url, made.person)
    finally:
        stop(successor)
    if running != 1:
        problems.append("no turn ran when the process was killed")
    if len(report(api)["requests"]) != before + 2:
        problems.append("the model was asked more than twice")
    seen = Seen(answered - listening, claimed - listening, again - listening)
    return seen, Faults(violations=len(problems), details=tuple(problems)) + skipped


def _skipped(url: str, person: str) -> Faults:
    request = urllib.request.Request(f"{url}/neolith/api/v1/metrics", headers={"Cookie": log_in(url, person)})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return skipped_renewals(answer.read().decode())


def _serve(made: World, api: str) -> tuple[subprocess.Popen[str], str, float, float]:
    """A process, its address, when it listened, and when it had answered: the first request makes it begin to work."""
    command = [sys.executable, "-m", "benchmarks.server", str(made.folder), api]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdout is not None
    url, listening = json.loads(process.stdout.readline())
    urllib.request.urlopen(f"{url}/neolith/api/v1/health/live", timeout=10).close()
    return process, url, float(listening), time.monotonic()


def _claimed_again(made: World, patience: float = 20.0) -> float:
    """When the turn's second attempt was first seen in its row."""
    deadline = time.monotonic() + patience
    with closing(sqlite3.connect(made.folder / DATABASE)) as connection:
        while connection.execute("SELECT max(attempt) FROM neolith_turn").fetchone()[0] < 2:
            if time.monotonic() > deadline:
                raise TimeoutError("Nobody took the turn over.")
            threading.Event().wait(0.002)
    return time.monotonic()


def _judged(made: World, patience: float = 15.0) -> list[str]:
    """The question ends as answered, with one answer, which is complete."""
    delivery, message = neolith.models.Delivery, neolith.models.Message
    deadline = time.monotonic() + patience
    with made.app.app_context():
        while (states := list(db.session.scalars(select(delivery.state)))) != ["answered"]:
            db.session.rollback()
            if time.monotonic() > deadline:
                return [f"the question ended as {states}"]
            threading.Event().wait(0.05)
        answers = db.session.execute(
            select(message.state, message.content).where(message.author_id == int(made.users[0]))
        ).all()
        db.session.rollback()
    if [state for state, _ in answers] != ["final"] or not answers[0][1].endswith(QUESTION.strip()[-20:]):
        return [f"the answers are {answers}"]
    return []
