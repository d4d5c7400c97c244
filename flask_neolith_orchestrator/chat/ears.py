"""What an orchestrator listens for, read from its charter; and what is written down of it, so that messages find it.

A message looks up its own few words, channel and roles in `neolith_trigger`, one row for each `Cue` of each charter.
What it finds is only a hint: the charter has the last word (`wake`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from ..core.handles import fold
from .charter import Charter
from .keywords import key_of
from .scan import fold_name

LONGEST: Final = 200
"""Characters of a cue's value; a longer one is cut, on both sides."""


class Kind(StrEnum):
    """By what a message finds an orchestrator."""

    HOURS = "hours"  # no value: it has working hours
    KEYWORD = "keyword"  # value: the first word of a phrase
    CHANNEL = "channel"  # value: a watched channel's id or name
    ROLE = "role"  # value: a role or discipline, as it is written behind an @
    FOLLOW = "follow"  # no value: it follows threads that it has answered in
    BOT = "bot"  # value: a bot or orchestrator that it may answer
    ESCALATE = "escalate"  # value: what it tells somebody of


@dataclass(frozen=True, slots=True, order=True)
class Cue:
    """One thing that an orchestrator listens for. `value` is folded."""

    kind: Kind
    value: str = ""


@dataclass(frozen=True, slots=True)
class Ears:
    """How one orchestrator listens: its charter, as the wake rules need it. Names are folded.

    `answers` is False where it answers nobody. `watched` has ids and names of channels, `roles` are empty unless it
    asked to be called by them.
    """

    answers: bool = True
    mention_only: bool = False
    keywords: tuple[str, ...] = ()
    watched: frozenset[str] = frozenset()
    roles: frozenset[str] = frozenset()
    follows: bool = False
    bots: frozenset[str] = frozenset()


PLAIN: Final = Ears()
"""How somebody listens whose charter says nothing of it."""


def ears_of(charter: Charter, *, answers: bool = True) -> Ears:
    """How a charter lets its orchestrator listen. `answers` holds where it does not say whether it answers at all."""
    behaviour = charter.behaviour
    roles = _spoken((charter.role, charter.discipline)) if behaviour.role_mentions else frozenset()
    return Ears(
        answers=answers if behaviour.auto_reply is None else behaviour.auto_reply,
        mention_only=behaviour.mention_only,
        keywords=behaviour.keyword_triggers,
        watched=frozenset(fold_name(one) for one in behaviour.watched_channels),
        roles=roles,
        follows=behaviour.follow_threads,
        bots=frozenset(fold_name(one) for one in behaviour.answers_bots),
    )


def _spoken(names: Iterable[str]) -> frozenset[str]:
    # `@"Release Manager"` and `@release-manager` are both ways to write it
    folded = [fold_name(name) for name in names if name.strip()]
    return frozenset([*folded, *(name.replace(" ", "-") for name in folded)])


def cues_of(charter: Charter) -> list[Cue]:
    """What is to be written down of a charter, sorted, each once."""
    ears = ears_of(charter)
    words = [key for phrase in ears.keywords if (key := key_of(phrase)) is not None]
    found = {
        *(Cue(Kind.KEYWORD, cut(word)) for word in words),
        *(Cue(Kind.CHANNEL, cut(one)) for one in ears.watched),
        *(Cue(Kind.ROLE, cut(role)) for role in ears.roles),
        *(Cue(Kind.BOT, cut(one)) for one in ears.bots),
        *(Cue(Kind.ESCALATE, rule.on) for rule in charter.availability.escalation),
    }
    if ears.follows:
        found.add(Cue(Kind.FOLLOW))
    if charter.availability.hours is not None:
        found.add(Cue(Kind.HOURS))
    if ears.mention_only:  # roles are mentions, too
        found = {cue for cue in found if cue.kind not in (Kind.KEYWORD, Kind.CHANNEL, Kind.FOLLOW)}
    return sorted(found)


def cut(value: str) -> str:
    """A value as it is kept and looked up."""
    return fold(value)[:LONGEST]
