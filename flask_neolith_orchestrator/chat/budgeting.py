"""From what charters and settings say to the purses that a call is paid from. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

from ..core.errors import OverBudget
from ..core.money import Ceiling, Period, Purse, Scope


def ceilings(limits: object, caps: object = None) -> dict[Period, Ceiling]:
    """What may be spent per period, by fields such as `tokens_per_day` of `limits` and `replies_per_day` of `caps`."""
    found = {
        period: Ceiling(
            tokens=_number(limits, f"tokens_per_{period}", int),
            cost=_number(limits, f"cost_per_{period}", float),
            replies=_number(caps, f"replies_per_{period}", int),
        )
        for period in Period
    }
    return {period: ceiling for period, ceiling in found.items() if ceiling}


def _number(source: object, name: str, kind: type[Any]) -> Any:
    value = source.get(name) if isinstance(source, Mapping) else getattr(source, name, None)
    return None if value is None else kind(value)


def purses(scope: Scope, scope_id: str, limits: Mapping[Period, Ceiling], version: int = 0) -> tuple[Purse, ...]:
    """One purse for each period with a limit."""
    return tuple(Purse(scope, scope_id, period, ceiling, version) for period, ceiling in limits.items())


def origin(purse: Purse, purses: Sequence[Purse]) -> Scope:
    """Whose limit a purse has: an orchestrator takes over its organization's, and together they reach it first."""
    limit = (purse.period, purse.ceiling.tokens, purse.ceiling.cost)
    theirs = [one for one in purses if one.scope is Scope.ORGANIZATION]
    is_theirs = any((one.period, one.ceiling.tokens, one.ceiling.cost) == limit for one in theirs)
    return Scope.ORGANIZATION if purse.scope is Scope.ORCHESTRATOR and is_theirs else purse.scope


def shown_cost(cost: float | None) -> str | None:
    """Dollars as text with six places, for people and for the wire: a JSON number would lose some."""
    return None if cost is None else str(Decimal(repr(cost)).quantize(Decimal("0.000001")))


_WORDS: Final[Mapping[str, str]] = {
    Scope.ORCHESTRATOR: "My budget",
    Scope.ORGANIZATION: "The budget of our organization",
    Scope.PERSON: "Your own budget for questions",
}
BREATH: Final = "The rest of the budget is reserved for answers that are being written. This one comes after them."
"""What people are told where only calls that go on stand in the way."""


def notice(error: OverBudget, *, waits: bool) -> str:
    """What people are told where a budget is used up; `waits` says whether the question is kept until then."""
    if error.passing:
        return BREATH
    when = f"{datetime.fromtimestamp(error.until, UTC):%d %B %Y, %H:%M} UTC"
    what = f"I have given as many answers as I may in one {error.period}"
    if error.reason != "replies":
        what = f"{_WORDS.get(error.scope, 'The budget')} for this {error.period} is used up"
    return f"{what}. I will answer after {when}." if waits else f"{what}. Please ask me again after {when}."
