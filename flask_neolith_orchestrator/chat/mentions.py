"""Who is mentioned in a message. Pure.

A mention is `@handle`, `@"Name with spaces"` or `<@user id>` in running text: the Markdown is parsed first, and code,
quotes, links and images are not running text; neither are bare URLs, e-mail addresses and emoji shortcodes. `\\@ada`
speaks of ada without calling her.

The word behind the @ is taken as a whole, without trailing punctuation: `@ada-lovelace` never means `ada`. Only
where a script writes no spaces (Chinese, Japanese, Thai ...) may a handle end inside a run of letters, the longest
handle first; and a short Hebrew or Arabic particle may stand directly before the @.

The text is parsed once; what is looked up are the few keys found in it, however many members there are.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from ..core.handles import fold
from ..core.types import Member
from .scan import Found, Mention, fold_name, may_mention, running_text, scan
from .text import clean

_AROUND_CALL: Final = " \t\n,:;"


@dataclass(frozen=True, slots=True)
class Mentions:
    """Everything a message mentions, whether or not somebody is called so. False when there is nothing."""

    items: tuple[Mention, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.items)

    @property
    def handles(self) -> frozenset[str]:
        """Every folded handle worth looking up (a quoted name may be a handle too)."""
        return frozenset(key for item in self.items if item.kind != "id" for key in item.keys)

    @property
    def names(self) -> frozenset[str]:
        """Every folded display name worth looking up; mostly empty."""
        return frozenset(key for item in self.items if item.kind == "name" for key in item.keys)

    @property
    def user_ids(self) -> frozenset[str]:
        """Every user id mentioned as `<@id>`."""
        return frozenset(key for item in self.items if item.kind == "id" for key in item.keys)


class Directory:
    """Members by user id, handle and name. Lifetime: as long as the membership it was made from is current."""

    def __init__(self, members: Iterable[Member]) -> None:
        self.members: tuple[Member, ...] = tuple(members)
        self._by_id = {member.user_id: member for member in self.members}
        self._by_key: dict[tuple[str, str], list[Member]] = {}
        for member in self.members:
            if member.handle:
                self._by_key.setdefault(("handle", fold(member.handle)), []).append(member)
            self._by_key.setdefault(("name", fold_name(member.name)), []).append(member)

    def get(self, user_id: str | None) -> Member | None:
        """The member with this user id, or None."""
        return None if user_id is None else self._by_id.get(user_id)

    def named(self, mention: Mention) -> list[Member]:
        """The members one mention means: those of its longest key that is anybody's. Namesakes are all meant."""
        if mention.kind == "id":
            return [self._by_id[key] for key in mention.keys if key in self._by_id]
        for key in mention.keys:
            found = self._by_key.get(("handle", key), [])
            if mention.kind == "name":
                found = [*found, *self._by_key.get(("name", key), [])]
            if found:
                return found
        return []

    def match(self, mentions: Mentions) -> frozenset[str]:
        """The user ids of everybody mentioned."""
        return frozenset(member.user_id for item in mentions.items for member in self.named(item))


def find_mentions(content: str) -> Mentions:
    """What a Markdown text mentions. Takes any str and never raises; without an @ it costs next to nothing."""
    if not may_mention(content):
        return Mentions()
    found = (found.mention for text in running_text(content) for found in scan(text))
    return Mentions(tuple(dict.fromkeys(found)))


def match_mentions(content: str, members: Sequence[Member] | Directory) -> frozenset[str]:
    """The user ids of those `members` whom a text mentions, people and orchestrators alike.

    Without a mention in the text the members are not looked at. Pass a `Directory`, or only the members that
    `find_mentions(content)` gives the keys of, to keep the cost independent of how many there are.
    """
    mentions = find_mentions(content)
    if not mentions:
        return frozenset()
    return (members if isinstance(members, Directory) else Directory(members)).match(mentions)


def strip_mention(content: str, member: Member) -> str:
    """A message without the calls of `member` that stand before and after everything else.

    `@ada what is this?` becomes `what is this?`; where the mention is part of a sentence it stays.
    """
    text = clean(content)
    directory = Directory([member])
    calls = [call for found in scan(text) if (call := _call(text, found, directory))]
    begin, end = 0, len(text)
    for first, last in calls:
        if text[begin:first].strip(_AROUND_CALL):
            break
        begin = last
    for first, last in reversed(calls):
        if text[last:end].strip(_AROUND_CALL):
            break
        end = first
    return text[begin:end].strip(_AROUND_CALL)


def asks_nothing(content: str, member: Member) -> bool:
    """Whether a message only calls `member` and says nothing else: no word, no emoji."""
    rest = strip_mention(content, member)
    return not any(char.isalnum() or unicodedata.category(char) in ("Sc", "Sm", "So") for char in rest)


def _call(text: str, found: Found, directory: Directory) -> tuple[int, int] | None:
    for key, end in zip(found.mention.keys, found.ends, strict=True):
        if directory.named(Mention(found.mention.kind, (key,))):
            first = found.start
            while first and end < len(text) and text[first - 1] == text[end] and text[end] in "*_~":
                first, end = first - 1, end + 1  # its own emphasis goes with it
            return first, end
    return None
