"""Classes of what daemons do and remember, as mixins: see `models.make_models`.

Ids of users are text here (`str(primary key)`), so that the hot path needs no conversion.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, Boolean, Index, Integer, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, declared_attr, mapped_column

from .columns import Instant, Key, Tables, own_key, partial, reference, stored, user_reference

DEAD = "state IN ('failed', 'expired')"
"""Deliveries that nobody answered and that can be tried again, as an index and a look by it spell that."""

WAITS = "state = 'waiting'"
"""Deliveries that wait, as indexes and looks by them spell that."""


class ConversationColumns:
    """One orchestrator in one place: the unit of order. `turn_id` is the turn that has it now, `epoch` the fence."""

    __tablename__ = "neolith_conversation"
    id: Mapped[int] = own_key()
    orchestrator_id: Mapped[int] = reference("orchestrator", "conversation_orchestrator")
    key: Mapped[str] = mapped_column(String(520))
    channel_id: Mapped[str] = mapped_column(String(255))
    thread_id: Mapped[str | None] = mapped_column(String(255), default=None)
    is_dm: Mapped[bool] = mapped_column(Boolean, default=False)
    epoch: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    turn_id: Mapped[int | None] = mapped_column(Key, default=None)

    @declared_attr.directive
    def __table_args__(cls: type[Tables]) -> tuple[Any, ...]:  # noqa: N805 -- declared_attr gives the class
        """Made for each set of classes: a constraint or index belongs to one table."""
        return (
            UniqueConstraint("orchestrator_id", "key", name="uq_neolith_conversation"),
            Index("ix_neolith_conversation_key", "key"),  # who else talks in a thread
            stored(80, 0.05),
        )


class DeliveryColumns:
    """One piece of work for one orchestrator: a row of the inbox.

    `held` says what a waiting one waits for where it is not its turn: hours, budget, approval. `aged_from` is when
    its age begins to count where that is later than when it was accepted: what is held does not grow old.
    `by_machine` is set where no person asked: a bot, or another orchestrator.
    """

    __tablename__ = "neolith_delivery"
    id: Mapped[int] = own_key()
    orchestrator_id: Mapped[int] = mapped_column(Key)
    conversation_id: Mapped[int] = reference("conversation", "delivery_conversation")
    kind: Mapped[str] = mapped_column(String(12), default="message")
    dedupe_key: Mapped[str] = mapped_column(String(520))
    message_id: Mapped[str | None] = mapped_column(String(255), default=None)
    author_id: Mapped[str] = mapped_column(String(255))
    reason: Mapped[str] = mapped_column(String(60), default="")
    state: Mapped[str] = mapped_column(String(10), default="waiting")
    attempts: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    ready_at: Mapped[float] = mapped_column(Instant)
    accepted_at: Mapped[float] = mapped_column(Instant)
    ended_at: Mapped[float | None] = mapped_column(Instant, default=None)
    outcome: Mapped[str | None] = mapped_column(Text, default=None)
    held: Mapped[str | None] = mapped_column(String(40), default=None)
    aged_from: Mapped[float | None] = mapped_column(Instant, default=None)
    by_machine: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    turn_id: Mapped[int | None] = mapped_column(Key, default=None)

    @declared_attr.directive
    def __table_args__(cls: type[Tables]) -> tuple[Any, ...]:  # noqa: N805 -- declared_attr gives the class
        """Made for each set of classes: a constraint or index belongs to one table."""
        return (
            UniqueConstraint("orchestrator_id", "dedupe_key", name="uq_neolith_delivery"),
            partial("ix_neolith_delivery_waiting", "orchestrator_id", "id", where=WAITS),
            partial("ix_neolith_delivery_age", "accepted_at", where=WAITS),  # what has waited too long
            partial(
                "ix_neolith_delivery_held", "held", "orchestrator_id", where="state = 'waiting' AND held IS NOT NULL"
            ),
            Index("ix_neolith_delivery_message", "message_id"),
            Index("ix_neolith_delivery_conversation", "conversation_id", "state", "id"),
            partial("ix_neolith_delivery_ended", "state", "ended_at", where="ended_at IS NOT NULL"),
            partial("ix_neolith_delivery_over", "orchestrator_id", "ended_at", where="ended_at IS NOT NULL"),  # figures
            partial("ix_neolith_delivery_dead", "orchestrator_id", "id", where=DEAD),
            Index("ix_neolith_delivery_turn", "turn_id"),
            partial(
                "ix_neolith_delivery_machine", "orchestrator_id", "author_id", "accepted_at", where="by_machine = 1"
            ),
            stored(90, 0.02),
        )


class TurnColumns:
    """One answer in the making: its members were frozen at the first claim. `regenerates` is the turn of the version
    that it writes anew, in the same `reply_id`; `tried` are models that did not answer, as JSON.
    """

    __tablename__ = "neolith_turn"
    __table_args__ = stored(80, 0.05)
    id: Mapped[int] = own_key()
    orchestrator_id: Mapped[int] = mapped_column(Key, index=True)
    conversation_id: Mapped[int] = reference("conversation", "turn_conversation", index=True)
    requester_id: Mapped[str] = mapped_column(String(255))
    reply_id: Mapped[str | None] = mapped_column(String(255), default=None, index=True)
    session_id: Mapped[int | None] = mapped_column(Key, default=None, index=True)
    regenerates: Mapped[int | None] = mapped_column(Key, default=None)
    state: Mapped[str] = mapped_column(String(12), default="running")
    epoch: Mapped[int] = mapped_column(Integer)
    attempt: Mapped[int] = mapped_column(Integer, default=1)
    charter_version: Mapped[int] = mapped_column(Integer, default=0)
    started_at: Mapped[float] = mapped_column(Instant)
    first_text_at: Mapped[float | None] = mapped_column(Instant, default=None)
    ended_at: Mapped[float | None] = mapped_column(Instant, default=None)
    cancel_requested: Mapped[str | None] = mapped_column(String(12), default=None)
    error_kind: Mapped[str | None] = mapped_column(String(40), default=None)
    error: Mapped[str | None] = mapped_column(Text, default=None)
    model: Mapped[str | None] = mapped_column(String(100), default=None)
    tried: Mapped[str | None] = mapped_column(Text, default=None)
    stop_reason: Mapped[str | None] = mapped_column(String(40), default=None)
    calls: Mapped[int] = mapped_column(Integer, default=0)
    input_tokens: Mapped[int] = mapped_column(Integer, default=0)
    output_tokens: Mapped[int] = mapped_column(Integer, default=0)
    cache_read_tokens: Mapped[int] = mapped_column(Integer, default=0)
    cache_write_tokens: Mapped[int] = mapped_column(Integer, default=0)


class SlotColumns:
    """The right to run one of an orchestrator's turns: carries the node and the lease. Hosts never lock it.

    `answered` and `failed` count deliveries of the turns that had it.
    """

    __tablename__ = "neolith_slot"
    orchestrator_id: Mapped[int] = mapped_column(Key, primary_key=True, autoincrement=False)
    n: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    node_id: Mapped[str | None] = mapped_column(String(40), default=None)
    conversation_id: Mapped[int | None] = mapped_column(Key, default=None)
    turn_id: Mapped[int | None] = mapped_column(Key, default=None)
    epoch: Mapped[int | None] = mapped_column(Integer, default=None)
    lease_until: Mapped[float | None] = mapped_column(Instant, default=None)
    answered: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    failed: Mapped[int] = mapped_column(Integer, default=0, server_default="0")

    @declared_attr.directive
    def __table_args__(cls: type[Tables]) -> tuple[Any, ...]:  # noqa: N805 -- declared_attr gives the class
        """Made for each set of classes: a constraint or index belongs to one table."""
        return (
            UniqueConstraint("conversation_id", name="uq_neolith_slot_conversation"),
            partial("ix_neolith_slot_held", "node_id", where="node_id IS NOT NULL"),
            stored(50, 0.05),
        )


class OutboxColumns:
    """An answer for a host that keeps its own chat: told by `message:send` at least once, by reply id.

    A long one has several rows: `part` counts them from 1, and `answer_id` is the reply id of the first.
    """

    __tablename__ = "neolith_outbox"
    id: Mapped[int] = own_key()
    orchestrator_id: Mapped[int] = mapped_column(Key)
    reply_id: Mapped[str] = mapped_column(String(255), unique=True, index=True)
    channel_id: Mapped[str] = mapped_column(String(255))
    reply_to_id: Mapped[str | None] = mapped_column(String(255), default=None)
    answer_id: Mapped[str | None] = mapped_column(String(255), default=None)
    part: Mapped[int] = mapped_column(Integer, default=1, server_default="1")
    content: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(String(12), default="final")
    created_at: Mapped[float] = mapped_column(Instant)
    sent_at: Mapped[float | None] = mapped_column(Instant, default=None, index=True)
    claimed_until: Mapped[float] = mapped_column(Instant, default=0.0)


class ApiKeyColumns:
    """One API key: acts as its owner within its scopes. Only a hash is kept; `prefix` finds the row."""

    __tablename__ = "neolith_api_key"
    id: Mapped[int] = own_key()
    prefix: Mapped[str] = mapped_column(String(20), unique=True, index=True)
    digest: Mapped[str] = mapped_column(String(64))
    label: Mapped[str] = mapped_column(String(100), default="")
    scopes: Mapped[list[str]] = mapped_column(JSON, default=list)
    created_at: Mapped[float] = mapped_column(Instant)
    expires_at: Mapped[float | None] = mapped_column(Instant, default=None)
    revoked_at: Mapped[float | None] = mapped_column(Instant, default=None)
    used_at: Mapped[float | None] = mapped_column(Instant, default=None)

    @declared_attr
    def user_id(cls: type[Tables]) -> Mapped[Any]:  # noqa: N805 -- declared_attr gives the class
        """The owner."""
        return user_reference(cls, "api_key_user", index=True)


class CharterVersionColumns:
    """One version of an orchestrator's charter; at most one is active. Versions are the charter's truth."""

    __tablename__ = "neolith_charter_version"
    id: Mapped[int] = own_key()
    orchestrator_id: Mapped[int] = reference("orchestrator", "charter_version_orchestrator")
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
            UniqueConstraint("orchestrator_id", "version", name="uq_neolith_charter_version"),
            Index(
                "uq_neolith_charter_version_active",
                "orchestrator_id",
                unique=True,
                sqlite_where=text("active = 1"),
                postgresql_where=text("active"),
            ),
        )


class SchemaColumns:
    """The schema's version, in one row with id 1."""

    __tablename__ = "neolith_schema"
    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    version: Mapped[int] = mapped_column(Integer)
