"""What the rows say in the end: each accepted message in exactly one end state, and nothing left under way."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from .evidence import Evidence


def judge_rows(evidence: Evidence) -> Iterator[tuple[str, str]]:
    """Everything that is wrong with the rows."""
    yield from _accepted(evidence)
    yield from _replies(evidence)
    yield from _under_way(evidence)
    yield from _order(evidence)
    for broken in evidence.broken():
        yield "integrity", broken


def _accepted(evidence: Evidence) -> Iterator[tuple[str, str]]:
    states: dict[str, list[str]] = defaultdict(list)
    for message, state in evidence.rows("SELECT message_id, state FROM neolith_delivery"):
        states[message].append(state)
    for post in evidence.posts:
        for message in set(post.ids):
            if states.get(message) != ["answered"]:
                yield "not-answered", f"message {message} (question {post.number}): {states.get(message)}"


def _replies(evidence: Evidence) -> Iterator[tuple[str, str]]:
    rows = evidence.rows
    for turn, reply, count, state in rows(
        "SELECT t.id, t.reply_id, count(m.id), max(m.state) FROM neolith_turn t"
        " LEFT JOIN neolith_message m ON CAST(m.id AS TEXT) = t.reply_id AND m.deleted_at IS NULL"
        " WHERE t.state = 'done' GROUP BY t.id HAVING count(m.id) != 1 OR max(m.state) != 'final'"
    ):
        yield "reply-rows", f"turn {turn} has {count} reply rows ({reply}: {state})"
    for (reply,) in rows("SELECT reply_id FROM neolith_turn GROUP BY reply_id HAVING count(*) > 1"):
        yield "reply-rows", f"reply {reply} belongs to several turns"
    for (message,) in rows(
        "SELECT m.id FROM neolith_message m JOIN neolith_orchestrator o ON o.user_id = m.author_id"
        " WHERE CAST(m.id AS TEXT) NOT IN (SELECT reply_id FROM neolith_turn WHERE state = 'done')"
    ):
        yield "reply-rows", f"answer {message} has no finished turn"
    for turn, count in rows(
        "SELECT t.id, count(d.id) FROM neolith_turn t LEFT JOIN neolith_delivery d"
        " ON d.turn_id = t.id AND d.state = 'answered' WHERE t.state = 'done' GROUP BY t.id HAVING count(d.id) = 0"
    ):
        yield "reply-rows", f"turn {turn} answers {count} deliveries"


def _under_way(evidence: Evidence) -> Iterator[tuple[str, str]]:
    rows = evidence.rows
    for table, state in (("message", "streaming"), ("turn", "running"), ("delivery", "running")):
        for (key,) in rows(f"SELECT id FROM neolith_{table} WHERE state = '{state}'"):
            yield "streaming", f"{table} {key} is {state}"
    for orchestrator, slot in rows("SELECT orchestrator_id, n FROM neolith_slot WHERE node_id IS NOT NULL"):
        yield "held", f"slot {slot} of orchestrator {orchestrator}"
    for conversation, turn in rows("SELECT id, turn_id FROM neolith_conversation WHERE turn_id IS NOT NULL"):
        yield "held", f"conversation {conversation} by turn {turn}"


def _order(evidence: Evidence) -> Iterator[tuple[str, str]]:
    latest: dict[int, int] = {}
    for conversation, first, last in evidence.rows(
        "SELECT t.conversation_id, min(d.id), max(d.id) FROM neolith_turn t"
        " JOIN neolith_delivery d ON d.turn_id = t.id WHERE t.state = 'done' GROUP BY t.id ORDER BY t.ended_at, t.id"
    ):
        if first < latest.get(conversation, 0):
            yield "order", f"conversation {conversation}: delivery {first} was answered after {latest[conversation]}"
        latest[conversation] = max(last, latest.get(conversation, 0))
