"""What must be true of the database when all is done, judged first from what people know they have asked."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .people import Question

ANSWERS = """
SELECT m.id, m.reply_to_id, m.state, o.handle, m.channel_id, m.parent_id, m.deleted_at IS NOT NULL, m.content
FROM neolith_message m JOIN neolith_orchestrator o ON o.user_id = m.author_id ORDER BY m.id
"""


def _rows(path: Path, statement: str) -> list[tuple[Any, ...]]:
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)
    try:
        return connection.execute(statement).fetchall()
    finally:
        connection.close()


def unfinished(path: Path) -> dict[str, int]:
    """Deliveries that have not ended, by state."""
    found = _rows(path, "SELECT state, count(*) FROM neolith_delivery WHERE ended_at IS NULL GROUP BY state")
    return dict(found)


def answers(path: Path) -> dict[str, int]:
    """Answers by state."""
    return dict(Counter("deleted" if row[6] else row[2] for row in _rows(path, ANSWERS)))


def violations(path: Path, questions: Sequence[Question], answered: Mapping[int, set[str]]) -> list[str]:
    """Sentences about each promise that was broken."""
    found = _rows(path, ANSWERS)
    problems = [f"still streaming: message {row[0]}" for row in found if row[2] == "streaming" and not row[6]]
    problems += _twice(found, answered)
    problems += [f"empty answer: message {row[0]}" for row in found if row[2] == "final" and not row[6] and not row[7]]
    problems += [
        f"a slot is still held: {row}"
        for row in _rows(path, "SELECT orchestrator_id, n, turn_id FROM neolith_slot WHERE node_id IS NOT NULL")
    ]
    held = "SELECT id, turn_id FROM neolith_conversation WHERE turn_id IS NOT NULL"
    problems += [f"a conversation is still held: {row}" for row in _rows(path, held)]
    return problems + _unanswered(found, questions)


def _twice(found: Sequence[tuple[Any, ...]], answered: Mapping[int, set[str]]) -> list[str]:
    """Two answers to one question by one orchestrator.

    Lines of one person are answered together, in an answer to the last of them. If that goes wrong the first is
    answered alone, in the same row, and the last one later: then two rows point to it, and answer different lines.
    """
    answers: dict[tuple[str, int], list[int]] = {}
    for row in found:
        if row[2] == "final" and not row[6]:
            answers.setdefault((row[3], row[1]), []).append(row[0])
    problems = []
    for (handle, question), rows in answers.items():
        said = [answered.get(row, set()) for row in rows]
        if len(rows) > 1 and (not all(said) or len(set().union(*said)) < sum(map(len, said))):
            problems.append(f"answered {len(rows)} times: {question} by {handle}, in {rows}")
    return problems


def _unanswered(found: Sequence[tuple[Any, ...]], questions: Sequence[Question]) -> list[str]:
    """Lines of one person that wait together are one turn, which answers the last of them."""
    last: dict[tuple[str, str, str | None], int] = {}
    for row in found:
        place = (row[3], str(row[4]), None if row[5] is None else str(row[5]))
        last[place] = max(last.get(place, 0), row[1] or 0)
    return [
        f"never answered: {one}"
        for one in questions
        if not one.gone and last.get((one.orchestrator, *one.place), 0) < one.message_id
    ]
