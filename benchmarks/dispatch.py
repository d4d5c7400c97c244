"""Idle dispatch: from the commit of a mention to the model's request, one at a time."""

from __future__ import annotations

import random
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from flask import Flask

from flask_neolith_orchestrator.testing import ScriptedModel, use_model

from .app import Note, World, db, neolith, plain_app, world
from .ear import Ear
from .engines import celery, huey
from .rows import Faults, Row, median, milliseconds, quantile
from .witness import inspect, listen_for_skipped_jobs, watch

BLOCK = 25
"""Rounds of one contestant before the next one's turn, so that a noisy moment of the machine meets all."""

SPACING = (0.008, 0.018)
"""Seconds of quiet between two rounds, from and to: who polls must not keep step with who posts."""

PATIENCE = 5.0

Round = Callable[[], float]
"""One message, from its commit to the begin of its work, in seconds."""


class Stopwatch:
    """The offline model, which notes when it is asked. Lifetime: the measurement."""

    name = "stopwatch"

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.at = 0.0
        self._inner = ScriptedModel(replies=lambda _request: "ok")

    def stream(self, request: Any, cancel: Any) -> Iterator[Any]:
        """Note the time, then answer at once."""
        self.at = time.monotonic()
        self.asked.set()
        yield from self._inner.stream(request, cancel)

    def check(self) -> str | None:
        """Always ready."""
        return None

    def close(self) -> None:
        """Nothing to close."""


def measure(*, quick: bool = False) -> Sequence[Row]:
    """Ours, Huey's and Celery's in turn, in one run on one machine."""
    rounds = 25 if quick else 400
    times: dict[str, list[float]] = {"ours": [], "Huey": [], "Celery": []}
    with ExitStack() as stack:
        witness = stack.enter_context(watch())
        made = stack.enter_context(world())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        ear = stack.enter_context(Ear(folder))
        host = stack.enter_context(plain_app(folder))
        contestants = {
            "ours": _ours(made, stack),
            "Huey": theirs(host, stack.enter_context(huey(folder, ear)), ear),
            "Celery": theirs(host, stack.enter_context(celery(folder, ear)), ear),
        }
        pauses = random.Random(1)
        for _ in range(max(1, rounds // BLOCK)):
            for name, one_round in contestants.items():
                times[name] += [spaced(one_round, pauses.uniform(*SPACING)) for _ in range(BLOCK)]
        faults = _missing(made, rounds) + inspect(made) + witness.faults
    return [
        _row("p50", 0.002, {name: median(took) for name, took in times.items()}, faults, rounds),
        _row("p99", 0.010, {name: quantile(took, 0.99) for name, took in times.items()}, faults, rounds),
    ]


def _row(what: str, aim: float, took: dict[str, float], faults: Faults, rounds: int) -> Row:
    ours = took["ours"]
    others = {name: seconds for name, seconds in took.items() if name != "ours"}
    return Row(
        f"idle dispatch, commit to model request, {what}",
        milliseconds(ours),
        f"<= {aim * 1000:g} ms, faster than both",
        ours <= aim and ours < min(others.values()),
        ", ".join(f"{milliseconds(seconds)} {name}" for name, seconds in others.items()),
        ", ".join(f"{ours / seconds:.2f}" for seconds in others.values()),
        faults,
        (f"{rounds} rounds of each; theirs: the host's own commit, the enqueueing, the begin of the task",),
    )


def _ours(made: World, stack: ExitStack) -> Round:
    stack.enter_context(made.app.app_context())
    model = Stopwatch()
    stack.enter_context(use_model(made.app, model))
    neolith.manager.start_daemon(made.orchestrators[0])
    listen_for_skipped_jobs()

    def one_round() -> float:
        model.asked.clear()
        neolith.chat.post(made.person, made.channel, "@agent0 hello")
        began = time.monotonic()
        db.session.commit()
        if not model.asked.wait(PATIENCE):
            raise TimeoutError("The model was not asked.")
        neolith.run_until_idle()
        return model.at - began

    for _ in range(20):
        one_round()
    return one_round


def theirs(host: Flask, enqueue: Callable[[], object], ear: Ear) -> Round:
    """The host stores a message and enqueues the work behind its commit, as one does with a queue."""

    def one_round() -> float:
        with host.app_context():
            db.session.add(Note(author="1", text="hello"))
            db.session.flush()
            began = time.monotonic()
            db.session.commit()
            enqueue()
            return ear.hear(PATIENCE) - began

    return one_round


def spaced(one_round: Round, pause: float) -> float:
    """One round after some seconds of quiet."""
    threading.Event().wait(pause)
    return one_round()


def _missing(made: World, rounds: int) -> Faults:
    """Every message has been answered once."""
    answered = neolith.manager.get_all_daemon_statuses()[0].health.total_messages_processed
    expected = max(1, rounds // BLOCK) * BLOCK + 20
    if answered == expected:
        return Faults()
    return Faults(violations=1, details=(f"{answered} of {expected} messages were answered",))
