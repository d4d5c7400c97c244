"""Words of what model calls cost: whose budget, for how long, how much; and the door to prices. Money is US dollars."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final, Protocol

from .types import Usage


class Scope(StrEnum):
    """Whose budget it is."""

    ORCHESTRATOR = "orchestrator"
    ORGANIZATION = "organization"
    PERSON = "person"  # who asks


class Period(StrEnum):
    """For how long a budget is: one hour, day or month by the calendar of UTC."""

    HOUR = "hour"
    DAY = "day"
    MONTH = "month"

    def begins(self, at: float) -> float:
        """When the period that `at` lies in began (epoch seconds)."""
        return self._first(at).timestamp()

    def ends(self, at: float) -> float:
        """When it ends, which is when the next one begins."""
        first = self._first(at)
        if self is Period.MONTH:
            return (first + timedelta(days=32)).replace(day=1).timestamp()
        return (first + timedelta(**{f"{self}s": 1})).timestamp()

    def _first(self, at: float) -> datetime:
        moment = datetime.fromtimestamp(at, UTC).replace(minute=0, second=0, microsecond=0)
        if self is not Period.HOUR:
            moment = moment.replace(hour=0)
        return moment.replace(day=1) if self is Period.MONTH else moment


@dataclass(frozen=True, slots=True)
class Ceiling:
    """The most of one period: tokens of all kinds, dollars, answers. None: as much as one likes."""

    tokens: int | None = None
    cost: float | None = None
    replies: int | None = None

    def __bool__(self) -> bool:
        return not (self.tokens is None and self.cost is None and self.replies is None)


@dataclass(frozen=True, slots=True)
class Purse:
    """One budget that a call is paid from: whose, and for how long. `version` is of the charter that says so."""

    scope: Scope
    scope_id: str
    period: Period
    ceiling: Ceiling
    version: int = 0


@dataclass(frozen=True, slots=True)
class Holdings:
    """What is gone of one purse in one period: spent, and reserved for calls that go on.

    `unpriced` are calls whose cost nobody knows: they are in `tokens`, and not in `cost`.
    """

    tokens: int = 0
    cost: float = 0.0
    reserved_tokens: int = 0
    reserved_cost: float = 0.0
    unpriced: int = 0
    replies: int = 0


@dataclass(frozen=True, slots=True)
class Want:
    """What one call may take at the most. `replies` is 1 where an answer begins with it, else 0."""

    tokens: int
    cost: float
    replies: int = 0


@dataclass(frozen=True, slots=True)
class Closed:
    """Calls are refused until then (epoch seconds): for the `reason` budget, or replies."""

    reason: str
    until: float


TOLD_AT: Final = (50, 75, 90)
"""Percent of a budget at which those who manage it are told."""

EXHAUSTED: Final = 100
"""What is told instead where a call did not fit any more, however much is left."""


def percent(ceiling: Ceiling, holdings: Holdings) -> float:
    """How much of the budget is spent: of whatever is nearest to its end, and without what is only reserved."""
    shares = [
        100.0 * spent / most if most else 100.0
        for spent, most in (
            (holdings.tokens, ceiling.tokens),
            (holdings.cost, ceiling.cost),
            (holdings.replies, ceiling.replies),
        )
        if most is not None
    ]
    return max(shares, default=0.0)


def mark(share: float) -> int:
    """The highest of `TOLD_AT` that a share has reached, else 0."""
    return max((one for one in TOLD_AT if share >= one), default=0)


class Prices(Protocol):
    """Knows what tokens cost. Lifetime: app, in one process; safe for all threads."""

    def cost(self, model: str, usage: Usage) -> float | None:
        """Dollars for one call of `model`; None where nobody knows."""
        ...
