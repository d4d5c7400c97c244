"""For whom a message is: the one policy of the house, used by every way in. Pure.

Each decision carries a `Reason`; the values are API (logs, `GET messages/<id>/explain`, `Accepted.reason`). The
rules, in their order, for one orchestrator:

1. it wrote the message itself, or a bot or an orchestrator did: it sleeps
2. the sender named the addressees (`to`): it wakes if it is one of them, whatever else the text says
3. it is mentioned, or one of its messages is replied to: it wakes
4. in a direct message it wakes, unless somebody else there is meant by name or by reply
5. otherwise it sleeps
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from ..core.types import Member, Place, Wake
from .mentions import Directory, Mentions, find_mentions


class Reason(StrEnum):
    """Why an orchestrator wakes or sleeps."""

    ADDRESSED = "addressed"  # wakes: the sender named it as an addressee
    MENTIONED = "mentioned"  # wakes: its handle, name or id is in the text
    MENTION_ADDED = "mention-added"  # wakes: an edit put it there
    REPLY = "reply"  # wakes: the message replies to one of its own
    DIRECT = "direct-message"  # wakes: a direct message needs no mention
    OWN = "own-message"  # sleeps: it wrote this itself
    BOT = "author-is-bot"  # sleeps: system, webhook and foreign bots' messages wake nobody unless allowed
    ORCHESTRATOR = "author-is-orchestrator"  # sleeps: orchestrators do not wake each other
    NOT_ADDRESSED = "not-addressed"  # sleeps: the sender named others
    OTHERS_MEANT = "others-meant"  # sleeps: a direct message that is for somebody else in it
    NOT_MENTIONED = "not-mentioned"  # sleeps


_WAKING = frozenset({Reason.ADDRESSED, Reason.MENTIONED, Reason.MENTION_ADDED, Reason.REPLY, Reason.DIRECT})


@dataclass(frozen=True, slots=True)
class Heard:
    """What is known of a message when it is decided whom it wakes.

    `author_id` and `reply_to_author_id` (who wrote the message that this one replies to) are user ids; `to` are
    orchestrator ids, or None where the sender named nobody. `author_is_bot` is for system messages, webhooks and
    foreign bots; `allow_bots` lets them wake all the same.
    """

    content: str
    author_id: str
    place: Place
    author_is_orchestrator: bool = False
    author_is_bot: bool = False
    allow_bots: bool = False
    reply_to_author_id: str | None = None
    to: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class _Meant:
    mentioned: frozenset[str]
    replied: frozenset[str]

    @property
    def anybody(self) -> frozenset[str]:
        return self.mentioned | self.replied


def addressed(heard: Heard, members: Sequence[Member] | Directory, mentions: Mentions | None = None) -> list[Wake]:
    """Only those who wake, by user id. For the hot path: whoever is not meant costs nothing.

    `members` may be a `Directory`, or just the members that this message can concern: the author, the author
    replied to, those with `mentions.handles`, `mentions.names` or `mentions.user_ids`, those in `to`, and everybody
    in a direct message. `mentions` saves a second parse where `find_mentions(content)` is already known.
    """
    mentions = find_mentions(heard.content) if mentions is None else mentions
    by_text = bool(mentions) or heard.reply_to_author_id is not None
    if not (by_text or heard.to is not None or heard.place.is_dm):
        return []
    directory = members if isinstance(members, Directory) else Directory(members)
    meant = _meant(heard, directory, mentions)
    everybody = heard.to is not None or heard.place.is_dm
    candidates = directory.members if everybody else _members(directory, meant.anybody)
    wakes = [wake for wake in _decide(heard, directory, meant, candidates) if wake.wakes]
    return sorted(wakes, key=lambda wake: wake.orchestrator_id)


def explain(heard: Heard, members: Sequence[Member] | Directory) -> list[Wake]:
    """The decision for every orchestrator among `members`, in their order: those who sleep too, and why."""
    directory = members if isinstance(members, Directory) else Directory(members)
    meant = _meant(heard, directory, find_mentions(heard.content))
    return list(_decide(heard, directory, meant, directory.members))


def addressed_by_edit(before: str, heard: Heard, members: Sequence[Member] | Directory) -> list[Wake]:
    """Those who wake because an edit from `before` to `heard.content` mentions them for the first time.

    Any other edit wakes nobody, also in a direct message: it is seen in later context.
    """
    after = find_mentions(heard.content)
    if not after:
        return []
    directory = members if isinstance(members, Directory) else Directory(members)
    added = directory.match(after) - directory.match(find_mentions(before))
    reason = _refusal(heard, directory)
    return [
        Wake(member.orchestrator_id, True, Reason.MENTION_ADDED)
        for member in _members(directory, added)
        if reason is None and member.orchestrator_id is not None
    ]


def _meant(heard: Heard, directory: Directory, mentions: Mentions) -> _Meant:
    replied = directory.get(heard.reply_to_author_id)
    return _Meant(
        directory.match(mentions) - {heard.author_id},
        frozenset({replied.user_id} if replied else ()) - {heard.author_id},
    )


def _members(directory: Directory, user_ids: frozenset[str]) -> list[Member]:
    found = (directory.get(user_id) for user_id in sorted(user_ids))
    return [member for member in found if member is not None]


def _decide(heard: Heard, directory: Directory, meant: _Meant, candidates: Sequence[Member]) -> Iterator[Wake]:
    refusal = _refusal(heard, directory)
    for member in candidates:
        if member.orchestrator_id is not None:
            own = member.user_id == heard.author_id
            reason = Reason.OWN if own else refusal or _reason(heard, meant, member)
            yield Wake(member.orchestrator_id, reason in _WAKING, reason)


def _refusal(heard: Heard, directory: Directory) -> Reason | None:
    # Why nobody at all wakes. The member row is asked too: who forgets to set the flag must not start a loop.
    author = directory.get(heard.author_id)
    if heard.author_is_orchestrator or (author is not None and author.orchestrator_id is not None):
        return Reason.ORCHESTRATOR
    return Reason.BOT if heard.author_is_bot and not heard.allow_bots else None


def _reason(heard: Heard, meant: _Meant, member: Member) -> Reason:
    if heard.to is not None:
        return Reason.ADDRESSED if member.orchestrator_id in heard.to else Reason.NOT_ADDRESSED
    if member.user_id in meant.mentioned:
        return Reason.MENTIONED
    if member.user_id in meant.replied:
        return Reason.REPLY
    if not heard.place.is_dm:
        return Reason.NOT_MENTIONED
    return Reason.OTHERS_MEANT if meant.anybody else Reason.DIRECT
