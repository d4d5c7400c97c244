"""Sums long sessions up, after the answer and apart from it: on a thread of its own, which ends when nothing is left.

Nothing is lost with the process: a session that is still too long is wished for again by its next turn.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from typing import Final

from ...chat.reading import Answer
from ...chat.summary import Plan, accepted, most_lines, plan
from ...core.cancel import Cancel, Cancelled, StopReason
from ...core.errors import ModelError, OverBudget
from ...core.money import Purse
from ...core.types import Claim
from ...store.turns.sessions import Job, Written
from ..money.tab import Tab
from .study import Study

log = logging.getLogger("flask_neolith_orchestrator")

OFFLINE: Final = "scripted"
"""The provider that cannot sum anything up."""

READ_LINES: Final = 1_000
"""Messages among which those to be summed up are looked for."""


@dataclass(frozen=True, slots=True)
class Wish:
    """A session to be summed up, and on whose account. Lifetime: until that has been tried."""

    claim: Claim
    organization_id: str
    purses: tuple[Purse, ...]

    @property
    def session_id(self) -> str:
        """The session's id; "" where there is none."""
        return self.claim.session.id if self.claim.session is not None else ""


class Summaries:
    """Writes summaries, one at a time. Lifetime: app, in one process; safe for all threads."""

    def __init__(self, study: Study) -> None:
        self._study = study
        self._stores = study.stores
        self._model = study.settings.summary_model
        self._changed = threading.Condition()
        self._wishes: dict[str, Wish] = {}
        self._thread: threading.Thread | None = None
        self._cancel = Cancel()

    def put(self, claim: Claim, organization_id: str, purses: tuple[Purse, ...]) -> None:
        """Sum the session of a turn up soon. Never blocks, never raises; twice before it is begun is once."""
        wish = Wish(claim, organization_id, purses)
        if not self._model or not wish.session_id or self._cancel.is_set():
            return
        with self._changed:
            self._wishes[wish.session_id] = wish
            if self._thread is not None or not self._stores.database.threads:
                return
            thread = threading.Thread(target=self._work, name="neolith-summaries", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # no more threads: the next turn wishes again
                self._wishes.clear()
            else:
                self._thread = thread

    def work(self) -> None:
        """Do here and now what is wished: where there can be no second thread."""
        while (wish := self._next()) is not None:
            self._contained(wish)

    def wait_idle(self, seconds: float) -> bool:
        """Wait until nothing is wished any more; False if that takes longer."""
        with self._changed:
            return self._changed.wait_for(lambda: self._thread is None, seconds)

    def close(self, seconds: float = 2.0) -> None:
        """Take no more wishes, and cut the call that goes on. Safe twice."""
        with self._changed:
            self._wishes.clear()
        self._cancel.set(StopReason.SHUTDOWN)
        self.wait_idle(seconds)

    def _work(self) -> None:
        while True:
            with self._changed:
                wish = self._next()
                if wish is None:
                    self._thread = None
                    self._changed.notify_all()
                    return
            self._contained(wish)

    def _next(self) -> Wish | None:
        with self._changed:
            return self._wishes.pop(next(iter(self._wishes))) if self._wishes else None

    def _contained(self, wish: Wish) -> None:
        try:
            self._sum_up(wish)
        except Exception:
            # the thread's border: the summary that there is stays, and the next turn wishes again
            log.exception("A session could not be summed up", extra=_fields("summary-failed", wish))

    def _sum_up(self, wish: Wish) -> None:
        if self._study.model_for(self._model).name == OFFLINE:
            return
        stores = self._stores
        with stores.database.read() as tx:
            job = stores.sessions.job(tx, wish.session_id)
            made = None if job is None else self._plan(tx, job)
        if job is None or made is None:
            return
        with stores.database.write() as tx:
            reserved = stores.sessions.reserve(tx, job.session)
        if not reserved:
            return
        text = self._text(wish, made)
        session, written = job.session, None if text is None else self._written(text, made)
        if written is None:
            stores.database.run(lambda tx: stores.sessions.give_up(tx, session))
        elif stores.database.run(lambda tx: stores.sessions.keep(tx, session, written)):
            log.info("A session was summed up", extra=_fields("session-summed-up", wish))

    def _plan(self, tx: object, job: Job) -> Plan | None:
        lines = self._stores.chat.history(tx, job.place, until=None, own=job.user_id, limit=READ_LINES)
        settings = self._study.settings
        after = most_lines(settings.summary_after, settings.history_limit)
        return plan(self._model, lines, job.session, after=after)

    def _text(self, wish: Wish, made: Plan) -> str | None:
        """The summary, or None where there is none to be had now."""
        try:
            answer = self._ask(wish, made)
        except (ModelError, OverBudget, Cancelled) as error:
            log.warning("No summary: %s", type(error).__name__, extra=_fields("summary-refused", wish))
            return None
        text = accepted(answer.text, answer.stop_reason, made)
        if text is None:
            log.warning("No summary: it would not be shorter", extra=_fields("summary-refused", wish))
        return text

    def _ask(self, wish: Wish, made: Plan) -> Answer:
        treasury = self._study.treasury
        tab = Tab(treasury.till)
        tab.open(wish.claim, wish.organization_id, wish.purses)
        try:
            return self._study.responder(tab.summaries()).respond(made.request, self._cancel, lambda _text: None)
        finally:
            treasury.close(tab)

    def _written(self, text: str, made: Plan) -> Written:
        return Written(text, made.sources, max(line.at for line in made.lines), self._model)


def _fields(action: str, wish: Wish) -> dict[str, str]:
    claim = wish.claim
    return {
        "action": action,
        "orchestrator": claim.orchestrator_id,
        "conversation": claim.conversation_id,
        "session": wish.session_id,
    }
