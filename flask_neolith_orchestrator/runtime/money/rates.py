"""How many messages somebody may send in a while: to one orchestrator, to all of them, and at all.

Counted by the package `limits`, in moving windows, by each process on its own: what a flood may cost is bounded by
budgets, which all processes share.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ...core.errors import TooMany
from ...core.ports import Clock
from ...settings import Settings

if TYPE_CHECKING:  # with the first message only: it takes a twentieth of a second
    from limits import RateLimitItem
    from limits.strategies import MovingWindowRateLimiter

LIMITED: Final = "rate-limit"
"""Why a delivery was refused."""


@dataclass(frozen=True, slots=True)
class _Limits:
    """The limits as `limits` reads them; None where there is none."""

    limiter: MovingWindowRateLimiter
    pair: RateLimitItem | None
    person: RateLimitItem | None
    posts: RateLimitItem | None


class Rates:
    """Counts messages. Lifetime: app, in one process; safe for all threads."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._lock = threading.Lock()
        self._made: _Limits | None = None

    def _limits(self) -> _Limits:
        with self._lock:
            if self._made is None:
                from limits import parse
                from limits.strategies import MovingWindowRateLimiter

                from .rate_window import Windows

                rates = (self._settings.rate_orchestrator, self._settings.rate_person, self._settings.rate_posts)
                pair, person, posts = [None if one is None else parse(one) for one in rates]
                self._made = _Limits(MovingWindowRateLimiter(Windows(self._clock)), pair, person, posts)
            return self._made

    def wait(self, author_id: str, orchestrator_id: str) -> float | None:
        """None, and the message counts; or the seconds until the next one may come, where this is one too many."""
        limits = self._limits()
        wanted = [(limits.pair, ("pair", author_id, orchestrator_id)), (limits.person, ("person", author_id))]
        checks = [(item, key) for item, key in wanted if item is not None]
        waits = [self._left(item, key) for item, key in checks if not limits.limiter.test(item, *key)]
        if waits:
            return max(waits)
        for item, key in checks:
            limits.limiter.hit(item, *key)
        return None

    def _left(self, item: RateLimitItem, key: tuple[str, ...]) -> float:
        reset = self._limits().limiter.get_window_stats(item, *key).reset_time
        return max(0.0, reset - self._clock.monotonic())

    def may_tell(self, author_id: str) -> bool:
        """Whether this person was not told yet, in the longest window that there is."""
        limits = self._limits()
        longest = max((one.get_expiry() for one in (limits.pair, limits.person) if one is not None), default=1)
        from limits import RateLimitItemPerSecond

        return limits.limiter.hit(RateLimitItemPerSecond(1, longest), "told", author_id)

    def post(self, user_id: str) -> None:
        """Count a post that comes from outside. Raises TooMany where it is one too many."""
        limits = self._limits()
        if limits.posts is not None and not limits.limiter.hit(limits.posts, "post", user_id):
            raise TooMany(retry_after=self._left(limits.posts, ("post", user_id)))
