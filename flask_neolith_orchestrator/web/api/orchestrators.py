"""Routes of orchestrators: who they are, how they are, and their charters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Final

from pydantic import Field

from ...core.errors import Invalid, NotFound
from ...core.types import DaemonState, OrchestratorSnapshot
from ...runtime.broadcast.pauses import Pause
from ...store.chat.views import iso
from ...store.people.roster import Roster
from ..calls import Call, Route
from ..shapes import Body, Limit, Line, OwnId, Page, Query, Wire
from .audit import record

TAG: Final = "orchestrators"


class ErrorView(Wire):
    """One error of a daemon. `message` is for those who may manage it; others see null."""

    at: str
    kind: str
    message: str | None


class PauseView(Wire):
    """It runs and does not answer now. `reason` is hours, budget or replies; `until` is null where nobody knows."""

    reason: str = Field(examples=["budget"])
    until: str | None


class HealthView(Wire):
    """How a daemon is, over all processes. `uptime` is in milliseconds; `lastHeartbeat` is null before the first."""

    status: str = Field(examples=["running"])
    uptime: float | None
    active_conversations: int
    total_messages_processed: int
    last_heartbeat: str | None
    errors: list[ErrorView]
    last_error: str | None = Field(description="why it gave up; for those who may manage it")
    queued: int
    failed: int
    dead_letters: int = Field(description="failed and expired deliveries that lie there now")
    restarts: int
    wanted: str = Field(description="running or stopped: whether it should run")
    cause: str = Field(description="login or person: by whose wish")
    paused: PauseView | None = Field(description="why it does not answer now although it runs")


class UserView(Wire):
    """The user that an orchestrator is."""

    id: str
    name: str


class OrchestratorView(Wire):
    """An orchestrator. `daemonEndpoint` is only shown to those who may manage it."""

    id: str
    handle: str
    role: str
    discipline: str
    capabilities: list[str]
    status: str = Field(examples=["ONLINE"])
    organization_id: str
    user: UserView
    can_manage: bool
    daemon_endpoint: str | None
    health: HealthView | None = None


class OrchestratorQuery(Query):
    """Which orchestrators to list: those of one organization, or of all that the asker belongs to.

    `health` adds how their daemons are.
    """

    organization_id: OwnId | None = None
    health: bool = False
    cursor: OwnId | None = None
    limit: Limit = 50


class OrchestratorPatch(Body):
    """What may be changed; members that are not there stay as they are. `daemonEndpoint` is stored, never fetched."""

    handle: Annotated[Line, Field(min_length=1, max_length=64)] | None = None
    role: Annotated[Line, Field(max_length=200)] | None = None
    discipline: Annotated[Line, Field(max_length=200)] | None = None
    capabilities: (
        Annotated[list[Annotated[Line, Field(min_length=1, max_length=100)]], Field(max_length=100)] | None
    ) = None
    daemon_endpoint: Annotated[Line, Field(max_length=500, pattern=r"^(https?|wss?)://\S+$")] | None = None


def list_orchestrators(call: Call) -> Page[OrchestratorView]:
    """The orchestrators of the asker's organizations, in the order they were made."""
    asked = call.query(OrchestratorQuery)
    if asked.organization_id is None:
        organizations = list(call.rights.roles)
    elif call.rights.sees_organization(asked.organization_id):
        organizations = [asked.organization_id]
    else:
        raise NotFound
    roster = Roster(call.state.models)
    ids = roster.page(call.reading, organizations, after=asked.cursor, limit=asked.limit + 1)
    shown = call.house.people.snapshots(call.reading, ids[: asked.limit])
    items = orchestrator_views(call, shown, health=asked.health)
    return Page[OrchestratorView](items=items, next=ids[asked.limit - 1] if len(ids) > asked.limit else None)


def orchestrator_views(
    call: Call, ones: Sequence[OrchestratorSnapshot], *, health: bool = False
) -> list[OrchestratorView]:
    """Orchestrators as the asker may see them, by a few statements however many they are."""
    managed = [one.id for one in ones if call.rights.manages(one)]
    endpoints = Roster(call.state.models).endpoints(call.reading, managed)
    shown = _healths(call, {one.id: one.id in managed for one in ones}) if health else {}
    return [
        OrchestratorView(
            id=one.id,
            handle=one.handle,
            role=one.role,
            discipline=one.discipline,
            capabilities=list(one.capabilities),
            status=str(one.status),
            organization_id=one.organization_id,
            user=UserView(id=one.user.id, name=one.user.name),
            can_manage=one.id in managed,
            daemon_endpoint=endpoints.get(one.id),
            health=shown.get(one.id),
        )
        for one in ones
    ]


def orchestrator_view(call: Call, one: OrchestratorSnapshot) -> OrchestratorView:
    """One of them."""
    (shown,) = orchestrator_views(call, [one])
    return shown


def get_orchestrator(call: Call) -> OrchestratorView:
    """One orchestrator."""
    return orchestrator_view(call, call.rights.orchestrator(call.path["id"]))


def edit_orchestrator(call: Call) -> OrchestratorView:
    """Change an orchestrator. A new handle works at once."""
    one = call.rights.managed(call.path["id"])
    changes = call.body(OrchestratorPatch).model_dump(by_alias=False, exclude_unset=True)
    nulls = [name for name, value in changes.items() if value is None and name != "daemon_endpoint"]
    if nulls:
        msg = f"These cannot be null: {', '.join(nulls)}"
        raise Invalid(msg)
    Roster(call.state.models).edit(call.writing(), one.id, changes)
    if changes:
        record(call, "orchestrator.changed", orchestrator_id=one.id, details={"members": sorted(changes)})
    return orchestrator_view(call, call.rights.orchestrator(one.id))


def get_status(call: Call) -> HealthView:
    """How the daemon of an orchestrator is."""
    one = call.rights.orchestrator(call.path["id"])
    return status_view(call, one.id, manages=call.rights.manages(one))


def status_view(call: Call, orchestrator_id: str, *, manages: bool) -> HealthView:
    """A daemon's health as the asker may see it."""
    found = _healths(call, {orchestrator_id: manages}).get(orchestrator_id)
    if found is None:
        raise NotFound
    return found


def _healths(call: Call, managed: Mapping[str, bool]) -> dict[str, HealthView]:
    """The same of several, by id, and whether the asker manages each."""
    ids = list(managed)
    pauses = call.house.front.pauses.of(call.reading, ids)
    states = {one.orchestrator.id: one for one in call.house.manager.get_daemon_statuses(ids)}
    return {key: _health(one, pauses.get(key), manages=managed[key]) for key, one in states.items()}


def _health(state: DaemonState, pause: Pause | None, *, manages: bool) -> HealthView:
    health = state.health
    return HealthView(
        status=str(health.status),
        uptime=health.uptime,
        active_conversations=health.active_conversations,
        total_messages_processed=health.total_messages_processed,
        last_heartbeat=iso(health.last_heartbeat),
        errors=[
            ErrorView(at=iso(one.at) or "", kind=one.kind, message=one.message if manages else None)
            for one in health.errors
        ],
        last_error=state.last_error if manages else None,
        queued=health.queued,
        failed=health.failed,
        dead_letters=state.dead_letters,
        restarts=health.restarts,
        wanted=str(state.wanted),
        cause=str(state.cause),
        paused=pause_view(pause),
    )


def pause_view(pause: Pause | None) -> PauseView | None:
    """A pause as the wire shows it."""
    return None if pause is None else PauseView(reason=pause.reason, until=iso(pause.until))


def start(call: Call) -> HealthView:
    """Start the daemon: a person's wish, which survives logouts."""
    return _command(call, "start_daemon")


def stop(call: Call) -> HealthView:
    """Stop the daemon: it stays stopped until a person starts it or the orchestrator logs in anew."""
    return _command(call, "stop_daemon")


def restart(call: Call) -> HealthView:
    """Stop the daemon and start it again."""
    return _command(call, "restart_daemon")


def _command(call: Call, name: str) -> HealthView:
    one = call.rights.managed(call.path["id"])
    # the manager writes in transactions of its own: ours must not stand in its way
    call.session.commit()
    getattr(call.house.manager, name)(one.id)
    record(call, _DEEDS[name], orchestrator_id=one.id)
    return status_view(call, one.id, manages=True)


_DEEDS: Final = {
    "start_daemon": "orchestrator.started",
    "stop_daemon": "orchestrator.stopped",
    "restart_daemon": "orchestrator.restarted",
}

_ONE: Final = "orchestrators/{id}"

ROUTES: Final = (
    Route(
        "GET",
        "orchestrators",
        list_orchestrators,
        "List orchestrators",
        TAG,
        "orchestrators:read",
        query=OrchestratorQuery,
        answer=Page[OrchestratorView],
    ),
    Route("GET", _ONE, get_orchestrator, "Show an orchestrator", TAG, "orchestrators:read", answer=OrchestratorView),
    Route(
        "PATCH",
        _ONE,
        edit_orchestrator,
        "Change an orchestrator",
        TAG,
        "orchestrators:manage",
        body=OrchestratorPatch,
        answer=OrchestratorView,
        writes=True,
    ),
    Route("GET", f"{_ONE}/status", get_status, "Show a daemon's health", TAG, "orchestrators:read", answer=HealthView),
    *(
        Route("POST", f"{_ONE}/{name}", handler, summary, TAG, "orchestrators:manage", answer=HealthView, writes=True)
        for name, handler, summary in (
            ("start", start, "Start a daemon"),
            ("stop", stop, "Stop a daemon"),
            ("restart", restart, "Restart a daemon"),
        )
    ),
)
