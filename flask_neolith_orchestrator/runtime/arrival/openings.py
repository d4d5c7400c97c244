"""Tells browsers when somebody's working hours begin and end."""

from __future__ import annotations

from ...store.stores import Stores
from ..broadcast.news import News
from ..broadcast.pauses import Pause
from .manners import Manners


class Openings:
    """Looks at each sweep who came and who went. Lifetime: app, in one process.

    Costs nothing while no charter in the app has hours. Each process tells what it sees: it is a state, not an event.
    """

    def __init__(self, stores: Stores, manners: Manners, news: News) -> None:
        self._stores = stores
        self._manners = manners
        self._news = news
        self._known: dict[str, Pause] | None = None

    def sweep(self) -> None:
        """Tell what has changed since the last look; the first look only learns."""
        with self._stores.database.read() as tx:
            ids = self._manners.with_hours(tx)
            away = dict(self._manners.pauses(tx, ids)) if ids else {}
            known, self._known = self._known, away
            changed = [] if known is None else [one for one in {*known, *away} if known.get(one) != away.get(one)]
            snapshots = self._stores.people.snapshots(tx, changed) if changed else []
        for one in snapshots:
            pause = away.get(one.id)
            self._news.daemon(
                "daemon:status",
                one,
                {"status": "running", "reason": "hours", "paused": None if pause is None else pause.shown()},
            )
