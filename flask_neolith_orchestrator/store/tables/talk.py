"""Classes of what a conversation remembers, listens for and tells others, as mixins: see `models.make_models`."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, Boolean, Index, Integer, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, declared_attr, mapped_column

from .columns import Instant, Key, Tables, own_key, reference, stored

FORGETS = "neolith_session.since > 0 OR neolith_session.state = 'closed'"
"""Sessions that keep something out of what is read, as an index and a look by it spell that."""


class SessionColumns:
    """A stretch of a conversation that belongs together: its lines are those after `since` (epoch seconds).

    The conversation's place is repeated, so that a changed message finds the sessions it is a line of by an index.
    `summary` tells what the messages `summary_sources` (ids, one a line; the newest was written at `summary_upto`)
    said; with `summary_at` and no summary there was one, and a source has changed. `revision` counts such changes.
    """

    __tablename__ = "neolith_session"
    id: Mapped[int] = own_key()
    conversation_id: Mapped[int] = reference("conversation", "session_conversation")
    orchestrator_id: Mapped[int] = mapped_column(Key)
    channel_id: Mapped[str] = mapped_column(String(255))
    thread_id: Mapped[str | None] = mapped_column(String(255), default=None)
    state: Mapped[str] = mapped_column(String(10), default="open")
    since: Mapped[float] = mapped_column(Instant, default=0.0)
    started_at: Mapped[float] = mapped_column(Instant)
    last_at: Mapped[float] = mapped_column(Instant)
    closed_at: Mapped[float | None] = mapped_column(Instant, default=None)
    closed_by: Mapped[str | None] = mapped_column(String(255), default=None)
    carried_from: Mapped[int | None] = mapped_column(Key, default=None)
    carried_until: Mapped[float | None] = mapped_column(Instant, default=None)
    revision: Mapped[int] = mapped_column(Integer, default=0)
    busy_until: Mapped[float | None] = mapped_column(Instant, default=None)
    summary: Mapped[str | None] = mapped_column(Text, default=None)
    summary_sources: Mapped[str | None] = mapped_column(Text, default=None)
    summary_upto: Mapped[float | None] = mapped_column(Instant, default=None)
    summary_model: Mapped[str | None] = mapped_column(String(100), default=None)
    summary_at: Mapped[float | None] = mapped_column(Instant, default=None)

    @declared_attr.directive
    def __table_args__(cls: type[Tables]) -> tuple[Any, ...]:  # noqa: N805 -- declared_attr gives the class
        """Made for each set of classes: a constraint or index belongs to one table."""
        return (
            Index("ix_neolith_session_conversation", "conversation_id", "id"),
            Index("ix_neolith_session_place", "channel_id", "thread_id"),
            Index(
                "ix_neolith_session_forgets",
                "conversation_id",
                sqlite_where=text(FORGETS.replace("neolith_session.", "")),
                postgresql_where=text(FORGETS.replace("neolith_session.", "")),
            ),
            stored(80, 0.05),
        )


class TriggerColumns:
    """What an orchestrator listens for besides its name, one row each, so that a message finds it by an index.

    `kind` is keyword, channel or role; `value` is folded. Written from the charter whenever that changes.
    """

    __tablename__ = "neolith_trigger"
    id: Mapped[int] = own_key()
    orchestrator_id: Mapped[int] = reference("orchestrator", "trigger_orchestrator", index=True)
    kind: Mapped[str] = mapped_column(String(12))
    value: Mapped[str] = mapped_column(String(200))

    @declared_attr.directive
    def __table_args__(cls: type[Tables]) -> tuple[Any, ...]:  # noqa: N805 -- declared_attr gives the class
        """Made for each set of classes: a constraint or index belongs to one table."""
        return (Index("ix_neolith_trigger_value", "kind", "value"),)


class EscalationColumns:
    """Something that somebody is to be told of, once for each `key`; untold while `told_at` is null.

    `cause` is refusal, failure, budget, approval, hours or keyword; `detail` a word about it.
    """

    __tablename__ = "neolith_escalation"
    id: Mapped[int] = own_key()
    orchestrator_id: Mapped[int] = reference("orchestrator", "escalation_orchestrator")
    cause: Mapped[str] = mapped_column(String(12))
    key: Mapped[str] = mapped_column(String(300))
    message_id: Mapped[str | None] = mapped_column(String(255), default=None)
    detail: Mapped[str] = mapped_column(Text, default="")
    created_at: Mapped[float] = mapped_column(Instant)
    told_at: Mapped[float | None] = mapped_column(Instant, default=None)

    @declared_attr.directive
    def __table_args__(cls: type[Tables]) -> tuple[Any, ...]:  # noqa: N805 -- declared_attr gives the class
        """Made for each set of classes: a constraint or index belongs to one table."""
        untold = text("told_at IS NULL")
        return (
            UniqueConstraint("orchestrator_id", "key", name="uq_neolith_escalation"),
            Index("ix_neolith_escalation_untold", "id", sqlite_where=untold, postgresql_where=untold),
        )


class MessageVersionColumns:
    """A former version of an answer, kept when it was written anew; `n` counts from 1, the oldest first.

    `parts` are the texts of its further messages, where it had several.
    """

    __tablename__ = "neolith_message_version"
    id: Mapped[int] = own_key()
    message_id: Mapped[str] = mapped_column(String(255))
    n: Mapped[int] = mapped_column(Integer)
    content: Mapped[str] = mapped_column(Text)
    parts: Mapped[list[str]] = mapped_column(JSON, default=list)
    state: Mapped[str] = mapped_column(String(12))
    turn_id: Mapped[int | None] = mapped_column(Key, default=None)
    created_at: Mapped[float] = mapped_column(Instant)

    @declared_attr.directive
    def __table_args__(cls: type[Tables]) -> tuple[Any, ...]:  # noqa: N805 -- declared_attr gives the class
        """Made for each set of classes: a constraint or index belongs to one table."""
        return (UniqueConstraint("message_id", "n", name="uq_neolith_message_version"),)


class StepColumns:
    """One step of a turn that uses tools: what the model said before its calls (`kind` model), or one call (tool).

    `key` is the call's idempotency key. `state` of a call: waiting (for an approval), approved, denied, expired,
    running, done or failed.
    """

    __tablename__ = "neolith_step"
    id: Mapped[int] = own_key()
    turn_id: Mapped[int] = reference("turn", "step_turn")
    n: Mapped[int] = mapped_column(Integer)
    kind: Mapped[str] = mapped_column(String(8))
    key: Mapped[str] = mapped_column(String(80))
    call_id: Mapped[str | None] = mapped_column(String(255), default=None)
    name: Mapped[str | None] = mapped_column(String(100), default=None)
    arguments: Mapped[dict[str, Any] | None] = mapped_column(JSON, default=None)
    content: Mapped[list[Any] | None] = mapped_column(JSON, default=None)
    state: Mapped[str] = mapped_column(String(10))
    result: Mapped[str | None] = mapped_column(Text, default=None)
    created_at: Mapped[float] = mapped_column(Instant)
    asks: Mapped[str] = mapped_column(String(10), default="requester", server_default="requester")
    expires_at: Mapped[float | None] = mapped_column(Instant, default=None)
    decided_at: Mapped[float | None] = mapped_column(Instant, default=None)
    decided_by: Mapped[str | None] = mapped_column(String(255), default=None)
    ended_at: Mapped[float | None] = mapped_column(Instant, default=None)

    @declared_attr.directive
    def __table_args__(cls: type[Tables]) -> tuple[Any, ...]:  # noqa: N805 -- declared_attr gives the class
        """Made for each set of classes: a constraint or index belongs to one table."""
        return (
            UniqueConstraint("turn_id", "n", name="uq_neolith_step"),
            UniqueConstraint("key", name="uq_neolith_step_key"),
            Index("ix_neolith_step_waiting", "state", "expires_at"),
        )


class OrganizationCharterColumns:
    """One version of an organization's charter, the parent of its orchestrators'; at most one is active."""

    __tablename__ = "neolith_organization_charter"
    id: Mapped[int] = own_key()
    organization_id: Mapped[int] = reference("organization", "organization_charter_organization")
    version: Mapped[int] = mapped_column(Integer)
    charter: Mapped[dict[str, Any]] = mapped_column(JSON)
    author_id: Mapped[str | None] = mapped_column(String(255), default=None)
    reason: Mapped[str] = mapped_column(String(500), default="")
    active: Mapped[bool] = mapped_column(Boolean, default=False)
    created_at: Mapped[float] = mapped_column(Instant)

    @declared_attr.directive
    def __table_args__(cls: type[Tables]) -> tuple[Any, ...]:  # noqa: N805 -- declared_attr gives the class
        """Made for each set of classes: a constraint or index belongs to one table."""
        return (
            UniqueConstraint("organization_id", "version", name="uq_neolith_organization_charter"),
            Index(
                "uq_neolith_organization_charter_active",
                "organization_id",
                unique=True,
                sqlite_where=text("active = 1"),
                postgresql_where=text("active"),
            ),
        )
