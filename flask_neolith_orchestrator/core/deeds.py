"""Deeds: who did what to an orchestrator or an organization, as the audit log keeps it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

ActorKind = Literal["user", "key", "cli", "system"]


@dataclass(frozen=True, slots=True)
class Actor:
    """Who did it. `id` is a user's; of a `key` that of its owner. None for the command line and for ourselves."""

    kind: ActorKind
    id: str | None = None
    key_id: str | None = None

    @classmethod
    def user(cls, user_id: str, key_id: str | None = None) -> Actor:
        """A user, by an API key of theirs if one is named."""
        return cls("user" if key_id is None else "key", user_id, key_id)

    @classmethod
    def who_wrote(cls, author_id: str | None) -> Actor:
        """Whoever wrote a version: a user, or the host's own code."""
        return SYSTEM if author_id is None else cls.user(author_id)


CLI = Actor("cli")
"""Whoever may use the command line."""

SYSTEM = Actor("system")
"""The host's own code, or ours."""


@dataclass(frozen=True, slots=True)
class Deed:
    """One deed. `subject` is (kind, id) of what it was done to besides; `details` hold no text, prompt or key.

    The organization of an `orchestrator_id` need not be named.
    """

    actor: Actor
    action: str
    orchestrator_id: str | None = None
    organization_id: str | None = None
    subject: tuple[str, str] | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
