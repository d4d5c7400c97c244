"""Numbers for Prometheus, in its text format (version 0.0.4). Written by hand: it is a page of text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from ..core.types import DaemonState, DaemonStatus, DeliveryState, OrchestratorStatus

MEDIA_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

Sample = tuple[Mapping[str, str], float]


def exposition(states: Sequence[DaemonState], deliveries: Mapping[str, int]) -> str:
    """The page: daemons one by one, presence and deliveries by state. Series that are 0 are there as well."""
    presence = {str(one): 0 for one in OrchestratorStatus}
    for state in states:
        presence[str(state.orchestrator.status)] += 1
    by_state = {str(one): deliveries.get(str(one), 0) for one in DeliveryState}
    families = [
        _family("neolith_orchestrators", "gauge", "Orchestrators by presence.", _counted("status", presence)),
        _family("neolith_deliveries", "gauge", "Deliveries by state.", _counted("state", by_state)),
        *_daemons(states),
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


def _who(state: DaemonState) -> dict[str, str]:
    return {"orchestrator": state.orchestrator.id, "handle": state.orchestrator.handle}


def _counted(label: str, counts: Mapping[str, int]) -> list[Sample]:
    return [({label: value}, count) for value, count in counts.items()]


def _family(name: str, kind: str, text: str, samples: Sequence[Sample]) -> str:
    lines = [f"# HELP {name} {text}", f"# TYPE {name} {kind}"]
    for labels, value in samples:
        shown = ",".join(f'{key}="{_escaped(one)}"' for key, one in labels.items())
        lines.append(f"{name}{{{shown}}} {value}")
    return "\n".join(lines) + "\n"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
