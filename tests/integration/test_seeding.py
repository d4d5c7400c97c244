"""A host fills its first data in one transaction of its own, its users and our rows together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask_login import UserMixin
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import Mapped, mapped_column

from flask_neolith_orchestrator import NeolithOrchestrator, OrchestratorUserMixin


@pytest.mark.parametrize("keep", [True, False])
def test_a_seed_does_not_wait_for_itself(tmp_path: Path, keep: bool) -> None:
    """The first look at new tables happens in the middle of the host's transaction, and works; a rollback harms not."""
    db = SQLAlchemy()

    class User(UserMixin, OrchestratorUserMixin, db.Model):  # type: ignore[name-defined,misc]  # made at run time
        id: Mapped[int] = mapped_column(primary_key=True)
        name: Mapped[str]

    app = Flask(__name__, instance_path=str(tmp_path))
    app.config.update(SECRET_KEY="x", SQLALCHEMY_DATABASE_URI=f"sqlite:///{tmp_path / 'app.db'}")
    neolith = NeolithOrchestrator(db=db, user_model=User)
    db.init_app(app)
    neolith.init_app(app)

    def seed(user: Any) -> str:
        db.session.add(user)
        db.session.flush()
        organization = neolith.directory.create_organization("Acme", "acme")
        neolith.directory.add_to_organization(organization, str(user.id), "owner")
        neolith.chat.create_channel(str(user.id), organization_id=organization, name="general")
        return str(user.id)

    with app.app_context():
        db.create_all()
        seed(User(name="Ann"))
        db.session.commit() if keep else db.session.rollback()
        user_id = "1" if keep else seed(User(name="Ann"))
        assert [one["name"] for one in neolith.chat.channels(user_id)] == ["general"]
        db.session.rollback()
        neolith.shutdown()
        db.engine.dispose()
