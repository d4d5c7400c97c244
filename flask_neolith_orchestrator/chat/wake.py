"""For whom a message is: the one policy of the house, used by every way in. Pure.

Each decision carries a `Reason`; the values are API (logs, `GET messages/<id>/explain`, `Accepted.reason`). The
rules, in their order, for one orchestrator; the first that applies decides:

 1. it wrote the message itself: it sleeps
 2. another orchestrator wrote it, or a bot, a webhook or the system: it sleeps, unless its charter lets it answer
    that one; and an orchestrator then has to call it by name
 3. it answers nobody (`auto_reply: false`): it sleeps
 4. the sender named the addressees (`to`): it wakes if it is one of them, whatever else the text says
 5. it is mentioned, or its role where the charter asks for that, or one of its messages is replied to: it wakes
 6. in a direct message it wakes, unless somebody else there is meant by name or by reply
 7. a keyword of its charter is said: it wakes
 8. it goes on in a thread with somebody whom it has answered there, or it watches the channel: it wakes, unless
    somebody else is meant by name or by reply
 9. otherwise it sleeps

`mention_only` takes 7 and 8 away. Whether it may answer now is not decided here: see `hours` and the loop guard.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from ..core.types import Member, Place, Wake
from .ears import PLAIN, Ears
from .keywords import Spoken, listen
from .mentions import Directory, Mentions, find_mentions
from .reasons import WAKING, Reason
from .scan import fold_name, may_mention

_NAMED: Final = frozenset({Reason.ADDRESSED, Reason.MENTIONED, Reason.MENTION_ADDED})
_ADDED: Final = {
    Reason.MENTIONED: Reason.MENTION_ADDED,
    Reason.ROLE: Reason.MENTION_ADDED,
    Reason.KEYWORD: Reason.KEYWORD_ADDED,
}


@dataclass(frozen=True, slots=True)
class Heard:
    """What is known of a message when it is decided whom it wakes.

    `author_id` and `reply_to_author_id` (who wrote the message that this one replies to) are user ids; `to` are
    orchestrator ids, or None where the sender named nobody. `author_is_bot` is for system messages, webhooks and
    foreign bots; `allow_bots` lets them wake all the same. `author_names` are what charters may call an author who is
    no person: a handle, a name. `following` are orchestrators that have answered the author in this thread.
    """

    content: str
    author_id: str
    place: Place
    author_is_orchestrator: bool = False
    author_is_bot: bool = False
    allow_bots: bool = False
    reply_to_author_id: str | None = None
    to: frozenset[str] | None = None
    author_names: tuple[str, ...] = ()
    channel_name: str = ""
    following: frozenset[str] = frozenset()

    @property
    def by_machine(self) -> bool:
        """Whether no person wrote it."""
        return self.author_is_orchestrator or self.author_is_bot


@dataclass(frozen=True, slots=True)
class _Scene:
    """One message among the members that it may concern. Lifetime: one decision."""

    heard: Heard
    directory: Directory
    mentions: Mentions
    spoken: Spoken
    mentioned: frozenset[str]
    replied: str | None

    def candidates(self, listening: Collection[str]) -> Iterable[Member]:
        """Those who may wake at all: a channel may have thousands of members."""
        if self.heard.to is not None or self.heard.place.is_dm:
            return self.directory.members
        called = self.mentioned if self.replied is None else self.mentioned | {self.replied}
        return [one for one in self.directory.members if one.user_id in called or one.orchestrator_id in listening]

    @property
    def by_orchestrator(self) -> bool:
        # The member row is asked too: who forgets to set the flag must not start a loop.
        author = self.directory.get(self.heard.author_id)
        return self.heard.author_is_orchestrator or (author is not None and author.orchestrator_id is not None)

    def is_for_others(self, member: Member) -> bool:
        """Whether somebody else is meant by name, known here or not, or by reply."""
        replied = self.heard.reply_to_author_id
        if replied is not None and replied not in (member.user_id, self.heard.author_id):
            return True
        own = {member.user_id, self.heard.author_id}
        return any(not own & {one.user_id for one in self.directory.named(item)} for item in self.mentions.items)

    def calls(self, roles: frozenset[str]) -> bool:
        """Whether one of the roles is mentioned; what is somebody's handle or name is no role."""
        return any(
            roles.intersection(map(fold_name, item.keys)) and not self.directory.named(item)
            for item in self.mentions.items
            if roles and item.kind != "id"
        )


def addressed(
    heard: Heard,
    members: Sequence[Member] | Directory,
    mentions: Mentions | None = None,
    ears: Mapping[str, Ears] | None = None,
) -> list[Wake]:
    """Only those who wake, by orchestrator id. For the hot path: whoever is not meant costs nothing.

    `members` may be a `Directory`, or just the members that this message can concern: the author, the author
    replied to, those with `mentions.handles`, `mentions.names` or `mentions.user_ids`, those in `to`, everybody
    in a direct message, and whoever listens for something. `ears` has how those listen whose charter says anything
    of it. `mentions` saves a second parse where `find_mentions(content)` is already known.
    """
    mentions = find_mentions(heard.content) if mentions is None else mentions
    by_text = bool(mentions) or heard.reply_to_author_id is not None
    if not (by_text or heard.to is not None or heard.place.is_dm or ears):
        return []
    wakes = [wake for wake in decide(heard, members, mentions, ears or {}) if wake.wakes]
    return sorted(wakes, key=lambda wake: wake.orchestrator_id)


def decide(
    heard: Heard, members: Sequence[Member] | Directory, mentions: Mentions, ears: Mapping[str, Ears]
) -> list[Wake]:
    """The decision for those whom it may concern at all: see `concerned`."""
    scene = _scene(heard, members, mentions, ears)
    return list(_decide(scene, ears, scene.candidates(ears)))


def concerned(
    heard: Heard, members: Sequence[Member] | Directory, mentions: Mentions, listening: Collection[str]
) -> list[str]:
    """Orchestrators whose charter has a word in this: who is meant, and who listens (ids)."""
    candidates = _scene(heard, members, mentions, {}).candidates(listening)
    return [one.orchestrator_id for one in candidates if one.orchestrator_id is not None]


def explain(heard: Heard, members: Sequence[Member] | Directory, ears: Mapping[str, Ears] | None = None) -> list[Wake]:
    """The decision for every orchestrator among `members`, in their order: those who sleep too, and why."""
    scene = _scene(heard, members, find_mentions(heard.content), ears or {})
    return list(_decide(scene, ears or {}, scene.directory.members))


def addressed_by_edit(
    before: str, heard: Heard, members: Sequence[Member] | Directory, ears: Mapping[str, Ears] | None = None
) -> list[Wake]:
    """Those who wake because an edit from `before` to `heard.content` mentions them, or says a keyword, anew.

    Any other edit wakes nobody, also in a direct message: it is seen in later context.
    """
    if not (ears or may_mention(heard.content)):
        return []
    ears = ears or {}
    old, new = _called(before, heard, members, ears), _called(heard.content, heard, members, ears)
    return [
        Wake(key, True, _ADDED[Reason(one.reason)])
        for key, one in new.items()
        if one.wakes and one.reason in _ADDED and old[key].reason not in _ADDED
    ]


def _called(
    content: str, heard: Heard, members: Sequence[Member] | Directory, ears: Mapping[str, Ears]
) -> dict[str, Wake]:
    """What the text alone does, wherever it is said."""
    place = Place(heard.place.channel_id, heard.place.thread_id)
    text = replace(heard, content=content, place=place, reply_to_author_id=None, to=None, following=frozenset())
    scene = _scene(text, members, find_mentions(content), ears)
    return {wake.orchestrator_id: wake for wake in _decide(scene, ears, scene.directory.members)}


def _scene(heard: Heard, members: Sequence[Member] | Directory, mentions: Mentions, ears: Mapping[str, Ears]) -> _Scene:
    directory = members if isinstance(members, Directory) else Directory(members)
    replied = directory.get(heard.reply_to_author_id)
    return _Scene(
        heard,
        directory,
        mentions,
        listen(heard.content) if any(one.keywords for one in ears.values()) else Spoken(),
        directory.match(mentions) - {heard.author_id},
        None if replied is None or replied.user_id == heard.author_id else replied.user_id,
    )


def _decide(scene: _Scene, ears: Mapping[str, Ears], candidates: Iterable[Member]) -> Iterator[Wake]:
    for member in candidates:
        if member.orchestrator_id is not None:
            reason = _reason(scene, member, ears.get(member.orchestrator_id, PLAIN))
            yield Wake(member.orchestrator_id, reason in WAKING, reason)


def _reason(scene: _Scene, member: Member, ears: Ears) -> Reason:
    heard = scene.heard
    if member.user_id == heard.author_id:
        return Reason.OWN
    refusal = _refusal(scene, ears)
    if refusal is not None:
        return refusal
    found = _by_name(scene, member, ears) or _by_listening(scene, member, ears)
    return Reason.ORCHESTRATOR if scene.by_orchestrator and found not in _NAMED else found


def _refusal(scene: _Scene, ears: Ears) -> Reason | None:
    heard = scene.heard
    known = bool(ears.bots) and not ears.bots.isdisjoint(map(fold_name, heard.author_names))
    if scene.by_orchestrator and not known:
        return Reason.ORCHESTRATOR
    if heard.author_is_bot and not known and not heard.allow_bots:
        return Reason.BOT
    return None if ears.answers else Reason.SILENT


def _by_name(scene: _Scene, member: Member, ears: Ears) -> Reason | None:
    heard = scene.heard
    if heard.to is not None:
        return Reason.ADDRESSED if member.orchestrator_id in heard.to else Reason.NOT_ADDRESSED
    if member.user_id in scene.mentioned:
        return Reason.MENTIONED
    if scene.calls(ears.roles):
        return Reason.ROLE
    if member.user_id == scene.replied:
        return Reason.REPLY
    if not heard.place.is_dm:
        return None
    others = bool(scene.mentioned) or scene.replied is not None
    return Reason.OTHERS_MEANT if others else Reason.DIRECT


def _by_listening(scene: _Scene, member: Member, ears: Ears) -> Reason:
    heard = scene.heard
    by_word = scene.spoken.says(ears.keywords) is not None
    follows = ears.follows and member.orchestrator_id in heard.following
    watches = not ears.watched.isdisjoint((fold_name(heard.place.channel_id), fold_name(heard.channel_name)))
    if not (by_word or follows or watches):
        return Reason.NOT_MENTIONED
    if ears.mention_only:
        return Reason.MENTION_ONLY
    if by_word:
        return Reason.KEYWORD
    if scene.is_for_others(member):
        return Reason.OTHERS_MEANT
    return Reason.THREAD if follows else Reason.WATCHED
