"""The first look at the tables, wherever it happens."""

from __future__ import annotations

from pathlib import Path

import pytest
from flask import Flask
from flask_login import LoginManager, UserMixin
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import Mapped, mapped_column

from flask_neolith_orchestrator import NeolithOrchestrator, OrchestratorUserMixin


@pytest.mark.parametrize("kept", [True, False])
def test_a_seed_script_may_be_the_first_to_ask(tmp_path: Path, kept: bool) -> None:
    """On a SQLite file whose session has begun to write, the first look joins that session and waits for nobody."""
    db = SQLAlchemy()

    class User(OrchestratorUserMixin, UserMixin, db.Model):  # type: ignore[name-defined,misc]  # made at run time
        id: Mapped[int] = mapped_column(primary_key=True)

    neolith = NeolithOrchestrator(db=db, user_model=User)
    app = Flask(__name__, instance_path=str(tmp_path))
    app.config.update(SECRET_KEY="test", SQLALCHEMY_DATABASE_URI=f"sqlite:///{tmp_path}/app.db")
    db.init_app(app)
    LoginManager(app)
    neolith.init_app(app)
    with app.app_context():
        db.create_all()
        db.session.add(User())
        db.session.flush()
        neolith.directory.create_organization("Acme", "acme")
        db.session.commit() if kept else db.session.rollback()
        names = db.session.scalars(db.select(neolith.models.Organization.name)).all()
        neolith.shutdown(app)
        db.session.remove()
        db.engine.dispose()
    assert list(names) == (["Acme"] if kept else [])
