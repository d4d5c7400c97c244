"""Classes of organizations, orchestrators and the bundled chat, as mixins: see `models.make_models`."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, Index, Integer, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, declared_attr, mapped_column

from .columns import Instant, Key, Tables, own_key, reference, stored, user_reference


class OrganizationColumns:
    """A company or team: the widest circle in which names are known and presence is seen."""

    __tablename__ = "neolith_organization"
    id: Mapped[int] = own_key()
    name: Mapped[str] = mapped_column(String(200))
    slug: Mapped[str] = mapped_column(String(100), unique=True, index=True)


class OrganizationMemberColumns:
    """A user in an organization; `role` is owner, admin or member."""

    __tablename__ = "neolith_organization_member"
    id: Mapped[int] = own_key()
    organization_id: Mapped[int] = reference("organization", "organization_member_organization")
    role: Mapped[str] = mapped_column(String(20), default="member")

    @declared_attr.directive
    def __table_args__(cls: type[Tables]) -> tuple[Any, ...]:  # noqa: N805 -- declared_attr gives the class
        """Made for each set of classes: a constraint or index belongs to one table."""
        return (UniqueConstraint("organization_id", "user_id", name="uq_neolith_organization_member"),)

    @declared_attr
    def user_id(cls: type[Tables]) -> Mapped[Any]:  # noqa: N805 -- declared_attr gives the class
        """The user."""
        return user_reference(cls, "organization_member_user", index=True)


class OrchestratorColumns:
    """An AI agent that is a user. `handle` is what people mention, folded (NFKC, case), unique per organization."""

    __tablename__ = "neolith_orchestrator"
    id: Mapped[int] = own_key()
    organization_id: Mapped[int] = reference("organization", "orchestrator_organization")
    handle: Mapped[str] = mapped_column(String(64))
    role: Mapped[str] = mapped_column(String(200), default="")
    discipline: Mapped[str] = mapped_column(String(200), default="")
    capabilities: Mapped[list[str]] = mapped_column(JSON, default=list)
    daemon_endpoint: Mapped[str | None] = mapped_column(String(500), default=None)
    status: Mapped[str] = mapped_column(String(10), default="OFFLINE", server_default="OFFLINE")

    @declared_attr.directive
    def __table_args__(cls: type[Tables]) -> tuple[Any, ...]:  # noqa: N805 -- declared_attr gives the class
        """Made for each set of classes: a constraint or index belongs to one table."""
        return (UniqueConstraint("organization_id", "handle", name="uq_neolith_orchestrator_handle"),)

    @declared_attr
    def user_id(cls: type[Tables]) -> Mapped[Any]:  # noqa: N805 -- declared_attr gives the class
        """The user that this orchestrator is."""
        return user_reference(cls, "orchestrator_user", unique=True, index=True)


class ChannelColumns:
    """A place to talk. `kind` is channel, dm or external (a channel of the host's own, by `external_id`)."""

    __tablename__ = "neolith_channel"
    id: Mapped[int] = own_key()
    organization_id: Mapped[int | None] = reference("organization", "channel_organization", nullable=True)
    name: Mapped[str | None] = mapped_column(String(100), default=None)
    topic: Mapped[str] = mapped_column(String(500), default="", server_default="")
    kind: Mapped[str] = mapped_column(String(10), default="channel")
    external_id: Mapped[str | None] = mapped_column(String(255), default=None)
    dm_key: Mapped[str | None] = mapped_column(String(255), default=None)
    created_at: Mapped[float] = mapped_column(Instant)

    @declared_attr.directive
    def __table_args__(cls: type[Tables]) -> tuple[Any, ...]:  # noqa: N805 -- declared_attr gives the class
        """Made for each set of classes: a constraint or index belongs to one table."""
        return (
            UniqueConstraint("organization_id", "name", name="uq_neolith_channel_name"),
            UniqueConstraint("external_id", name="uq_neolith_channel_external"),
            UniqueConstraint("dm_key", name="uq_neolith_channel_dm"),
        )


class ChannelMemberColumns:
    """A user in a channel. `read_id` is the newest message that this user has read; None where nothing was."""

    __tablename__ = "neolith_channel_member"
    id: Mapped[int] = own_key()
    channel_id: Mapped[int] = reference("channel", "channel_member_channel")
    read_id: Mapped[int | None] = mapped_column(Key, default=None)

    @declared_attr.directive
    def __table_args__(cls: type[Tables]) -> tuple[Any, ...]:  # noqa: N805 -- declared_attr gives the class
        """Made for each set of classes: a constraint or index belongs to one table."""
        return (UniqueConstraint("channel_id", "user_id", name="uq_neolith_channel_member"),)

    @declared_attr
    def user_id(cls: type[Tables]) -> Mapped[Any]:  # noqa: N805 -- declared_attr gives the class
        """The user."""
        return user_reference(cls, "channel_member_user", index=True)


class MessageColumns:
    """One message. `parent_id` is its thread's root; `epoch` and `seq` count what has been streamed of an answer.

    `author_name` is set where the author is not a user of this app (external channels); `attachments` are names and
    types of what a host's message carries, one a line. `continuation_of` is the first
    message of an answer that has several; `versions` counts its former versions.
    """

    __tablename__ = "neolith_message"
    id: Mapped[int] = own_key()
    channel_id: Mapped[int] = reference("channel", "message_channel")
    parent_id: Mapped[int | None] = reference("message", "message_parent", nullable=True, index=True)
    reply_to_id: Mapped[int | None] = mapped_column(Key, default=None)
    content: Mapped[str] = mapped_column(Text, default="")
    state: Mapped[str] = mapped_column(String(12), default="final", server_default="final")
    notice: Mapped[str | None] = mapped_column(String(300), default=None)
    epoch: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    seq: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    created_at: Mapped[float] = mapped_column(Instant)
    edited_at: Mapped[float | None] = mapped_column(Instant, default=None)
    deleted_at: Mapped[float | None] = mapped_column(Instant, default=None)
    client_id: Mapped[str | None] = mapped_column(String(100), default=None)
    external_id: Mapped[str | None] = mapped_column(String(255), default=None)
    author_name: Mapped[str | None] = mapped_column(String(200), default=None)
    attachments: Mapped[str | None] = mapped_column(Text, default=None)
    continuation_of: Mapped[int | None] = mapped_column(Key, default=None)
    versions: Mapped[int] = mapped_column(Integer, server_default="0")

    @declared_attr.directive
    def __table_args__(cls: type[Tables]) -> tuple[Any, ...]:  # noqa: N805 -- declared_attr gives the class
        """Made for each set of classes: a constraint or index belongs to one table."""
        return (
            UniqueConstraint("channel_id", "author_id", "client_id", name="uq_neolith_message_client"),
            UniqueConstraint("channel_id", "external_id", name="uq_neolith_message_external"),
            Index("ix_neolith_message_line", "channel_id", "parent_id", "id"),
            Index("ix_neolith_message_channel", "channel_id", "id"),  # what somebody has not read yet
            Index(
                "ix_neolith_message_continuation",
                "continuation_of",
                sqlite_where=text("continuation_of IS NOT NULL"),
                postgresql_where=text("continuation_of IS NOT NULL"),
            ),
            stored(80, 0.05),
        )

    @declared_attr
    def author_id(cls: type[Tables]) -> Mapped[Any]:  # noqa: N805 -- declared_attr gives the class
        """The user who wrote it; None for somebody who is not a user of this app."""
        return user_reference(cls, "message_author", nullable=True)


class ReactionColumns:
    """One user's emoji on one message."""

    __tablename__ = "neolith_reaction"
    id: Mapped[int] = own_key()
    message_id: Mapped[int] = reference("message", "reaction_message")
    emoji: Mapped[str] = mapped_column(String(40))
    created_at: Mapped[float] = mapped_column(Instant)

    @declared_attr.directive
    def __table_args__(cls: type[Tables]) -> tuple[Any, ...]:  # noqa: N805 -- declared_attr gives the class
        """Made for each set of classes: a constraint or index belongs to one table."""
        return (UniqueConstraint("message_id", "user_id", "emoji", name="uq_neolith_reaction"),)

    @declared_attr
    def user_id(cls: type[Tables]) -> Mapped[Any]:  # noqa: N805 -- declared_attr gives the class
        """The user."""
        return user_reference(cls, "reaction_user")
