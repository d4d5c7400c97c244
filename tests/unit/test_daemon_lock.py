"""The lock of a daemon: as a reentrant lock, and it can be taken from a thread that hangs with it."""

from __future__ import annotations

import threading
from collections.abc import Callable

from flask_neolith_orchestrator.runtime.daemons.life import Life

PATIENCE = 5.0


class Holder:
    """A thread that does with the lock what it is told to."""

    def __init__(self, do: Callable[[], None]) -> None:
        self.go_on = threading.Event()
        self.holds = threading.Event()
        self._do = do
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        self._do()

    def end(self) -> None:
        """Let it go on to its end."""
        self.go_on.set()
        self.thread.join(PATIENCE)
        assert not self.thread.is_alive()


def holder_of(life: Life, then: Callable[[], None] = lambda: None) -> Holder:
    """A thread that holds the lock, and does something with it once it may go on."""

    def do() -> None:
        with life:
            made.holds.set()
            assert made.go_on.wait(PATIENCE)
            then()

    ready = threading.Event()

    def begin() -> None:
        assert ready.wait(PATIENCE)
        do()

    made = Holder(begin)
    ready.set()
    assert made.holds.wait(PATIENCE)
    return made


def test_it_is_reentrant_and_exclusive() -> None:
    """A holder takes it again and again; others get it when it has been given back as often."""
    life = Life()
    assert life.held_for == 0.0
    with life, life:
        assert life.held
        others: list[bool] = []
        for timeout in (0.0, 0.01):
            thread = threading.Thread(target=lambda wait=timeout: others.append(life.acquire(timeout=wait)))
            thread.start()
            thread.join(PATIENCE)
        assert others == [False, False]
        assert life.held_for > 0.0
    assert life.held_for == 0.0
    holder_of(life).end()


def test_whoever_waits_gets_it() -> None:
    """A waiting thread holds it as soon as it is given back."""
    life = Life()
    first = holder_of(life)
    got = threading.Event()

    def wait() -> None:
        with life:
            got.set()

    waiting = threading.Thread(target=wait)
    waiting.start()
    assert not got.is_set()
    first.end()
    assert got.wait(PATIENCE)
    waiting.join(PATIENCE)


def test_one_that_hangs_loses_it() -> None:
    """After it was taken: those who waited go on, and the old holder, once awake, holds nothing and frees nothing."""
    life, seen = Life(), list[bool]()
    hung = holder_of(life, lambda: seen.append(life.held))
    waited = threading.Event()

    def wait() -> None:
        with life:
            waited.set()

    waiting = threading.Thread(target=wait)
    waiting.start()
    life.seize()
    assert life.held
    assert life.generation == 2
    hung.end()
    assert seen == [False]
    assert life.held  # its release did not free what is ours now
    assert not waited.is_set()
    life.release()
    assert waited.wait(PATIENCE)
    waiting.join(PATIENCE)
    assert life.held_for == 0.0


def test_the_old_holder_may_take_it_anew() -> None:
    """Inside of what it has lost, a thread can take the lock properly; its old releases still free nothing."""
    life, seen = Life(), list[bool]()

    def again() -> None:
        with life:
            seen.append(life.held)
        seen.append(life.held)

    hung = holder_of(life, again)
    life.seize()
    life.release()
    hung.end()
    assert seen == [True, False]
    assert life.acquire(blocking=False)
    life.release()
