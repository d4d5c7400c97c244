"""`flask neolith doctor` in a broken setup."""

from __future__ import annotations

from pathlib import Path

import pytest
from flask import Flask
from flask_login import LoginManager, UserMixin
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import Mapped, mapped_column

from flask_neolith_orchestrator import NeolithOrchestrator, OrchestratorUserMixin, StartFailed

from .test_events import spoil
from .world import World


def test_the_doctor_sees_everything_even_without_tables(tmp_path: Path) -> None:
    """Before the first migration it names what is missing, says how everything else is, and ends with exit code 1."""
    db = SQLAlchemy()

    class User(OrchestratorUserMixin, UserMixin, db.Model):  # type: ignore[name-defined,misc]  # made at run time
        id: Mapped[int] = mapped_column(primary_key=True)

    neolith = NeolithOrchestrator(db=db, user_model=User)
    app = Flask(__name__, instance_path=str(tmp_path))
    app.config.update(SECRET_KEY="test", SQLALCHEMY_DATABASE_URI=f"sqlite:///{tmp_path}/app.db", ORCHESTRATOR_MODE=True)
    db.init_app(app)
    LoginManager(app)
    neolith.init_app(app)
    result = app.test_cli_runner().invoke(args=["neolith", "doctor"])
    with app.app_context():
        neolith.shutdown(app)
        db.engine.dispose()
    said = [line.split()[0:2] for line in result.output.splitlines()]
    assert ["BAD", "database:"] in said
    assert ["note", "model:"] in said
    assert said[-1][1] == "inbox:"
    assert "There is no table 'user' of users" in result.output
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)


def test_the_doctor_names_daemons_that_have_failed(world: World) -> None:
    """Who is in error, and why: until somebody mends it and starts them again."""
    runner = world.app.test_cli_runner()
    assert "ok    daemons: none has failed." in runner.invoke(args=["neolith", "doctor"]).output
    spoil(world)
    with pytest.raises(StartFailed):
        world.start("ada")
    told = runner.invoke(args=["neolith", "doctor"])
    assert "BAD   daemons: 1 have failed. Mend it and start them again. @ada: @ada: orch" in told.output
    assert told.exit_code == 1
