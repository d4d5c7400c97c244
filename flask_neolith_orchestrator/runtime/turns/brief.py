"""What a turn is told before it thinks: the charter and the conversation, as one request to a model."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from ...chat.charter import Charter
from ...chat.context import Background, build_request
from ...chat.metering import estimate_said
from ...chat.summary import most_lines, unsummed
from ...core.cancel import Cancel, StopReason
from ...core.errors import ModelError, StartFailed
from ...core.model import Counter, ModelRequest, ToolSpec
from ...core.money import Purse
from ...core.ports import Readers
from ...core.sessions import Session
from ...core.types import Claim, Line, OrchestratorSnapshot, Place
from ..charters.book import UNWRITTEN
from .study import Study

log = logging.getLogger("flask_neolith_orchestrator")

DEEPEST = 100_000
"""Lines of history among which what is asked is looked for at the most."""

NEAR: Final = 0.8
"""The part of NEOLITH_CONTEXT_TOKENS up to which the estimate is good enough, whatever it is wrong by."""

COUNTS: Final = 3
"""How often the provider is asked to count for one request."""


@dataclass(frozen=True, slots=True)
class Brief:
    """All that an attempt needs to know. Lifetime: the attempt. `is_long` says that its session is to be summed up."""

    snapshot: OrchestratorSnapshot
    charter: Charter
    request: ModelRequest
    purses: tuple[Purse, ...] = ()
    is_long: bool = False


@dataclass(frozen=True, slots=True)
class _Told:
    """What a request is made from."""

    charter: Charter
    lines: Sequence[Line]
    background: Background


class Briefing:
    """Makes the brief of one attempt. Lifetime: the attempt."""

    def __init__(self, claim: Claim, study: Study, cancel: Cancel) -> None:
        self.claim = claim
        self._study = study
        self._stores = study.stores
        self._settings = study.settings
        self._cancel = cancel
        self._told: _Told | None = None
        self._bundled = study.stores.external is not None

    def read(self) -> Brief:
        """As `compose`, in a transaction of its own; a charter that the host has changed becomes a version before."""
        with self._stores.database.read() as tx:
            brief = self.compose(tx)
        if brief.charter.version != UNWRITTEN:
            return brief
        self._study.charters.adopt(self.claim.orchestrator_id)
        with self._stores.database.read() as tx:
            return self.compose(tx)

    def compose(self, tx: Any) -> Brief:
        """Read all that is needed. Raises StartFailed, or Cancelled where nothing that was asked is left."""
        snapshot = self._stores.people.snapshot(tx, self.claim.orchestrator_id)
        if snapshot is None:
            msg = "This orchestrator does not exist any more."
            raise StartFailed(msg)
        charter = self._study.charters.of(tx, snapshot)
        lines = self._lines(tx, snapshot)
        self._stop_if_deleted(tx, lines)
        purses = self._study.treasury.purses(tx, snapshot, charter, self.claim.requester_id)
        session = self._session(tx)
        window = self._window(tx, charter, snapshot.user.id)
        self._told, is_long = self._as_told(charter, lines, session, window)
        request = self._build(self._told, self._settings.context_tokens)
        return Brief(snapshot, charter, request, purses, is_long)

    def retell(self, taken: int) -> ModelRequest:
        """The request as it would be now, with `taken` tokens left free for what has been said since.

        For the later rounds of a turn: what was deleted meanwhile is not said to a model again.
        """
        with self._stores.database.read() as tx:
            self.compose(tx)
        return self._rebuilt(int(self._settings.context_tokens * NEAR), taken)

    def fitted(self, request: ModelRequest, tools: tuple[ToolSpec, ...]) -> ModelRequest:
        """The composed request, made shorter where its provider counts too many tokens. No transaction may be open.

        The provider is asked only near the limit, and what it cannot or will not count is estimated.
        Raises Cancelled.
        """
        budget, extra = self._settings.context_tokens, self._study.tool_tokens.of(tools)
        for again in range(COUNTS):
            guess = estimate_said(request) + extra
            counted = self._counted(request, tools) if again or guess > budget * NEAR else None
            if counted is None or counted <= budget:
                break
            request = self._rebuilt(int(budget * guess / counted * 0.98), extra)
        return request

    def _counted(self, request: ModelRequest, tools: tuple[ToolSpec, ...]) -> int | None:
        model = self._study.model_for(request.model)
        if not isinstance(model, Counter):
            return None
        try:
            return model.count_tokens(replace(request, tools=tools), self._cancel)
        except ModelError as error:
            self._cancel.check()
            log.debug("Tokens could not be counted: %s", type(error).__name__, extra={"action": "count-failed"})
            return None

    def _stop_if_deleted(self, tx: Any, lines: Sequence[Line]) -> None:
        asked = self.claim.messages
        seen = any(line.message_id in asked for line in lines)
        if asked and not seen and not self._stores.chat.present(tx, asked):
            self._cancel.set(StopReason.DELETED)
            self._cancel.check()

    def _session(self, tx: Any) -> Session:
        session = self.claim.session or Session("")
        if not session.summary:
            return session
        found = self._stores.sessions.of(tx, int(session.id))  # a source may have been deleted since the claim
        if found is None or not found.summary:
            return replace(session, summary=None, sources=frozenset(), is_stale=True)
        asked = found.sources.intersection(self.claim.messages)  # of old, again: it knows nothing that came after
        # a host with a chat of its own tells nobody that it deletes something
        present = found.sources if self._bundled else self._stores.chat.present(tx, sorted(found.sources))
        is_usable = not asked and len(present) == len(found.sources)
        return found if is_usable else replace(found, summary=None, sources=frozenset(), is_stale=not asked)

    def _as_told(
        self, charter: Charter, lines: Sequence[Line], session: Session, window: Sequence[Line]
    ) -> tuple[_Told, bool]:
        """The lines of the session that no summary stands for, and whether there are too many of them."""
        asked, limit = self.claim.messages, self._settings.history_limit
        others = unsummed([line for line in lines if line.message_id not in asked], session)
        shown = others[-limit:]
        carried = session.carried_until is not None and any(line.at <= session.carried_until for line in others)
        most = most_lines(self._settings.summary_after, limit)
        is_long = bool(session.id) and (len(others) > most or carried or session.is_stale)
        prompt = self._study.prompts.of(charter)
        background = Background(window, session.summary, session.carried_until, system=prompt)
        told = [*shown, *(line for line in lines if line.message_id in asked)]
        return _Told(charter, told, background), is_long

    def _window(self, tx: Any, charter: Charter, own: str) -> Sequence[Line]:
        """Lines of the main line before the thread, if who asked is in the channel."""
        claim, chat, count = self.claim, self._stores.chat, charter.behaviour.channel_window
        root = claim.place.thread_id
        if not count or root is None or claim.place.is_dm or not isinstance(chat, Readers):
            return ()
        if not chat.may_read(tx, claim.requester_id, claim.place.channel_id):
            return ()
        lines = chat.history(tx, Place(claim.place.channel_id), until=root, own=own, limit=count + 1)
        places = [place for place, line in enumerate(lines) if line.message_id == root]
        return lines[: places[0]] if places else ()

    def _rebuilt(self, budget: int, taken: int) -> ModelRequest:
        told = self._told
        if told is None:
            msg = "Nothing has been composed yet."
            raise RuntimeError(msg)
        return self._build(replace(told, background=replace(told.background, taken=taken)), budget)

    def _build(self, told: _Told, budget: int) -> ModelRequest:
        settings = self._settings
        request = build_request(
            told.charter,
            told.lines,
            model=settings.model,
            max_tokens=settings.max_tokens,
            token_budget=budget,
            trigger_ids=self.claim.messages,
            background=told.background,
        )
        if request.fallbacks or not settings.fallbacks:
            return request
        return replace(request, fallbacks=settings.fallbacks)

    def _lines(self, tx: Any, snapshot: OrchestratorSnapshot) -> list[Line]:
        """The history without the answer that is to be written, own lines marked as such."""
        own, reply = snapshot.user.id, self.claim.reply_id
        # what is written anew knows nothing that was said after its question, by itself neither
        found = self._history(tx, own if self.claim.regenerates is None else "")
        shown = [line for line in found if line.message_id != reply]
        # a copy costs more than the line: our own chat has marked them already
        return [line if line.by_self == (line.author_id == own) else _turned(line) for line in shown]

    def _history(self, tx: Any, own: str) -> Sequence[Line]:
        """The last lines, and more where others have said much since the first that is asked: it is never left out."""
        claim, chat, limit = self.claim, self._stores.chat, self._settings.history_limit
        until = claim.messages[-1] if claim.messages else None
        while True:
            found = chat.history(tx, claim.place, until=until, own=own, limit=limit)
            missing = set(claim.messages) - {line.message_id for line in found}
            if not missing or limit > DEEPEST or not chat.present(tx, sorted(missing)):
                return found
            limit *= 8


def _turned(line: Line) -> Line:
    return replace(line, by_self=not line.by_self)
