"""The first start: a secret key, the tables, and somebody to talk to. Later starts find all this and change nothing."""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from flask import Flask

from flask_neolith_orchestrator import load_charter_file

from .models import User, db, hash_password, neolith

DEMO_PASSWORD = "neolith"  # noqa: S105 -- everybody may know it: the login page shows it
ORGANIZATION = "Neolith"


CHARTERS = Path(__file__).parent / "charters"
"""Who the orchestrators are: one file each, and what holds for all of them in organization.yaml."""


@dataclass(frozen=True, slots=True)
class Account:
    """Somebody in the demo. An orchestrator is one who has a `handle`, and a charter of that name."""

    name: str
    email: str
    about: str
    handle: str | None = None


ACCOUNTS = (
    Account("Maya", "maya@neolith.test", "person"),
    Account("Sam", "sam@neolith.test", "person"),
    Account("Ada", "ada@neolith.test", "research", "ada"),
    Account("Otto", "otto@neolith.test", "operations", "otto"),
    Account("Iris", "iris@neolith.test", "writing", "iris"),
    Account("Nils", "nils@neolith.test", "finance", "nils"),
)
"""Whom the demo begins with."""


def secret_key(folder: str) -> str:
    """The key that signs sessions: made once, kept in a file that only its owner can read."""
    path = Path(folder) / "secret_key"
    with _alone(folder):
        if not path.exists():
            made = path.with_suffix(".new")
            made.touch(mode=0o600)
            made.write_text(secrets.token_hex(32), encoding="ascii")
            made.replace(path)
        return path.read_text(encoding="ascii")


def prepare(app: Flask) -> None:
    """Make the tables and the demo data that are not there yet."""
    with _alone(app.instance_path), app.app_context():
        db.create_all()
        if db.session.scalar(db.select(User).limit(1)) is None:
            _fill()
            db.session.commit()
        # servers that fork later must not inherit open connections
        db.engine.dispose()


@contextmanager
def _alone(folder: str) -> Iterator[None]:
    """Hold a lock on the instance folder: several processes may start at once."""
    os.makedirs(folder, exist_ok=True)
    with (Path(folder) / "first_start.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _fill() -> None:
    # one hash for all: the password is no secret, and hashing is slow by intent
    hashed = hash_password(DEMO_PASSWORD)
    ids = {account.name: _add_user(account, hashed) for account in ACCOUNTS}
    organization = neolith.directory.create_organization(ORGANIZATION, ORGANIZATION.lower())
    for account in ACCOUNTS:
        if account.handle is None:
            role = "owner" if account.name == "Maya" else "member"
            neolith.directory.add_to_organization(organization, ids[account.name], role)
        else:
            _add_orchestrator(organization, ids[account.name], account.handle)
    neolith.directory.set_organization_charter(organization, load_charter_file(CHARTERS / "organization.yaml"))
    _add_channels(organization, ids)


def _add_orchestrator(organization: str, user_id: str, handle: str) -> None:
    charter = load_charter_file(CHARTERS / f"{handle}.yaml")
    made = neolith.directory.create_orchestrator(
        user_id, organization, charter["handle"], role=charter["role"], discipline=charter["discipline"]
    )
    neolith.directory.set_charter(made, charter, reason="the demo's first start")


def _add_user(account: Account, hashed: str) -> str:
    is_orchestrator = account.handle is not None
    user = User(name=account.name, email=account.email, password_hash=hashed, is_orchestrator=is_orchestrator)
    db.session.add(user)
    db.session.flush()
    return str(user.id)


def _add_channels(organization: str, ids: dict[str, str]) -> None:
    maya, sam, ada, otto, iris, nils = (ids[name] for name in ("Maya", "Sam", "Ada", "Otto", "Iris", "Nils"))
    for name, topic, members in (
        ("general", "Everything and everybody", [sam, ada, otto]),
        ("research", "Questions that take a while", [sam, ada]),
        ("writing", "Drafts; Iris reads along", [sam, iris]),
        ("money", "What it costs, in office hours", [sam, nils]),
    ):
        neolith.chat.create_channel(maya, organization_id=organization, name=name, topic=topic, member_ids=members)
