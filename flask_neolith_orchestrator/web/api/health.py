"""Routes for those who watch the service: is it alive, can it work, how much does it do."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Final

from flask import Response, json

from ...store.people.roster import Roster
from .. import metrics
from ..auth import identify
from ..calls import Call, Route
from ..problem import Problem
from ..rights import Rights
from ..shapes import Wire

log = logging.getLogger("flask_neolith_orchestrator")

TAG: Final = "health"


class LiveView(Wire):
    """ok, or unavailable (then the status is 503) where only a new process would help."""

    status: str


class CheckView(Wire):
    """One thing that is needed. `detail` says what is wrong with it."""

    ok: bool
    detail: str


class ReadyView(Wire):
    """Whether work can be done: ok, or unavailable (then the status is 503). `checks` are for managers only."""

    status: str
    checks: dict[str, CheckView] | None = None


def live(call: Call) -> Response:
    """Whether this process is worth keeping. Asks nobody who they are, and needs no database to say yes."""
    good = call.house.manager.liveness()["ok"]
    shown = {"status": "ok" if good else "unavailable"}
    return Response(json.dumps(shown), 200 if good else 503, content_type="application/json")


def ready(call: Call) -> Response:
    """Whether this process can do its work; the reasons only for those who manage an orchestrator."""
    checks = call.house.manager.readiness()
    good = all(one["ok"] for one in checks.values())
    shown: dict[str, Any] = {"status": "ok" if good else "unavailable"}
    if _may_see_details(call):
        shown["checks"] = {name: _check(one) for name, one in checks.items()}
    return Response(json.dumps(shown), 200 if good else 503, content_type="application/json")


def _check(one: Mapping[str, Any]) -> dict[str, Any]:
    return {"ok": bool(one["ok"]), "detail": str(one.get("detail") or "")}


def _may_see_details(call: Call) -> bool:
    try:
        identity = identify(call.state)
        rights = Rights(call.state, call.reading, identity)
        return identity.may("orchestrators:read") and bool(rights.managed_ids())
    except Problem:
        return False
    except Exception:
        # whoever asks needs no login: where it cannot be found out who it is, the answer is the one for everybody
        log.warning("Who asks for the health is not known", exc_info=True, extra={"action": "identify-failed"})
        return False


def read_metrics(call: Call) -> Response:
    """Numbers of the orchestrators that the asker manages, for Prometheus."""
    ids = call.rights.managed_ids()
    mine = frozenset(ids)
    states = [one for one in call.house.manager.get_all_daemon_statuses() if one.orchestrator.id in mine]
    deliveries = Roster(call.state.models).deliveries_by_state(call.reading, ids)
    worker = call.house.worker
    process = metrics.ProcessCounts(
        worker.late_finishes, worker.abandoned, call.house.sweeper.taken_over, call.house.clockwork.skipped()
    )
    spending = {
        key: metrics.Spending(one.tokens, one.cost, one.calls, one.unpriced)
        for key, one in call.house.treasury.tallies().items()
    }
    return Response(metrics.exposition(states, deliveries, process, spending), content_type=metrics.MEDIA_TYPE)


ROUTES: Final = (
    Route("GET", "health/live", live, "Whether the process is worth keeping", TAG, answer=LiveView, public=True),
    Route("GET", "health/ready", ready, "Whether work can be done", TAG, answer=ReadyView, public=True),
    Route(
        "GET",
        "metrics",
        read_metrics,
        "Numbers for Prometheus",
        TAG,
        "metrics:read",
        media_type=metrics.MEDIA_TYPE,
    ),
)
