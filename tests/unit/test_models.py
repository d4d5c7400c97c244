"""Our classes on the host's metadata: user ids of any type, and names that clash with nobody."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import BigInteger, ForeignKey, String, Uuid, create_engine, event
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, configure_mappers, mapped_column, relationship

from flask_neolith_orchestrator import OrchestratorUserMixin
from flask_neolith_orchestrator.core.errors import SetupError
from flask_neolith_orchestrator.store.tables.models import make_models


def user_class(kind: Any) -> type[Any]:
    """A host's User with a primary key of this type, in an attribute of another name than its column."""

    class Base(DeclarativeBase):
        pass

    class User(OrchestratorUserMixin, Base):
        __tablename__ = "account"
        key: Mapped[Any] = mapped_column("account_id", kind, primary_key=True)

    return User


SOME = uuid.UUID("abcdef12-1234-5678-1234-567812345678")
KINDS = [(BigInteger, 7, "7"), (String(40), "al/ice", "al/ice"), (Uuid, SOME, str(SOME))]


@pytest.mark.parametrize(("kind", "value", "text"), KINDS)
def test_a_user_id_is_the_text_of_the_primary_key(kind: Any, value: Any, text: str) -> None:
    """Whatever its type and the name of its attribute; the foreign keys to users take the host's type."""
    user = user_class(kind)
    models = make_models(user)
    assert models.user_id(user(key=value)) == text
    assert models.parse_user_id(text) == value
    column = models.table("Orchestrator").c.user_id
    assert type(column.type) is type(models.user_key.type)
    assert next(iter(column.foreign_keys)).column is models.user_key


@pytest.mark.parametrize(
    ("kind", "text"),
    [(BigInteger, text) for text in ("", "x", "1_0", " 1", "1.0", str(2**63), "-" + "9" * 30, "٣")]
    + [(Uuid, text) for text in ("", "7", str(SOME).upper(), "{" + str(SOME) + "}")],
)
def test_a_text_that_cannot_be_a_key_is_nobody(kind: Any, text: str) -> None:
    """What only looks like a key, or like the same key in another spelling, finds no user."""
    assert make_models(user_class(kind)).parse_user_id(text) is None


def test_the_id_of_an_expired_user_runs_no_sql(tmp_path: Path) -> None:
    """After a commit the host's objects are expired: their id is known without reading them again."""
    user = user_class(BigInteger)
    models = make_models(user)
    engine = create_engine(f"sqlite:///{tmp_path / 'app.db'}")
    user.metadata.create_all(engine)
    statements: list[str] = []
    with Session(engine) as session:
        one = user(key=1, is_orchestrator=True)
        session.add(one)
        session.flush()
        session.commit()
        event.listen(engine, "before_cursor_execute", lambda *args: statements.append(args[2]))
        assert models.user_id(one) == "1"
    engine.dispose()
    assert statements == []


def test_one_user_model_has_one_set_of_classes() -> None:
    """Called again for the same user model it gives the same classes; a second model needs a bind of its own."""
    user = user_class(BigInteger)
    models = make_models(user)
    assert make_models(user) is models

    class Other(user):  # type: ignore[misc,valid-type]  # made at run time
        __tablename__ = "other"
        __mapper_args__ = {"concrete": True}
        own: Mapped[int] = mapped_column(primary_key=True)

    with pytest.raises(SetupError, match="one user model"):
        make_models(Other)


def test_a_user_model_without_the_mixin_is_named() -> None:
    """The sentence says which class lacks what."""

    class Base(DeclarativeBase):
        pass

    class Person(Base):
        __tablename__ = "person"
        id: Mapped[int] = mapped_column(primary_key=True)

    with pytest.raises(SetupError, match="Person lacks the columns of OrchestratorUserMixin"):
        make_models(Person)


def test_a_user_model_with_two_keys_is_refused() -> None:
    """There is no text for two columns."""

    class Base(DeclarativeBase):
        pass

    class Pair(OrchestratorUserMixin, Base):
        __tablename__ = "pair"
        one: Mapped[int] = mapped_column(primary_key=True)
        two: Mapped[int] = mapped_column(primary_key=True)

    with pytest.raises(SetupError, match="Pair has 2 primary key columns"):
        make_models(Pair)


def test_a_host_may_have_classes_of_the_same_names() -> None:
    """String relationships of a host's own Message, Channel and Organization find the host's own."""

    class Base(DeclarativeBase):
        pass

    class User(OrchestratorUserMixin, Base):
        __tablename__ = "user"
        id: Mapped[int] = mapped_column(primary_key=True)
        messages: Mapped[list[Any]] = relationship("Message", back_populates="author")

    class Message(Base):
        __tablename__ = "message"
        id: Mapped[int] = mapped_column(primary_key=True)
        author_id: Mapped[int] = mapped_column(ForeignKey("user.id"))
        author: Mapped[Any] = relationship("User", back_populates="messages")

    models = make_models(User)
    configure_mappers()
    assert User.messages.property.mapper.class_ is Message
    assert models.table("Message").name == "neolith_message"


def test_our_tables_and_constraints_have_names_of_their_own() -> None:
    """Every table begins with neolith_, and every constraint has a name, or no migration could drop it."""
    models = make_models(user_class(BigInteger))
    for table in models.tables():
        assert table.name.startswith("neolith_")
        for constraint in table.constraints:
            assert constraint.name or constraint is table.primary_key, table.name
