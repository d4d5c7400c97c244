"""What was spent, by day and model: the ledger added up for people."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Connection, Integer, and_, cast, func, select

from ...core.money import Scope
from ..sql.database import Database
from ..tables.models import Models

DAY: Final = 86_400
"""Seconds of a day, which begins at midnight UTC."""

MOST: Final = 5_000
"""Rows at the most; the days that are longest ago are left out first."""

_TOKENS: Final = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")


class Spending:
    """Reads the ledger. Lifetime: app; safe for all threads (each brings its transaction)."""

    def __init__(self, models: Models, database: Database) -> None:
        self._l, self._o = models.table("Ledger"), models.table("Orchestrator")
        self._server = database.dialect.name != "sqlite"

    def by_day(self, tx: Connection, scope: Scope, scope_id: str, begin: float) -> list[dict[str, Any]]:
        """Of an orchestrator or an organization since `begin`: day (since 1970), model, calls, tokens, cost, unpriced.

        The newest day first. `cost` is that of the calls whose price is known, None where that is none of them.
        """
        led, o = self._l, self._o
        share = led.c.at / DAY
        day = cast(func.floor(share) if self._server else share, Integer)  # a cast rounds on a server
        mine = led.c.orchestrator_id == int(scope_id)
        if scope is Scope.ORGANIZATION:
            members = select(o.c.id).where(o.c.organization_id == int(scope_id))
            mine = and_(led.c.orchestrator_id.in_(members), led.c.organization_id == int(scope_id))
        tokens = sum((led.c[name] for name in _TOKENS[1:]), start=led.c[_TOKENS[0]])
        statement = (
            select(
                day.label("day"),
                led.c.model,
                func.count().label("calls"),
                *(func.sum(led.c[name]).label(name) for name in _TOKENS),
                func.sum(led.c.cost).label("cost"),
                func.count().filter(and_(led.c.cost.is_(None), tokens > 0)).label("unpriced"),
            )
            .where(mine, led.c.state == "settled", led.c.at >= begin)
            .group_by(day, led.c.model)
            .order_by(day.desc(), led.c.model)
            .limit(MOST)
        )
        return [dict(row) for row in tx.execute(statement).mappings()]
