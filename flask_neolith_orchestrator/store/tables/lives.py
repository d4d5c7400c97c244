"""Classes of who is there: logins, daemons and processes, as mixins: see `models.make_models`."""

from __future__ import annotations

from sqlalchemy import Integer, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from .columns import Instant, Key, reference, stored


class LoginColumns:
    """One login of an orchestrator, by the token in its cookie session. An ended one is never revived."""

    __tablename__ = "neolith_login"
    token: Mapped[str] = mapped_column(String(80), primary_key=True)
    orchestrator_id: Mapped[int] = reference("orchestrator", "login_orchestrator", index=True)
    started_at: Mapped[float] = mapped_column(Instant)
    seen_at: Mapped[float] = mapped_column(Instant)
    ended_at: Mapped[float | None] = mapped_column(Instant, default=None)
    reason: Mapped[str | None] = mapped_column(String(40), default=None)


class DaemonColumns:
    """Per orchestrator: whether it should run, by whose wish, and what became of it over all processes.

    `processed` and `failed` are deliveries that were counted up to version 4; since then they are counted by slots.
    """

    __tablename__ = "neolith_daemon"
    __table_args__ = stored(50, 0.05)
    orchestrator_id: Mapped[int] = mapped_column(Key, primary_key=True, autoincrement=False)
    wanted: Mapped[str] = mapped_column(String(10), default="stopped")
    cause: Mapped[str] = mapped_column(String(10), default="login")
    state: Mapped[str] = mapped_column(String(14), default="stopped")
    reason: Mapped[str | None] = mapped_column(String(40), default=None)
    error: Mapped[str | None] = mapped_column(Text, default=None)
    started_at: Mapped[float | None] = mapped_column(Instant, default=None)
    beat_at: Mapped[float | None] = mapped_column(Instant, default=None)
    restarts: Mapped[int] = mapped_column(Integer, default=0)
    window: Mapped[str] = mapped_column(Text, default="[]")
    processed: Mapped[int] = mapped_column(Integer, default=0)
    failed: Mapped[int] = mapped_column(Integer, default=0)
    slots: Mapped[int] = mapped_column(Integer, default=0)
    changed_at: Mapped[float] = mapped_column(Instant, default=0.0, server_default="0", index=True)


class NodeColumns:
    """One process that runs turns: `threads` of them at one time at the most.

    `id` is its boot id; `lock` is the file it holds while it lives.
    """

    __tablename__ = "neolith_node"
    __table_args__ = stored(50)
    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    host: Mapped[str] = mapped_column(String(200))
    lock: Mapped[str | None] = mapped_column(String(500), default=None)
    started_at: Mapped[float] = mapped_column(Instant)
    seen_at: Mapped[float] = mapped_column(Instant)
    version: Mapped[str | None] = mapped_column(String(40), default=None)
    engine: Mapped[str | None] = mapped_column(String(20), default=None)
    threads: Mapped[int | None] = mapped_column(Integer, default=None)
