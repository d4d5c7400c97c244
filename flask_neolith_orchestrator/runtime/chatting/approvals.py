"""Approvals: who is asked about the calls of a parked turn, who may decide, and what everybody is told of it.

Arguments of calls are for the requester and for those who manage the orchestrator; others learn the tool's name.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

from ...chat.rounds import DENIED
from ...core.deeds import Actor
from ...core.errors import Forbidden, Invalid, NotFound
from ...core.events import channel_room, user_room
from ...core.handles import fold
from ...core.ports import Channel
from ...store.chat.views import iso
from ...store.stores import Stores
from ...store.turns.parking import Asked, Decided, Verdict, Waiting
from ..arrival.hearing import Heard
from ..broadcast.news import News
from . import checks
from .rights import ChatDoor

log = logging.getLogger("flask_neolith_orchestrator")

Decision = Literal["approve", "deny"]

MOST_REASON: Final = 500
"""Characters of the reason for a decision."""

_DECISIONS: Final[Mapping[str, Decision]] = {"approve": "approve", "deny": "deny"}


class Approvals:
    """Tells of approvals, and ends those that had their time. Lifetime: app, in one process; safe for all threads.

    `emit` tells Python listeners, `ring` (with a delay in seconds) the dispatcher. Nothing here raises but `expire`.
    """

    def __init__(
        self,
        stores: Stores,
        channel: Channel,
        news: News,
        *,
        emit: Callable[..., object],
        ring: Callable[[str, float], object],
    ) -> None:
        self._stores = stores
        self._channel = channel
        self._news = news
        self._emit = emit
        self._ring = ring

    def requested(self, turn_id: str) -> None:
        """A turn has been parked: its requester is asked, the others see that it waits."""
        try:
            with self._stores.database.read() as tx:
                turn = self._stores.parking.look(tx, turn_id)
                name = "" if turn is None else self._name(tx, turn.requester_id)
        except Exception:
            # the row says it too: a browser that reads it again sees what waits
            log.exception("An approval could not be asked for", extra={"action": "approval-failed", "turn": turn_id})
            return
        if turn is None or not turn.is_open:
            return
        log.info("Waits for approval", extra=_fields("approval-requested", turn))
        told = {**_place(turn), "requester": {"id": turn.requester_id, "name": name}, "expiresAt": iso(turn.expires_at)}
        waiting = [one for one in turn.calls if one.state == "waiting"]
        plain = [_plain(one) for one in waiting]
        full = [{**shown, "arguments": one.arguments} for shown, one in zip(plain, waiting, strict=True)]
        self._channel.emit("approval:requested", {**told, "calls": plain}, channel_room(turn.channel_id))
        self._channel.emit("approval:requested", {**told, "calls": full}, user_room(turn.requester_id))
        self._emit(
            "approval:requested",
            orchestrator_id=turn.orchestrator_id,
            turn_id=turn.turn_id,
            message_id=turn.reply_id,
            requester_id=turn.requester_id,
            tools=[one.name for one in waiting],
        )

    def _name(self, tx: Any, user_id: str) -> str:
        key = self._stores.models.parse_user_id(user_id)
        return self._stores.people.names(tx, [key]).get(key, "")

    def decided(self, done: Decided, by: str | None) -> None:
        """Calls were decided, and that is committed: everybody sees it, and a turn that goes on is rung for."""
        turn = done.turn
        if done.changed or done.expired:
            log.info("Calls were decided", extra=_fields("approval-decided", turn))
            payload = {**_place(turn), "calls": calls_view(turn), "decidedBy": by, "resumed": done.resumed}
            self._channel.emit("approval:decided", payload, channel_room(turn.channel_id))
            self._emit(
                "approval:decided",
                orchestrator_id=turn.orchestrator_id,
                turn_id=turn.turn_id,
                message_id=turn.reply_id,
                decided_by=by,
                states={one.id: one.state for one in turn.calls},
            )
        if done.resumed:
            self._news.reply_changed(turn.reply_id)
            self._ring(turn.orchestrator_id, 0.0)

    def expire(self, turn_id: str) -> None:
        """End what nobody has decided in time: the turn goes on, and its model is told."""
        done = self._stores.parking.expire(turn_id)
        if done is not None:
            self.decided(done, None)


def calls_view(turn: Waiting) -> list[dict[str, str]]:
    """The calls that were asked about, as everybody in the channel may see them."""
    return [_plain(one) for one in turn.calls]


def _plain(call: Asked) -> dict[str, str]:
    return {"id": call.id, "name": call.name, "state": call.state, "asks": call.asks}


def _place(turn: Waiting) -> dict[str, str | None]:
    return {
        "turnId": turn.turn_id,
        "orchestratorId": turn.orchestrator_id,
        "messageId": turn.reply_id,
        "channelId": turn.channel_id,
        "threadId": turn.thread_id,
    }


def _fields(action: str, turn: Waiting) -> dict[str, str]:
    return {"action": action, "orchestrator": turn.orchestrator_id, "turn": turn.turn_id}


class ChatApprovals(ChatDoor):
    """What people decide on: a part of `Chat`. Lifetime: app, in one process; safe for all threads."""

    def decide(
        self,
        actor: str,
        turn_id: str,
        decision: Decision,
        *,
        step_id: str | None = None,
        reason: str = "",
        key_id: str | None = None,
    ) -> dict[str, Any]:
        """Approve or deny what a turn waits for: the call `step_id`, or all: {turnId, state, resumed, calls}.

        Who asked may approve, and deny all; those who manage the organization may deny, and approve only what the
        charter wants to be escalated, which the requester may not (see `asks`). The first decision on a call
        stands: another one changes nothing, and tells what is. When the last call is decided, the turn goes on.
        `reason` is told to the model with a denial; `key_id` is the API key that the actor used. Nothing is committed.
        """
        told = _told(decision, reason)
        tx = self._reading()
        found = self._parts.parking.look(tx, checks.row_id(turn_id, "turn"))
        if found is None:
            raise NotFound("There is no such turn, or nobody is asked about it.")
        roles = self._roles(tx, actor, found)
        wanted = [one for one in found.calls if step_id in (None, one.id)]
        if not wanted:
            raise NotFound("There is no such call in this turn.")
        mine = tuple(one.id for one in wanted if (roles if decision == "deny" else one.asks in roles))
        if not mine:
            raise Forbidden("This is not for you to decide.")
        verdict = Verdict("approved" if decision == "approve" else "denied", actor, mine, told)
        done = self._parts.parking.decide(self._writing(), found.turn_id, verdict)
        if done is None:
            raise NotFound("There is no such turn.")
        if done.changed:
            tools = [one.name for one in found.calls if one.id in mine]
            self._record(
                Actor.user(actor, key_id),
                f"approval.{verdict.state}",
                orchestrator_id=found.orchestrator_id,
                subject=("turn", found.turn_id),
                details={"tools": tools},
            )
        self._after_commit(lambda: self._parts.approvals.decided(done, actor))
        now = done.turn
        return {"turnId": now.turn_id, "state": now.state, "resumed": done.resumed, "calls": calls_view(now)}

    def _roles(self, tx: Any, actor: str, turn: Waiting) -> set[str]:
        """What somebody is to a turn: its requester, one of its managers, both or neither. Raises NotFound."""
        room = self._parts.rooms.any_room(tx, turn.channel_id) if turn.channel_id.isdecimal() else None
        bundled = room is not None and room.kind != "external"
        inside = bundled and self._parts.rooms.room(tx, turn.channel_id, actor) is not None
        orchestrator = self._parts.people.snapshot(tx, turn.orchestrator_id)
        itself = orchestrator is not None and orchestrator.user.id == actor
        roles = set()
        if actor == turn.requester_id and (inside or not bundled):
            roles.add("requester")
        if orchestrator is not None and not itself and self.can_manage(actor, orchestrator.organization_id):
            roles.add("managers")
        if not (roles or inside or itself):
            raise NotFound("There is no such turn, or nobody is asked about it.")
        return roles

    def _decided_in_words(self, tx: Any, heard: Heard) -> bool:
        """Whether a message was a decision, `@handle approve` or `@handle deny why`, and has been carried out.

        Only a message that is nothing else, of the requester, where a turn of that orchestrator waits for it.
        """
        words = heard.content.split(None, 2) if heard.content.lstrip()[:1] == "@" else []
        decision = _DECISIONS.get(words[1].rstrip(".!:,").lower()) if len(words) > 1 else None
        reason = words[2] if len(words) > 2 else ""
        if decision is None or (decision == "approve" and reason):
            return False
        handle = fold(words[0][1:].rstrip(":,"))
        place = (heard.channel_id, heard.thread_id)
        for member in self._parts.rooms.members(tx, heard.channel_id):
            called = member["orchestratorId"] if member["handle"] == handle else None
            turn_id = called and self._parts.parking.of_place(tx, called, heard.author_id, place)
            if turn_id:
                self.decide(heard.author_id, turn_id, decision, reason=reason[:MOST_REASON])
                return True
        return False


def _told(decision: Decision, reason: str) -> str | None:
    """What the model hears of a denial with a reason; None for the usual words. Raises Invalid."""
    if decision not in ("approve", "deny"):
        raise Invalid("The decision must be approve or deny.")
    if not reason.strip():
        return None
    text = checks.content(reason, MOST_REASON).strip()
    return f'{DENIED} They said: "{text}"' if decision == "deny" else None
