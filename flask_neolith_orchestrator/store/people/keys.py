"""API keys: `nlk_<prefix>_<secret>`, shown once. Only the SHA-256 of the whole key is kept; the prefix finds the row.

A plain hash is enough here: the secret has 256 bits of randomness, so there is nothing to guess and to slow down.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

from sqlalchemy import Connection, func, insert, or_, select, update

from ..sql.database import Database
from ..tables.models import Models

Scope = Literal[
    "audit:read",
    "channels:read",
    "channels:write",
    "deliveries:manage",
    "deliveries:read",
    "messages:read",
    "messages:write",
    "metrics:read",
    "orchestrators:manage",
    "orchestrators:read",
]
"""What a key may be allowed to do. None of them makes keys: only a person who has logged in does."""

SCOPES: Final[tuple[str, ...]] = get_args(Scope)

TOUCH_EVERY: Final = 60.0
"""Seconds between two writes of a key's `used_at`."""

_SHAPE: Final = re.compile(r"nlk_([0-9a-f]{16})_[A-Za-z0-9_-]{43}", re.ASCII)


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as its owner may see it: everything but the secret. Times are epoch seconds."""

    id: str
    user_id: str
    prefix: str
    label: str
    scopes: frozenset[str]
    created_at: float
    expires_at: float | None
    revoked_at: float | None
    used_at: float | None

    def is_live(self, now: float) -> bool:
        """Whether the key opens anything at `now`."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


class Keys:
    """Makes, finds and revokes keys. Lifetime: app, in one process; safe for all threads (each brings its tx)."""

    def __init__(self, models: Models, database: Database) -> None:
        self._clock = database.clock
        self._parse = models.parse_user_id
        self._k = models.table("ApiKey")

    def create(
        self, tx: Connection, user_id: str, *, label: str, scopes: Iterable[str], expires_at: float | None = None
    ) -> tuple[str, ApiKey]:
        """Make a key for a user; the first item is the whole key, which can never be read again.

        `scopes` are some of `SCOPES`, else ValueError.
        """
        granted = sorted(set(scopes))
        unknown = [one for one in granted if one not in SCOPES]
        if unknown:
            msg = f"Unknown scopes: {', '.join(unknown)}"
            raise ValueError(msg)
        prefix = secrets.token_hex(8)
        text = f"nlk_{prefix}_{secrets.token_urlsafe(32)}"
        k = self._k
        row = tx.execute(
            insert(k)
            .values(
                user_id=self._parse(user_id),
                prefix=prefix,
                digest=_digest(text),
                label=label,
                scopes=granted,
                created_at=self._clock.wall(),
                expires_at=expires_at,
            )
            .returning(k)
        ).one()
        return text, _key(row)

    def find(self, tx: Connection, text: str) -> ApiKey | None:
        """The key that `text` is, if it is live. Comparing takes the same time whatever is wrong with it."""
        shape = _SHAPE.fullmatch(text)
        k = self._k
        row = None if shape is None else tx.execute(select(k).where(k.c.prefix == shape[1])).first()
        kept = "0" * 64 if row is None else str(row.digest)
        same = hmac.compare_digest(kept, _digest(text))
        if row is None or not same:
            return None
        return self._live(row)

    def by_id(self, tx: Connection, key_id: str) -> ApiKey | None:
        """A key that was found before, if it is still live: for connections that outlast one request."""
        return self._live(tx.execute(select(self._k).where(self._k.c.id == int(key_id))).first())

    def _live(self, row: Any) -> ApiKey | None:
        if row is None:
            return None
        key = _key(row)
        return key if key.is_live(self._clock.wall()) else None

    def touch(self, tx: Connection, key: ApiKey) -> bool:
        """Write that the key was used, at most once a minute; True if something was written."""
        now = self._clock.wall()
        if key.used_at is not None and now - key.used_at < TOUCH_EVERY:
            return False
        k = self._k
        due = or_(k.c.used_at.is_(None), k.c.used_at <= now - TOUCH_EVERY)
        return bool(tx.execute(update(k).where(k.c.id == int(key.id), due).values(used_at=now)).rowcount)

    def owned_by(self, tx: Connection, user_id: str) -> list[ApiKey]:
        """All keys of a user, newest first: live, expired and revoked ones."""
        k = self._k
        rows = tx.execute(select(k).where(k.c.user_id == self._parse(user_id)).order_by(k.c.id.desc()))
        return [_key(row) for row in rows]

    def count_live(self, tx: Connection, user_id: str) -> int:
        """How many of a user's keys open something now."""
        k = self._k
        now = self._clock.wall()
        live = [k.c.revoked_at.is_(None), or_(k.c.expires_at.is_(None), k.c.expires_at > now)]
        return tx.execute(
            select(func.count()).select_from(k).where(k.c.user_id == self._parse(user_id), *live)
        ).scalar_one()

    def revoke(self, tx: Connection, user_id: str, key_id: str) -> tuple[ApiKey, bool] | None:
        """Revoke one of the user's own keys: the key, and False where it was revoked before.

        None if the user has no such key.
        """
        k = self._k
        mine = [k.c.id == int(key_id), k.c.user_id == self._parse(user_id)]
        done = tx.execute(update(k).where(*mine, k.c.revoked_at.is_(None)).values(revoked_at=self._clock.wall()))
        row = tx.execute(select(k).where(*mine)).first()
        return None if row is None else (_key(row), bool(done.rowcount))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


def _key(row: Any) -> ApiKey:
    return ApiKey(
        id=str(row.id),
        user_id=str(row.user_id),
        prefix=f"nlk_{row.prefix}",
        label=row.label,
        scopes=frozenset(row.scopes or ()),
        created_at=row.created_at,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
        used_at=row.used_at,
    )
