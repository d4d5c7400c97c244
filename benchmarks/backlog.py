"""Work that waits before its orchestrators start, and the judgement of how it was done."""

from __future__ import annotations

import re
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from sqlalchemy import func, select

from flask_neolith_orchestrator.testing import ScriptedModel, use_model

from .app import World, close, db, neolith, world
from .rows import Faults, Meter, Spent

ORCHESTRATORS = 5
LIMIT = 10
"""The default of DAEMON_MAX_CONCURRENT_CONVERSATIONS."""

SHOWN = 2
"""Violations of one kind that are told in words."""

_JOB = re.compile(r"@agent(\d+) job (\d+)\.(\d+)")


@dataclass(frozen=True, slots=True)
class Plan:
    """`conversations` threads with `depth` questions each, spread evenly over five orchestrators."""

    conversations: int = 250
    depth: int = 8

    @property
    def jobs(self) -> int:
        """Deliveries in all, each a turn of its own."""
        return self.conversations * self.depth


@dataclass(frozen=True, slots=True)
class Call:
    """One call of the model: for whom, which question, from when to when."""

    orchestrator: int
    conversation: int
    number: int
    began: float
    ended: float


class Log:
    """The model's own memory: every call with its times. Lifetime: one round; used by many threads."""

    def __init__(self, seconds: float, expected: int) -> None:
        self.calls: list[Call] = []  # append is atomic
        self.all_asked = threading.Event()
        self._seconds = seconds
        self._expected = expected
        self._never = threading.Event()

    def answer(self, request: Any) -> str:
        """Take the time that a job takes, and write the call down."""
        began = time.perf_counter()
        agent, conversation, number = _JOB.findall(request.messages[-1].text)[-1]
        if self._seconds:
            self._never.wait(self._seconds)
        self.calls.append(Call(int(agent), int(conversation), int(number), began, time.perf_counter()))
        if len(self.calls) >= self._expected:
            self.all_asked.set()
        return "done"


@contextmanager
def filled(plan: Plan, **settings: Any) -> Iterator[World]:
    """A closed app whose database holds the plan's questions, accepted while nobody ran; copy it to work on it."""
    with world(ORCHESTRATORS, **settings) as made:
        with made.app.app_context():
            for conversation in range(plan.conversations):
                _ask(made, conversation, plan.depth)
                db.session.commit()
        close(made.app)
        yield made


def _ask(made: World, conversation: int, depth: int) -> None:
    """One thread. The two persons take turns, since neighbours by one author would be one turn."""
    root = neolith.chat.post(made.person, made.channel, f"Thread {conversation}").message["id"]
    agent = conversation % ORCHESTRATORS
    for number in range(depth):
        author = made.person if number % 2 else made.other
        words = f"@agent{agent} job {conversation}.{number}"
        neolith.chat.post(author, made.channel, words, thread_id=root)


def drain(made: World, plan: Plan, seconds: float, timeout: float = 120.0) -> tuple[Spent, Log]:
    """Start the orchestrators and wait for all answers; returns how long that took, and what the model saw.

    The runtime is up before: `bring_up`.
    """
    log = Log(seconds, plan.jobs)
    with use_model(made.app, ScriptedModel(replies=log.answer)), made.app.app_context():
        meter = Meter()
        for orchestrator in made.orchestrators:
            neolith.manager.start_daemon(orchestrator)
        log.all_asked.wait(timeout)
        while open_deliveries() and meter.read().seconds < timeout:
            threading.Event().wait(0.002)
        return meter.read(), log


def bring_up(made: World) -> None:
    """Let the process's runtime start before anything is timed: the first call of the manager does that."""
    with made.app.app_context():
        neolith.manager.start_daemon(made.orchestrators[0])
        neolith.manager.stop_daemon(made.orchestrators[0])


def open_deliveries() -> int:
    """Questions that are not answered yet."""
    delivery = neolith.models.Delivery
    open_ones = select(func.count()).select_from(delivery).where(delivery.state.in_(("waiting", "running")))
    count = db.session.scalar(open_ones)
    db.session.rollback()
    return int(count or 0)


def judge(made: World, plan: Plan, calls: Sequence[Call]) -> Faults:
    """Order, overlap and limit from the model's log; exactly one final answer for each question from the rows."""
    with made.app.app_context():
        kinds = (_order(plan, calls), _limit(calls), _rows(plan))
        db.session.rollback()
    return Faults(violations=sum(map(len, kinds)), details=tuple(one for kind in kinds for one in kind[:SHOWN]))


def _order(plan: Plan, calls: Sequence[Call]) -> list[str]:
    lines: dict[int, list[Call]] = defaultdict(list)
    for call in sorted(calls, key=lambda call: call.began):
        lines[call.conversation].append(call)
    problems = [f"conversation {one} was never asked about" for one in range(plan.conversations) if one not in lines]
    for conversation, line in lines.items():
        numbers = [call.number for call in line]
        if numbers != list(range(plan.depth)):
            problems.append(f"conversation {conversation} was asked in the order {numbers}")
        if any(later.began < earlier.ended for earlier, later in pairwise(line)):
            problems.append(f"two calls of conversation {conversation} overlap")
    return problems


def _limit(calls: Sequence[Call]) -> list[str]:
    moments = sorted(
        (at, step, call.orchestrator) for call in calls for at, step in ((call.began, 1), (call.ended, -1))
    )
    running: Counter[int] = Counter()
    most: Counter[int] = Counter()
    for _, step, orchestrator in moments:
        running[orchestrator] += step
        most[orchestrator] = max(most[orchestrator], running[orchestrator])
    return [f"@agent{one} ran {count} turns at once" for one, count in most.items() if count > LIMIT]


def _rows(plan: Plan) -> list[str]:
    delivery, turn, message = neolith.models.Delivery, neolith.models.Turn, neolith.models.Message
    ended = select(delivery.state, func.count()).group_by(delivery.state)
    states = {str(state): int(count) for state, count in db.session.execute(ended)}
    problems = [] if states == {"answered": plan.jobs} else [f"deliveries ended as {states}"]
    turns = db.session.scalar(select(func.count()).select_from(turn).where(turn.state == "done", turn.attempt == 1))
    if turns != plan.jobs:
        problems.append(f"{turns} turns done at the first attempt")
    answers = select(func.count(func.distinct(turn.reply_id))).where(turn.reply_id.is_not(None))
    if db.session.scalar(answers) != plan.jobs:
        problems.append("not one answer for each question")
    unfinished = db.session.scalar(select(func.count()).select_from(message).where(message.state != "final"))
    if unfinished:
        problems.append(f"{unfinished} messages are not final")
    return problems
