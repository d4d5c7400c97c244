"""What a model call costs, before and after: the seam between the answering and the counting. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ..core.model import ModelRequest
from ..core.types import Usage


@dataclass(frozen=True, slots=True)
class Spent:
    """How one call ended. `usage` is what the provider reported, which may be less than it bills where it broke off.

    `model` is the provider's own name of what answered; `error` is the class of what went wrong, or None.
    """

    model: str
    usage: Usage
    request_id: str | None = None
    error: str | None = None


class Charge(Protocol):
    """What was reserved for one call. Lifetime: that call."""

    def settle(self, spent: Spent) -> None:
        """The call has ended, well or badly: count what it cost and give the rest back. Called exactly once."""
        ...


class Meter(Protocol):
    """Whoever counts what calls cost. Lifetime: a turn."""

    def reserve(self, request: ModelRequest) -> Charge:
        """Ask leave for one call. Raises OverBudget where there is nothing left to spend."""
        ...


class Unmetered:
    """Counts nothing and allows everything: where nobody set a budget. Lifetime: any."""

    def reserve(self, request: ModelRequest) -> Charge:
        """Always."""
        return self

    def settle(self, spent: Spent) -> None:
        """Nothing is kept."""
