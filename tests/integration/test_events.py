"""Everything that is told reaches its listeners, and listeners harm nobody; the public names are as promised."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from flask import current_app

import flask_neolith_orchestrator as front
from flask_neolith_orchestrator import (
    IncomingMessage,
    NeolithOrchestrator,
    OrchestratorAction,
    OrchestratorDaemon,
    OrchestratorDaemonConfig,
    OrchestratorDaemonManager,
    OutgoingMessage,
    StartFailed,
)
from flask_neolith_orchestrator.core.errors import ActionError, DaemonError
from flask_neolith_orchestrator.core.events import DAEMON_EVENTS, MANAGER_EVENTS
from flask_neolith_orchestrator.runtime.daemons import supervisor

from . import charters
from .asking import Box, Caller, give
from .conftest import MakeWorld
from .stage import Scene
from .test_life import ada, hanging, in_context
from .world import World, until

Cause = Callable[[World, pytest.MonkeyPatch], object]


def start_and_stop(world: World, _: object) -> None:
    """A person's start and stop."""
    world.start("ada")
    ada(world).stop()


def spoil(world: World) -> None:
    """Give ada a configuration that no daemon can be made from."""
    with world.context():
        user: Any = world.db.session.get(world.user, int(world.ids["ada"]))
        user.orchestrator_config = {"daemon": "none"}
        world.db.session.commit()


def fail_to_start(world: World, _: object) -> None:
    """A start that cannot work."""
    spoil(world)
    with pytest.raises(StartFailed):
        world.start("ada")


def fail_to_restart(world: World, _: object) -> None:
    """A restart that cannot work."""
    world.start("ada")
    spoil(world)
    with pytest.raises(StartFailed):
        in_context(world, ada(world).restart)


def fail_at_login(world: World, _: object) -> None:
    """A login whose daemon cannot start."""
    spoil(world)
    with world.context():
        world.neolith.manager.on_user_login(world.ids["ada"])


def fail_to_stop(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stop in which the turns cannot be handed back."""

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("broken")

    world.start("ada")
    with monkeypatch.context() as patched:
        patched.setattr(world.house.manager.lives.crew, "wind_down", broken)
        ada(world).stop()


def die(world: World, _: object) -> None:
    """A death that no restart is allowed for."""
    world.start("ada")
    world.house.supervisor.died(ada(world), DaemonError("dead"))


def hang(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A check that finds the daemon's lock held for too long."""
    monkeypatch.setattr(supervisor, "ANSWER", 0.02)
    world.start("ada")
    with hanging(world, ada(world)):
        world.house.supervisor.check()


def look(world: World, _: object) -> None:
    """A check, and a beat."""
    world.start("ada")
    ada(world).next_beat = 0.0
    world.house.supervisor.heartbeat()
    world.house.supervisor.check()


def answer(world: World, _: object) -> None:
    """A question and its answer."""
    world.start("ada")
    world.post("ann", "@ada hello")
    world.rest()


def break_off(world: World, _: object) -> None:
    """A turn that fails."""

    def broken(_scene: Scene) -> Iterable[str]:
        raise ValueError("broken")

    world.model.script = broken
    world.start("ada")
    world.post("ann", "@ada hello")


def spend_everything(world: World, _: object) -> None:
    """A question that does not fit into ada's budget."""
    with world.context():
        user: Any = world.db.session.get(world.user, int(world.ids["ada"]))
        user.orchestrator_config = {"charter": {"limits": {"tokens_per_day": 1}}}
        world.db.session.commit()
    answer(world, None)
    world.rest()


def say_a_word(world: World, _: object) -> None:
    """A question with a word that ada tells bob of."""
    escalation = {"on": "keyword", "to": ["bob"], "keywords": ["fire"]}
    charters.give(world, "ada", {"availability": {"escalation": [escalation]}})
    world.post("ann", "@ada fire")
    world.house.escalator.sweep()


def act(world: World, _: object) -> None:
    """An action."""
    in_context(world, lambda: ada(world).execute_action(OrchestratorAction("update_status", {"status": "BUSY"})))


def restart(world: World, _: object) -> None:
    """A restart."""
    world.start("ada")
    in_context(world, ada(world).restart)


def decide(world: World, _: object) -> None:
    """A turn that asks, and the answer to that."""
    give(world, Box())
    world.model = Caller()
    object.__setattr__(world.house.study, "model_for", lambda _name: world.model)
    world.post("ann", "@ada tell everybody")
    world.start("ada")
    turn = until(lambda: world.rows("Turn", state="parked"), "parked")[0]
    with world.context():
        world.neolith.chat.decide(world.ids["ann"], str(turn["id"]), "approve")
        world.db.session.commit()


ON_THE_DAEMON: dict[str, tuple[Cause, set[str]]] = {
    "started": (start_and_stop, set()),
    "stopped": (start_and_stop, {"reason"}),
    "error": (fail_to_start, {"error"}),
    "message:processed": (answer, {"message"}),
    "message:error": (break_off, {"message", "error"}),
    "message:send": (answer, {"response"}),
    "action:execute": (act, {"action"}),
    "status:changed": (start_and_stop, {"status"}),
    "heartbeat": (look, {"health"}),
}
ON_THE_MANAGER: dict[str, tuple[Cause, set[str]]] = {
    "daemon:started": (start_and_stop, {"orchestrator"}),
    "daemon:stopped": (start_and_stop, {"reason"}),
    "daemon:error": (fail_to_start, {"error"}),
    "daemon:restarted": (restart, {"restart_count"}),
    "daemon:failed": (die, {"error"}),
    "daemon:health": (look, {"health"}),
    "daemon:start-error": (fail_to_start, {"error"}),
    "daemon:stop-error": (fail_to_stop, {"error"}),
    "daemon:restart-error": (fail_to_restart, {"error"}),
    "daemon:health-error": (hang, {"error"}),
    "daemon:status-changed": (start_and_stop, {"status"}),
    "daemon:message-processed": (answer, {"message"}),
    "daemon:message-error": (break_off, {"message", "error"}),
    "daemon:message-send": (answer, {"response"}),
    "daemon:action": (act, {"action"}),
    "daemon:heartbeat": (look, {"health"}),
    "escalation": (say_a_word, {"cause", "detail", "message_id", "user_ids", "link"}),
    "delivery:ended": (answer, {"delivery_id", "state", "reason"}),
    "approval:requested": (decide, {"turn_id", "message_id", "requester_id", "tools"}),
    "approval:decided": (decide, {"turn_id", "message_id", "decided_by", "states"}),
    "budget:threshold": (spend_everything, {"scope", "scope_id", "period", "percent", "until"}),
    "auto-start-error": (fail_at_login, {"error"}),
}


@pytest.mark.parametrize("event", DAEMON_EVENTS)
def test_every_event_of_a_daemon_reaches_its_listener(
    make_world: MakeWorld, event: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each comes with the promised keyword arguments, inside the app context."""
    world, heard = make_world(), []

    def listen(**arguments: Any) -> None:
        heard.append((current_app.name, arguments))

    ada(world).on(event, listen)
    cause, names = ON_THE_DAEMON[event]
    cause(world, monkeypatch)
    until(lambda: heard, event)
    assert heard[0][0] == world.app.name
    assert set(heard[0][1]) >= names


@pytest.mark.parametrize("event", MANAGER_EVENTS)
def test_every_event_of_the_manager_reaches_its_listener(
    make_world: MakeWorld, event: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each names the orchestrator, and comes with the promised keyword arguments."""
    world, heard = make_world(DAEMON_MAX_RESTART_ATTEMPTS=0), []

    def listen(**arguments: Any) -> None:
        heard.append(arguments)

    world.house.manager.on(event, listen)
    cause, names = ON_THE_MANAGER[event]
    cause(world, monkeypatch)
    until(lambda: heard, event)
    assert heard[0]["orchestrator_id"] == world.ada
    assert set(heard[0]) >= names


def test_the_payloads_are_what_they_say(world: World) -> None:
    """A frozen snapshot, a response with text and place, a message with its id."""
    started, sent, processed = [], [], []
    manager = world.house.manager
    manager.on("daemon:started", lambda orchestrator, **_: started.append(orchestrator))
    manager.on("daemon:message-send", lambda response, **_: sent.append(response))
    manager.on("daemon:message-processed", lambda message, **_: processed.append(message))
    world.start("ada")
    question = world.post("ann", "@ada hello")
    world.rest()
    until(lambda: started and sent and processed, "all three")
    assert (started[0].handle, started[0].user.id, started[0].user.name) == ("ada", world.ids["ada"], "ada")
    assert isinstance(sent[0], OutgoingMessage)
    assert (sent[0].channel_id, sent[0].reply_to_id) == (world.general, question["id"])
    assert "hello" in sent[0].content
    assert processed[0]["id"] == question["id"]


def test_listeners_do_not_harm_each_other(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """One raises, one hangs, one hears everything in order; the daemon and its stop wait for none of them."""
    release, heard = threading.Event(), []

    def raises(**_: object) -> None:
        raise RuntimeError("a bug of the host's")

    def hangs(**_: object) -> None:
        release.wait(20)

    manager = world.house.manager
    manager.on("daemon:status-changed", raises)
    manager.on("daemon:status-changed", hangs)
    manager.on("daemon:status-changed", lambda status, **_: heard.append(str(status)))
    for _ in range(3):
        start_and_stop(world, None)
    until(lambda: len(heard) == 6, "all that happened")
    assert heard == ["running", "stopped"] * 3
    assert "A listener of daemon:status-changed failed" in caplog.text
    release.set()


def test_once_and_off(world: World) -> None:
    """once hears one event, off hears none any more, and neither minds being asked twice."""
    once, never, always = [], [], []

    def unwanted(**_: object) -> None:
        never.append(1)

    daemon = ada(world)
    daemon.once("started", lambda **_: once.append(1))
    assert daemon.on("started", unwanted) is unwanted
    daemon.on("started", lambda **_: always.append(1))
    daemon.off("started", unwanted)
    daemon.off("started", unwanted)
    for _ in range(3):
        start_and_stop(world, None)
    until(lambda: len(always) == 3, "three starts")
    assert (once, never) == ([1], [])
    with pytest.raises(ValueError, match="daemon:started"):
        world.house.manager.on("daemon:begun", unwanted)


SIGNATURES: dict[Callable[..., Any], tuple[str, ...]] = {
    front.get_daemon_manager: ("*arguments",),
    front.create_orchestrator_daemon: ("config",),
    front.should_run_daemon: ("user",),
    NeolithOrchestrator.get_orchestrator: ("user_id",),
    NeolithOrchestrator.accept: ("message", "to=None", "session=None"),
    NeolithOrchestrator.run_until_idle: ("timeout=10.0",),
    NeolithOrchestrator.create_tables: (),
    NeolithOrchestrator.shutdown: ("app=None", "timeout=None"),
    OrchestratorDaemonManager.start_daemon: ("orchestrator",),
    OrchestratorDaemonManager.stop_daemon: ("orchestrator",),
    OrchestratorDaemonManager.restart_daemon: ("orchestrator",),
    OrchestratorDaemonManager.stop_all_daemons: (),
    OrchestratorDaemonManager.on_user_login: ("user",),
    OrchestratorDaemonManager.on_user_logout: ("user_id",),
    OrchestratorDaemonManager.get_daemon: ("orchestrator",),
    OrchestratorDaemonManager.is_daemon_running: ("orchestrator",),
    OrchestratorDaemonManager.get_running_daemons: (),
    OrchestratorDaemonManager.get_daemon_status: ("orchestrator",),
    OrchestratorDaemonManager.get_all_daemon_statuses: (),
    OrchestratorDaemonManager.on: ("event", "handler"),
    OrchestratorDaemonManager.off: ("event", "handler"),
    OrchestratorDaemonManager.once: ("event", "handler"),
    OrchestratorDaemon.start: (),
    OrchestratorDaemon.stop: (),
    OrchestratorDaemon.restart: (),
    OrchestratorDaemon.handle_message: ("message",),
    OrchestratorDaemon.send_response: ("response",),
    OrchestratorDaemon.execute_action: ("action",),
    OrchestratorDaemon.get_status: (),
    OrchestratorDaemon.get_health_status: (),
    OrchestratorDaemon.is_running: (),
    OrchestratorDaemon.on: ("event", "handler"),
    OrchestratorDaemon.off: ("event", "handler"),
    OrchestratorDaemon.once: ("event", "handler"),
    IncomingMessage: (
        "id",
        "content",
        "channel_id",
        "author_id",
        "timestamp",
        "thread_id=None",
        "metadata=None",
    ),
    OutgoingMessage: ("content", "channel_id", "reply_to_id=None", "metadata=None"),
    OrchestratorDaemonConfig: (
        "orchestrator",
        "max_concurrent_conversations=None",
        "heartbeat_interval=None",
        "auto_respond=None",
        "verbose=None",
    ),
}


@pytest.mark.parametrize("called", SIGNATURES, ids=lambda one: one.__qualname__)
def test_a_public_name_is_called_as_promised(called: Callable[..., Any]) -> None:
    """The specification's names in Python's spelling, with their parameters in order."""
    shown = []
    for parameter in inspect.signature(called).parameters.values():
        if parameter.name != "self":
            star = "*" if parameter.kind is parameter.VAR_POSITIONAL else ""
            default = "" if parameter.default is parameter.empty else f"={parameter.default}"
            shown.append(f"{star}{parameter.name}{default}")
    assert tuple(shown) == SIGNATURES[called]


def test_the_front_door_is_sorted_and_whole() -> None:
    """__all__ has every public name once, in order, and each is there."""
    assert front.__all__ == sorted(front.__all__)
    for name in front.__all__:
        assert getattr(front, name) is not None
    for called in SIGNATURES:
        assert called.__qualname__.partition(".")[0] in front.__all__


def test_the_manager_of_the_current_app(world: World) -> None:
    """neolith.manager, get_daemon_manager() and the daemon of a user are the same objects; a config is refused."""
    with world.context():
        manager = front.get_daemon_manager()
        assert manager is world.neolith.manager
        assert world.neolith.get_orchestrator(world.ids["ada"]) is manager.daemon_for(world.ada)
        assert world.neolith.get_orchestrator(world.ids["ann"]) is None
        with pytest.raises(TypeError, match=r"app\.config"):
            front.get_daemon_manager({"verbose": True})


def test_a_daemon_is_made_from_a_config_and_not_started(world: World) -> None:
    """Its values win over the app's, None means the app's, and it is the manager's own daemon."""
    with world.context():
        snapshot = world.neolith.manager.get_all_daemon_statuses()[0].orchestrator
        config = OrchestratorDaemonConfig(snapshot, max_concurrent_conversations=2, heartbeat_interval=None)
        daemon = front.create_orchestrator_daemon(config)
        assert daemon is world.neolith.manager.daemon_for(world.ada)
        assert not daemon.is_running()
        daemon.start()
        assert (daemon.limit, daemon.heartbeat_interval) == (2, 30.0)
        assert len(world.rows("Slot")) == 2
        charters.give(world, "ada", {"limits": {"concurrent_conversations": 1}})
        assert (daemon.limit, world.rows("Daemon")[0]["slots"]) == (2, 2)


def test_a_user_is_never_taken_for_an_orchestrator_of_the_same_number(world: World) -> None:
    """start_daemon takes an id, a row or a snapshot; a user's row means the orchestrator that this user is."""
    with world.context():
        manager = world.neolith.manager
        user = world.db.session.get(world.user, int(world.ids["ada"]))
        row: Any = world.db.session.get(world.neolith.models.Orchestrator, int(world.ada))
        assert world.ids["ada"] != world.ada
        assert manager.start_daemon(user) is manager.start_daemon(row) is manager.start_daemon(int(world.ada))
        assert manager.is_daemon_running(user)
        with pytest.raises(front.NotAnOrchestrator):
            manager.start_daemon(world.db.session.get(world.user, int(world.ids["ann"])))
        for nobody in (None, True, "x", "99", object()):
            with pytest.raises(front.NotAnOrchestrator):
                manager.start_daemon(nobody)


def test_who_runs_a_daemon(world: World) -> None:
    """should_run_daemon looks at the flag, and takes anything."""
    with world.context():
        assert front.should_run_daemon(world.db.session.get(world.user, int(world.ids["ada"])))
        assert not front.should_run_daemon(world.db.session.get(world.user, int(world.ids["ann"])))
        assert not front.should_run_daemon(None)


def test_an_unknown_action_is_an_error(world: World) -> None:
    """It names the actions that there are."""
    with world.context(), pytest.raises(ActionError, match="send_message"):
        ada(world).execute_action(OrchestratorAction("dance"))
