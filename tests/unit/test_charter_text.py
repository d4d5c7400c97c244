"""The system prompt of a charter is known to the letter: files beside this one hold it (E5, F4)."""

from __future__ import annotations

from pathlib import Path

import pytest

from flask_neolith_orchestrator.chat.charter import Charter
from flask_neolith_orchestrator.chat.charter_reading import in_force, read_document
from flask_neolith_orchestrator.chat.charter_text import render
from flask_neolith_orchestrator.chat.charter_yaml import parse, to_yaml
from flask_neolith_orchestrator.core.types import OrchestratorSnapshot, OrchestratorStatus, UserRef

FILES = Path(__file__).parent / "charters"


def snapshot() -> OrchestratorSnapshot:
    """Ada as her rows say who she is."""
    return OrchestratorSnapshot(
        "1", "ada", "Mathematician", "Engineering", OrchestratorStatus.ONLINE, UserRef("7", "Ada")
    )


def charter(name: str) -> Charter:
    """A charter of a file, in force for Ada."""
    return in_force(read_document(parse((FILES / f"{name}.yaml").read_text(encoding="utf-8"))), snapshot())


@pytest.mark.parametrize("name", ["minimal", "full"])
def test_the_prompt_is_what_its_file_says(name: str) -> None:
    """A change of what a model is told is seen in review; and it is the same each time, so that it can be cached."""
    made = render(charter(name))
    assert made == (FILES / f"{name}.md").read_text(encoding="utf-8").removesuffix("\n")
    assert made == render(charter(name))


def test_a_charter_keeps_all_that_its_file_says() -> None:
    """Every value of the full file arrives, in the form that it is used in."""
    one = charter("full")
    assert (one.tier, one.name, str(one.limits.cost_per_month)) == (2, "Ada King", "60.25")
    assert str(one.limits.cost_per_hour) == "0.5"
    assert one.model.fallbacks == ("claude-haiku-5-5",)
    assert one.behaviour.watched_channels == ("logic",)
    assert one.behaviour.answers_bots == ("otto",)
    assert one.availability.hours == {
        "mon": ("09:00-12:30",),
        "tue": ("09:00-12:30", "13:30-24:00"),
        "fri": ("22:00-06:00",),
    }
    assert [(step.on, step.to) for step in one.availability.escalation] == [
        ("failure", ("otto", "Maya")),
        ("keyword", ("Maya",)),
    ]


def test_what_only_the_house_enforces_is_not_told_to_the_model() -> None:
    """Another limit, model, trigger or contact changes no letter of the prompt: the cache holds."""
    text = (FILES / "full.yaml").read_text(encoding="utf-8")
    given = parse(text)
    for part in ("limits", "model", "behaviour"):
        given.pop(part)
    assert render(in_force(read_document(given), snapshot())) == render(charter("full"))
    for secret in ("60.25", "haiku", "proof]", "opera", "otto", "Maya"):
        assert secret not in render(charter("full"))


def test_a_file_written_from_a_charter_reads_back_as_it() -> None:
    """`show` and `set` are each other's inverse; text of several lines stays readable."""
    given = parse((FILES / "full.yaml").read_text(encoding="utf-8"))
    written = to_yaml(given)
    assert parse(written) == given
    assert "mission: |\n  Prove things.\n\n  Be exact.\n" in written
