"""What is made of things that stay the same for many turns, so that it is made once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Generic, TypeVar

MOST: Final = 1_000
"""Things of which something is remembered, at the most; then it is begun anew."""

ThingT = TypeVar("ThingT")
MadeT = TypeVar("MadeT")


class Remembered(Generic[ThingT, MadeT]):
    """Makes something of a thing once, for as long as it is given the same object (which must not change).

    Lifetime: app, in one process; safe for all threads (two that come at once make it twice).
    """

    def __init__(self, make: Callable[[ThingT], MadeT], most: int = MOST) -> None:
        self._make = make
        self._most = most
        self._kept: dict[int, tuple[ThingT, MadeT]] = {}

    def of(self, thing: ThingT) -> MadeT:
        """What is made of it."""
        known = self._kept.get(id(thing))
        if known is not None and known[0] is thing:  # it is kept alive here, so that no other can have its id
            return known[1]
        made = self._make(thing)
        if len(self._kept) >= self._most:
            self._kept.clear()
        self._kept[id(thing)] = (thing, made)
        return made
