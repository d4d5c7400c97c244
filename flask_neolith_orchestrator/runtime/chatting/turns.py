"""What people do with answers: stop them, have them written anew or tried again, and look at former versions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...chat.markdown import to_html
from ...core.cancel import StopReason
from ...core.errors import Conflict, Forbidden, NotFound, TooMany
from ...core.types import DeliveryState
from ...store.chat.messages import Stored
from ...store.chat.rooms import Room
from ...store.chat.views import iso
from ...store.turns.endings import Ended
from ...store.turns.regeneration import Current
from ...store.turns.turns import Stopped, StopResult, Target
from .rooms import ChatRooms

WORKED_ON = "This answer is being written, or waits for it; stop it first."
NO_ANSWER = "There is no answer that could be written anew."


class ChatTurns(ChatRooms):
    """The answers of `Chat`. Lifetime: app, in one process; safe for all threads.

    An answer is steered by the person who asked, by the orchestrator itself, and by those who manage its organization.
    """

    def stop(self, actor: str, message_id: str) -> dict[str, Any]:
        """Stop an answer, by its own id or its question's: {state, message}. For those who may steer it.

        `state` is stopping (it is being written and ends now), stopped (it had not begun, or waited to be tried
        again) or over (there is nothing to stop); `message` is the answer, or None if there is none.
        """
        tx = self._reading()
        found, room = self._answer(tx, actor, message_id)
        targets = self._parts.turns.targets(tx, found.id)
        if not targets:
            return {"state": "over", "message": None}
        mine = [one for one in targets if self._may_steer(tx, actor, found, one)]
        if not mine:
            raise Forbidden("Only the person who asked, or who manages the orchestrator, may stop the answer.")
        tx = self._writing()
        results = [self._stop(tx, found.id, target) for target in mine]
        self._after_stop(tx, room, results)
        states = {result.found for result in results}
        state = "stopping" if Stopped.RUNNING in states else "stopped" if Stopped.WAITING in states else "over"
        replies = [result.reply_id for result in results if result.reply_id is not None]
        return {"state": state, "message": self._parts.messages.view(tx, replies[-1]) if replies else None}

    def regenerate(self, actor: str, message_id: str) -> dict[str, Any]:
        """Have an answer written anew, by its own id or, where only one answered, its question's: {work, message}.

        It waits behind everything else of the conversation; the answer stays what it is until the new version is
        complete, and is kept as a version then. Raises Conflict while a version is being written or waits for it, and
        TooMany where as a message it would be one too many.
        """
        tx = self._reading()
        found, _ = self._answer(tx, actor, message_id)
        now = self._current(tx, found)
        self._require_steering(tx, actor, found, now)
        tx = self._writing()
        regenerations = self._parts.turns.regenerations
        regenerations.lock(tx, now.conversation_id)
        self._require_quiet(tx, now)
        self._count(actor, {now.orchestrator_id})
        arrival = regenerations.arrival(tx, now, actor)
        accepted = self._parts.reception.enqueue(self._parts.session(), arrival)
        if accepted.state is not DeliveryState.WAITING or not accepted.fresh:
            raise Conflict("The orchestrator has too many messages waiting. Try it again later.")
        regenerations.begin(tx, now, actor, accepted.delivery_id)
        work = self._parts.turns.queue.of(tx, [accepted.delivery_id])[0].payload()
        return {"work": work, "message": self._parts.messages.view(tx, now.reply_id)}

    def retry(self, actor: str, message_id: str) -> dict[str, Any]:
        """Try a failed answer again, by its own id or its question's: {work, message}. For those who may steer it.

        In its own turn and its own row. Raises Conflict where nothing has failed, and TooMany where as a message it
        would be one too many.
        """
        tx = self._reading()
        found, _ = self._answer(tx, actor, message_id)
        targets = self._parts.turns.targets(tx, found.id) or self._unanswered(tx, found)
        mine = [one for one in targets if self._may_steer(tx, actor, found, one)]
        if targets and not mine:
            raise Forbidden("Only the person who asked, or who manages the orchestrator, may try it again.")
        if mine and not found.deleted:
            self._count(actor, {one.orchestrator_id for one in mine})
        tx = self._writing()
        keys = dict.fromkeys(str(key) for one in mine for key in one.deliveries)
        again = [] if found.deleted else [key for key in keys if self._parts.turns.retry(tx, key)]
        if not again:
            raise Conflict("Only an answer that failed can be tried again.")
        work = self._parts.turns.queue.of(tx, again)
        self._parts.reception.ring_later(self._parts.session(), {one.orchestrator_id for one in work})
        return {"work": [one.payload() for one in work], "message": self._parts.messages.view(tx, found.id)}

    def versions(self, actor: str, message_id: str) -> list[dict[str, Any]]:
        """All versions of an answer, the oldest first and the current one last: {n, content, html, state, ...}."""
        tx = self._reading()
        found, _ = self._answer(tx, actor, message_id)
        now = self._current(tx, found)
        kept = self._parts.turns.regenerations.versions(tx, now.reply_id)
        former = [_version(one, one["n"], [one["content"], *one["parts"]]) for one in kept]
        row = self._parts.messages.get(tx, now.reply_id) or found
        parts = [row.content, *self._parts.messages.parts(tx, now.reply_id)]
        current = {"state": row.state, "turn_id": now.turn_id, "created_at": row.created_at}
        return [*former, {**_version(current, len(kept) + 1, parts), "current": True}]

    def restore(self, actor: str, message_id: str, n: int) -> dict[str, Any]:
        """Let a former version be the answer again; what it is now is kept as a version. For those who may steer it.

        Raises NotFound for a version that is not there, and Conflict while a new one is being written.
        """
        tx = self._reading()
        found, room = self._answer(tx, actor, message_id)
        regenerations = self._parts.turns.regenerations
        now = self._current(tx, found)
        self._require_steering(tx, actor, found, now)
        tx = self._writing()
        regenerations.lock(tx, now.conversation_id)
        self._require_quiet(tx, now)
        changed = regenerations.restore(tx, now.reply_id, n)
        if changed is None:
            raise NotFound("There is no such version.")
        shown = self._parts.messages.view(tx, now.reply_id)
        self._tell("message:updated", room.id, {"message": shown})
        for one in changed:
            part = self._parts.messages.view(tx, one)
            gone = {"messageId": one, "channelId": room.id}
            self._tell("message:deleted" if part["deleted"] else "message", room.id, gone | {"message": part})
        return shown

    def work(self, actor: str, message_id: str) -> list[dict[str, Any]]:
        """What becomes of a message at those whom it woke: {deliveryId, orchestratorId, state, position, reason}."""
        tx = self._reading()
        found, _ = self._message(tx, actor, message_id)
        return [one.payload() for one in self._parts.turns.queue.of_message(tx, found.id)]

    def _work(self, tx: Any, delivery_ids: Sequence[str]) -> list[dict[str, Any]]:
        return [one.payload() for one in self._parts.turns.queue.of(tx, delivery_ids)] if delivery_ids else []

    def _answer(self, tx: Any, actor: str, message_id: str) -> tuple[Stored, Room]:
        """A message, and of an answer of several the first."""
        found, room = self._message(tx, actor, message_id)
        if found.continuation_of is not None:
            return self._message(tx, actor, found.continuation_of)
        return found, room

    def _count(self, actor: str, orchestrator_ids: set[str]) -> None:
        """Count it as a message to each. Raises TooMany."""
        rates = self._parts.rates
        for orchestrator_id in sorted(orchestrator_ids):
            wait = None if rates is None else rates.wait(actor, orchestrator_id)
            if wait is not None:
                raise TooMany(retry_after=wait)

    def _current(self, tx: Any, found: Stored) -> Current:
        regenerations = self._parts.turns.regenerations
        now = regenerations.current(tx, found.id)
        if now is None:
            replies = regenerations.answers(tx, found.id)
            if len(replies) > 1:
                raise Conflict("Several have answered this. Say which answer is meant.")
            now = regenerations.current(tx, replies[0]) if replies else None
        if now is None:
            raise Conflict(NO_ANSWER)
        return now

    def _require_steering(self, tx: Any, actor: str, found: Stored, now: Current) -> None:
        if not self._may_steer(tx, actor, found, Target(now.orchestrator_id, now.requester_id, now.turn_id, ())):
            raise Forbidden("Only the person who asked, or who manages the orchestrator, may do this.")

    def _require_quiet(self, tx: Any, now: Current) -> None:
        if self._parts.turns.regenerations.is_open(tx, now.reply_id):
            raise Conflict(WORKED_ON)
        rows = [self._parts.messages.get(tx, one) for one in (now.reply_id, now.question_id) if one is not None]
        if now.question_id is None or any(row is None or row.deleted for row in rows):
            raise Conflict(NO_ANSWER)

    def _may_steer(self, tx: Any, actor: str, found: Stored, target: Target) -> bool:
        if target.requester_id == actor:
            return True
        if found.reply_to_id is not None:  # an admin has it written anew: it is still the asker's
            question = self._parts.messages.get(tx, found.reply_to_id)
            if question is not None and question.author_id == actor:
                return True
        orchestrator = self._parts.people.snapshot(tx, target.orchestrator_id)
        if orchestrator is None:
            return False
        return orchestrator.user.id == actor or self.can_manage(actor, orchestrator.organization_id)

    def _unanswered(self, tx: Any, notice: Stored) -> list[Target]:
        """A notice that somebody waited in vain has no turn: its question has."""
        if notice.state != "failed" or notice.reply_to_id is None:
            return []
        author = self._parts.people.orchestrator_id(tx, notice.author_id or "")
        return [one for one in self._parts.turns.targets(tx, notice.reply_to_id) if one.orchestrator_id == author]

    def _stop(self, tx: Any, message_id: str, target: Target) -> StopResult:
        result = self._parts.turns.stop(tx, target, StopReason.PERSON)
        if result.found is Stopped.OVER and target.turn_id is None:  # perhaps claimed since it was looked at
            for now in self._parts.turns.targets(tx, message_id):
                if now.orchestrator_id == target.orchestrator_id and now.turn_id is not None:
                    return self._parts.turns.stop(tx, now, StopReason.PERSON)
        return result

    def _after_stop(self, tx: Any, room: Room, results: Sequence[StopResult]) -> None:
        for result in results:
            running = [result.turn_id] if result.found is Stopped.RUNNING and result.turn_id else []
            self._after_end(result.ended, running, StopReason.PERSON)
            if result.found is Stopped.WAITING and result.reply_id is not None:
                self._tell("message:done", room.id, {"message": self._parts.messages.view(tx, result.reply_id)})

    def _after_end(self, ended: Sequence[Ended], turn_ids: Sequence[str], reason: StopReason) -> None:
        def effect() -> None:
            if ended:
                self._parts.ended(ended)
            for turn_id in turn_ids:
                self._parts.cancel_turn(turn_id, reason)

        if ended or turn_ids:
            self._after_commit(effect)


def _version(row: Any, n: int, parts: Sequence[str]) -> dict[str, Any]:
    turn, content = row["turn_id"], "\n".join(parts)
    return {
        "n": n,
        "content": content,
        "html": to_html(content),
        "state": row["state"],
        "turnId": None if turn is None else str(turn),
        "at": iso(row["created_at"]),
        "current": False,
    }
