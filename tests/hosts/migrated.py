"""Host 1: UUID user ids, a Message table of its own with a ChatStore, Flask-Migrate, no blueprint, no Socket.IO."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from flask import Flask, request
from flask_login import LoginManager, UserMixin, current_user, login_required, login_user, logout_user
from flask_migrate import Migrate
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import Connection, ForeignKey, delete, insert, or_, select, update
from sqlalchemy.orm import Mapped, mapped_column, relationship

from flask_neolith_orchestrator import (
    IncomingMessage,
    Line,
    Member,
    NeolithOrchestrator,
    OrchestratorUserMixin,
    Place,
    ReplyDraft,
    ReplyWrite,
)

db = SQLAlchemy()
migrate = Migrate()
login_manager = LoginManager()


class User(OrchestratorUserMixin, UserMixin, db.Model):  # type: ignore[name-defined,misc]  # made at run time
    """A user of this app."""

    __tablename__ = "account"
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    full_name: Mapped[str]
    messages: Mapped[list[Message]] = relationship("Message", back_populates="author")


class Message(db.Model):  # type: ignore[name-defined,misc]  # made at run time
    """A message of this app: the name is the host's own."""

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    room: Mapped[str]
    root_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("message.id"))
    author_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(User.id))
    author: Mapped[User] = relationship("User", back_populates="messages")
    text: Mapped[str] = mapped_column(default="")
    state: Mapped[str] = mapped_column(default="final")
    epoch: Mapped[int] = mapped_column(default=0)
    at: Mapped[float]


neolith = NeolithOrchestrator(db=db, user_model=User)
account, message = User.__table__, Message.__table__
orchestrator: Any = neolith.models.Orchestrator.__table__  # type: ignore[attr-defined]  # made at run time


class Messages:
    """This app's messages, as the extension sees them: everybody is in every room."""

    def members(self, tx: Connection, channel_id: str, handles: frozenset[str] | None = None) -> Sequence[Member]:
        """Who is in a room."""
        rows = tx.execute(
            select(account.c.id, account.c.full_name, orchestrator.c.handle, orchestrator.c.id).outerjoin(
                orchestrator, orchestrator.c.user_id == account.c.id
            )
        )
        return [Member(str(row[0]), row[1], row[2], None if row[3] is None else str(row[3])) for row in rows]

    def history(self, tx: Connection, place: Place, *, until: str | None, own: str, limit: int) -> Sequence[Line]:
        """What was said in a room or thread."""
        here = message.c.room == place.channel_id
        if place.thread_id is not None:
            root = uuid.UUID(place.thread_id)
            here &= or_(message.c.id == root, message.c.root_id == root)
        rows = tx.execute(
            select(message, account.c.full_name, orchestrator.c.handle)
            .join(account, account.c.id == message.c.author_id)
            .outerjoin(orchestrator, orchestrator.c.user_id == account.c.id)
            .where(here, message.c.state == "final")
            .order_by(message.c.at.desc())
            .limit(limit)
        ).all()
        return [
            Line(str(row.id), str(row.author_id), row.full_name, row.handle, row.text, row.at) for row in reversed(rows)
        ]

    def present(self, tx: Connection, message_ids: Sequence[str]) -> frozenset[str]:
        """Which messages are still there."""
        ids = [uuid.UUID(one) for one in message_ids]
        return frozenset(str(row[0]) for row in tx.execute(select(message.c.id).where(message.c.id.in_(ids))))

    def open_reply(self, tx: Connection, draft: ReplyDraft) -> str:
        """An answer begins."""
        made = uuid.uuid4()
        tx.execute(
            insert(message).values(
                id=made,
                room=draft.place.channel_id,
                root_id=None if draft.place.thread_id is None else uuid.UUID(draft.place.thread_id),
                author_id=select(orchestrator.c.user_id)
                .where(orchestrator.c.id == int(draft.orchestrator_id))
                .scalar_subquery(),
                text="",
                state="streaming",
                epoch=draft.epoch,
                at=draft.at,
            )
        )
        return str(made)

    def write_reply(self, tx: Connection, write: ReplyWrite) -> None:
        """An answer goes on or ends."""
        values: dict[str, Any] = {"state": str(write.state), "epoch": write.epoch}
        if write.text is not None:
            values["text"] = write.text
        tx.execute(
            update(message)
            .where(message.c.id == uuid.UUID(write.reply_id), message.c.epoch <= write.epoch)
            .values(**values)
        )

    def drop_reply(self, tx: Connection, reply_id: str, at: float) -> None:
        """An answer's question is gone."""
        tx.execute(delete(message).where(message.c.id == uuid.UUID(reply_id)))

    def view(self, tx: Connection, message_id: str) -> Mapping[str, Any] | None:
        """A message as browsers see it."""
        row = tx.execute(select(message).where(message.c.id == uuid.UUID(message_id))).first()
        return None if row is None else {"id": str(row.id), "channelId": row.room, "content": row.text}


@login_manager.user_loader  # type: ignore[untyped-decorator]  # flask_login has no types
def load_user(user_id: str) -> User | None:
    """For flask-login."""
    return db.session.get(User, uuid.UUID(user_id))


def create_app(folder: Path, **config: Any) -> Flask:
    """Make the app."""
    app = Flask(__name__, instance_path=str(folder))
    app.config.update(SECRET_KEY="x", SQLALCHEMY_DATABASE_URI=f"sqlite:///{folder / 'host.db'}", ORCHESTRATOR_MODE=True)
    app.config.update(NEOLITH_SCRIPTED_DELAY=0, **config)
    neolith.init_app(app, chat_store=Messages(), register_blueprint=False, display_name=lambda user: user.full_name)
    db.init_app(app)
    migrate.init_app(app, db, directory=str(folder / "migrations"))
    login_manager.init_app(app)

    @app.post("/login/<uuid:user_id>")
    def log_in(user_id: uuid.UUID) -> str:
        login_user(db.session.get(User, user_id))
        return "Welcome."

    @app.post("/logout")
    def log_out() -> str:
        logout_user()
        return "Goodbye."

    @app.post("/rooms/<room>")
    @login_required  # type: ignore[untyped-decorator]  # flask_login has no types
    def write(room: str) -> str:
        said = Message(room=room, author=current_user, text=request.get_json()["text"], at=time.time())
        db.session.add(said)
        db.session.flush()
        author = str(current_user.id)
        neolith.accept(IncomingMessage(str(said.id), said.text, room, author, said.at))
        db.session.commit()
        return str(said.id)

    return app
