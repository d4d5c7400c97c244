"""How fast waiting work is done: 2,000 turns that take no time, and 2,000 jobs of 20 ms."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from .app import DATABASE, World, copy_of
from .backlog import LIMIT, ORCHESTRATORS, Plan, bring_up, drain, filled, judge
from .rows import Faults, Row, Spent, median, milliseconds
from .tape import Tape, costs, play, recording
from .witness import inspect, listen_for_skipped_jobs, watch

QUICK = Plan(conversations=50, depth=4)
JOB = 0.020


def measure(*, quick: bool = False) -> Sequence[Row]:
    """Both, on copies of one backlog."""
    plan = QUICK if quick else Plan()
    with filled(plan) as made:
        return [waiting_deliveries(made, plan, 2 if quick else 5), jobs(made, plan, 1 if quick else 3)]


def waiting_deliveries(made: World, plan: Plan, rounds: int) -> Row:
    """One turn for each delivery, beside the same statements through bare sqlite3."""
    faults = Faults()
    ours: list[Spent] = []
    floors: list[Spent] = []
    tape = record(made, plan)
    for _ in range(rounds):
        spent, found = one_round(made, plan, 0.0)
        faults += found
        ours.append(spent)
        floor, found = floor_of(made, plan, tape)
        faults += found
        floors.append(floor)
    alone, found = one_round(made, plan, 0.0, NEOLITH_MAX_THREADS=1)
    faults += found
    pairs = list(zip(ours, floors, strict=True))
    share = median(floor.seconds / one.seconds for one, floor in pairs)
    rate, floor_rate = (plan.jobs / median(one.seconds for one in all_of) for all_of in (ours, floors))
    busy, floor_busy = (median(one.processor for one in all_of) / plan.jobs for all_of in (ours, floors))
    shown = ", ".join(f"{plan.jobs / one.seconds:,.0f} of {plan.jobs / floor.seconds:,.0f}" for one, floor in pairs)
    statements, commits = len(tape.timed) / plan.jobs, tape.count("COMMIT") / plan.jobs
    return Row(
        f"drain of {plan.jobs:,} waiting deliveries, one per turn, model takes no time",
        f"{rate:,.0f} turns/s",
        ">= 1,000 turns/s and >= 0.3 of the floor",
        rate >= 1000 and share >= 0.3,
        f"{floor_rate:,.0f} turns/s: the same statements, bare sqlite3, one thread",
        f"{share:.2f}",
        faults,
        (
            f"{rounds} paired rounds: {shown} turns/s",
            f"{statements:.1f} statements and {commits:.2f} commits a turn",
            f"processor time a turn: {milliseconds(busy)}, the floor's {milliseconds(floor_busy)}",
            f"one thread: {plan.jobs / alone.seconds:,.0f} turns/s, {milliseconds(alone.processor / plan.jobs)} each",
        ),
    )


def jobs(made: World, plan: Plan, rounds: int) -> Row:
    """Jobs that take 20 ms each, as many at once as the limit allows."""
    faults = Faults()
    spent: list[Spent] = []
    for _ in range(rounds):
        one, found = one_round(made, plan, JOB)
        faults += found
        spent.append(one)
    ideal = plan.jobs * JOB / min(ORCHESTRATORS * LIMIT, plan.conversations)
    aim = 2.0 * plan.jobs / Plan().jobs
    took = median(one.seconds for one in spent)
    return Row(
        f"{plan.jobs:,} jobs of 20 ms, {plan.conversations} conversations, {ORCHESTRATORS} orchestrators, limit 10",
        f"{took:.2f} s",
        f"<= {aim:g} s, no violation of order, overlap or limit",
        took <= aim,
        f"{ideal:.2f} s: ideal",
        f"{took / ideal:.2f}",
        faults,
        (
            f"{rounds} rounds: {', '.join(f'{one.seconds:.2f} s' for one in spent)}",
            f"processor time in all: {median(one.processor for one in spent):.2f} s",
        ),
    )


def dearest_statements(*, quick: bool = False) -> str:
    """What the floor of a drain spends its time on, for whoever wants to lower it: one line for each statement."""
    plan = QUICK if quick else Plan()
    with filled(plan) as made:
        tape = record(made, plan)
        with _copied(made) as file:
            found = costs(tape, file)
    total = sum(one.seconds for one in found)
    return "\n".join(
        f"{one.seconds / total:6.1%} {one.times / plan.jobs:5.2f} a turn {one.seconds / one.times * 1e6:6.0f} us  "
        f"{' '.join(one.text.split())[:200]}"
        for one in found
    )


def one_round(made: World, plan: Plan, seconds: float, **settings: int) -> tuple[Spent, Faults]:
    """One drain of a copy, by a model that takes `seconds` for an answer: how long it took, and what went wrong."""
    with watch() as witness, copy_of(made, **settings) as copy:
        bring_up(copy)
        listen_for_skipped_jobs()
        took, log = drain(copy, plan, seconds)
        found = judge(copy, plan, log.calls) + inspect(copy)
    return took, found + witness.faults


def record(made: World, plan: Plan) -> Tape:
    """All statements of one drain."""
    with recording() as tape, copy_of(made) as copy:
        bring_up(copy)
        tape.set_mark()
        drain(copy, plan, 0.0)
        return Tape(list(tape.statements), tape.mark)  # without what closing the app runs


def floor_of(made: World, plan: Plan, tape: Tape) -> tuple[Spent, Faults]:
    """The tape on a copy: how long it took, and whether it did the same work."""
    with _copied(made) as file:
        took = play(tape, file)
        with closing(sqlite3.connect(file)) as connection:
            answered = connection.execute("SELECT count(*) FROM neolith_delivery WHERE state = 'answered'").fetchone()[
                0
            ]
    if answered == plan.jobs:
        return took, Faults()
    return took, Faults(errors=1, details=(f"the floor answered {answered} of {plan.jobs}",))


@contextmanager
def _copied(made: World) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / DATABASE
        shutil.copy(made.folder / DATABASE, file)
        yield file
