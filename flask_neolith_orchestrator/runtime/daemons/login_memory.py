"""What one process remembers of logins, so that a request costs a look into a dictionary and no SQL."""

from __future__ import annotations

from ...core.ports import Clock


class LoginMemory:
    """Which tokens came, when, and which logins go on. Lifetime: app, in one process; safe for all threads."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._seen: dict[str, float] = {}
        self._known: dict[str, tuple[float, bool]] = {}

    def __len__(self) -> int:
        """How many tokens are remembered."""
        return len(self._seen.keys() | self._known.keys())

    @property
    def seen(self) -> dict[str, float]:
        """When each token was last seen here."""
        return dict(self._seen)

    def see(self, token: str) -> bool:
        """A token came; True if it came for the first time."""
        first = token not in self._seen
        self._seen[token] = self._clock.wall()
        return first

    def unsee(self, token: str) -> None:
        """Its next coming is a first time again."""
        self._seen.pop(token, None)

    def learn(self, token: str, live: bool) -> None:
        """A look at the row said so."""
        self._known[token] = (self._clock.monotonic(), live)

    def confirm(self, token: str, live: bool) -> None:
        """As `learn`, but what has ended stays so, whatever was read before."""
        if self.says_live(token, default=True):
            self.learn(token, live)

    def says_live(self, token: str, *, default: bool) -> bool:
        """What was learned last, however long ago; `default` for a token nothing is known of."""
        return self._known.get(token, (0.0, default))[1]

    def is_fresh(self, token: str, seconds: float) -> bool:
        """Whether nothing needs to be read: it has ended, or it was looked at within `seconds`."""
        known = self._known.get(token)
        return known is not None and (not known[1] or self._clock.monotonic() - known[0] <= seconds)

    def forget(self, older_than: float) -> None:
        """Forget what is older than this many seconds."""
        unseen_since = self._clock.wall() - older_than
        unlooked_since = self._clock.monotonic() - older_than
        for token in [token for token, at in self.seen.items() if at < unseen_since]:
            self._seen.pop(token, None)
        for token in [token for token, known in list(self._known.items()) if known[0] < unlooked_since]:
            self._known.pop(token, None)
