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

from collections.abc import Iterable
from dataclasses import dataclass

from ..core.handles import fold
from ..core.types import Member
from .scan import Mention, fold_name, may_mention, running_text, scan


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
