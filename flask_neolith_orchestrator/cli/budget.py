"""flask neolith budget: what an orchestrator and its organization may spend, and have spent."""

from __future__ import annotations

import click
from flask.cli import AppGroup

from ..core.money import Holdings, Purse, percent
from ..runtime.broadcast.pauses import Pause
from ..runtime.state import State
from ..store.chat.views import iso
from .finding import find, ready


def add_budget(group: AppGroup, state: State) -> None:
    """Add the command."""

    @group.command("budget")
    @click.argument("who")
    def budget(who: str) -> None:
        """Show what WHO (id or @handle) and its organization have spent of their budgets."""
        house = ready(state)
        one = find(house, who).orchestrator
        with house.database.read() as tx:
            rows = house.treasury.survey(tx, one)
        for purse, gone, pause in rows:
            click.echo(_line(purse, gone, pause))


def _line(purse: Purse, gone: Holdings, pause: Pause | None) -> str:
    ceiling = purse.ceiling
    parts = [
        f"{purse.scope} {purse.period}:".ljust(20),
        f"tokens {gone.tokens:,}{_of(ceiling.tokens)},",
        f"${gone.cost:.6f}{_of(ceiling.cost)}",
    ]
    if ceiling.replies is not None:
        parts.append(f"answers {gone.replies}{_of(ceiling.replies)}")
    if ceiling:
        parts.append(f"({percent(ceiling, gone):.0f} %)")
    if gone.unpriced:
        parts.append(f"and {gone.unpriced} calls whose cost nobody knows")
    if pause is not None:
        parts.append(f"PAUSED until {iso(pause.until)}")
    return " ".join(parts)


def _of(limit: float | None) -> str:
    return "" if limit is None else f" of {limit:,}"
