"""How users are called is read as columns where that says the same as asking their objects, and only there."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import Connection, Integer, String, create_engine, event, func, insert, select
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import DeclarativeBase, Session, column_property, mapped_column

from flask_neolith_orchestrator import OrchestratorUserMixin
from flask_neolith_orchestrator.store.people.people import People, default_display_name
from flask_neolith_orchestrator.store.tables.models import make_models

Extra = Callable[[Any], dict[str, Any]]
"""What a host's class has besides its columns; gets the column `name`."""


def _doctor(user: Any, name: str = "display_name") -> str:
    if name != "display_name":
        raise AttributeError(name)
    return f"Dr. {user.name}"


EXTRAS: dict[str, Extra] = {
    "plain": lambda _name: {},
    "property": lambda _name: {"display_name": property(_doctor)},
    "hybrid": lambda _name: {"display_name": hybrid_property(_doctor)},
    "computed": lambda name: {"display_name": column_property("Dr. " + func.coalesce(name, "None"))},
    "dynamic": lambda _name: {"__getattr__": _doctor},
}

PEOPLE = (
    {"id": 1, "name": "Ann", "username": "ann1", "email": "ann@example.org"},
    {"id": 2, "name": "  ", "username": "bob2", "email": "bob@example.org"},
    {"id": 3, "name": None, "username": None, "email": "cleo@example.org"},
    {"id": 4, "name": None, "username": "", "email": None},
)


def _opened(kind: str) -> tuple[type[Any], Connection]:
    base: Any = type("Base", (DeclarativeBase,), {})
    name = mapped_column(String)
    columns = {
        "__tablename__": "user",
        "id": mapped_column(Integer, primary_key=True),
        "name": name,
        "username": mapped_column(String),
        "email": mapped_column("mail_address", String),
    }
    user: Any = type("User", (OrchestratorUserMixin, base), columns | EXTRAS[kind](name))
    make_models(user)
    tx = create_engine("sqlite://").connect()
    base.metadata.create_all(tx)
    tx.execute(insert(user).values([{**one, "is_orchestrator": True} for one in PEOPLE]))
    return user, tx


@pytest.mark.parametrize("kind", EXTRAS)
def test_a_name_is_what_the_user_object_says(kind: str) -> None:
    """Whatever a host's name is made of, everybody is called what `default_display_name` says of the object."""
    user, tx = _opened(kind)
    with Session(tx) as session:
        expected = {one.id: default_display_name(one) for one in session.scalars(select(user))}
    assert len(set(expected.values())) >= 3
    assert People(make_models(user)).names(tx, [1, 2, 3, 4, None]) == expected
    tx.close()


@pytest.mark.parametrize(("kind", "built"), [("plain", 0), ("property", 4)])
def test_objects_are_built_only_where_a_name_needs_them(kind: str, built: int) -> None:
    """With names in plain columns no user object is built; with a name that is computed each is."""
    user, tx = _opened(kind)
    loaded: list[Any] = []
    event.listen(user, "load", lambda one, _context: loaded.append(one))
    People(make_models(user)).names(tx, [1, 2, 3, 4])
    assert len(loaded) == built
    tx.close()


def test_a_host_s_own_name_is_asked_for() -> None:
    """`display_name=` gets the user's object, with all that the class can do."""
    user, tx = _opened("plain")
    people = People(make_models(user), lambda one: f"<{type(one).__name__} {one.username}>")
    assert people.names(tx, [1]) == {1: "<User ann1>"}
    tx.close()


def test_names_are_taken_in_their_order() -> None:
    """The first that says something wins; of an e-mail address only the part before the @ is shown."""
    assert default_display_name(SimpleNamespace(display_name="", name="Ann", email="x@y")) == "Ann"
    assert default_display_name(SimpleNamespace(email="x@y")) == "x"
    assert default_display_name(SimpleNamespace()) == "Somebody"
