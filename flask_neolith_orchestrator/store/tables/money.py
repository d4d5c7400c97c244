"""Classes of what model calls cost, as mixins: see `models.make_models`. Money is in US dollars."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Double, Index, Integer, String, text
from sqlalchemy.orm import Mapped, declared_attr, mapped_column

from .columns import Instant, Key, Tables, own_key, stored


class LedgerColumns:
    """One model call. `state` is reserved until it has ended, then settled; `cost` is None where nobody knows it.

    While it is reserved, tokens and cost are what it may come to at the most; so they stay where its process died.

    `purpose` is answer or summary. `purses` are the budgets that it was reserved from, as "scope/period" one after
    the other, and `epoch` the fence of the attempt: whoever has a newer one knows that this call is over. Kept when
    its turn is forgotten: it is what the bill is checked against.
    """

    __tablename__ = "neolith_ledger"
    id: Mapped[int] = own_key()
    at: Mapped[float] = mapped_column(Instant)
    turn_id: Mapped[int | None] = mapped_column(Key, default=None, index=True)
    epoch: Mapped[int] = mapped_column(Integer, default=0)
    orchestrator_id: Mapped[int] = mapped_column(Key)
    organization_id: Mapped[int | None] = mapped_column(Key, default=None)
    requester_id: Mapped[str] = mapped_column(String(255))
    purpose: Mapped[str] = mapped_column(String(12), default="answer")
    model: Mapped[str] = mapped_column(String(100))
    request_id: Mapped[str | None] = mapped_column(String(255), default=None)
    state: Mapped[str] = mapped_column(String(10), default="reserved")
    error: Mapped[str | None] = mapped_column(String(40), default=None)
    purses: Mapped[str | None] = mapped_column(String(200), default=None)
    input_tokens: Mapped[int] = mapped_column(Integer, default=0)
    output_tokens: Mapped[int] = mapped_column(Integer, default=0)
    cache_read_tokens: Mapped[int] = mapped_column(Integer, default=0)
    cache_write_tokens: Mapped[int] = mapped_column(Integer, default=0)
    cost: Mapped[float | None] = mapped_column(Double, default=None)
    settled_at: Mapped[float | None] = mapped_column(Instant, default=None)

    @declared_attr.directive
    def __table_args__(cls: type[Tables]) -> tuple[Any, ...]:  # noqa: N805 -- declared_attr gives the class
        """Made for each set of classes: a constraint or index belongs to one table."""
        return (
            Index("ix_neolith_ledger_orchestrator", "orchestrator_id", "at"),
            Index("ix_neolith_ledger_requester", "requester_id", "at"),
            Index(
                "ix_neolith_ledger_reserved",
                "id",
                sqlite_where=text("state = 'reserved'"),
                postgresql_where=text("state = 'reserved'"),
            ),
            stored(90, 0.05),
        )


class BudgetColumns:
    """What one orchestrator, organization or person has spent and reserved in one hour, day or month (UTC).

    There is a row only where somebody set a limit. `told` is the highest share of it, in percent, that people have
    been told of; `paused_until` is set while calls are refused, and `paused_for` says why (budget or replies).
    """

    __tablename__ = "neolith_budget"
    __table_args__ = stored(50, 0.05)
    scope: Mapped[str] = mapped_column(String(12), primary_key=True)
    scope_id: Mapped[str] = mapped_column(String(255), primary_key=True)
    period: Mapped[str] = mapped_column(String(5), primary_key=True)
    starts_at: Mapped[float] = mapped_column(Instant, primary_key=True, index=True)
    tokens: Mapped[int] = mapped_column(Key, default=0)
    cost: Mapped[float] = mapped_column(Double, default=0.0)
    reserved_tokens: Mapped[int] = mapped_column(Key, default=0)
    reserved_cost: Mapped[float] = mapped_column(Double, default=0.0)
    unpriced: Mapped[int] = mapped_column(Integer, default=0)
    replies: Mapped[int] = mapped_column(Integer, default=0)
    told: Mapped[int] = mapped_column(Integer, default=0)
    paused_until: Mapped[float | None] = mapped_column(Instant, default=None, index=True)
    paused_for: Mapped[str | None] = mapped_column(String(12), default=None)
