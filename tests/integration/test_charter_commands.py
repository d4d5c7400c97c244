"""flask neolith charter: show, validate, set, diff, rollback, and what each exits with."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import Result

from .conftest import MakeWorld
from .world import World

DONE, REFUSED, MISUSED, UNCONFIRMED = range(4)


@pytest.fixture
def command(make_world: MakeWorld) -> World:
    """A process for commands."""
    return make_world()


def run(world: World, *arguments: str, code: int = DONE, typed: str = "") -> str:
    """What a command says."""
    result: Result = world.app.test_cli_runner().invoke(args=["neolith", "charter", *arguments], input=typed)
    assert result.exit_code == code, result.output
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.output


CHARTER = """\
mission: |
  Count.

  Slowly.
safety:
  always_reject:
  - delete_all
"""


def test_what_is_shown_can_be_set_again(command: World, tmp_path: Path) -> None:
    """`show` prints YAML that `set` takes, from a file or from the standard input."""
    assert run(command, "show", "@ada") == "# @ada, version 0\n{}\n"
    file = tmp_path / "ada.yaml"
    file.write_text(CHARTER, encoding="utf-8")
    assert "@ada is at version 1 now" in run(command, "set", "@ada", str(file), "--reason", "a beginning")
    shown = run(command, "show", command.ada)
    assert shown == "# @ada, version 1: a beginning\n" + CHARTER
    assert "has this charter already: version 1" in run(command, "set", "ada", "-", typed=shown)
    assert "version 2" in run(command, "set", "ada", "-", typed='{"mission": "x", "safety": {"always_reject": ["*"]}}')
    assert run(command, "show", "ada", "--version", "1").startswith("# @ada, version 1: a beginning\nmission: |\n")
    assert "## Your charter\nx\n" in run(command, "show", "ada", "--prompt")
    rows = command.rows("CharterVersion")
    assert [(row["reason"], row["author_id"]) for row in rows] == [("a beginning", None), ("set by a command", None)]


def test_what_cannot_be_used_says_why_and_exits_with_1(command: World, tmp_path: Path) -> None:
    """By path or line, and nothing is saved."""
    assert "safty: is not known here; do you mean safety?" in run(command, "set", "ada", "-", typed="safty: {}", code=1)
    assert "line 1: a is given twice" in run(command, "validate", "-", typed="a: 1\na: 2", code=REFUSED)
    latin = tmp_path / "latin.yaml"
    latin.write_bytes(b"mission: caf\xe9")
    assert "not UTF-8" in run(command, "validate", str(latin), code=REFUSED)
    assert "no orchestrator" in run(command, "show", "@nobody", code=REFUSED)
    assert "no version 5" in run(command, "show", "ada", "--version", "5", code=REFUSED)
    assert "no version 5" in run(command, "rollback", "ada", "5", code=REFUSED)
    run(command, "set", "ada", code=MISUSED)
    run(command, "set", "ada", str(tmp_path / "nowhere"), code=MISUSED)
    assert command.rows("CharterVersion") == []


def test_what_is_less_safe_exits_with_3_and_asks_for_yes(command: World) -> None:
    """The list says what; --yes saves it."""
    run(command, "set", "ada", "-", typed=CHARTER)
    said = run(command, "set", "ada", "-", typed="mission: Free!", code=UNCONFIRMED)
    assert "delete_all: never runs now, and is as the tool itself says then" in said
    assert "--yes" in said
    assert "version 2" in run(command, "set", "ada", "-", "--yes", typed="mission: Free!")


def test_a_charter_is_checked_for_somebody(command: World) -> None:
    """Alone by its form, with --for by all that saving would say."""
    assert "can be used" in run(command, "validate", "-", typed="mission: x")
    run(command, "set", "ada", "-", typed=CHARTER)
    said = run(command, "validate", "-", "--for", "ada", typed="safety: {escalate: [x]}")
    assert "Warning: safety.escalate without an escalation" in said
    assert "Less safe: delete_all" in said
    said = run(command, "validate", "-", "--for", "@ada", typed="handle: otto", code=REFUSED)
    assert "Problem: handle: this is a charter of another one" in said


def test_versions_are_compared_and_restored(command: World) -> None:
    """As text; what is restored is a new version that says so."""
    run(command, "set", "ada", "-", typed="mission: One.")
    run(command, "set", "ada", "-", typed="mission: Two.")
    assert run(command, "diff", "ada", "1") == '- mission: "One."\n+ mission: "Two."\n'
    assert run(command, "diff", "ada", "1", "1") == "They are the same.\n"
    assert "version 3 now" in run(command, "rollback", "ada", "1", "--reason", "calmer")
    assert command.rows("CharterVersion")[-1]["reason"] == "version 1 again: calmer"


def test_an_organizations_charter_has_the_same_commands(command: World) -> None:
    """By its slug or id."""
    assert "acme is at version 1 now" in run(command, "set", "--organization", "acme", "-", typed="mission: Ours.")
    assert "mission: Ours." in run(command, "show", "--organization", command.organization)
    assert run(command, "diff", "--organization", "acme", "0") == '+ mission: "Ours."\n'
    assert "## Your charter\nOurs." in run(command, "show", "ada", "--prompt")
    assert "no organization" in run(command, "show", "--organization", "nobody", code=REFUSED)
    assert "tier: belongs to one" in run(command, "set", "--organization", "acme", "-", typed="tier: 1", code=REFUSED)
