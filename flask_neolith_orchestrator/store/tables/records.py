"""Classes of what is recorded for people to look at, as mixins: see `models.make_models`."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, Index, Integer, String, Text
from sqlalchemy.orm import Mapped, declared_attr, mapped_column

from .columns import Instant, Key, Tables, own_key


class AuditColumns:
    """One deed: who did what to which orchestrator or organization. Never changed, and forgotten by age.

    `actor_kind` is user, key (with `key_id`; `actor_id` is its owner), cli or system. `actor_name` is the name at the
    time. `details` are a few values, never a message's text, a prompt or a key. There are no foreign keys: a deed stays
    when what it was done to is gone.
    """

    __tablename__ = "neolith_audit"
    id: Mapped[int] = own_key()
    at: Mapped[float] = mapped_column(Instant)
    actor_kind: Mapped[str] = mapped_column(String(8))
    actor_id: Mapped[str | None] = mapped_column(String(255), default=None)
    actor_name: Mapped[str] = mapped_column(String(200), default="")
    key_id: Mapped[str | None] = mapped_column(String(20), default=None)
    action: Mapped[str] = mapped_column(String(40))
    orchestrator_id: Mapped[int | None] = mapped_column(Key, default=None)
    organization_id: Mapped[int | None] = mapped_column(Key, default=None)
    subject_kind: Mapped[str | None] = mapped_column(String(20), default=None)
    subject_id: Mapped[str | None] = mapped_column(String(255), default=None)
    details: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)

    @declared_attr.directive
    def __table_args__(cls: type[Tables]) -> tuple[Any, ...]:  # noqa: N805 -- declared_attr gives the class
        """Made for each set of classes: a constraint or index belongs to one table."""
        return (
            Index("ix_neolith_audit_organization", "organization_id", "id"),
            Index("ix_neolith_audit_orchestrator", "orchestrator_id", "id"),
            Index("ix_neolith_audit_actor", "actor_id", "id"),
        )


class HistoryColumns:
    """One change of a daemon over all processes, written by whoever changed its row, never for a heartbeat.

    `event` is started, stopped, died, restarted or failed; `restarts` the restarts in the window that it makes.
    """

    __tablename__ = "neolith_history"
    id: Mapped[int] = own_key()
    orchestrator_id: Mapped[int] = mapped_column(Key)
    at: Mapped[float] = mapped_column(Instant)
    event: Mapped[str] = mapped_column(String(12))
    reason: Mapped[str | None] = mapped_column(String(40), default=None)
    error: Mapped[str | None] = mapped_column(Text, default=None)
    restarts: Mapped[int | None] = mapped_column(Integer, default=None)

    @declared_attr.directive
    def __table_args__(cls: type[Tables]) -> tuple[Any, ...]:  # noqa: N805 -- declared_attr gives the class
        """Made for each set of classes: a constraint or index belongs to one table."""
        return (Index("ix_neolith_history_orchestrator", "orchestrator_id", "id"),)
