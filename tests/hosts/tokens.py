"""Host 3: get_id() is an alternative token, not the key; Message, Channel and Organization classes of its own."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flask import Flask
from flask_login import LoginManager, UserMixin, login_user, logout_user
from flask_sqlalchemy import SQLAlchemy
from flask_wtf import CSRFProtect
from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column, relationship

from flask_neolith_orchestrator import NeolithOrchestrator, OrchestratorUserMixin

db = SQLAlchemy()
login_manager = LoginManager()
csrf = CSRFProtect()


class Organization(db.Model):  # type: ignore[name-defined,misc]  # made at run time
    """The host's own."""

    id: Mapped[int] = mapped_column(primary_key=True)
    users: Mapped[list[User]] = relationship("User", back_populates="organization")


class User(OrchestratorUserMixin, UserMixin, db.Model):  # type: ignore[name-defined,misc]  # made at run time
    """A user of this app."""

    id: Mapped[int] = mapped_column(primary_key=True)
    username: Mapped[str]
    session_token: Mapped[str] = mapped_column(unique=True, default=lambda: secrets.token_hex(8))
    organization_id: Mapped[int | None] = mapped_column(ForeignKey("organization.id"))
    organization: Mapped[Organization | None] = relationship("Organization", back_populates="users")
    messages: Mapped[list[Message]] = relationship("Message", back_populates="author")

    def get_id(self) -> str:
        """Changed to log a user out everywhere."""
        return self.session_token


class Channel(db.Model):  # type: ignore[name-defined,misc]  # made at run time
    """The host's own."""

    id: Mapped[int] = mapped_column(primary_key=True)
    messages: Mapped[list[Message]] = relationship("Message", back_populates="channel")


class Message(db.Model):  # type: ignore[name-defined,misc]  # made at run time
    """The host's own."""

    id: Mapped[int] = mapped_column(primary_key=True)
    author_id: Mapped[int] = mapped_column(ForeignKey("user.id"))
    channel_id: Mapped[int] = mapped_column(ForeignKey("channel.id"))
    author: Mapped[User] = relationship("User", back_populates="messages")
    channel: Mapped[Channel] = relationship("Channel", back_populates="messages")


neolith = NeolithOrchestrator(db=db, user_model=User)


@login_manager.user_loader  # type: ignore[untyped-decorator]  # flask_login has no types
def load_user(token: str) -> User | None:
    """For flask-login."""
    found: User | None = db.session.scalars(db.select(User).filter_by(session_token=token)).first()
    return found


def create_app(folder: Path, order: Sequence[str] = ("db", "login", "csrf", "neolith"), **config: Any) -> Flask:
    """Make the app, its extensions in any order."""
    app = Flask(__name__, instance_path=str(folder))
    app.config.update(SECRET_KEY="x", SQLALCHEMY_DATABASE_URI=f"sqlite:///{folder / 'host.db'}", ORCHESTRATOR_MODE=True)
    app.config.update(NEOLITH_SCRIPTED_DELAY=0, **config)
    extensions: dict[str, Any] = {"db": db, "login": login_manager, "csrf": csrf, "neolith": neolith}
    for name in order:
        extensions[name].init_app(app)

    @app.post("/login/<int:user_id>")
    @csrf.exempt  # type: ignore[untyped-decorator]  # flask_wtf has no types
    def log_in(user_id: int) -> str:
        login_user(db.session.get(User, user_id))
        return "Welcome."

    @app.post("/logout")
    @csrf.exempt  # type: ignore[untyped-decorator]  # flask_wtf has no types
    def log_out() -> str:
        logout_user()
        return "Goodbye."

    return app
