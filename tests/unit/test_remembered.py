"""What is made once of things that stay the same."""

from __future__ import annotations

from flask_neolith_orchestrator.core.remembered import Remembered


def test_it_is_made_once_for_the_same_object() -> None:
    """An equal object is another one: it may be changed where nobody looks."""
    seen: list[list[str]] = []

    def count(one: list[str]) -> int:
        seen.append(one)
        return len(one)

    sizes = Remembered(count)
    first, equal = ["a"], ["a"]
    assert [sizes.of(first), sizes.of(first), sizes.of(equal)] == [1, 1, 1]
    assert [one is first for one in seen] == [True, False]


def test_it_does_not_remember_without_end() -> None:
    """Beyond `most` it begins anew, and is still right."""
    made: list[str] = []

    def shout(one: str) -> str:
        made.append(one)
        return one.upper()

    words = Remembered(shout, most=2)
    given = [f"word {number}" for number in range(3)]
    assert [words.of(one) for one in (*given, given[0])] == ["WORD 0", "WORD 1", "WORD 2", "WORD 0"]
    assert made == [*given, given[0]]
