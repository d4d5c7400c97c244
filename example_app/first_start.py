"""The first start: a secret key, the tables, and somebody to talk to. Later starts find all this and change nothing."""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flask import Flask

from .models import User, db, neolith

DEMO_PASSWORD = "neolith"  # noqa: S105 -- everybody may know it: the login page shows it
ORGANIZATION = "Neolith"


@dataclass(frozen=True, slots=True)
class Account:
    """Somebody in the demo. An orchestrator is one who has a `handle`."""

    name: str
    email: str
    about: str
    handle: str | None = None
    charter: str = ""


ACCOUNTS = (
    Account("Maya", "maya@neolith.test", "person"),
    Account("Sam", "sam@neolith.test", "person"),
    Account(
        "Ada",
        "ada@neolith.test",
        "research",
        "ada",
        "You help the team to find things out. Say what is known, how well, and what would settle the rest.",
    ),
    Account(
        "Otto",
        "otto@neolith.test",
        "operations",
        "otto",
        "You help the team to keep things running. Give short steps that can be followed, the safest one first.",
    ),
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
    ids = {account.name: _add_user(account) for account in ACCOUNTS}
    organization = neolith.directory.create_organization(ORGANIZATION, ORGANIZATION.lower())
    for account in ACCOUNTS:
        if account.handle is None:
            role = "owner" if account.name == "Maya" else "member"
            neolith.directory.add_to_organization(organization, ids[account.name], role)
        else:
            neolith.directory.create_orchestrator(
                ids[account.name], organization, account.handle, role=account.about, discipline=account.about
            )
    _add_channels(organization, ids)


def _add_user(account: Account) -> str:
    config: dict[str, Any] | None = {"charter": {"system_prompt": account.charter}} if account.handle else None
    user = User(
        name=account.name,
        email=account.email,
        is_orchestrator=account.handle is not None,
        orchestrator_config=config,
    )
    user.set_password(DEMO_PASSWORD)
    db.session.add(user)
    db.session.flush()
    return str(user.id)


def _add_channels(organization: str, ids: dict[str, str]) -> None:
    maya, sam, ada, otto = (ids[name] for name in ("Maya", "Sam", "Ada", "Otto"))
    for name, topic, members in (
        ("general", "Everything and everybody", [sam, ada, otto]),
        ("research", "Questions that take a while", [sam, ada]),
    ):
        neolith.chat.create_channel(maya, organization_id=organization, name=name, topic=topic, member_ids=members)
