"""Tells the people that a charter names of what went wrong, or of what was asked: a direct message, and an event.

What is to be told is a row of its own, written with what caused it or found by the sweep; whoever takes the row tells
of it in the same transaction, so that each cause is told once, whatever process dies in between.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ...chat.charter import Charter
from ...core.events import channel_room
from ...core.types import OrchestratorSnapshot
from ...store.chat.messages import Draft
from ...store.chat.rooms import dm_key
from ...store.records.escalations import LOOK_BACK, Noted
from ...store.stores import Stores
from ..broadcast.activity import tell_activity
from ..charters.book import CharterBook
from .rights import ChatParts

log = logging.getLogger("flask_neolith_orchestrator")

INTERVAL: Final = 5.0
"""Seconds between two looks for what went wrong."""

OVERLAP: Final = 60.0
"""Seconds by which a look reaches back before the one before: transactions take their time."""

WORDS: Final = {
    "refusal": "the model refused to answer somebody",
    "failure": "I could not answer somebody",
    "budget": "my budget is used up, and somebody waits",
    "approval": "something that I want to do has waited for approval for too long",
    "hours": "somebody needs me outside of my working hours",
    "keyword": "somebody has said a word that I am to tell you of",
}
"""What happened, in the orchestrator's own words."""


@dataclass(frozen=True, slots=True)
class Letter:
    """What one person is told. Lifetime: until it is emitted."""

    channel_id: str
    message: dict[str, Any]
    joined: tuple[str, ...]


class _Post:
    """Writes direct messages of orchestrators in the bundled chat. Lifetime: app, in one process.

    Where the chat is the host's own, or the message came from there, it writes nothing: the host hears the event.
    """

    def __init__(self, parts: ChatParts, stores: Stores) -> None:
        self._parts = parts
        self._stores = stores

    def write(self, tx: Any, orchestrator: OrchestratorSnapshot, event: dict[str, Any]) -> list[Letter]:
        """One direct message for each person, in `tx`. It wakes nobody."""
        if self._is_foreign(tx, event["message_id"]):
            return []
        return [self._to(tx, orchestrator, one, _text(event)) for one in event["user_ids"]]

    def _is_foreign(self, tx: Any, message_id: str | None) -> bool:
        external = self._stores.external
        if external is None:
            return True
        found = None if message_id is None else self._stores.chat.view(tx, message_id)
        return found is not None and external.is_external(tx, str(found["channelId"]))

    def _to(self, tx: Any, orchestrator: OrchestratorSnapshot, user_id: str, text: str) -> Letter:
        both = [orchestrator.user.id, user_id]
        now = self._stores.database.clock.wall()
        channel = self._parts.rooms.open_dm(tx, dm_key(both), now)
        joined = self._parts.rooms.join(tx, channel, both)
        message_id, _fresh = self._parts.messages.add(tx, Draft(channel, orchestrator.user.id, text, now))
        return Letter(channel, self._parts.messages.view(tx, message_id), tuple(joined))

    def deliver(self, letters: Sequence[Letter]) -> None:
        """After the commit: show them."""
        told = self._parts.on_membership
        for one in letters:
            if told is not None:
                for user_id in one.joined:
                    told(one.channel_id, user_id, True)
            self._parts.channel.emit("message", {"message": one.message}, channel_room(one.channel_id))
            tell_activity(self._parts.channel, one.message)


class Escalator:
    """Finds what is to be told, and tells it. Lifetime: app, in one process; called by its sweep."""

    def __init__(self, parts: ChatParts, stores: Stores, charters: CharterBook, tell: Callable[..., object]) -> None:
        self._settings = parts.settings
        self._stores = stores
        self._charters = charters
        self._post = _Post(parts, stores)
        self._tell = tell
        self._clock = stores.database.clock
        self._looked_at: float | None = None
        self._found_until = 0.0

    def sweep(self) -> None:
        """Look for what went wrong, now and then, and tell of all that is noted. Nothing while no charter asks."""
        with self._stores.database.read() as tx:
            if "escalate" not in self._stores.triggers.kinds(tx):
                return
        now = self._clock.monotonic()
        if self._looked_at is None or now - self._looked_at >= INTERVAL:
            self._look()
            self._looked_at = now
        if self._stores.escalations.waiting():
            self._tell_all()

    def _look(self) -> None:
        began = self._clock.wall()
        since = max(began - LOOK_BACK, self._found_until - OVERLAP)
        with self._stores.database.read() as tx:
            found = self._stores.escalations.find(tx, since)
        if found:
            self._stores.escalations.note_all(found)
        self._found_until = began

    def _tell_all(self) -> None:
        letters: list[Letter] = []
        events: list[dict[str, Any]] = []
        with self._stores.database.write() as tx:
            for noted in self._stores.escalations.take(tx):
                snapshot = self._stores.people.snapshot(tx, noted.orchestrator_id)
                if snapshot is not None:
                    event = self._event(tx, noted, snapshot)
                    if event is not None:
                        events.append(event)
                        letters += self._post.write(tx, snapshot, event)
        self._post.deliver(letters)
        for event in events:
            log.warning(
                "@%s tells %d of: %s",
                event.pop("handle"),
                len(event["user_ids"]),
                event["cause"],
                extra={"action": "escalation", "orchestrator": event["orchestrator_id"], "reason": event["cause"]},
            )
            self._tell("escalation", **event)

    def _event(self, tx: Any, noted: Noted, snapshot: OrchestratorSnapshot) -> dict[str, Any] | None:
        charter = self._charters.behaviours(tx, [snapshot.id])[snapshot.id]
        names = _names(charter, noted)
        if not names:
            return None  # the rule has gone meanwhile
        users, unknown = self._stores.escalations.recipients(tx, snapshot.organization_id, names)
        if unknown:
            log.warning(
                "The charter of @%s tells people who are not in its organization: %s",
                snapshot.handle,
                ", ".join(unknown),
                extra={"action": "escalation-unknown", "orchestrator": snapshot.id},
            )
        return {
            "orchestrator_id": snapshot.id,
            "handle": snapshot.handle,
            "cause": noted.cause,
            "detail": noted.detail,
            "message_id": noted.message_id,
            "user_ids": [one for one in users if one != snapshot.user.id],
            "link": self._link(tx, noted.message_id),
        }

    def _link(self, tx: Any, message_id: str | None) -> str | None:
        """Where people find the message."""
        message = None if message_id is None else self._stores.chat.view(tx, message_id)
        if message is None:
            return None
        template = self._settings.message_link
        return template.replace("{channel}", str(message["channelId"])).replace("{message}", str(message["id"]))


def _names(charter: Charter, noted: Noted) -> list[str]:
    rules = [rule for rule in charter.availability.escalation if rule.on == noted.cause]
    if noted.cause == "keyword":
        rules = [rule for rule in rules if noted.detail in rule.keywords]
    return list(dict.fromkeys(name for rule in rules for name in rule.to))


def _text(event: dict[str, Any]) -> str:
    said = f" ({event['detail']})" if event["detail"] else ""
    text = f"I am to tell you: {WORDS[event['cause']]}{said}."
    link = event["link"]
    if link is None:
        return text
    shown = f"[The message]({link})" if link.startswith("http") else f"The message: `{link}`"
    return f"{text}\n\n{shown}"
