"""Numbers for Prometheus, in its text format (version 0.0.4). Written by hand: it is a page of text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from ..core.types import DaemonState, DaemonStatus, DeliveryState, OrchestratorStatus

MEDIA_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

Sample = tuple[Mapping[str, str], float]


@dataclass(frozen=True, slots=True)
class ProcessCounts:
    """What one process has counted since its start."""

    late_finishes: int
    abandoned: int
    taken_over: int
    skipped_runs: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Spending:
    """What one orchestrator's model calls came to, in the process that is asked and since its start."""

    tokens: Mapping[str, int]
    cost: float
    calls: int
    unpriced: int


NOTHING: Final = Spending({}, 0.0, 0, 0)


def exposition(
    states: Sequence[DaemonState],
    deliveries: Mapping[str, int],
    process: ProcessCounts,
    spending: Mapping[str, Spending] | None = None,
) -> str:
    """The page: daemons one by one, presence, deliveries by state, and the process that was asked.

    Series that are 0 are there as well.
    """
    presence = {str(one): 0 for one in OrchestratorStatus}
    for state in states:
        presence[str(state.orchestrator.status)] += 1
    by_state = {str(one): deliveries.get(str(one), 0) for one in DeliveryState}
    families = [
        _family("neolith_orchestrators", "gauge", "Orchestrators by presence.", _counted("status", presence)),
        _family("neolith_deliveries", "gauge", "Deliveries by state.", _counted("state", by_state)),
        *_daemons(states),
        *_money(states, spending or {}),
        *_process(process),
    ]
    return "".join(families)


def _daemons(states: Sequence[DaemonState]) -> Iterable[str]:
    def each(name: str, kind: str, text: str, values: Sequence[float]) -> str:
        return _family(name, kind, text, [(_who(state), value) for state, value in zip(states, values, strict=True)])

    health = [state.health for state in states]
    up = [float(one.status is DaemonStatus.RUNNING) for one in health]
    yield each("neolith_daemon_up", "gauge", "1 while the daemon runs.", up)
    uptime = [(one.uptime or 0.0) / 1000 for one in health]
    yield each("neolith_daemon_uptime_seconds", "gauge", "Seconds since the daemon started.", uptime)
    active = [one.active_conversations for one in health]
    yield each("neolith_daemon_active_conversations", "gauge", "Turns that run now, over all nodes.", active)
    yield each("neolith_daemon_queue_length", "gauge", "Deliveries that wait.", [one.queued for one in health])
    beats = [one.last_heartbeat or 0.0 for one in health]
    yield each("neolith_daemon_heartbeat_timestamp_seconds", "gauge", "Last heartbeat, 0 if none.", beats)
    done = [one.total_messages_processed for one in health]
    yield each("neolith_daemon_messages_processed_total", "counter", "Messages answered.", done)
    yield each("neolith_daemon_messages_failed_total", "counter", "Messages given up.", [one.failed for one in health])
    yield each("neolith_daemon_restarts_total", "counter", "Restarts.", [one.restarts for one in health])


def _money(states: Sequence[DaemonState], spending: Mapping[str, Spending]) -> Iterable[str]:
    each = [(_who(state), spending.get(state.orchestrator.id, NOTHING)) for state in states]
    kinds = ("input", "output", "cache_read", "cache_write")
    tokens = [
        ({**who, "kind": kind}, float(one.tokens.get(f"{kind}_tokens", 0))) for who, one in each for kind in kinds
    ]
    yield _family("neolith_model_tokens_total", "counter", "Tokens of model calls, by kind.", tokens)
    cost = "Dollars of model calls whose cost is known."
    yield _family("neolith_model_cost_dollars_total", "counter", cost, [(who, one.cost) for who, one in each])
    yield _family("neolith_model_calls_total", "counter", "Model calls.", [(who, one.calls) for who, one in each])
    unknown = "Model calls whose cost nobody knows."
    yield _family("neolith_model_calls_unpriced_total", "counter", unknown, [(who, one.unpriced) for who, one in each])


def _process(counts: ProcessCounts) -> Iterable[str]:
    late = "Answers that were dropped, as their turn had a newer owner: the model was called twice."
    yield _family("neolith_late_finishes_total", "counter", late, [({}, counts.late_finishes)])
    gone = "Turns whose thread was given up."
    yield _family("neolith_abandoned_turns_total", "counter", gone, [({}, counts.abandoned)])
    over = "Turns taken over from a process that was gone: their model may be called a second time."
    yield _family("neolith_turns_taken_over_total", "counter", over, [({}, counts.taken_over)])
    skipped = "Runs of a job that were left out, as the last one still went on."
    yield _family("neolith_job_runs_skipped_total", "counter", skipped, _counted("job", counts.skipped_runs))


def _who(state: DaemonState) -> dict[str, str]:
    return {"orchestrator": state.orchestrator.id, "handle": state.orchestrator.handle}


def _counted(label: str, counts: Mapping[str, int]) -> list[Sample]:
    return [({label: value}, count) for value, count in counts.items()]


def _family(name: str, kind: str, text: str, samples: Sequence[Sample]) -> str:
    lines = [f"# HELP {name} {text}", f"# TYPE {name} {kind}"]
    for labels, value in samples:
        shown = ",".join(f'{key}="{_escaped(one)}"' for key, one in labels.items())
        lines.append(f"{name}{{{shown}}} {value}" if shown else f"{name} {value}")
    return "\n".join(lines) + "\n"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
