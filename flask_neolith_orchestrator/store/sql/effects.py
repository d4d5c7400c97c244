"""What must happen after a commit, and only then: bells and news wait in the session until it is certain.

`after_commit` fires when a savepoint is released too, so effects wait until no nested transaction is open; a
savepoint that is rolled back takes its own effects with it, and a root rollback takes all.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import event
from sqlalchemy.orm import Session, SessionTransaction, scoped_session

log = logging.getLogger("flask_neolith_orchestrator")

_KEY = "neolith_effects"
_HEARD = "neolith_heard"


@dataclass(frozen=True, slots=True)
class _Effect:
    run: Callable[[], None]
    # the transactions that were open, kept alive: the address of one that has ended would soon be another's
    within: tuple[SessionTransaction, ...]


def listen(session: scoped_session[Session]) -> None:
    """Hear the host's scoped session; once for all sessions it makes."""
    if not getattr(session, _HEARD, False):
        setattr(session, _HEARD, True)
        _listen(session)


def made_by(scoped: scoped_session[Session], session: Session) -> bool:
    """Whether `session` comes from this scoped session, which is heard as a whole."""
    maker: Any = scoped.session_factory
    return isinstance(session, getattr(maker, "class_", ()))


def after_commit(session: Session, effect: Callable[[], None], *, heard: bool) -> None:
    """Run `effect` once the session's outermost transaction is committed. It must not use the session.

    `heard` says that `listen` was called for where this session comes from; a foreign session is heard itself.
    """
    if not heard and not session.info.get(_HEARD):
        session.info[_HEARD] = True
        _listen(session)
    session.info.setdefault(_KEY, []).append(_Effect(effect, _open_transactions(session)))


def _open_transactions(session: Session) -> tuple[SessionTransaction, ...]:
    open_ones: list[SessionTransaction] = []
    transaction = session.get_nested_transaction() or session.get_transaction()
    while transaction is not None:
        open_ones.append(transaction)
        transaction = transaction.parent
    return tuple(open_ones)


def _listen(target: Any) -> None:
    event.listen(target, "after_commit", _on_commit)
    event.listen(target, "after_soft_rollback", _on_rollback)
    event.listen(target, "after_transaction_end", _on_end)


def _on_commit(session: Session) -> None:
    if _KEY not in session.info or session.in_nested_transaction():
        return
    for effect in session.info.pop(_KEY):
        try:
            effect.run()
        except Exception:
            # the host's commit has happened: nothing of ours may make it look failed
            log.exception("An effect after a commit failed", extra={"action": "effect-failed"})


def _on_rollback(session: Session, ended: SessionTransaction) -> None:
    if _KEY not in session.info:
        return
    kept = [one for one in session.info[_KEY] if ended not in one.within] if ended.nested else []
    if kept:
        session.info[_KEY] = kept
    else:
        del session.info[_KEY]


def _on_end(session: Session, ended: SessionTransaction) -> None:
    # a session that is closed without a commit tells of no rollback; after a commit nothing is left here
    if ended.parent is None:
        session.info.pop(_KEY, None)
