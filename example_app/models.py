"""The app's own tables: users, noticeboard, who is new. Channels and messages are the extension's bundled chat."""

from __future__ import annotations

from flask_login import UserMixin
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column
from werkzeug.security import check_password_hash, generate_password_hash

from flask_neolith_orchestrator import NeolithOrchestrator, OrchestratorUserMixin

db = SQLAlchemy()


def hash_password(password: str) -> str:
    """What of a password is kept: its salted hash."""
    return generate_password_hash(password)


class User(OrchestratorUserMixin, UserMixin, db.Model):  # type: ignore[name-defined,misc]  # made at run time; untyped
    """Somebody who can log in: a person, or an orchestrator (see the mixin). Only a hash of the password is kept."""

    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(String(200), unique=True)
    name: Mapped[str] = mapped_column(String(100))
    password_hash: Mapped[str] = mapped_column(String(300))

    def has_password(self, password: str) -> bool:
        """Whether it is the one."""
        return check_password_hash(self.password_hash, password)


class Notice(db.Model):  # type: ignore[name-defined,misc]  # made at run time; untyped
    """Something that an orchestrator has pinned to the noticeboard. `key` is that of its call: each pins one."""

    id: Mapped[int] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(String(80), unique=True)
    text: Mapped[str] = mapped_column(String(500))
    author: Mapped[str] = mapped_column(String(100))


class Welcomed(db.Model):  # type: ignore[name-defined,misc]  # made at run time; untyped
    """Somebody who needs no first-run hint any more."""

    user_id: Mapped[int] = mapped_column(ForeignKey(User.id), primary_key=True)


neolith = NeolithOrchestrator(db=db, user_model=User)


def load_user(user_id: str) -> User | None:
    """The user of a session, for Flask-Login."""
    return db.session.get(User, int(user_id)) if user_id.isdecimal() else None


def user_by_email(email: str) -> User | None:
    """Who logs in with this address, whatever its case."""
    found: User | None = db.session.scalar(db.select(User).filter_by(email=email.strip().lower()))
    return found
