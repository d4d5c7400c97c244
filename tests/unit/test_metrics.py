"""The page for Prometheus."""

from __future__ import annotations

import re

from flask_neolith_orchestrator.core.types import (
    Cause,
    DaemonState,
    DaemonStatus,
    HealthStatus,
    OrchestratorSnapshot,
    OrchestratorStatus,
    UserRef,
    Wanted,
)
from flask_neolith_orchestrator.web.metrics import ProcessCounts, Spending, exposition

SAMPLE = re.compile(r'([a-z_]+)(?:\{((?:[a-z]+="(?:[^"\\\n]|\\.)*",?)+)\})? (\S+)')
QUIET = ProcessCounts(0, 0, 0, {})


def state(handle: str, status: DaemonStatus, uptime: float | None) -> DaemonState:
    """A daemon as the manager tells it."""
    presence = OrchestratorStatus.ONLINE if status is DaemonStatus.RUNNING else OrchestratorStatus.OFFLINE
    snapshot = OrchestratorSnapshot("7", handle, "", "", presence, UserRef("1", "Ada"))
    health = HealthStatus(status, uptime, 2, 40, None, queued=3, failed=1, restarts=5)
    return DaemonState(snapshot, status, Wanted.RUNNING, Cause.PERSON, health)


def samples(page: str) -> dict[tuple[str, str], float]:
    """Every sample of a page; fails on a line that is neither a sample nor a comment."""
    found: dict[tuple[str, str], float] = {}
    for line in page.splitlines():
        if not line.startswith("# "):
            match = SAMPLE.fullmatch(line)
            assert match, line
            found[match[1], match[2] or ""] = float(match[3])
    return found


def test_every_number_of_a_daemon_is_there() -> None:
    """Uptime in seconds, counters, queue, and a daemon that is up."""
    found = samples(exposition([state("ada", DaemonStatus.RUNNING, 1500.0)], {"failed": 2}, QUIET))
    who = 'orchestrator="7",handle="ada"'
    assert found["neolith_daemon_up", who] == 1
    assert found["neolith_daemon_uptime_seconds", who] == 1.5
    assert found["neolith_daemon_active_conversations", who] == 2
    assert found["neolith_daemon_queue_length", who] == 3
    assert found["neolith_daemon_messages_processed_total", who] == 40
    assert found["neolith_daemon_messages_failed_total", who] == 1
    assert found["neolith_daemon_restarts_total", who] == 5
    assert found["neolith_orchestrators", 'status="ONLINE"'] == 1
    assert found["neolith_orchestrators", 'status="ERROR"'] == 0
    assert found["neolith_deliveries", 'state="failed"'] == 2
    assert found["neolith_deliveries", 'state="waiting"'] == 0


def test_a_page_without_daemons_is_a_page() -> None:
    """Families are announced once, with a type each, and the page ends with a line end."""
    page = exposition([], {}, QUIET)
    assert page.endswith("\n")
    kinds = re.findall(r"^# TYPE (\S+) (gauge|counter)$", page, re.MULTILINE)
    assert len(kinds) == len({name for name, _ in kinds}) == 18


def test_money_is_counted_by_orchestrator() -> None:
    """Tokens by kind, dollars, calls, and calls whose cost nobody knows; who made none has zeros."""
    spent = Spending({"input_tokens": 10, "cache_read_tokens": 3}, 0.25, 4, 1)
    found = samples(exposition([state("ada", DaemonStatus.RUNNING, 1.0)], {}, QUIET, {"7": spent}))
    who = 'orchestrator="7",handle="ada"'
    assert found["neolith_model_tokens_total", f'{who},kind="input"'] == 10
    assert found["neolith_model_tokens_total", f'{who},kind="cache_read"'] == 3
    assert found["neolith_model_tokens_total", f'{who},kind="output"'] == 0
    assert found["neolith_model_cost_dollars_total", who] == 0.25
    assert (found["neolith_model_calls_total", who], found["neolith_model_calls_unpriced_total", who]) == (4, 1)
    quiet = samples(exposition([state("ada", DaemonStatus.RUNNING, 1.0)], {}, QUIET))
    assert quiet["neolith_model_calls_total", who] == 0


def test_no_name_can_break_the_page() -> None:
    """Quotes, backslashes and line ends in a label stay inside it."""
    found = samples(exposition([state('a"b\\c\nd', DaemonStatus.STOPPED, None)], {}, QUIET))
    assert found["neolith_daemon_up", 'orchestrator="7",handle="a\\"b\\\\c\\nd"'] == 0


def test_the_process_tells_what_it_has_counted() -> None:
    """Late finishes, turns that were given up, and runs of jobs that were left out, of the process that was asked."""
    found = samples(exposition([], {}, ProcessCounts(2, 1, 4, {"sweep": 0, "renew": 3})))
    assert found["neolith_late_finishes_total", ""] == 2
    assert found["neolith_abandoned_turns_total", ""] == 1
    assert found["neolith_turns_taken_over_total", ""] == 4
    assert found["neolith_job_runs_skipped_total", 'job="renew"'] == 3
    assert found["neolith_job_runs_skipped_total", 'job="sweep"'] == 0
