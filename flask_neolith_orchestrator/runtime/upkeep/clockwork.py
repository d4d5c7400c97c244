"""The APScheduler jobs of one process: a constant number of them, however many daemons there are.

Their executors are ours: APScheduler's own pool threads would keep the interpreter from ending while a job runs.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from apscheduler.events import EVENT_JOB_ERROR, EVENT_JOB_EXECUTED, EVENT_JOB_MAX_INSTANCES, EVENT_JOB_MISSED
from apscheduler.executors.base import BaseExecutor, run_job
from apscheduler.schedulers.background import BackgroundScheduler

from ...core.ports import Clock
from .complaints import Complaints

log = logging.getLogger("flask_neolith_orchestrator")

HUNG = 300.0
"""Seconds after which a job that still runs, and for ten of its periods, will not end by itself."""

NOISE = "flask_neolith_orchestrator.scheduler"
"""Where APScheduler's own log lines go: what matters of them is told by the listener below."""


class DaemonThreadExecutor(BaseExecutor):  # type: ignore[misc]  # APScheduler has no types
    """Runs jobs on plain daemon threads, at most `threads` at a time. Lifetime: its scheduler."""

    def __init__(self, name: str, threads: int, clock: Clock) -> None:
        super().__init__()
        self._name = name
        self._most = threads
        self._clock = clock
        self._busy: dict[str, float] = {}
        self._ready = threading.Condition()
        self._queue: deque[Callable[[], None]] = deque()
        self._threads = 0
        self._idle = 0
        self._closed = False

    def start(self, scheduler: Any, alias: str) -> None:
        """As APScheduler's own, with a quiet logger of ours: the host's apscheduler loggers are the host's."""
        super().start(scheduler, alias)
        self._logger = logging.getLogger(NOISE)

    @property
    def busy(self) -> dict[str, float]:
        """Jobs that run now, with the instant at which they began."""
        with self._ready:
            return dict(self._busy)

    def _do_submit_job(self, job: Any, run_times: Any) -> None:
        with self._ready:
            if len(self._queue) >= self._idle and self._threads < self._most:
                # raises where there are no more threads: then this run of the job is missed, and nothing else
                threading.Thread(target=self._work, name=f"neolith-{self._name}", daemon=True).start()
                self._threads += 1
            self._queue.append(lambda: self._run(job, run_times))
            self._ready.notify()

    def _run(self, job: Any, run_times: Any) -> None:
        with self._ready:
            self._busy[job.id] = self._clock.monotonic()
        try:
            events = run_job(job, job._jobstore_alias, run_times, self._logger.name)  # noqa: SLF001 -- APScheduler's own executors do
        except BaseException:  # noqa: BLE001 -- as APScheduler's own executors: a job's failure is told by an event
            self._over(job.id)
            self._run_job_error(job.id, *sys.exc_info()[1:])
        else:
            self._over(job.id)
            self._run_job_success(job.id, events)

    def _over(self, job_id: str) -> None:
        """Before APScheduler hears of it: from then on the next run of the job may begin on another thread."""
        with self._ready:
            del self._busy[job_id]

    def _work(self) -> None:
        while True:
            with self._ready:
                if not self._queue and not self._closed:
                    self._idle += 1
                    self._ready.wait(5.0)
                    self._idle -= 1
                if not self._queue:
                    self._threads -= 1
                    self._ready.notify_all()
                    return
                work = self._queue.popleft()
            work()

    def shutdown(self, wait: bool = True) -> None:
        """Take no more jobs. Whoever wants to wait for running ones calls `join`."""
        with self._ready:
            self._closed = True
            self._queue.clear()
            self._ready.notify_all()

    def join(self, seconds: float) -> bool:
        """Wait for running jobs after a shutdown; False if one takes too long."""
        with self._ready:
            return self._ready.wait_for(lambda: not self._threads, seconds)


class _Scheduler(BackgroundScheduler):  # type: ignore[misc]  # APScheduler has no types
    """One that says whether its thread lives: what it calls `running` stays true without it."""

    @property
    def lives(self) -> bool:
        """Whether jobs are still begun."""
        thread: threading.Thread | None = getattr(self, "_thread", None)  # there is none after a shutdown
        return bool(self.running) and thread is not None and thread.is_alive()


class Clockwork:
    """Runs the jobs and remembers which failed. Lifetime: app, in one process."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._complaints = Complaints(clock)
        self._scheduler: Any = None
        self._executors: tuple[DaemonThreadExecutor, ...] = ()
        self._lock = threading.Lock()
        self._failed: dict[str, str] = {}
        self._skipped: Counter[str] = Counter()
        self._ran: dict[str, float] = {}
        self._periods: dict[str, float] = {}

    def start(self, jobs: Mapping[str, tuple[Callable[[], None], float]]) -> None:
        """Start the jobs: name -> (function, period in seconds). `renew` has a thread of its own."""
        jobs_of = DaemonThreadExecutor("job", 4, self._clock)
        renewals = DaemonThreadExecutor("renew", 1, self._clock)
        logging.getLogger(NOISE).setLevel(logging.CRITICAL)
        scheduler = _Scheduler(
            logger=logging.getLogger(NOISE),
            executors={"default": jobs_of, "renew": renewals},
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
            timezone="UTC",
        )
        scheduler.add_listener(
            self._heard, EVENT_JOB_ERROR | EVENT_JOB_EXECUTED | EVENT_JOB_MAX_INSTANCES | EVENT_JOB_MISSED
        )
        now = self._clock.monotonic()
        for name, (function, period) in jobs.items():
            executor = "renew" if name == "renew" else "default"
            scheduler.add_job(function, "interval", seconds=period, id=name, name=name, executor=executor)
            self._periods[name] = period
            self._ran[name] = now
        scheduler.start()
        self._executors = (jobs_of, renewals)
        self._scheduler = scheduler

    def _heard(self, event: Any) -> None:
        with self._lock:
            if event.code == EVENT_JOB_EXECUTED:
                self._failed.pop(event.job_id, None)
                self._ran[event.job_id] = self._clock.monotonic()
                self._complaints.over(f"The job {event.job_id} failed")
                return
            what = {EVENT_JOB_ERROR: "failed", EVENT_JOB_MISSED: "missed"}.get(event.code, "still running")
            error = getattr(event, "exception", None)
            if event.code != EVENT_JOB_ERROR:
                self._skipped[event.job_id] += 1
            self._failed[event.job_id] = what if error is None else f"{what}: {type(error).__name__}"
        if event.code == EVENT_JOB_ERROR:
            self._complaints.say(f"The job {event.job_id} failed", "job-failed", error)

    def hurry(self, *names: str) -> None:
        """Run these jobs now; one that is just running is left to its next time."""
        scheduler = self._scheduler
        busy = {name for executor in self._executors for name in executor.busy}
        for name in names if scheduler is not None else ():
            if name in self._periods and name not in busy:
                scheduler.modify_job(name, next_run_time=datetime.now(UTC))

    def skipped(self) -> Mapping[str, int]:
        """How often each job was left out since the start, as its last run still went on or no thread was free."""
        with self._lock:
            return {name: self._skipped[name] for name in self._periods}

    def health(self) -> Mapping[str, Any]:
        """Whether the jobs do their work, and which does not.

        A run that failed, or takes long, is shown at once; it is not well when none has succeeded for three periods.
        """
        scheduler, now = self._scheduler, self._clock.monotonic()
        with self._lock:
            problems = dict(self._failed)
            late = [name for name, period in self._periods.items() if now - self._ran[name] > 3 * period + 5.0]
        for name in late:
            problems[name] = f"late, {problems[name]}" if name in problems else "late"
        busy = [(name, now - began) for executor in self._executors for name, began in executor.busy.items()]
        hung = [name for name, since in busy if since > max(HUNG, 10 * self._periods[name])]
        problems |= dict.fromkeys(hung, "hangs")
        lives = scheduler is not None and scheduler.lives
        told = [f"{name}: {what}" for name, what in sorted(problems.items())]
        return {
            "ok": lives and not late,
            "alive": scheduler is None or (lives and not hung),
            "running": lives,
            "problems": problems,
            "detail": "; ".join(told if lives else ["its thread has ended", *told]),
        }

    def close(self, seconds: float = 2.0) -> None:
        """Stop the jobs, and wait for those that run, at most `seconds`. Safe twice."""
        scheduler, self._scheduler = self._scheduler, None
        if scheduler is not None:
            scheduler.remove_listener(self._heard)
            scheduler.shutdown(wait=True)  # no job of ours touches the scheduler, so this cannot wait for itself
        deadline = time.monotonic() + seconds
        for executor in self._executors:
            executor.join(max(0.0, deadline - time.monotonic()))
