"""Why each orchestrator of a channel did or did not wake for a message: decided anew, beside what was decided then."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...chat.reasons import SENTENCES, Reason
from ...core.types import Wake
from ...store.chat.views import iso
from ...store.stores import Stores
from .hearing import Heard, Hearing


@dataclass(frozen=True, slots=True)
class Explained:
    """One orchestrator and one message. `reason` is of now; `delivery` is what was decided when it came, or None.

    Now and then may differ: charters, handles and memberships change. `reason` is None for one that has left, and for
    a message that was deleted.
    """

    orchestrator_id: str
    handle: str
    name: str
    wakes: bool
    reason: str | None
    sentence: str
    delivery: Mapping[str, Any] | None


class Explaining:
    """Explains messages. Lifetime: app, in one process; safe for all threads (each brings its transaction)."""

    def __init__(self, stores: Stores, hearing: Hearing) -> None:
        self._stores = stores
        self._hearing = hearing

    def of(self, tx: Any, message: Mapping[str, Any]) -> list[Explained]:
        """For every orchestrator in the channel of a message, which is given as the wire shows it."""
        deliveries = {str(row["orchestrator_id"]): row for row in self._stores.turns.about(tx, message["id"])}
        decided = {} if message["deleted"] else self._decided(tx, message)
        ids = [*decided, *(key for key in deliveries if key not in decided)]
        shown = {one.id: one for one in self._stores.people.snapshots(tx, ids)}
        return [
            self._explained(shown[key], decided.get(key), deliveries.get(key), deleted=message["deleted"])
            for key in sorted(shown, key=lambda one: shown[one].handle)
        ]

    def _decided(self, tx: Any, message: Mapping[str, Any]) -> dict[str, Wake]:
        found = self._hearing.explain(tx, self._heard(tx, message))
        return {one.orchestrator_id: one for one in found.wakes}

    def _heard(self, tx: Any, message: Mapping[str, Any]) -> Heard:
        author, replied = message["author"], message["replyToId"]
        answered = None if replied is None else self._stores.chat.view(tx, replied)
        external, channel = self._stores.external, str(message["channelId"])
        return Heard(
            message_id=message["id"],
            channel_id=channel,
            thread_id=message["threadId"],
            content=message["content"],
            author_id=author["id"] or "",
            author_is_orchestrator=author["isOrchestrator"],
            is_dm=external is not None and external.is_dm(tx, channel),
            # what an orchestrator answers is no reply that calls somebody
            reply_to_author_id=None if answered is None or author["isOrchestrator"] else answered["author"]["id"],
            author_name=author["name"],
        )

    @staticmethod
    def _explained(snapshot: Any, now: Wake | None, row: Mapping[str, Any] | None, *, deleted: bool) -> Explained:
        if now is None:
            reason, sentence = None, "The message was deleted." if deleted else "It is not in this channel any more."
        else:
            reason, sentence = str(now.reason), SENTENCES[Reason(now.reason)]
        return Explained(
            orchestrator_id=snapshot.id,
            handle=snapshot.handle,
            name=snapshot.user.name,
            wakes=now is not None and now.wakes,
            reason=reason,
            sentence=sentence,
            delivery=None if row is None else _shown(row),
        )


def _shown(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": str(row["id"]),
        "reason": row["reason"],
        "state": row["state"],
        "outcome": row["outcome"],
        "held": row["held"],
        "readyAt": iso(row["ready_at"]),
        "acceptedAt": iso(row["accepted_at"]),
        "endedAt": iso(row["ended_at"]),
        "turnId": None if row["turn_id"] is None else str(row["turn_id"]),
    }
