"""The bell of one process: who is called, how often, on how many threads, and that no hint is lost."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Iterator

import pytest

from flask_neolith_orchestrator.backends import embedded
from flask_neolith_orchestrator.backends.embedded import EmbeddedDispatcher

PATIENCE = 5.0


class Calls:
    """A handler that counts, and works for as long as its test wants."""

    def __init__(self, *, hold: bool = False) -> None:
        self.changed = threading.Condition()
        self.done: list[str] = []
        self.running: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        self.more: dict[str, int] = {}
        self.go = threading.Event()
        if not hold:
            self.go.set()

    def __call__(self, orchestrator_id: str) -> bool:
        with self.changed:
            for key in (orchestrator_id, "all"):
                self.running[key] += 1
                self.most[key] = max(self.most[key], self.running[key])
            self.changed.notify_all()
        assert self.go.wait(PATIENCE)
        with self.changed:
            for key in (orchestrator_id, "all"):
                self.running[key] -= 1
            self.done.append(orchestrator_id)
            left = self.more.get(orchestrator_id, 0)
            self.more[orchestrator_id] = max(0, left - 1)
            self.changed.notify_all()
            return left > 0

    def wait_done(self, count: int) -> list[str]:
        """What was called, once that were so many."""
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.done) >= count, PATIENCE), self.done
            return list(self.done)

    def wait_running(self, count: int) -> None:
        """Until so many calls go on."""
        with self.changed:
            assert self.changed.wait_for(lambda: self.running["all"] == count, PATIENCE), self.running


@pytest.fixture
def bell() -> Iterator[EmbeddedDispatcher]:
    """Four threads at most, two for one orchestrator."""
    made = EmbeddedDispatcher(max_threads=4, per_orchestrator=2)
    yield made
    assert made.close(PATIENCE)
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("neolith-turn")]


def test_hints_before_the_start_are_kept(bell: EmbeddedDispatcher) -> None:
    """What was rung before anybody could work is worked off when somebody can; until then there is no thread."""
    bell.ring("ada")
    health = bell.health()
    assert (health["ok"], health["threads"], health["queued"]) == (True, 0, 1)
    calls = Calls()
    bell.run(calls)
    assert calls.wait_done(1) == ["ada"]


def test_one_orchestrator_has_its_bound(bell: EmbeddedDispatcher) -> None:
    """However often it is rung: two calls at a time, and the others' turn is not taken away."""
    calls = Calls(hold=True)
    bell.run(calls)
    bell.ring("ada", 10)
    calls.wait_running(2)
    bell.ring("bee")
    calls.wait_running(3)
    calls.go.set()
    calls.wait_done(4)
    assert calls.most["ada"] == 2


def test_the_bound_is_the_orchestrators_own(bell: EmbeddedDispatcher) -> None:
    """Where the orchestrator's own limit is known it counts, higher or lower."""
    calls = Calls(hold=True)
    bell.run(calls, {"ada": 3, "bee": 1}.__getitem__)
    bell.ring("ada", 10)
    bell.ring("bee", 10)
    calls.wait_running(4)
    calls.go.set()
    calls.wait_done(6)
    assert (calls.most["ada"], calls.most["bee"]) == (3, 1)


def test_a_hint_during_the_last_moment_of_a_call_is_looked_at(bell: EmbeddedDispatcher) -> None:
    """A call that has found nothing and not yet returned: a hint that comes then causes another call."""
    single = EmbeddedDispatcher(max_threads=4, per_orchestrator=1)
    calls = Calls(hold=True)
    single.run(calls)
    single.ring("ada")
    calls.wait_running(1)
    single.ring("ada")  # the bound is reached: it cannot be queued
    assert single.health()["queued"] == 0
    calls.go.set()
    assert calls.wait_done(2) == ["ada", "ada"]
    assert single.close(PATIENCE)


def test_who_has_more_work_goes_to_the_end_of_the_queue() -> None:
    """A call that leaves work over is called again, behind everybody else."""
    bell = EmbeddedDispatcher(max_threads=1, per_orchestrator=2)
    calls = Calls()
    calls.more["ada"] = 2
    for name in ("ada", "bee", "cyd"):
        bell.ring(name)
    bell.run(calls)
    assert calls.wait_done(5) == ["ada", "bee", "cyd", "ada", "ada"]
    assert bell.close(PATIENCE)


def test_an_idle_thread_ends(bell: EmbeddedDispatcher, monkeypatch: pytest.MonkeyPatch) -> None:
    """While there is no work there is no thread; the next hint has one again."""
    monkeypatch.setattr(embedded, "IDLE", 0.01)
    calls = Calls()
    bell.run(calls)
    for count in (1, 2):
        bell.ring("ada")
        calls.wait_done(count)
        for thread in threading.enumerate():
            if thread.name.startswith("neolith-turn"):
                thread.join(PATIENCE)
        assert bell.health()["threads"] == 0


def test_a_machine_without_threads_is_survived(
    bell: EmbeddedDispatcher, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A ring never raises, health says so until the next one, which tries again; what was queued is not lost."""
    calls = Calls()
    bell.run(calls)

    def fail(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch, caplog.at_level(logging.ERROR):
        patch.setattr(threading.Thread, "start", fail)
        bell.ring("ada")
    health = bell.health()
    assert (health["ok"], health["alive"], health["queued"]) == (False, True, 1)
    assert health["detail"] == "no thread can be started"
    bell.ring("bee")
    assert sorted(calls.wait_done(2)) == ["ada", "bee"]
    assert (bell.health()["ok"], bell.health()["detail"]) == (True, "")


def test_a_closed_bell_is_silent(bell: EmbeddedDispatcher) -> None:
    """After a close, waiting hints are dropped, running calls end, and `close` says whether they did."""
    calls = Calls(hold=True)
    bell.run(calls)
    bell.ring("ada", 2)
    calls.wait_running(2)
    bell.ring("bee")
    calls.wait_running(3)
    for number in range(5):
        bell.ring(f"o{number}")
    assert bell.close(0.0) is False
    bell.ring("late")
    calls.go.set()
    assert bell.close(PATIENCE) is True
    assert not {"late", "o4"} & set(calls.done)
    assert bell.health()["ok"] is False


class Deaf:
    """A handler whose calls for `ada` hang until let go. It knows their threads. Lifetime: a test."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.hanging: list[int] = []
        self.done: list[str] = []
        self.released = threading.Event()
        self.ends: type[BaseException] | None = None

    def __call__(self, orchestrator_id: str) -> bool:
        if orchestrator_id == "ada" and not self.released.is_set():
            with self.changed:
                self.hanging.append(threading.get_ident())
                self.changed.notify_all()
            assert self.released.wait(PATIENCE)
            if self.ends is not None:
                raise self.ends
        with self.changed:
            self.done.append(orchestrator_id)
            self.changed.notify_all()
        return False

    def wait(self, *, hanging: int = 0, done: int = 0) -> None:
        """Until so many hang, and so many are done."""
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.hanging) >= hanging and len(self.done) >= done, PATIENCE), (
                self.hanging,
                self.done,
            )


def turn_threads() -> list[threading.Thread]:
    """Threads of dispatchers."""
    return [thread for thread in threading.enumerate() if thread.name.startswith("neolith-turn")]


def test_an_abandoned_call_leaves_its_place_to_others() -> None:
    """Neither its orchestrator's bound nor that of all threads counts it; its thread ends when it comes back."""
    bell, deaf = EmbeddedDispatcher(max_threads=1, per_orchestrator=1), Deaf()
    bell.run(deaf)
    bell.ring("ada")
    deaf.wait(hanging=1)
    bell.ring("bee")
    bell.abandon(deaf.hanging[0])
    bell.abandon(deaf.hanging[0])
    deaf.wait(hanging=2, done=1)  # bee had her turn, and so has ada again, by herself: what was left is looked at
    assert bell.health()["active"] == 1
    bell.abandon(12_345)
    deaf.released.set()
    deaf.wait(done=3)
    assert bell.close(PATIENCE)
    for thread in turn_threads():
        thread.join(PATIENCE)
    health = bell.health()
    assert (health["threads"], health["active"], health["abandoned"], health["alive"]) == (0, 0, 0, True)


def test_abandoned_threads_have_a_bound() -> None:
    """As many as there may be threads are replaced; then the process must be restarted, and it grows no further."""
    bell, deaf = EmbeddedDispatcher(max_threads=2, per_orchestrator=1), Deaf()
    bell.run(deaf)
    alive = []
    for count in range(1, 5):
        bell.ring("ada")
        deaf.wait(hanging=count)
        bell.abandon(deaf.hanging[-1])
        alive.append(bell.health()["alive"])
    assert alive == [True, False, False, False]
    bell.ring("bee")
    health = bell.health()
    assert (health["ok"], health["detail"]) == (False, "every thread hangs (2)")
    assert (len(turn_threads()), health["abandoned"], health["threads"], health["queued"]) == (4, 4, 2, 2)
    deaf.released.set()
    deaf.wait(done=6)
    assert bell.close(PATIENCE)
    health = bell.health()
    assert (health["alive"], health["abandoned"], health["threads"]) == (True, 0, 0)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("abandoned", [False, True])
def test_a_call_that_ends_its_thread_gives_its_place_back_once(abandoned: bool) -> None:
    """Somebody's sys.exit, also of a thread that was given up: the count of threads stays true."""
    bell, deaf = EmbeddedDispatcher(max_threads=1, per_orchestrator=1), Deaf()
    deaf.ends = KeyboardInterrupt
    bell.run(deaf)
    bell.ring("ada")
    deaf.wait(hanging=1)
    if abandoned:
        bell.abandon(deaf.hanging[0])
        deaf.wait(hanging=2)
    deaf.released.set()
    bell.ring("bee")
    deaf.wait(done=1)
    assert bell.close(PATIENCE)
    for thread in turn_threads():
        thread.join(PATIENCE)
    assert bell.health()["threads"] == 0


def test_calls_that_hang_are_seen() -> None:
    """When every thread has had the same call for too long, the dispatcher cannot work, and a restart would help."""
    bell, deaf = EmbeddedDispatcher(max_threads=1, per_orchestrator=1, patience=0.01), Deaf()
    bell.run(deaf)
    assert (bell.health()["ok"], bell.health()["alive"]) == (True, True)
    bell.ring("ada")
    deaf.wait(hanging=1)
    pause = threading.Event()
    while bell.health()["ok"]:
        pause.wait(0.005)
    assert (bell.health()["alive"], bell.health()["detail"]) == (False, "every thread hangs (1)")
    deaf.released.set()
    deaf.wait(done=1)
    assert bell.close(PATIENCE)
    assert bell.health()["alive"]
