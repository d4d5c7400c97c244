"""Where messages arrive: wake rules and durable acceptance in the message's own transaction, the bell after it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..chat import wake
from ..chat.mentions import Mentions, find_mentions
from ..core.events import channel_room
from ..core.ports import Channel, ChatStore, ReplyDraft, ReplyWrite
from ..core.types import DeliveryState, Member, MessageState, Place, Wake
from ..settings import Settings
from ..store import effects
from ..store.endings import Ended
from ..store.inbox import Accepted, Arrival, Inbox
from ..store.people import People

log = logging.getLogger("flask_neolith_orchestrator")

Notice = Mapping[str, Any]
"""A message as the wire shows it."""

FULL = "I have too many messages waiting and cannot take this one. Please ask me again later."


@dataclass(frozen=True, slots=True)
class Heard:
    """A message that has been stored and may be for somebody. Ids are the ChatStore's, as text.

    `to` names orchestrators (by id) that it is for, whatever the text says; `automated` is for bots and webhooks.
    """

    message_id: str
    channel_id: str
    thread_id: str | None
    content: str
    author_id: str
    author_is_orchestrator: bool = False
    is_dm: bool = False
    reply_to_author_id: str | None = None
    to: tuple[str, ...] | None = None
    automated: bool = False

    @property
    def place(self) -> Place:
        """Where it was said."""
        return Place(self.channel_id, self.thread_id, self.is_dm)


class Reception:
    """Decides whom a message wakes and accepts the work. Lifetime: app, in one process; safe for all threads."""

    def __init__(
        self,
        settings: Settings,
        inbox: Inbox,
        chat: ChatStore,
        people: People,
        channel: Channel,
        *,
        ring: Callable[[str], None],
        ended: Callable[[Sequence[Ended]], None],
    ) -> None:
        self._settings = settings
        self._inbox = inbox
        self._chat = chat
        self._people = people
        self._channel = channel
        self._ring = ring
        self._ended = ended
        self._heard_session: Any = None

    @property
    def longest(self) -> int:
        """Characters of one message at the most."""
        return self._settings.max_message_length

    def listen(self, scoped_session: Any) -> None:
        """Hear the host's own scoped session for commits and rollbacks, once for all its sessions."""
        effects.listen(scoped_session)
        self._heard_session = scoped_session

    def after_commit(self, session: Any, effect: Callable[[], None]) -> None:
        """Run `effect` after the session's outermost commit; it must not use the session."""
        effects.after_commit(session, effect, heard=self._is_heard(session))

    def _is_heard(self, session: Any) -> bool:
        return self._heard_session is not None and effects.made_by(self._heard_session, session)

    def receive(self, session: Any, heard: Heard) -> list[Accepted]:
        """Accept a stored message for everybody it wakes, in the session's transaction; nothing is committed."""
        wakes = self.wakes(session.connection(), heard)
        return self._accept(session, heard, wakes)

    def edited(self, session: Any, heard: Heard, before: str) -> list[Accepted]:
        """An edit wakes those whom it mentions for the first time, once."""
        mentions = find_mentions(heard.content)
        if not mentions:
            return []
        tx = session.connection()
        wakes = wake.addressed_by_edit(before, _facts(heard), self._members(tx, heard, mentions))
        return self._accept(session, heard, self._responding(tx, wakes))

    def _accept(self, session: Any, heard: Heard, wakes: Sequence[Wake]) -> list[Accepted]:
        if not wakes:
            return []
        accepted = self._inbox.accept(session, self.arrivals(heard, wakes))
        notices = self._notices(session.connection(), heard, accepted)
        self.after_commit(session, lambda: self.announce(accepted, notices))
        return accepted

    def receive_in(self, tx: Any, heard: Heard, *, only: str) -> tuple[list[Wake], list[Accepted], list[Notice]]:
        """The same in a transaction of ours, for one orchestrator; the caller announces after its commit.

        The decision for that one is returned whether it wakes or not.
        """
        members = self._chat.members(tx, heard.channel_id)
        decided = [one for one in wake.explain(_facts(heard), members) if one.orchestrator_id == only]
        wakes = self._responding(tx, [one for one in decided if one.wakes])
        accepted = self._inbox.accept_in(tx, self.arrivals(heard, wakes))
        return decided, accepted, self._notices(tx, heard, accepted)

    def wakes(self, tx: Any, heard: Heard) -> list[Wake]:
        """Whom the message wakes, with reasons."""
        mentions = find_mentions(heard.content)
        members = self._members(tx, heard, mentions)
        return self._responding(tx, wake.addressed(_facts(heard), members, mentions))

    def _responding(self, tx: Any, wakes: Sequence[Wake]) -> list[Wake]:
        """Those who answer at all: the app's setting, unless the orchestrator's own says otherwise."""
        if not wakes:
            return []
        own = self._people.daemon_values(tx, [one.orchestrator_id for one in wakes], "auto_respond")
        default = self._settings.auto_respond
        return [one for one in wakes if own.get(one.orchestrator_id, default) is not False]

    def _members(self, tx: Any, heard: Heard, mentions: Mentions) -> Sequence[Member]:
        everybody = heard.is_dm or heard.to is not None or heard.reply_to_author_id is not None
        if everybody or mentions.names or mentions.user_ids:
            return self._chat.members(tx, heard.channel_id)
        if not mentions.handles:
            return []
        return self._chat.members(tx, heard.channel_id, mentions.handles)

    def arrivals(self, heard: Heard, wakes: Sequence[Wake]) -> list[Arrival]:
        """What becomes of the wakes: one arrival each, in the conversation where it will be answered."""
        return [
            Arrival(
                orchestrator_id=one.orchestrator_id,
                place=self._answer_place(heard),
                dedupe_key=f"msg:{heard.channel_id}:{heard.message_id}",
                author_id=heard.author_id,
                reason=one.reason,
                message_id=heard.message_id,
                delay=self._settings.debounce / 1000,
            )
            for one in wakes
        ]

    def _answer_place(self, heard: Heard) -> Place:
        if heard.is_dm or heard.thread_id is not None or self._settings.reply_in == "channel":
            return heard.place
        return Place(heard.channel_id, heard.message_id)

    def _notices(self, tx: Any, heard: Heard, accepted: Sequence[Accepted]) -> list[Notice]:
        """A refusal is visible: a short answer that says so, as the wire shows it."""
        shown = []
        for one in accepted:
            if one.fresh and one.state is DeliveryState.REFUSED:
                now = self._inbox.clock.wall()
                place, user_id = self._answer_place(heard), self._people.user_id(tx, one.orchestrator_id)
                draft = ReplyDraft(one.orchestrator_id, user_id, place, heard.message_id, 0, now)
                reply = self._chat.open_reply(tx, draft)
                self._chat.write_reply(tx, ReplyWrite(reply, FULL, MessageState.FAILED, 0, 0, now, "queue-full"))
                message = self._chat.view(tx, reply)
                shown += [] if message is None else [message]
        return shown

    def announce(self, accepted: Sequence[Accepted], notices: Sequence[Notice] = ()) -> None:
        """After the commit: ring for what waits, tell what was refused."""
        for message in notices:
            self._channel.emit("message", {"message": message}, channel_room(str(message["channelId"])))
        for one in accepted:
            if one.state is DeliveryState.WAITING:
                self._ring(one.orchestrator_id)
        refused = [
            Ended(one.delivery_id, one.orchestrator_id, one.state, "queue-full")
            for one in accepted
            if one.fresh and one.state is DeliveryState.REFUSED
        ]
        if refused:
            self._ended(refused)


def _facts(heard: Heard) -> wake.Heard:
    return wake.Heard(
        content=heard.content,
        author_id=heard.author_id,
        place=heard.place,
        author_is_orchestrator=heard.author_is_orchestrator,
        author_is_bot=heard.automated,
        reply_to_author_id=heard.reply_to_author_id,
        to=None if heard.to is None else frozenset(heard.to),
    )
