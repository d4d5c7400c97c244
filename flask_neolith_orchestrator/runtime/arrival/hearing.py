"""Whom a message is for: gathers what the wake rules need to know, and nothing that they do not need."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ...chat import wake
from ...chat.charter import Charter
from ...chat.ears import Ears, cut, ears_of
from ...chat.keywords import listen
from ...chat.mentions import Directory, Mentions, find_mentions
from ...core.ports import ChatStore
from ...core.types import Member, Place, Wake
from ...settings import Settings
from ...store.inbox.triggers import Listener, Listeners
from ...store.people.people import People
from ...store.stores import Stores
from ..charters.book import CharterBook

log = logging.getLogger("flask_neolith_orchestrator")


@dataclass(frozen=True, slots=True)
class Heard:
    """A message that has been stored and may be for somebody. Ids are the ChatStore's, as text.

    `to` names orchestrators (by id) that it is for, whatever the text says; `automated` is for bots, webhooks and the
    system, `author_name` what such a one is called.
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
    author_name: str | None = None

    @property
    def place(self) -> Place:
        """Where it was said."""
        return Place(self.channel_id, self.thread_id, self.is_dm)

    @property
    def by_machine(self) -> bool:
        """Whether no person wrote it."""
        return self.automated or self.author_is_orchestrator


@dataclass(frozen=True, slots=True)
class Decided:
    """What was decided for those whom a message may concern, and the charters that have a word in it."""

    wakes: tuple[Wake, ...] = ()
    charters: Mapping[str, Charter] | None = None

    def charter(self, orchestrator_id: str) -> Charter | None:
        """The charter of one of them."""
        return (self.charters or {}).get(orchestrator_id)


NOBODY = Decided()


class Hearing:
    """Decides whom a message wakes. Lifetime: app, in one process; safe for all threads (each brings its tx)."""

    def __init__(self, settings: Settings, stores: Stores, chat: ChatStore, charters: CharterBook) -> None:
        self._settings = settings
        self._stores = stores
        self._people: People = stores.people
        self._chat = chat
        self._charters = charters
        self._names: dict[str, str] = {}

    def wakes(self, tx: Any, heard: Heard) -> Decided:
        """The decision for everybody whom the message may concern at all."""
        kinds = self._stores.triggers.kinds(tx)
        if heard.by_machine and "bot" not in kinds:
            return NOBODY
        mentions = find_mentions(heard.content)
        listeners = self._listeners(tx, heard, mentions, kinds)
        members = self._members(tx, heard, mentions, listeners.found)
        if not members:
            return NOBODY
        facts = self._facts(tx, heard, kinds, listeners)
        directory = Directory(members)
        ids = wake.concerned(facts, directory, mentions, {one.orchestrator_id for one in listeners.found})
        if not ids:
            return NOBODY
        charters = self._charters.behaviours(tx, ids)
        decided = wake.decide(facts, directory, mentions, self._ears(tx, charters))
        return Decided(tuple(sorted(decided, key=lambda one: one.orchestrator_id)), charters)

    def edited(self, tx: Any, heard: Heard, before: str) -> Decided:
        """Those who wake because an edit mentions them, or says a keyword of theirs, for the first time."""
        kinds = self._stores.triggers.kinds(tx) & {"keyword", "role", "bot"}
        if heard.by_machine and "bot" not in kinds:
            return NOBODY
        mentions = find_mentions(heard.content)
        listeners = self._listeners(tx, heard, mentions, kinds)
        members = self._members(tx, _plain(heard), mentions, listeners.found)
        if not members:
            return NOBODY
        charters = self._charters.behaviours(tx, [one.orchestrator_id for one in members if one.orchestrator_id])
        facts = self._facts(tx, heard, kinds, listeners)
        decided = wake.addressed_by_edit(before, facts, members, self._ears(tx, charters))
        return Decided(tuple(decided), charters)

    def explain(self, tx: Any, heard: Heard, *, only: str | None = None) -> Decided:
        """The decision for every orchestrator in the channel, or for one of them, recomputed."""
        kinds = self._stores.triggers.kinds(tx)
        members = self._chat.members(tx, heard.channel_id)
        ids = [one.orchestrator_id for one in members if one.orchestrator_id and only in (None, one.orchestrator_id)]
        listeners = self._listeners(tx, heard, Mentions(), kinds & {"follow"})
        charters = self._charters.behaviours(tx, ids)
        facts = self._facts(tx, heard, kinds, listeners)
        decided = wake.explain(facts, members, self._ears(tx, charters))
        return Decided(tuple(one for one in decided if only in (None, one.orchestrator_id)), charters)

    def _ears(self, tx: Any, charters: Mapping[str, Charter]) -> dict[str, Ears]:
        """How they listen; whether they answer at all is the app's setting, unless their own says otherwise."""
        if not charters:
            return {}
        own = self._people.daemon_values(tx, list(charters), "auto_respond")
        default = self._settings.auto_respond
        ears = {key: ears_of(one, answers=default) for key, one in charters.items()}
        return ears | {key: replace(ears[key], answers=said is not False) for key, said in own.items()}

    def _facts(self, tx: Any, heard: Heard, kinds: frozenset[str], listeners: Listeners) -> wake.Heard:
        return wake.Heard(
            content=heard.content,
            author_id=heard.author_id,
            place=heard.place,
            author_is_orchestrator=heard.author_is_orchestrator,
            author_is_bot=heard.automated,
            reply_to_author_id=heard.reply_to_author_id,
            to=None if heard.to is None else frozenset(heard.to),
            author_names=self._author_names(tx, heard) if "bot" in kinds else (),
            channel_name=self._channel_name(tx, heard.channel_id) if "channel" in kinds else "",
            following=listeners.following,
        )

    def _author_names(self, tx: Any, heard: Heard) -> tuple[str, ...]:
        names = [] if heard.author_name is None else [heard.author_name]
        if heard.author_is_orchestrator:
            found = self._people.orchestrator_id(tx, heard.author_id)
            shown = None if found is None else self._people.snapshot(tx, found)
            names += [] if shown is None else [shown.handle, shown.user.name]
        return tuple(names)

    def _listeners(self, tx: Any, heard: Heard, mentions: Mentions, kinds: frozenset[str]) -> Listeners:
        """By one statement at the most, and none while nobody listens for what this message has."""
        values: list[str] = []
        if "keyword" in kinds:
            values += listen(heard.content).keys
        if "role" in kinds:
            values += mentions.handles
        if "channel" in kinds:
            values += (heard.channel_id, self._channel_name(tx, heard.channel_id))
        follows = "follow" in kinds and heard.thread_id is not None and not heard.is_dm and not heard.by_machine
        if not (values or follows) or heard.to is not None:
            return Listeners()
        return self._stores.triggers.listeners(
            tx,
            map(cut, values),
            channel=self._bundled(tx, heard.channel_id),
            thread=heard.place if follows else None,
            author_id=heard.author_id,
        )

    def _bundled(self, tx: Any, channel_id: str) -> int | None:
        external = self._stores.external
        return None if external is None or external.is_external(tx, channel_id) else int(channel_id)

    def _channel_name(self, tx: Any, channel_id: str) -> str:
        """What a channel is called: with our own tables its name, which never changes, or the host's id of it."""
        if self._stores.external is None:
            return channel_id
        name = self._names.get(channel_id)
        if name is None:
            name = self._names[channel_id] = self._stores.external.name_of(tx, channel_id)
        return name

    def _members(self, tx: Any, heard: Heard, mentions: Mentions, listening: Iterable[Listener]) -> Sequence[Member]:
        everybody = heard.is_dm or heard.to is not None or heard.reply_to_author_id is not None
        if everybody or mentions.names or mentions.user_ids:
            return self._chat.members(tx, heard.channel_id)
        handles = mentions.handles | {one.handle for one in listening}
        return self._chat.members(tx, heard.channel_id, handles) if handles else []


def _plain(heard: Heard) -> Heard:
    """An edit wakes by its text alone, wherever it is said."""
    return Heard(heard.message_id, heard.channel_id, heard.thread_id, heard.content, heard.author_id)


def tell_decisions(heard: Heard, decided: Iterable[Wake]) -> None:
    """One log line for each decision: at INFO who wakes, at DEBUG who does not."""
    for one in decided:
        log.log(
            logging.INFO if one.wakes else logging.DEBUG,
            "Message %s %s orchestrator %s: %s",
            heard.message_id,
            "wakes" if one.wakes else "does not wake",
            one.orchestrator_id,
            one.reason,
            extra={
                "action": "wake" if one.wakes else "sleep",
                "orchestrator": one.orchestrator_id,
                "message_id": heard.message_id,
                "reason": str(one.reason),
            },
        )
