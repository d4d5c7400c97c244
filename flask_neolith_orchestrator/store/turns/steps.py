"""The steps of turns that use tools. Every write is fenced: who has lost the turn writes nothing.

A write says None, or why the attempt must end: REVOKED where the turn is somebody else's now, and at a beginning also
what was asked of the turn meanwhile (a stop, a deleted question): no call is begun after that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Connection, bindparam, func, insert, select, update

from ...core.cancel import StopReason
from ...core.model import Block, Opaque, ToolCall, ToolResult
from ...core.steps import Planned, Step, StepState
from ...core.types import Claim
from ..sql.database import Database
from ..tables.models import Models

_OPEN: Final = (StepState.WAITING, StepState.APPROVED, StepState.RUNNING)


class Steps:
    """Reads and writes steps. Lifetime: app, in one process; safe for all threads."""

    def __init__(self, models: Models, database: Database) -> None:
        self._clock = database.clock
        self._step = models.table("Step")
        self._turn = models.table("Turn")
        c = models.table("Conversation")
        # locked, so that a stop or a new owner comes either before this transaction or after it
        self._fence = database.prepare(
            select(c.c.id)
            .where(
                c.c.id == bindparam("b_conversation"),
                c.c.epoch == bindparam("b_epoch"),
                c.c.turn_id == bindparam("b_turn"),
            )
            .with_for_update(key_share=True)
        )

    def of(self, tx: Connection, turn_id: str) -> list[Step]:
        """A turn's steps, in order."""
        s = self._step
        rows = tx.execute(select(s).where(s.c.turn_id == int(turn_id)).order_by(s.c.n)).mappings()
        return [step_of(row) for row in rows]

    def record(
        self, tx: Connection, claim: Claim, content: Sequence[Block], text: str, calls: Sequence[Planned]
    ) -> list[Step] | StopReason:
        """Write what the model said (`text` as people saw it) and the calls that it made; the new steps."""
        if not self._holds(tx, claim):
            return StopReason.REVOKED
        s, turn, now = self._step, int(claim.turn_id), self._clock.wall()
        last = tx.execute(select(func.coalesce(func.max(s.c.n), 0)).where(s.c.turn_id == turn)).scalar_one()
        rows = [_model_row(turn, last + 1, content, text, now)]
        rows += [_call_row(turn, last + 2 + place, planned, now) for place, planned in enumerate(calls)]
        for row in rows:
            tx.execute(insert(s).values(row))
        found = tx.execute(select(s).where(s.c.turn_id == turn, s.c.n > last).order_by(s.c.n)).mappings()
        return [step_of(row) for row in found]

    def begin(self, tx: Connection, claim: Claim, step: Step) -> StopReason | None:
        """Write that a call is being run; also once more for one that was being run when its process died."""
        if not self._holds(tx, claim):
            return StopReason.REVOKED
        t = self._turn
        asked = tx.execute(select(t.c.cancel_requested).where(t.c.id == int(claim.turn_id))).scalar()
        if asked is not None:
            return StopReason(asked)
        return self._change(tx, step, StepState.RUNNING)

    def finish(self, tx: Connection, claim: Claim, step: Step, result: str, *, is_error: bool) -> StopReason | None:
        """Write what came of a call, also where the turn was asked to end meanwhile: it has happened."""
        if not self._holds(tx, claim):
            return StopReason.REVOKED
        return self._change(
            tx,
            step,
            StepState.FAILED if is_error else StepState.DONE,
            result=result,
            ended_at=self._clock.wall(),
        )

    def _holds(self, tx: Connection, claim: Claim) -> bool:
        found = self._fence.run(
            tx, b_conversation=int(claim.conversation_id), b_epoch=claim.epoch, b_turn=int(claim.turn_id)
        )
        return found.fetchone() is not None

    def _change(self, tx: Connection, step: Step, state: StepState, **values: Any) -> StopReason | None:
        s = self._step
        changed = tx.execute(
            update(s).where(s.c.id == int(step.id), s.c.state.in_(_OPEN)).values(state=str(state), **values)
        )
        return None if changed.rowcount else StopReason.REVOKED


def step_of(row: Any) -> Step:
    """A row of the table, as a mapping, as the other rooms see it."""
    call = None if row["kind"] == "model" else ToolCall(row["call_id"], row["name"], row["arguments"])
    return Step(
        id=str(row["id"]),
        turn_id=str(row["turn_id"]),
        n=row["n"],
        kind=row["kind"],
        key=row["key"],
        state=StepState(row["state"]),
        call=call,
        content=tuple(_block(one) for one in row["content"] or ()),
        result=row["result"],
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        decided_at=row["decided_at"],
        decided_by=row["decided_by"],
        ended_at=row["ended_at"],
    )


def _model_row(turn: int, n: int, content: Sequence[Block], text: str, now: float) -> dict[str, Any]:
    return {
        "turn_id": turn,
        "n": n,
        "kind": "model",
        "key": f"{turn}:{n}",
        "state": str(StepState.DONE),
        "content": [_kept(block) for block in content],
        "result": text,
        "created_at": now,
        "ended_at": now,
    }


def _call_row(turn: int, n: int, planned: Planned, now: float) -> dict[str, Any]:
    return {
        "turn_id": turn,
        "n": n,
        "kind": "tool",
        "key": f"{turn}:{n}",
        "state": str(planned.state),
        "call_id": planned.call.id,
        "name": planned.call.name,
        "arguments": dict(planned.call.arguments),
        "result": planned.result,
        "created_at": now,
        "expires_at": planned.expires_at,
        "asks": planned.asks,
        "ended_at": None if planned.state in _OPEN else now,
    }


def _kept(block: Block) -> dict[str, Any]:
    if isinstance(block, str):
        return {"type": "text", "text": block}
    if isinstance(block, ToolCall):
        return {"type": "call", "id": block.id, "name": block.name, "arguments": dict(block.arguments)}
    if isinstance(block, Opaque):
        return {"type": "opaque", "provider": block.provider, "data": dict(block.data)}
    return {"type": "result", "call_id": block.call_id, "content": block.content, "is_error": block.is_error}


def _block(kept: dict[str, Any]) -> Block:
    kind = kept["type"]
    if kind == "text":
        text: str = kept["text"]
        return text
    if kind == "call":
        return ToolCall(kept["id"], kept["name"], kept["arguments"])
    if kind == "opaque":
        return Opaque(kept["provider"], kept["data"])
    return ToolResult(kept["call_id"], kept["content"], kept["is_error"])
