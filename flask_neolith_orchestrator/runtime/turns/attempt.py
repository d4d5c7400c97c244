"""One try at a turn: history and charter to a model request, its answer or its failure to an outcome."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from ...chat.budgeting import notice
from ...chat.charter import Limits
from ...core.cancel import Cancel, Cancelled, StopReason
from ...core.errors import (
    ModelError,
    ModelInterrupted,
    ModelRejected,
    ModelUnavailable,
    NeolithError,
    OverBudget,
    StartFailed,
)
from ...core.money import Period
from ...core.steps import Parked
from ...core.types import Claim, Usage
from ...store.turns.endings import Fate, Outcome, failed
from ...store.turns.parking import WAITS
from ..broadcast.live import LiveText
from ..charters.book import UNWRITTEN
from ..money.tab import HELD, Tab
from .brief import Brief, Briefing
from .dialogue import Bounds, Dialogue
from .study import Study

log = logging.getLogger("flask_neolith_orchestrator")

WAITING = "Waiting for the model, which cannot be reached right now."
AGAIN = "The answer broke off and will be tried again."
REJECTED = "I could not answer this: the model refuses the request. Somebody who looks after me can see why."
NOT_READY = "I could not answer this: my charter cannot be used as it is. Somebody who looks after me can see why."
IN_TIME = 0.75
"""The part of a turn's time after which its model is asked to finish, without further calls of tools."""

OVER_BUDGET = "over-budget"
LONGEST_PAUSE = 60.0
"""Seconds between two tries at the most."""


class Attempt:
    """One try. Lifetime: from the claim to its outcome, on one thread; others may only set `cancel`."""

    def __init__(self, claim: Claim, study: Study, live: LiveText, pace: Callable[[LiveText], None]) -> None:
        self.claim = claim
        self.cancel = Cancel()
        self.live = live
        self.thread = threading.get_ident()
        self.abandoned = False
        self.began = study.clock.monotonic()
        self.deadline = self.began + study.settings.turn_timeout / 1000
        self._stores = study.stores
        self._study = study
        self._pace = pace
        self._model: str | None = None
        self._models: tuple[str, ...] = ()
        self._dialogue: Dialogue | None = None
        self.tab = Tab(study.treasury.till)
        self._briefing = Briefing(claim, study, self.cancel)
        self._prepared: Brief | None = None
        self.cancel.on_set(self._hush)

    def _hush(self) -> None:
        if self.cancel.reason is StopReason.REVOKED:
            self.live.mute()

    def run(self) -> Outcome | None:
        """Work on it. None if the turn belongs to somebody else now, and nothing may be written."""
        outcome = self._outcome()
        if outcome is None or self._prepared is None:
            return outcome
        return replace(outcome, charter_version=max(self._prepared.charter.version, 0))

    def _outcome(self) -> Outcome | None:
        try:
            return self._answer()
        except Cancelled:
            return self._cancelled()
        except Parked:
            return replace(self._partial(Fate.PARKED), notice=WAITS)
        except ModelUnavailable as error:
            return self._unavailable(error)
        except ModelInterrupted as error:
            return self._interrupted(error)
        except ModelRejected as error:
            return self._failed("model-rejected", REJECTED, error)
        except StartFailed as error:
            return self._failed("bad-charter", NOT_READY, error)
        except Exception as error:
            # the loop's border: whatever a host's ChatStore or a model adapter raises must end this turn only
            log.exception("A turn failed", extra=self.fields("turn-failed"))
            return self._retry("crash", AGAIN, error, delay=self._pause(), punished=True)

    def fields(self, action: str) -> dict[str, str]:
        """What every log line of a turn carries."""
        claim = self.claim
        return {
            "action": action,
            "orchestrator": claim.orchestrator_id,
            "conversation": claim.conversation_id,
            "turn": claim.turn_id,
        }

    def _answer(self) -> Outcome:
        brief = self._brief()
        self._model = brief.request.model
        self._models = (brief.request.model, *brief.request.fallbacks)
        self._pace(self.live)  # only now: telling browsers of the answer must not delay the question to the model
        self.tab.open(self.claim, brief.snapshot.organization_id, brief.purses)
        toolbox = self._study.toolbox_for(self.claim, brief.snapshot, brief.charter)
        bounds = self._bounds(brief.charter.limits)
        self._dialogue = Dialogue(self.claim, self._study, toolbox, bounds, self.cancel, self.live.add, self.tab)
        try:
            request = self._briefing.fitted(brief.request, toolbox.specs)
            answer = self._dialogue.run(request, self._briefing.retell)
        except OverBudget as error:
            return self._over_budget(error)
        self.live.flush()  # before its seq goes into the row
        if brief.is_long:
            self._study.sum_up(self.claim, brief.snapshot.organization_id, brief.purses)
        return Outcome(
            Fate.ANSWERED,
            text=answer.text,
            seq=self.live.seq,
            usage=answer.usage,
            model=answer.model,
            stop_reason=answer.stop_reason,
            first_text_at=self.live.first_text_at,
            calls=answer.calls,
            tried=_listed((one.model, one.error) for one in answer.tried),
        )

    def _bounds(self, limits: Limits) -> Bounds:
        settings = self._study.settings
        return Bounds(
            rounds=settings.tool_rounds if limits.tool_rounds is None else limits.tool_rounds,
            tokens=limits.tokens_per_turn,
            until=self.began + settings.turn_timeout / 1000 * IN_TIME,
        )

    def look(self, tx: Any) -> None:
        """Make the request right after the claim: a thread that does so beside another's claim holds that up."""
        if not self._stores.reads_with_claims:
            return
        try:
            brief = self._briefing.compose(tx)
            self._prepared = brief if brief.charter.version != UNWRITTEN else None
        except Exception:  # noqa: BLE001 -- the claim stands; the same is tried again, and told, for the request
            self._prepared = None

    def _brief(self) -> Brief:
        if self._prepared is None:
            self._prepared = self._briefing.read()
        return self._prepared

    def _cancelled(self) -> Outcome | None:
        reason = self.cancel.reason
        if reason is StopReason.REVOKED:
            return None
        if reason is StopReason.PERSON:
            return self._partial(Fate.STOPPED, stop_reason="stopped")
        if reason is StopReason.DELETED:
            return Outcome(Fate.DELETED, usage=self._usage, calls=self._calls)
        if reason is StopReason.DEADLINE:
            error = NeolithError("The turn took longer than DAEMON_TURN_TIMEOUT.")
            return self._retry("deadline", AGAIN, error, delay=0.0, punished=True)
        if reason is None:  # a model that gives up without having been told to: not again and again at once
            error = NeolithError("The model ended the call as if it had been told to stop.")
            return self._retry("crash", AGAIN, error, delay=self._pause(), punished=True)
        return self._partial(Fate.RELEASED)

    @property
    def _calls(self) -> int:
        return 0 if self._dialogue is None else self._dialogue.calls

    @property
    def _usage(self) -> Usage:
        """Of the rounds that ended well."""
        return Usage() if self._dialogue is None else self._dialogue.usage

    def _partial(self, fate: Fate, stop_reason: str | None = None) -> Outcome:
        self.live.flush()
        return Outcome(
            fate,
            text=self.live.text,
            seq=self.live.seq,
            usage=self._usage,
            model=self._model if self._dialogue is None else self._dialogue.asked or self._model,
            stop_reason=stop_reason,
            first_text_at=self.live.first_text_at,
            calls=self._calls,
            tried=None if self._dialogue is None else _listed((one.model, one.error) for one in self._dialogue.tried),
        )

    def _over_budget(self, error: OverBudget) -> Outcome:
        """Kept until the period is over, where that is not too long; else refused. People are told once."""
        wait = max(0.0, error.until - self._stores.database.clock.wall())
        waits = wait <= self._study.settings.max_age / 1000
        text = notice(error, waits=waits)
        if waits:
            held = None if error.passing else HELD
            return replace(self._retry(OVER_BUDGET, text, error, delay=wait, punished=False), held=held)
        began = Period(error.period).begins(error.until - 1.0)
        with self._stores.database.read() as tx:
            told = self._stores.holds.was_told(tx, self.claim.conversation_id, self.claim.turn_id, OVER_BUDGET, began)
        refused = self._partial(Fate.REFUSED)
        return replace(refused, text="" if told else text, error_kind=OVER_BUDGET, error=_shown(error))

    def _unavailable(self, error: ModelUnavailable) -> Outcome:
        wished = error.retry_after or 0.0
        breaker = self._study.breaker
        held = min((breaker.wait_seconds(name) for name in self._models), default=0.0)  # any of them may answer
        delay = max(wished, self._pause(), held)
        return self._retry("model-unavailable", WAITING, error, delay=delay, punished=False)

    def _interrupted(self, error: ModelInterrupted) -> Outcome:
        # only where the provider answered others meanwhile is it likely to be this request's own fault
        punished = any(self._study.breaker.answered_since(name, self.began) for name in self._models)
        return self._retry("model-interrupted", AGAIN, error, delay=self._pause(), punished=punished)

    def _pause(self) -> float:
        base = min(LONGEST_PAUSE, 2.0 ** min(self.claim.attempt - 1, 10))
        return base * (0.75 + 0.5 * self._study.jitter())

    def _retry(self, kind: str, notice: str, error: Exception, *, delay: float, punished: bool) -> Outcome:
        log.warning("%s: tried again in %.1f s", kind, delay, extra=self.fields("turn-retry"))
        told = _told(self._partial(Fate.RETRY), kind, error)
        return replace(told, notice=notice, delay=delay, punished=punished)

    def _failed(self, kind: str, text: str, error: Exception) -> Outcome:
        log.error("%s: %s", kind, _shown(error), extra=self.fields("turn-rejected"))
        return failed(_told(self._partial(Fate.FAILED), kind, error), text)


def _told(outcome: Outcome, kind: str, error: Exception) -> Outcome:
    tried = _listed(error.tried) if isinstance(error, ModelError) and error.tried else outcome.tried
    return replace(outcome, error_kind=kind, error=_shown(error), tried=tried)


def _listed(tried: Iterable[tuple[str, str]]) -> str | None:
    """Models that did not answer, as the turn's row keeps them."""
    found = [{"model": model, "error": error} for model, error in tried]
    return json.dumps(found) if found else None


def _shown(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:1000] if isinstance(error, NeolithError) else type(error).__name__
