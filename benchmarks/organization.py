"""A channel message in organizations with ten, a thousand and ten thousand orchestrators."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack

from .app import Note, World, db, neolith, plain_app, world
from .rows import Faults, Row, median, milliseconds
from .witness import inspect, watch

SIZES = (10, 1_000, 10_000)
BLOCK = 20
"""Messages in one organization before the next one's turn, so that a noisy moment of the machine meets all."""


def measure(*, quick: bool = False) -> Sequence[Row]:
    """From the post until the commit is done, while the daemons rest: what the message itself costs its author."""
    sizes, rounds = ((10, 100), 2) if quick else (SIZES, 20)
    spent: dict[tuple[int, str], list[float]] = {(size, kind): [] for size in sizes for kind in ("with", "without")}
    bare: list[float] = []
    with ExitStack() as stack:
        witness = stack.enter_context(watch())
        worlds = {size: stack.enter_context(world(size)) for size in sizes}
        plain = stack.enter_context(plain_app(stack.enter_context(tempfile.TemporaryDirectory())))
        for number in range(rounds + 1):
            for size, made in worlds.items():
                block = {"with": _block(made, "@agent{} hello"), "without": _block(made, "hello all {}")}
                for kind, times in block.items():
                    spent[size, kind] += times if number else []  # the first block warms up
            with plain.app_context():
                bare += [_note() for _ in range(BLOCK)]
        faults = sum((_judged(made, rounds) for made in worlds.values()), witness.faults)
    return [_row(kind, {size: median(spent[size, kind]) for size in sizes}, median(bare), faults) for kind in block]


def _row(kind: str, took: dict[int, float], bare: float, faults: Faults) -> Row:
    spread = max(took.values()) / min(took.values())
    return Row(
        f"a channel message {kind} a mention, {' / '.join(f'{size:,}' for size in took)} orchestrators",
        " / ".join(milliseconds(one) for one in took.values()),
        "flat within 20 %",
        spread <= 1.2,
        f"{milliseconds(bare)}: a row of the host's own",
        f"{spread:.2f} dearest to cheapest",
        faults,
    )


def _block(made: World, words: str) -> list[float]:
    times = []
    with made.app.app_context():
        for number in range(BLOCK):
            began = time.perf_counter()
            neolith.chat.post(made.person, made.channel, words.format(number % 10))
            db.session.commit()
            times.append(time.perf_counter() - began)
    return times


def _note() -> float:
    began = time.perf_counter()
    db.session.add(Note(author="1", text="hello"))
    db.session.commit()
    return time.perf_counter() - began


def _judged(made: World, rounds: int) -> Faults:
    """Each mention waits exactly once, and nobody else is meant."""
    with made.app.app_context():
        states = neolith.manager.get_all_daemon_statuses()
        waiting = sum(one.health.queued for one in states)
    expected = (rounds + 1) * BLOCK
    found = inspect(made)
    return found if waiting == expected else found + Faults(1, details=(f"{waiting} of {expected} mentions wait",))
