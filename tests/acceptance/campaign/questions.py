"""What is asked and answered: each question has a number, and each answer says which numbers it is for.

So "answered exactly once" can be judged from the texts that people read in the end.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

HANDLES = {"claude-sonnet-5-5": "ada", "claude-haiku-5-5": "eve", "scripted": "leo"}
"""Who answers with which model: two by Claude over HTTP, one by the offline model in the server's own process."""

LIMIT = 3
"""Conversations of one orchestrator at one time."""

LEAST_WORDS = 12

_ASK = re.compile(r"@(\w+) ask-(\d+) in (\d+) ms")
_ANSWER = re.compile(r"^Re ([\d, ]+) by call (\S+):")


@dataclass(frozen=True, slots=True)
class Answer:
    """What an answer's text says of itself."""

    numbers: tuple[int, ...]
    call: str


def ask(handle: str, number: int, milliseconds: int) -> str:
    """The text of a question, which also says how long its answer should take."""
    return f"@{handle} ask-{number} in {milliseconds} ms"


def asked(handle: str, text: str) -> tuple[tuple[int, ...], float]:
    """The numbers asked in what a model is to answer, and how many seconds it should take."""
    found = [(int(number), int(ms)) for who, number, ms in _ASK.findall(text) if who == handle]
    return tuple(number for number, _ in found), sum(ms for _, ms in found) / 1000


def answer(numbers: Sequence[int], call: str) -> str:
    """The text of an answer."""
    return f"Re {', '.join(map(str, numbers))} by call {call}: " + "so it is and so it was " * (LEAST_WORDS // 6)


def read_answer(text: str) -> Answer | None:
    """What an answer says of itself; None for any other text."""
    found = _ANSWER.match(text)
    if found is None:
        return None
    return Answer(tuple(int(number) for number in found[1].split(",")), found[2])
