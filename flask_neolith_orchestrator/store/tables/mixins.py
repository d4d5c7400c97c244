"""What the host's own User class gets. Columns only: no behaviour that could clash with the host's."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, Boolean
from sqlalchemy.orm import Mapped, mapped_column


class OrchestratorUserMixin:
    """Adds the two columns that make a user an orchestrator. Mix it into your User class.

    `is_orchestrator` (column `is_vp`) says that the user is an AI agent; `orchestrator_config` (column
    `vp_config`) holds its charter, personality and daemon settings.
    """

    # '0' is false on every database: false() would be a number in migrations that were made on SQLite
    is_orchestrator: Mapped[bool] = mapped_column("is_vp", Boolean, default=False, server_default="0")
    orchestrator_config: Mapped[dict[str, Any] | None] = mapped_column("vp_config", JSON, default=None)
