"""flask neolith ...: commands look, wish and post; none but `run` starts anything in its own process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from click.testing import Result
from flask_socketio import SocketIO

from flask_neolith_orchestrator.web.doctor import examine

from .conftest import MakeWorld
from .test_life import ada, in_context
from .world import World, our_threads, until


def run(world: World, *arguments: str, fails: bool = False) -> str:
    """What a command says."""
    result: Result = world.app.test_cli_runner().invoke(args=["neolith", *arguments])
    assert (result.exit_code != 0) is fails, result.output
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.output


@pytest.fixture
def command(make_world: MakeWorld) -> Iterator[World]:
    """A process for commands; at its end it has started no thread and no node."""
    before = set(our_threads())
    world = make_world()
    yield world
    assert set(our_threads()) <= before
    assert world.rows("Node") == []


def test_status_lists_everybody(command: World) -> None:
    """One line each: id, handle, state, wish and counts."""
    said = run(command, "status")
    assert "@ada" in said
    assert "stopped" in said
    assert "wanted=stopped (login)" in said


def test_status_does_not_claim_what_nobody_runs(command: World) -> None:
    """After a crash the row may say running; without a live process it is shown as it is."""
    with command.stores.database.write() as tx:
        command.stores.daemons.want(tx, command.ada, "running", "person")  # type: ignore[arg-type]  # their values
        command.stores.daemons.move(tx, command.ada, "running")  # type: ignore[arg-type]  # its value
    assert "stopped (no process runs)" in run(command, "status")


def test_explain_says_why_and_what_became_of_it(command: World) -> None:
    """For every orchestrator in the channel: the rule, and its delivery."""
    for text in ("@ada hello", "hello"):
        run(command, "send", command.general, text, "--as", command.ids["ann"])
    called, chatter = (str(row["id"]) for row in command.rows("Message"))
    said = run(command, "explain", called)
    assert "@ada" in said
    assert "wakes   mentioned: It is mentioned." in said
    assert "waiting, woken by mentioned" in said
    assert "not-mentioned" in run(command, "explain", chatter)
    assert "no such message" in run(command, "explain", "999", fails=True)
    assert "is a number" in run(command, "explain", "x", fails=True)


@pytest.mark.parametrize("who", ["@ada", "ada", "ADA"])
def test_a_start_is_a_wish(command: World, who: str) -> None:
    """It is written for whatever process runs, and says when it will be."""
    assert "when the app runs" in run(command, "start", who)
    row = command.rows("Daemon")[0]
    assert (row["wanted"], row["cause"], row["state"]) == ("running", "person", "stopped")
    assert "@ada stops" in run(command, "stop", command.ada)
    assert command.rows("Daemon")[0]["wanted"] == "stopped"


def test_nobody_of_that_name(command: World) -> None:
    """The sentence says how to find those there are."""
    assert "flask neolith status" in run(command, "start", "@bob", fails=True)


def test_a_start_with_the_mode_off_is_refused(make_world: MakeWorld) -> None:
    """With the remedy."""
    assert "ORCHESTRATOR_MODE=true" in run(make_world(ORCHESTRATOR_MODE=False), "start", "@ada", fails=True)


def test_send_posts_and_starts_nothing(command: World) -> None:
    """A message is posted durably, whoever will answer it; the command's own process runs no daemon."""
    said = run(command, "send", command.general, "@ada are you there?", "--as", command.ids["ann"])
    assert "posted" in said
    assert command.deliveries() == ["waiting"]
    assert "waiting" in run(command, "deliveries")
    assert "waiting" not in run(command, "deliveries", "--state", "failed")


def test_send_says_what_is_wrong(command: World) -> None:
    """Who may not post gets a sentence, no traceback."""
    assert "Error:" in run(command, "send", "999", "hello", "--as", command.ids["ann"], fails=True)


def test_wishes_reach_the_process_that_runs(make_world: MakeWorld) -> None:
    """start, stop and restart of another process are obeyed within its sweep, and a question is answered there."""
    runs = make_world()
    runs.house.ensure_started()
    command = make_world(like=runs)
    run(command, "start", "@ada")
    until(ada(runs).is_running, "ada runs over there")
    assert "running" in run(command, "status")
    run(command, "send", command.general, "@ada hello", "--as", command.ids["ann"])
    until(lambda: command.deliveries() == ["answered"], "an answer over there")
    began = runs.rows("Daemon")[0]["started_at"]
    run(command, "restart", "@ada")
    until(lambda: runs.rows("Daemon")[0]["started_at"] not in (None, began), "a second life")
    run(command, "stop", "@ada")
    until(lambda: not ada(runs).is_running(), "ada is stopped over there")
    assert not ada(command).is_running()


def test_retry_takes_what_failed(command: World) -> None:
    """Only what has failed or expired can be tried again, and a number is needed."""
    run(command, "send", command.general, "@ada hello", "--as", command.ids["ann"])
    delivery = str(command.rows("Delivery")[0]["id"])
    assert "Only a failed or expired" in run(command, "retry", delivery, fails=True)
    assert "is a number" in run(command, "retry", "one", fails=True)
    table = command.neolith.models.table("Delivery")
    with command.stores.database.write() as tx:
        tx.execute(table.update().values(state="failed"))
    assert "waits to be answered" in run(command, "retry", delivery)
    assert command.deliveries() == ["waiting"]


def test_missing_tables_are_named_and_made(make_world: MakeWorld) -> None:
    """Every command names what is missing and the command that makes it; that one makes it."""
    world = make_world()
    with world.context():
        world.neolith.models.table("Turn").drop(world.db.engine)
    assert "flask neolith create-tables" in run(world, "status", fails=True)
    assert "neolith_turn" in run(world, "doctor", fails=True)
    assert run(world, "create-tables").strip() == "neolith_turn"
    assert run(world, "create-tables").strip() == "Everything is there already."
    run(world, "status")


def test_the_doctor_says_that_all_is_well(command: World) -> None:
    """Each part has its line, and what is only worth knowing is no fault."""
    said = run(command, "doctor")
    assert "ok    ORCHESTRATOR_MODE is on." in said
    assert "ok    database: sqlite" in said
    assert "offline model" in said
    assert "no process runs daemons" in said
    assert "BAD" not in said


def test_the_doctor_finds_what_is_wrong(make_world: MakeWorld) -> None:
    """A mode that is off and a socket that lets every site in are faults, with what to do."""
    world = make_world(ORCHESTRATOR_MODE=False)
    SocketIO(world.app, cors_allowed_origins="*", async_mode="threading")
    said = run(world, "doctor", fails=True)
    assert "Set ORCHESTRATOR_MODE=true" in said
    assert "Name your origins" in said


def test_the_doctor_sees_other_processes(make_world: MakeWorld) -> None:
    """Processes that run are counted."""
    runs = make_world()
    runs.house.ensure_started()
    said: list[str] = []
    command = make_world(like=runs)
    assert in_context(command, lambda: examine(command.app.extensions["neolith"], said.append))
    assert any("1 of 1 process(es) can run turns" in line for line in said)


def test_headless_refuses_what_cannot_work(make_world: MakeWorld) -> None:
    """`run` with the mode off says so at once, and leaves nothing behind."""
    world = make_world(ORCHESTRATOR_MODE=False)
    assert "ORCHESTRATOR_MODE" in run(world, "run", fails=True)
    assert world.rows("Node") == []
