"""What a turn is told before it thinks: the charter and the conversation, as one request to a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..chat.charter import Charter
from ..chat.context import build_request
from ..core.cancel import Cancel, StopReason
from ..core.errors import StartFailed
from ..core.model import ModelRequest
from ..core.money import Purse
from ..core.types import Claim, Line, OrchestratorSnapshot
from .charter_book import UNWRITTEN
from .study import Study

DEEPEST = 100_000
"""Lines of history among which what is asked is looked for at the most."""


@dataclass(frozen=True, slots=True)
class Brief:
    """All that an attempt needs to know. Lifetime: the attempt."""

    snapshot: OrchestratorSnapshot
    charter: Charter
    request: ModelRequest
    purses: tuple[Purse, ...] = ()


class Briefing:
    """Makes the brief of one attempt. Lifetime: the attempt."""

    def __init__(self, claim: Claim, study: Study, cancel: Cancel) -> None:
        self.claim = claim
        self._study = study
        self._stores = study.stores
        self._settings = study.settings
        self._cancel = cancel

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
        return Brief(snapshot, charter, self._build(charter, lines), purses)

    def _stop_if_deleted(self, tx: Any, lines: Sequence[Line]) -> None:
        asked = self.claim.messages
        seen = any(line.message_id in asked for line in lines)
        if asked and not seen and not self._stores.chat.present(tx, asked):
            self._cancel.set(StopReason.DELETED)
            self._cancel.check()

    def _build(self, charter: Charter, lines: Sequence[Line]) -> ModelRequest:
        settings = self._settings
        request = build_request(
            charter,
            lines,
            model=settings.model,
            max_tokens=settings.max_tokens,
            token_budget=settings.context_tokens,
            trigger_ids=self.claim.messages,
        )
        return request if request.fallbacks else replace(request, fallbacks=settings.fallbacks)

    def _lines(self, tx: Any, snapshot: OrchestratorSnapshot) -> list[Line]:
        """The history with what is asked now at its end, even where answers to others have a later place."""
        claim = self.claim
        own = snapshot.user.id
        # what is written anew knows nothing that was said after its question, by itself neither
        found = self._history(tx, own if claim.regenerates is None else "")
        lines = [replace(line, by_self=line.author_id == own) for line in found if line.message_id != claim.reply_id]
        asked = [line for line in lines if line.message_id in claim.messages]
        others = [line for line in lines if line.message_id not in claim.messages]
        return others[-self._settings.history_limit :] + asked

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
