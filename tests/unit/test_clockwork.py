"""The jobs of one process: they run, they fail visibly, they end, and the host's own scheduler is not touched."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial

import pytest
from apscheduler.events import EVENT_JOB_EXECUTED, EVENT_JOB_MISSED, JobExecutionEvent
from apscheduler.schedulers.background import BackgroundScheduler

from flask_neolith_orchestrator.runtime.upkeep.clockwork import Clockwork
from flask_neolith_orchestrator.runtime.wiring import SystemClock
from flask_neolith_orchestrator.testing import ManualClock


def eventually(event: threading.Event) -> None:
    """Wait for it."""
    assert event.wait(10)


def our_threads() -> set[threading.Thread]:
    """Threads of the executors."""
    return {one for one in threading.enumerate() if one.name.startswith(("neolith-job", "neolith-renew"))}


@pytest.fixture
def clockwork() -> Iterator[Clockwork]:
    """One that is closed at the end, with no thread left."""
    before = our_threads()
    made = Clockwork(SystemClock())
    yield made
    made.close()
    made.close()
    for thread in our_threads() - before:
        thread.join(5)
    assert our_threads() <= before


def test_every_job_runs(clockwork: Clockwork) -> None:
    """All jobs run, each again and again, and health says so."""
    counts = {name: threading.Semaphore(0) for name in ("sweep", "renew", "logins")}
    clockwork.start({name: (count.release, 0.02) for name, count in counts.items()})
    for count in counts.values():
        for _ in range(3):
            assert count.acquire(timeout=10)
    health = clockwork.health()
    assert (health["ok"], health["alive"], health["running"], health["detail"]) == (True, True, True, "")
    clockwork.close()
    assert clockwork.health()["ok"] is False


def test_a_job_that_fails_is_shown_until_it_works_again(clockwork: Clockwork, caplog: pytest.LogCaptureFixture) -> None:
    """A failure is logged and named in health; the job goes on, and the next success clears it."""
    broken, mended, worked = threading.Event(), threading.Event(), threading.Event()

    def job() -> None:
        if not mended.is_set():
            broken.set()
            raise ValueError("broken")
        worked.set()

    pause = threading.Event()
    clockwork.start({"sweep": (job, 0.02)})
    eventually(broken)
    while not clockwork.health()["problems"]:
        pause.wait(0.01)
    assert clockwork.health()["problems"] == {"sweep": "failed: ValueError"}
    assert "The job sweep failed" in caplog.text
    mended.set()
    eventually(worked)
    while clockwork.health()["problems"]:
        pause.wait(0.01)
    assert clockwork.health()["ok"] is True


def test_renewals_have_a_thread_of_their_own(clockwork: Clockwork) -> None:
    """However many other jobs hang, leases are renewed."""
    release, renewed = threading.Event(), threading.Semaphore(0)
    hanging = [threading.Event() for _ in range(5)]

    def hang(entered: threading.Event) -> None:
        entered.set()
        release.wait(20)

    jobs = {f"job{number}": (partial(hang, entered), 0.01) for number, entered in enumerate(hanging)}
    clockwork.start({**jobs, "renew": (renewed.release, 0.02)})
    for event in hanging[:3]:
        eventually(event)
    for _ in range(3):
        assert renewed.acquire(timeout=10)
    release.set()


def test_a_job_never_overlaps_itself(clockwork: Clockwork) -> None:
    """A slow job is not started again while it runs, and health says that it still does."""
    running, release, overlapped, entered = threading.Lock(), threading.Event(), threading.Event(), threading.Event()

    def slow() -> None:
        if not running.acquire(blocking=False):
            overlapped.set()
            return
        entered.set()
        release.wait(20)
        running.release()

    pause = threading.Event()
    clockwork.start({"sweep": (slow, 0.01)})
    eventually(entered)
    while clockwork.health()["problems"] != {"sweep": "still running"}:
        pause.wait(0.01)
    assert clockwork.skipped()["sweep"] >= 1
    release.set()
    assert not overlapped.is_set()


def test_a_run_may_begin_while_the_one_before_is_being_told(clockwork: Clockwork) -> None:
    """Whoever hears of a run may be slow: the next one does not wait, and neither takes the other's thread down."""
    ran = threading.Semaphore(0)
    slow, told = threading.Event(), threading.Event()

    def hear(_event: JobExecutionEvent) -> None:
        if not slow.is_set():
            slow.set()
            assert ran.acquire(timeout=10)  # its own
            assert ran.acquire(timeout=10)  # the next
            told.set()

    clockwork.start({"sweep": (ran.release, 0.02)})
    clockwork._scheduler.add_listener(hear, EVENT_JOB_EXECUTED)
    eventually(told)
    for _ in range(5):
        assert ran.acquire(timeout=10)
    assert clockwork.health()["ok"] is True
    assert len(our_threads()) <= 3


def test_few_jobs_need_few_threads(clockwork: Clockwork) -> None:
    """An idle thread takes the next job; no new one is made for it."""
    ran, by = threading.Semaphore(0), set()

    def job() -> None:
        by.add(threading.current_thread())
        ran.release()

    clockwork.start({"sweep": (job, 0.01)})
    for _ in range(20):
        assert ran.acquire(timeout=10)
    assert len(by) <= 2


def test_closing_waits_for_a_running_job(clockwork: Clockwork) -> None:
    """After close nothing of ours runs any more, so that nobody writes behind the back of the end."""
    entered, release, done = threading.Event(), threading.Event(), threading.Event()

    def job() -> None:
        entered.set()
        release.wait(20)
        done.set()

    clockwork.start({"sweep": (job, 0.01)})
    eventually(entered)
    closing = threading.Thread(target=clockwork.close)
    closing.start()
    closing.join(0.1)
    assert closing.is_alive()
    release.set()
    closing.join(10)
    assert done.is_set()


def test_a_job_that_hangs_does_not_keep_the_end_waiting(clockwork: Clockwork) -> None:
    """Closing has a bound."""
    entered, release = threading.Event(), threading.Event()

    def job() -> None:
        entered.set()
        release.wait(20)

    clockwork.start({"sweep": (job, 0.01)})
    eventually(entered)
    closing = threading.Thread(target=clockwork.close, args=(0.1,))
    closing.start()
    closing.join(5)
    assert not closing.is_alive()
    release.set()


def test_a_job_that_is_late_is_named() -> None:
    """A job that has not run for three periods is a problem, whatever the scheduler thinks."""
    clock = ManualClock()
    made = Clockwork(clock)
    made.start({"heartbeat": (lambda: None, 3_600.0)})
    assert made.health()["ok"] is True
    clock.advance(3 * 3_600 + 6)
    assert made.health()["problems"] == {"heartbeat": "late"}
    assert (made.health()["ok"], made.health()["alive"], made.health()["detail"]) == (False, True, "heartbeat: late")
    made.close()


def test_a_job_that_never_works_is_late_too() -> None:
    """One failure is shown and forgiven; when no run has succeeded for three periods, the jobs are not well."""
    clock, ran, mended = ManualClock(), threading.Semaphore(0), threading.Event()

    def job() -> None:
        ran.release()
        if not mended.is_set():
            raise ValueError("broken")

    made, pause = Clockwork(clock), threading.Event()
    made.start({"sweep": (job, 0.05)})
    assert ran.acquire(timeout=10)
    while not made.health()["problems"]:
        pause.wait(0.01)
    assert made.health()["ok"] is True
    clock.advance(6)
    assert (made.health()["ok"], made.health()["alive"]) == (False, True)
    assert made.health()["detail"] == "sweep: late, failed: ValueError"
    mended.set()
    while not made.health()["ok"]:
        pause.wait(0.01)
    made.close()


def test_a_run_that_was_missed_is_shown(clockwork: Clockwork) -> None:
    """What APScheduler says it left out is named until the next run that works."""
    ran = threading.Semaphore(0)
    clockwork.start({"sweep": (ran.release, 0.5)})
    clockwork._heard(JobExecutionEvent(EVENT_JOB_MISSED, "sweep", "default", datetime.now(UTC)))
    assert clockwork.health()["problems"] == {"sweep": "missed"}
    assert clockwork.health()["ok"] is True
    assert ran.acquire(timeout=10)
    pause = threading.Event()
    while clockwork.health()["problems"]:
        pause.wait(0.01)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_scheduler_without_its_thread_is_dead(clockwork: Clockwork) -> None:
    """Nothing begins jobs any more: not well, and only a new process helps. APScheduler itself would not notice."""
    ran = threading.Event()
    clockwork.start({"sweep": (ran.set, 0.01)})
    eventually(ran)
    assert clockwork.health()["alive"] is True
    scheduler = clockwork._scheduler
    scheduler._process_jobs = lambda: sys.exit()  # whatever ends the thread
    scheduler._thread.join(10)
    assert scheduler.running
    health = clockwork.health()
    assert (health["ok"], health["alive"], health["running"]) == (False, False, False)
    assert health["detail"].startswith("its thread has ended")


def test_a_job_that_hangs_for_long_needs_a_new_process() -> None:
    """A thread cannot be killed: after five minutes, and ten periods, the job is not expected to end any more."""
    clock, entered, release = ManualClock(), threading.Event(), threading.Event()

    def job() -> None:
        entered.set()
        release.wait(20)

    made, pause = Clockwork(clock), threading.Event()
    made.start({"renew": (job, 0.01), "sweep": (lambda: None, 3_600.0)})
    eventually(entered)
    clock.advance(299)
    assert made.health()["alive"] is True
    clock.advance(2)
    health = made.health()
    assert (health["ok"], health["alive"]) == (False, False)
    assert "renew: hangs" in health["detail"]
    release.set()
    while not made.health()["alive"]:
        pause.wait(0.01)
    made.close()


def test_a_machine_without_threads_misses_a_run(clockwork: Clockwork, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that cannot be started costs that run of the job; the next one has a thread again."""
    refused, ran = threading.Semaphore(0), threading.Event()
    start = threading.Thread.start

    def fail(thread: threading.Thread) -> None:
        if not thread.name.startswith("neolith-job"):
            start(thread)
            return
        refused.release()
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", fail)
        clockwork.start({"sweep": (ran.set, 0.02)})
        for _ in range(6):
            assert refused.acquire(timeout=10)
    eventually(ran)


def test_the_hosts_own_scheduler_keeps_its_voice(clockwork: Clockwork, caplog: pytest.LogCaptureFixture) -> None:
    """Ours is silent, and the loggers of a host that uses APScheduler itself are not."""
    caplog.set_level(logging.INFO)
    ran = threading.Event()
    clockwork.start({"sweep": (ran.set, 0.01)})
    eventually(ran)
    assert "apscheduler" not in {record.name.partition(".")[0] for record in caplog.records}
    assert "sweep" not in caplog.text
    host = BackgroundScheduler(timezone="UTC")
    host.start()
    host.shutdown()
    assert "Scheduler started" in caplog.text
