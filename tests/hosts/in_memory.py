"""Host 2: text user ids, and a test suite on SQLite in memory that works until idle. Its chat is the bundled one."""

from __future__ import annotations

from typing import Any

from flask import Flask, request
from flask_login import LoginManager, UserMixin, current_user, login_required, login_user, logout_user
from flask_socketio import SocketIO
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from flask_neolith_orchestrator import NeolithOrchestrator, OrchestratorUserMixin

db = SQLAlchemy()
login_manager = LoginManager()
socketio = SocketIO(async_mode="threading")


class User(OrchestratorUserMixin, UserMixin, db.Model):  # type: ignore[name-defined,misc]  # made at run time
    """A user of this app: the name is the key."""

    nick: Mapped[str] = mapped_column("nick_name", String(40), primary_key=True)

    def get_id(self) -> str:
        """For flask-login."""
        return self.nick

    @property
    def name(self) -> str:
        """How people see it."""
        return self.nick.title()


neolith = NeolithOrchestrator(db=db, user_model=User)


@login_manager.user_loader  # type: ignore[untyped-decorator]  # flask_login has no types
def load_user(user_id: str) -> User | None:
    """For flask-login."""
    return db.session.get(User, user_id)


def create_app(**config: Any) -> Flask:
    """Make the app; also twice in one process, on the one SocketIO."""
    app = Flask(__name__)
    app.config.update(SECRET_KEY="x", SQLALCHEMY_DATABASE_URI="sqlite://", ORCHESTRATOR_MODE=True, TESTING=True)
    app.config.update(NEOLITH_SCRIPTED_DELAY=0, **config)
    socketio.init_app(app)
    login_manager.init_app(app)
    neolith.init_app(app, socketio=socketio)
    db.init_app(app)

    @app.post("/login/<nick>")
    def log_in(nick: str) -> str:
        login_user(db.session.get(User, nick))
        return "Welcome."

    @app.post("/logout")
    def log_out() -> str:
        logout_user()
        return "Goodbye."

    @app.post("/channels/<channel>")
    @login_required  # type: ignore[untyped-decorator]  # flask_login has no types
    def say(channel: str) -> dict[str, Any]:
        posted = neolith.chat.post(current_user.nick, channel, request.get_json()["text"])
        db.session.commit()
        return posted.message

    return app
