"""What browsers are told of answers and daemons: reads the row that was committed, and emits it."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from ...core.events import activity_room, channel_room, organization_room, user_room, watch_room
from ...core.ports import Channel, Clock, Crowd, Posting
from ...core.types import Claim, DeliveryState, OrchestratorSnapshot, OrchestratorStatus
from ...store.chat.views import iso
from ...store.stores import Stores
from ...store.turns.endings import OVER, Ended, Outcome
from .activity import tell_activity
from .pauses import Pause

log = logging.getLogger("flask_neolith_orchestrator")


LIST = 500
"""Orchestrators in one list at the most: some 80 kB."""


class News:
    """Tells browsers. Lifetime: app, in one process. Nothing here raises: a deaf browser reads the row again."""

    def __init__(self, stores: Stores, channel: Channel, clock: Clock) -> None:
        self._stores = stores
        self._channel = channel
        self._crowd = channel if isinstance(channel, Crowd) else None
        self._clock = clock
        self._stirred: set[str] = set()

    def flush(self, seconds: float) -> None:
        """The process ends: wait until other processes have been told all."""
        if isinstance(self._channel, Posting):
            self._channel.flush(seconds)

    def reply_began(self, claim: Claim) -> None:
        """An answer's row has appeared, or begins again."""
        if claim.attempt > 1 or claim.regenerates is not None:
            payload = {"messageId": claim.reply_id, "epoch": claim.epoch}
            self._channel.emit("message:reset", payload, channel_room(claim.place.channel_id))
            return
        self._message("message", claim.reply_id, claim.place.channel_id)

    def reply_ended(self, claim: Claim, outcome: Outcome) -> None:
        """An answer's row has been written for this attempt, and its further ones; or it was taken off the screen."""
        self._stirred.add(claim.orchestrator_id)
        channel = claim.place.channel_id
        gone = outcome.leaves_nothing and claim.regenerates is None
        if not gone:
            is_over = outcome.fate in OVER and claim.regenerates is None
            asker = claim.requester_id if is_over else None
            self._message("message:done", claim.reply_id, channel, reply_to=asker, is_new=is_over)
        for part in outcome.parts.ids:
            self._message("message", part, channel)
        for one in (*outcome.parts.gone, *([claim.reply_id] if gone else [])):
            self._channel.emit("message:deleted", {"messageId": one, "channelId": channel}, channel_room(channel))

    def reply_changed(self, reply_id: str) -> None:
        """An answer's row was changed by somebody other than its attempt."""
        self._message("message:updated", reply_id)

    def notice_posted(self, reply_id: str) -> None:
        """A notice has appeared where nobody had begun to answer."""
        self._message("message", reply_id, is_new=True)

    def _message(
        self,
        event: str,
        message_id: str,
        channel_id: str | None = None,
        *,
        reply_to: str | None = None,
        is_new: bool = False,
    ) -> None:
        """`is_new`: it is told to those too who do not look at the channel, with whom it answers."""
        rooms = [] if channel_id is None else [channel_room(channel_id)]
        rooms += [activity_room(channel_id)] if is_new and channel_id is not None else []
        if rooms and not any(self._is_heard(room) for room in rooms):
            return  # what nobody hears need not be read
        try:
            with self._stores.database.read() as tx:
                message = self._stores.chat.view(tx, message_id)
                root = self._root(tx, message)
        except Exception:
            log.exception("A message could not be shown", extra={"action": "news-failed"})
            return
        if message is None:
            return
        room = channel_room(str(message["channelId"]))
        self._channel.emit(event, {"message": message}, room)
        if is_new:
            tell_activity(self._channel, message, reply_to=reply_to)
        if root is not None:
            self._channel.emit("message:updated", {"message": root}, room)

    def _root(self, tx: Any, message: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
        if message is None or message.get("threadId") is None:
            return None
        return self._stores.chat.view(tx, message["threadId"])

    def presence(self, snapshot: OrchestratorSnapshot, status: OrchestratorStatus) -> None:
        """Everybody in the organization sees who is there."""
        self._channel.emit(
            "presence",
            presence_payload(snapshot, status, self._clock.wall()),
            organization_room(snapshot.organization_id),
        )

    def presences(self, snapshots: Sequence[OrchestratorSnapshot], status: OrchestratorStatus) -> None:
        """Many have come or gone at once: each organization hears of its own by `presence:snapshot`."""
        if self._crowd is None:
            for one in snapshots:
                self.presence(one, status)
            return
        at = iso(self._clock.wall())
        rooms: defaultdict[str, list[OrchestratorSnapshot]] = defaultdict(list)
        for one in snapshots:
            rooms[organization_room(one.organization_id)].append(one)
        for room, there in rooms.items():
            if self._crowd.is_heard(room):
                for start in range(0, len(there), LIST):
                    payloads = [_payload(one, status, at) for one in there[start : start + LIST]]
                    self._crowd.emit_list("presence:snapshot", payloads, room)

    def take_stirred(self) -> set[str]:
        """Orchestrators of whose answers one has ended since the last call."""
        stirred, self._stirred = self._stirred, set()
        return stirred

    def is_watched(self, snapshot: OrchestratorSnapshot) -> bool:
        """Whether anybody may look at a dashboard with this orchestrator on it."""
        return self._is_heard(watch_room(snapshot.organization_id))

    def is_heard(self, snapshot: OrchestratorSnapshot) -> bool:
        """Whether any browser may hear what is told of this orchestrator's daemon."""
        return self._is_heard(organization_room(snapshot.organization_id))

    def _is_heard(self, room: str) -> bool:
        return self._crowd is None or self._crowd.is_heard(room)

    def dead_letters(self, ended: Sequence[Ended]) -> None:
        """Those who manage an orchestrator hear of its deliveries that have failed or expired."""
        for one in ended:
            if one.state in (DeliveryState.FAILED, DeliveryState.EXPIRED):
                payload = {
                    "deliveryId": one.delivery_id,
                    "orchestratorId": one.orchestrator_id,
                    "state": str(one.state),
                }
                self._managers("delivery:dead", payload, orchestrator_id=one.orchestrator_id)

    def deed(self, *, orchestrator_id: str | None, organization_id: str | None) -> None:
        """They hear that the audit log has a new entry; what it says they read."""
        payload = {"orchestratorId": orchestrator_id, "organizationId": organization_id}
        self._managers("audit:added", payload, orchestrator_id=orchestrator_id, organization_id=organization_id)

    def _managers(
        self, event: str, payload: Mapping[str, Any], *, orchestrator_id: str | None, organization_id: str | None = None
    ) -> None:
        try:
            with self._stores.database.read() as tx:
                one = None if orchestrator_id is None else self._stores.people.snapshot(tx, orchestrator_id)
                organization = organization_id or (one.organization_id if one is not None else None)
                people = [] if organization is None else self._stores.people.managers_of(tx, organization)
        except Exception:
            log.exception("%s was not told", event, extra={"action": "news-failed", "event": event})
            return
        for user_id in dict.fromkeys([*people, *([] if one is None else [one.user.id])]):
            self._channel.emit(event, payload, user_room(user_id))

    def daemon(
        self, event: str, snapshot: OrchestratorSnapshot, payload: Mapping[str, Any], *, watched: bool = False
    ) -> None:
        """`daemon:status` or `daemon:health`, for the organization, or those of it who look at a dashboard."""
        room = (watch_room if watched else organization_room)(snapshot.organization_id)
        self._channel.emit(event, {"orchestratorId": snapshot.id, **payload}, room)


def presence_payload(
    snapshot: OrchestratorSnapshot, status: OrchestratorStatus, at: float, pause: Pause | None = None
) -> dict[str, Any]:
    """One orchestrator's presence as the wire shows it; `paused` is there for one that does not answer now."""
    shown = _payload(snapshot, status, iso(at))
    return shown if pause is None else {**shown, "paused": pause.shown()}


def _payload(snapshot: OrchestratorSnapshot, status: OrchestratorStatus, at: str | None) -> dict[str, Any]:
    return {
        "orchestratorId": snapshot.id,
        "userId": snapshot.user.id,
        "name": snapshot.user.name,
        "handle": snapshot.handle,
        "status": str(status),
        "at": at,
    }
