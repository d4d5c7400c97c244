"""Every setting changes something that can be seen: one table, walked from the settings' own list of keys."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from flask import render_template_string
from sqlalchemy import make_url

from flask_neolith_orchestrator.backends.choice import ModelChoice, celery_of, make_dispatcher, make_neighbours
from flask_neolith_orchestrator.core.cancel import Cancel, Cancelled, StopReason
from flask_neolith_orchestrator.core.errors import DaemonError, ModelNotServed, NeedsServer, NeolithError
from flask_neolith_orchestrator.core.model import ModelMessage, ModelRequest, ToolCall
from flask_neolith_orchestrator.runtime.daemons.notes import Note
from flask_neolith_orchestrator.settings import KEYS, load_settings
from flask_neolith_orchestrator.testing import FakeClaude, ManualClock, ScriptedModel, silence, text, use_model

from . import charters
from .asking import Box, Caller, give
from .conftest import MakeWorld
from .stage import Door, Scene
from .test_life import ada, in_context
from .web_site import make_site
from .world import World, until

SOON = 0.6
"""Seconds in which something that is set to happen at once has happened."""


class Sight:
    """What observers look with. Lifetime: one setting's test."""

    def __init__(self, make_world: MakeWorld, folder: Path, caplog: pytest.LogCaptureFixture) -> None:
        self.make = make_world
        self.folder = folder
        self.caplog = caplog


Observe = Callable[[Sight, Mapping[str, Any]], Any]


def within(happened: Callable[[], Any], seconds: float = SOON) -> bool:
    """Whether it happens soon."""
    try:
        until(happened, "soon", seconds)
    except TimeoutError:
        return False
    return True


def outcome(act: Callable[[], Any]) -> str:
    """The name of what is raised, or "fine"."""
    try:
        act()
    except (NeolithError, Cancelled) as error:
        return type(error).__name__
    return "fine"


def start(see: Sight, config: Mapping[str, Any]) -> str:
    """Whether a daemon can be started."""
    world = see.make(**config)
    return outcome(lambda: world.start("ada"))


def shown_mode(see: Sight, config: Mapping[str, Any]) -> str:
    """What templates are told of the mode."""
    world = see.make(**config)
    return str(in_context(world, lambda: render_template_string("{{ neolith_orchestrator_mode }}")))


def login(see: Sight, config: Mapping[str, Any]) -> str:
    """What a login makes of the wish."""
    world = see.make(**config)
    world.house.desk.put(Note("login", world.ids["ada"], "token", fresh=True))
    assert world.house.desk.wait_idle(10)
    return str(world.rows("Daemon")[0]["wanted"])


def logout(see: Sight, config: Mapping[str, Any]) -> str:
    """What a logout makes of the wish."""
    world = see.make(**config)
    world.house.desk.put(Note("login", world.ids["ada"], "token", fresh=True))
    world.house.desk.put(Note("logout", world.ids["ada"], "token"))
    assert world.house.desk.wait_idle(10)
    return str(world.rows("Daemon")[0]["wanted"])


def login_after_ten_seconds(see: Sight, config: Mapping[str, Any]) -> bool:
    """Whether a login that is not seen for ten seconds has ended."""
    clock = ManualClock()
    world = see.make(clock=clock, **config)
    world.house.desk.put(Note("login", world.ids["ada"], "token", fresh=True))
    assert world.house.desk.wait_idle(10)
    clock.advance(10)
    world.house.desk.sweep()
    return bool(world.rows("Login")[0]["ended_at"])


def beats_after_six_seconds(see: Sight, config: Mapping[str, Any]) -> bool:
    """Whether a daemon that has just beaten beats again six seconds later."""
    clock = ManualClock()
    world = see.make(clock=clock, **config)
    world.start("ada")
    for seconds in (31, 6):
        clock.advance(seconds)
        world.house.supervisor.heartbeat()
    return bool(world.rows("Daemon")[0]["beat_at"] == clock.wall())


def checks_soon(see: Sight, config: Mapping[str, Any]) -> bool:
    """Whether health is checked soon after a start."""
    world, heard = see.make(**config), threading.Event()
    world.house.manager.on("daemon:health", lambda **_: heard.set())
    world.start("ada")
    return heard.wait(SOON)


def die(world: World) -> str:
    """What becomes of a daemon that dies: running again, or error."""
    before = world.rows("Daemon")[0]["restarts"]
    world.house.supervisor.died(ada(world), DaemonError("dead"))

    def over() -> bool:
        row = world.rows("Daemon")[0]
        return row["state"] == "error" or (
            row["restarts"] > before and not world.house.supervisor.will_restart(world.ada)
        )

    until(over, "the end of the death")
    return str(world.rows("Daemon")[0]["state"])


def death(see: Sight, config: Mapping[str, Any]) -> str:
    """What one death comes to."""
    world = see.make(**{"DAEMON_RESTART_DELAY": 1, **config})
    world.start("ada")
    return die(world)


def many_deaths(see: Sight, config: Mapping[str, Any]) -> str:
    """What four deaths one after another come to."""
    world = see.make(**{"DAEMON_RESTART_DELAY": 5, **config})
    world.start("ada")
    return [die(world) for _ in range(4)][-1]


def restarts_soon(see: Sight, config: Mapping[str, Any]) -> bool:
    """Whether a dead daemon is started again soon."""
    world, heard = see.make(**config), threading.Event()
    world.house.manager.on("daemon:restarted", lambda **_: heard.set())
    world.start("ada")
    world.house.supervisor.died(ada(world), DaemonError("dead"))
    return heard.wait(SOON)


def slots(see: Sight, config: Mapping[str, Any]) -> int:
    """How many slots a daemon has."""
    world = see.make(**config)
    world.start("ada")
    return len(world.rows("Slot"))


def long_stop(see: Sight, config: Mapping[str, Any]) -> bool:
    """Whether a stop waits long for a turn that does not end."""
    world, door = see.make(**config), Door()

    def slow(scene: Scene) -> Iterable[str]:
        door.wait(scene.cancel)
        yield "done"

    world.model.script = slow
    world.start("ada")
    world.post("ann", "@ada hello")
    world.model.wait_running(1)
    began = time.monotonic()
    ada(world).stop()
    return time.monotonic() - began > 0.5


def posts(see: Sight, config: Mapping[str, Any]) -> list[str]:
    """What becomes of two questions to somebody who does not run."""
    world = see.make(**config)
    for _ in range(2):
        world.post("ann", "@ada hello")
    return world.deliveries()


def asked_by_another(see: Sight, config: Mapping[str, Any]) -> list[str]:
    """What becomes of two questions of an orchestrator, a minute apart, to another one that may answer it."""
    clock = ManualClock()
    world = see.make(clock=clock, orchestrators=("ada", "max"), **config)
    charters.give(world, "ada", {"behaviour": {"answers_bots": ["max"]}})
    for _ in range(2):
        world.post("max", "@ada hello")
        clock.advance(60.0)
    return world.deliveries()


def asked_by_another_often(see: Sight, config: Mapping[str, Any]) -> list[str]:
    """The same, where one exchange is enough."""
    return asked_by_another(see, {"NEOLITH_LOOP_EXCHANGES": 1, **config})


def told_where(see: Sight, config: Mapping[str, Any]) -> bool:
    """Whether people who are told of a message find it at a certain host."""
    world = see.make(**config)
    escalation = {"on": "keyword", "to": ["bob"], "keywords": ["fire"]}
    charters.give(world, "ada", {"availability": {"escalation": [escalation]}})
    world.post("ann", "@ada fire")
    world.house.escalator.sweep()
    return "https://acme.test/channels/" in world.answers()[-1]["content"]


def undecided(see: Sight, config: Mapping[str, Any]) -> str:
    """What becomes of a turn on which nobody decides for a minute."""
    clock = ManualClock()
    world = give(see.make(clock=clock, model=Caller(), **config), Box())
    world.start("ada")
    world.post("ann", "@ada tell everybody")
    world.rest()
    clock.advance(60.0)
    world.house.sweeper.expire()
    world.rest()
    return str(world.rows("Turn")[0]["state"])


def long_message(see: Sight, config: Mapping[str, Any]) -> str:
    """Whether a sentence can be posted."""
    world = see.make(**config)
    return outcome(lambda: world.post("ann", "@ada this is a sentence"))


def long_answer(see: Sight, config: Mapping[str, Any]) -> int:
    """Of how many messages a long answer is."""
    world = see.make(**config)
    world.model.script = lambda _scene: ["word " * 500]
    answer(world)
    return len(world.answers())


def debounced(see: Sight, config: Mapping[str, Any]) -> bool:
    """Whether a question is answered soon."""
    world = see.make(**config)
    world.start("ada")
    world.post("ann", "@ada hello")
    return within(lambda: world.deliveries() == ["answered"], 2.0 if "DAEMON_DEBOUNCE" not in config else SOON)


def after_two_seconds(see: Sight, config: Mapping[str, Any]) -> list[str]:
    """What becomes of a question that waits for two seconds."""
    clock = ManualClock()
    world = see.make(clock=clock, **config)
    world.post("ann", "@ada hello")
    clock.advance(2)
    world.house.sweeper.expire()
    return world.deliveries()


def kept_for_a_minute(outcome_of: str) -> Observe:
    """What is left a minute after three questions have ended, refused or expired."""

    def observe(see: Sight, config: Mapping[str, Any]) -> list[str]:
        clock = ManualClock()
        queue = {"DAEMON_MAX_QUEUE": 1} if outcome_of == "refused" else {"NEOLITH_KEEP_DELIVERIES": 1_000}
        world = see.make(clock=clock, DAEMON_MAX_AGE=10_000, **{**queue, **config})
        for _ in range(3):
            world.post("ann", "@ada hello")
        clock.advance(60)
        world.house.sweeper.expire()
        clock.advance(60)
        world.house.caretaker.run()
        return world.deliveries()

    return observe


def crash(see: Sight, config: Mapping[str, Any]) -> list[str]:
    """What becomes of a question after one crash."""

    def broken(_scene: Scene) -> Iterable[str]:
        raise ValueError("broken")

    world = see.make(**config)
    world.model.script = broken
    world.start("ada")
    world.post("ann", "@ada hello")
    until(lambda: [one for one in world.rows("Turn") if one["state"] != "running"], "the end of the attempt")
    return world.deliveries()


def turn_is_cut(see: Sight, config: Mapping[str, Any]) -> bool:
    """Whether a turn that takes long is told to end."""
    world, door, cut = see.make(**config), Door(), threading.Event()

    def slow(scene: Scene) -> Iterable[str]:
        scene.cancel.on_set(cut.set)
        door.wait(scene.cancel)
        yield "done"

    world.model.script = slow
    world.start("ada")
    world.post("ann", "@ada hello")
    world.model.wait_running(1)
    found = cut.wait(SOON)
    door.open()
    return found


def reply_is_in_thread(see: Sight, config: Mapping[str, Any]) -> bool:
    """Where a question on the main line is answered."""
    world = see.make(**config)
    answer(world)
    return world.answers()[0]["parent_id"] is not None


def ask(world: World, question: str = "@ada hello") -> None:
    """Ask, and wait for the answer."""
    world.start("ada")
    world.post("ann", question)
    world.rest()


def answer(world: World, question: str = "@ada hello") -> Scene:
    """What the model was asked."""
    ask(world, question)
    return world.model.scenes[-1]


def logs(see: Sight, config: Mapping[str, Any]) -> bool:
    """Whether the end of a turn is in the log."""
    see.caplog.clear()
    see.caplog.set_level(logging.INFO)
    answer(see.make(**config))
    return within(lambda: "a turn ended as" in see.caplog.text)


def lease(see: Sight, config: Mapping[str, Any]) -> bool:
    """Whether a turn is held for long."""
    world, door = see.make(**config), Door()

    def slow(scene: Scene) -> Iterable[str]:
        door.wait(scene.cancel)
        yield "done"

    world.model.script = slow
    world.start("ada")
    world.post("ann", "@ada hello")
    world.model.wait_running(1)
    held = [row["lease_until"] for row in world.rows("Slot") if row["lease_until"] is not None]
    door.open()
    return bool(held[0] > time.time() + 10)


def runs_soon(part: str, method: str) -> Observe:
    """Whether a job of the process runs soon."""

    def observe(see: Sight, config: Mapping[str, Any]) -> bool:
        world, ran = see.make(**{"DAEMON_LEASE": 200_000, **config}), threading.Event()
        setattr(getattr(world.house, part), method, ran.set)
        world.house.ensure_started()
        return ran.wait(SOON)

    return observe


def drains_end_early(see: Sight, config: Mapping[str, Any]) -> bool:
    """Whether a thread with three conversations before it lets others go before it has done them."""
    world = see.make(**{"DAEMON_MAX_CONCURRENT_CONVERSATIONS": 1, **config})
    drain, left = world.house.worker.drain, []

    def counted(orchestrator_id: str) -> bool:
        left.append(drain(orchestrator_id))
        return left[-1]

    world.house.worker.drain = counted  # type: ignore[method-assign]  # one that can be counted
    for _ in range(3):
        world.post("ann", "@ada hello")
    world.start("ada")
    world.rest()
    return any(left)


def at_once(see: Sight, config: Mapping[str, Any]) -> int:
    """How many of two conversations are thought about at once."""
    world = see.make(**config)
    both = threading.Event()

    def meet(_scene: Scene) -> Iterable[str]:
        if world.model.running == 2:
            both.set()
        both.wait(SOON)
        yield "done"

    world.model.script = meet
    world.start("ada")
    for _ in range(2):
        world.post("ann", "@ada hello")
    world.rest()
    return world.model.most


def deltas(see: Sight, config: Mapping[str, Any]) -> bool:
    """Whether text that comes bit by bit is shown bit by bit."""
    world = see.make(**config)

    def bits(scene: Scene) -> Iterable[str]:
        for number in range(6):
            yield f"{number} "
            scene.cancel.wait(0.05)

    world.model.script = bits
    answer(world)
    return len(world.channel.of("message:delta")) > 2


def kept_early(see: Sight, config: Mapping[str, Any]) -> bool:
    """Whether half an answer is stored while the other half is still to come."""
    world, door = see.make(**config), Door()

    def halves(scene: Scene) -> Iterable[str]:
        yield "half"
        door.wait(scene.cancel)

    world.model.script = halves
    world.start("ada")
    world.post("ann", "@ada hello")
    found = within(lambda: [one for one in world.answers() if one["content"] == "half"], 1.5)
    door.open()
    return found


def asked(name: str) -> Observe:
    """An attribute of the model's request."""
    return lambda see, config: getattr(answer(see.make(**config)).request, name)


def fallbacks(see: Sight, config: Mapping[str, Any]) -> list[str]:
    """Whom a question is asked that nobody can answer."""
    world = see.make(**config)
    world.model.script = refuse
    answer(world)
    return [scene.request.model for scene in world.model.scenes]


def refuse(_scene: Scene) -> Iterable[str]:
    """A model that is not there."""
    raise ModelNotServed


def remembered(see: Sight, config: Mapping[str, Any]) -> int:
    """How many characters of a long thread the model reads."""
    world = see.make(**config)
    thread = world.thread()
    for number in range(12):
        world.post("bob" if number % 2 else "ann", "word " * 400, thread=thread)
    world.start("ada")
    world.post("ann", "@ada and now?", thread=thread)
    world.rest()
    return sum(len(message.content) for message in world.model.scenes[-1].request.messages)


def sessions_of_an_hour(see: Sight, config: Mapping[str, Any]) -> int:
    """How many sessions two questions of a conversation are in, an hour apart."""
    clock = ManualClock()
    world = see.make(clock=clock, **config)
    thread = world.thread()
    world.start("ada")
    for _ in range(2):
        world.post("ann", "@ada hello", thread=thread)
        world.rest()
        clock.advance(3_600)
    return len(world.rows("Session"))


def summed_up_by(see: Sight, config: Mapping[str, Any]) -> set[str]:
    """Which models are asked in a long talk."""
    world = see.make(**{"NEOLITH_SUMMARY_MODEL": None, "NEOLITH_SUMMARY_AFTER": 2, **config})
    thread = world.thread()
    for _ in range(6):
        world.post("bob", "word", thread=thread)
    world.start("ada")
    world.post("ann", "@ada and now?", thread=thread)
    world.rest()
    return {scene.request.model for scene in world.model.scenes}


def is_summed_up(see: Sight, config: Mapping[str, Any]) -> bool:
    """Whether a talk of eight lines is summed up."""
    return len(summed_up_by(see, {"NEOLITH_SUMMARY_MODEL": "mini", **config})) > 1


REQUEST = ModelRequest(
    "claude-sonnet-5-5", "Be brief.", (ModelMessage("user", "one two three four five six seven eight"),)
)


def call(config: Mapping[str, Any], *, cancel_after: float = 10.0) -> str:
    """What a call of the model that the settings choose comes to."""
    choice, cancel = ModelChoice(load_settings(config, {}), None), Cancel()
    timer = threading.Timer(cancel_after, cancel.set, (StopReason.PERSON,))
    timer.start()
    try:
        return outcome(lambda: list(choice("claude-any").stream(REQUEST, cancel)))
    finally:
        timer.cancel()
        timer.join()
        choice.close()


def provider(_see: Sight, config: Mapping[str, Any]) -> str:
    """Who answers."""
    choice = ModelChoice(load_settings(config, {}), None)
    found = choice("claude-any").name
    choice.close()
    return found


def reached(_see: Sight, config: Mapping[str, Any]) -> list[int]:
    """Which of two servers is called."""
    with FakeClaude() as one, FakeClaude() as two:
        for server in (one, two):
            server.script(text("hello"))
        named = {"first": one.url, "second": two.url}
        call({"ANTHROPIC_API_KEY": "sk", "ANTHROPIC_BASE_URL": named[config.get("ANTHROPIC_BASE_URL", "first")]})
        return [len(one.requests), len(two.requests)]


def deaf_server(_see: Sight, config: Mapping[str, Any]) -> str:
    """What becomes of a call to a server that takes no connection."""
    full = socket.socket()
    full.bind(("127.0.0.1", 0))
    full.listen(0)
    waiting = [socket.socket() for _ in range(3)]
    for one in waiting:
        one.setblocking(False)
        one.connect_ex(full.getsockname())
    url = f"http://127.0.0.1:{full.getsockname()[1]}"
    try:
        return call({"ANTHROPIC_API_KEY": "sk", "ANTHROPIC_BASE_URL": url, **config}, cancel_after=SOON)
    finally:
        for one in (full, *waiting):
            one.close()


def silent_server(_see: Sight, config: Mapping[str, Any]) -> str:
    """What becomes of a call to a server that says nothing."""
    with FakeClaude() as server:
        server.script(silence(before_headers=True))
        return call({"ANTHROPIC_API_KEY": "sk", "ANTHROPIC_BASE_URL": server.url, **config}, cancel_after=SOON)


def slow_words(_see: Sight, config: Mapping[str, Any]) -> bool:
    """Whether the offline model takes its time."""
    began = time.monotonic()
    call(config)
    return time.monotonic() - began > 0.3


def engine(see: Sight, config: Mapping[str, Any]) -> bool:
    """Whether a daemon can start on a SQLite file."""
    try:
        see.make(**config).start("ada")
    except NeedsServer:
        return False
    return True


def broker(see: Sight, config: Mapping[str, Any]) -> str:
    """Where Celery's app has its queue."""
    beside = make_neighbours(see.folder, make_url("sqlite://"))
    dispatcher = make_dispatcher(load_settings({"NEOLITH_ENGINE": "celery", **config}, {}), beside)
    app = celery_of(dispatcher, begin=lambda: None, end=lambda: None)
    dispatcher.close(1.0)
    return str(app.conf.broker_url)


def mounted(see: Sight, config: Mapping[str, Any]) -> int:
    """Where the blueprint answers."""
    return see.make(pages=True, **config).app.test_client().get("/ai/api/v1/health/live").status_code


def frame(see: Sight, config: Mapping[str, Any]) -> tuple[bool, bool]:
    """What the dashboard calls itself, and where its link back leads."""
    site = make_site(see.folder / f"site-{len(config)}", **config)
    try:
        page = site.as_("ann").client.get("/neolith/").text
        return "Our agents" in page, 'href="/elsewhere"' in page
    finally:
        site.close()


def lock_file(see: Sight, config: Mapping[str, Any]) -> bool:
    """Where the lock file of the process is."""
    folders: dict[str, Any] = {key: str(see.folder / value) for key, value in config.items()}
    world = see.make(**folders)
    world.house.ensure_started()
    return bool(list((see.folder / "elsewhere").glob("*.lock")))


def synchronous(see: Sight, config: Mapping[str, Any]) -> int:
    """How careful SQLite is."""
    with see.make(**config).house.database.read() as tx:
        return int(tx.exec_driver_sql("PRAGMA synchronous").scalar_one())


def written_down(see: Sight, config: Mapping[str, Any]) -> object:
    """What a call is said to have cost."""
    world = see.make(**config)
    answer(world)
    return world.rows("Ledger")[0]["cost"]


def is_paid_for(see: Sight, config: Mapping[str, Any]) -> list[str]:
    """What becomes of a question that costs something."""
    world = see.make(**config)
    world.start("ada")
    world.post("ann", "@ada hello")
    world.rest()
    return world.deliveries()


def calls_after_three_months(see: Sight, config: Mapping[str, Any]) -> int:
    """How many calls are still in the ledger."""
    clock = ManualClock()
    world = see.make(clock=clock, **config)
    for _ in range(2):
        answer(world)
    clock.advance(90 * 86_400.0)
    world.house.caretaker.run()
    return len(world.rows("Ledger"))


def looked_up_later(table: str) -> Observe:
    """How many deeds or changes of a daemon are there a day later."""

    def observe(see: Sight, config: Mapping[str, Any]) -> int:
        clock = ManualClock()
        world = see.make(clock=clock, **config)
        world.start("ada")
        with world.context():
            world.neolith.directory.set_charter(world.ada, {"mission": "Count."})
            world.neolith.directory.set_charter(world.ada, {"mission": "Count again."})
            world.db.session.commit()
            world.neolith.manager.stop_daemon(world.ada)
        clock.advance(86_400.0)
        world.house.caretaker.run()
        return len(world.rows(table))

    return observe


def posted_twice(see: Sight, config: Mapping[str, Any]) -> str:
    """Whether one user may post twice from outside."""
    rates = see.make(**config).house.front.rates
    rates.post("1")
    return outcome(lambda: rates.post("1"))


def rounds(see: Sight, config: Mapping[str, Any]) -> int:
    """How often a model that never has enough is asked."""
    world = see.make(**config)
    greedy = ScriptedModel(replies=lambda asked: ToolCall("t1", "current_time", {}) if asked.may_call else "Enough.")
    with use_model(world.app, greedy):
        ask(world)
    return len(greedy.requests)


def patience(see: Sight, config: Mapping[str, Any]) -> str:
    """What the model hears of a tool that takes its time."""
    world, door = see.make(**config), threading.Event()

    @world.neolith.tool(scopes=["read"])
    def slow() -> str:
        """Takes its time."""
        return "in time" if door.wait(0.3) else "late"

    model = ScriptedModel(replies=[ToolCall("t1", "slow", {}), "Well."])
    with use_model(world.app, model):
        ask(world)
    door.set()
    return str(model.requests[1].messages[-1].content)


def tools(see: Sight, config: Mapping[str, Any]) -> list[str]:
    """What the model is told that it can use."""
    world = see.make(**config)
    answer(world)
    return [tool.name for tool in world.model.scenes[0].request.tools]


@dataclass(frozen=True)
class Case:
    """A value, what it changes, and a value to compare with where the default will not do."""

    value: Any
    observe: Observe
    other: Any = None


TABLE: dict[str, Case] = {
    "ORCHESTRATOR_MODE": Case(False, start),
    "NEXT_PUBLIC_ORCHESTRATOR_MODE": Case(False, shown_mode),
    "DAEMON_AUTO_START": Case(False, login),
    "DAEMON_AUTO_RESPOND": Case(False, posts),
    "DAEMON_HEARTBEAT_INTERVAL": Case(5_000, beats_after_six_seconds),
    "DAEMON_HEALTH_CHECK_INTERVAL": Case(20, checks_soon),
    "DAEMON_AUTO_RESTART": Case(False, death),
    "DAEMON_MAX_RESTART_ATTEMPTS": Case(0, death),
    "DAEMON_RESTART_WINDOW": Case(1, many_deaths),
    "DAEMON_RESTART_DELAY": Case(1, restarts_soon),
    "DAEMON_VERBOSE": Case(True, logs),
    "DAEMON_MAX_CONCURRENT_CONVERSATIONS": Case(2, slots),
    "DAEMON_STOP_ON": Case("never", logout),
    "DAEMON_STOP_TIMEOUT": Case(20, long_stop, 700),
    "DAEMON_LOGIN_TTL": Case(5_000, login_after_ten_seconds),
    "DAEMON_MAX_QUEUE": Case(1, posts),
    "DAEMON_MAX_AGE": Case(1_000, after_two_seconds),
    "DAEMON_MAX_ATTEMPTS": Case(1, crash),
    "DAEMON_DEBOUNCE": Case(60_000, debounced),
    "NEOLITH_LOOP_EXCHANGES": Case(1, asked_by_another),
    "NEOLITH_LOOP_WINDOW": Case(1_000, asked_by_another_often, 300_000),
    "NEOLITH_PUBLIC_URL": Case("https://acme.test", told_where),
    "NEOLITH_KEEP_DELIVERIES": Case(1_000, kept_for_a_minute("refused")),
    "NEOLITH_KEEP_FAILED": Case(1_000, kept_for_a_minute("expired")),
    "NEOLITH_PRUNE_INTERVAL": Case(20, runs_soon("caretaker", "run")),
    "DAEMON_TURN_TIMEOUT": Case(50, turn_is_cut),
    "DAEMON_REPLY_IN": Case("channel", reply_is_in_thread),
    "DAEMON_LEASE": Case(60_000, lease),
    "DAEMON_RENEW_INTERVAL": Case(60_000, runs_soon("worker", "renew")),
    "DAEMON_SWEEP_INTERVAL": Case(60_000, runs_soon("sweeper", "sweep")),
    "DAEMON_DRAIN_TURNS": Case(1, drains_end_early),
    "DAEMON_DRAIN_TIME": Case(1, drains_end_early),
    "NEOLITH_MODEL": Case("another", asked("model")),
    "NEOLITH_FALLBACK_MODELS": Case("one, two", fallbacks),
    "ANTHROPIC_API_KEY": Case("sk-test", provider),
    "ANTHROPIC_BASE_URL": Case("second", reached),
    "NEOLITH_MAX_TOKENS": Case(99, asked("max_tokens")),
    "NEOLITH_CONTEXT_TOKENS": Case(1_000, remembered),
    "NEOLITH_HISTORY_LIMIT": Case(2, remembered),
    "NEOLITH_SESSION_IDLE": Case(60_000, sessions_of_an_hour),
    "NEOLITH_SUMMARY_MODEL": Case("", summed_up_by),
    "NEOLITH_SUMMARY_AFTER": Case(40, is_summed_up),
    "NEOLITH_CONNECT_TIMEOUT": Case(50, deaf_server),
    "NEOLITH_READ_TIMEOUT": Case(50, silent_server),
    "NEOLITH_SCRIPTED_DELAY": Case(0, slow_words),
    "NEOLITH_ENGINE": Case("celery", engine),
    "NEOLITH_BROKER_URL": Case("redis://elsewhere:6379/1", broker),
    "NEOLITH_MAX_THREADS": Case(1, at_once),
    "NEOLITH_URL_PREFIX": Case("/ai", mounted),
    "NEOLITH_DASHBOARD_NAME": Case("Our agents", frame),
    "NEOLITH_DASHBOARD_LINK": Case("/elsewhere", frame),
    "NEOLITH_STATE_DIR": Case("elsewhere", lock_file),
    "NEOLITH_SQLITE_PRAGMAS": Case(False, synchronous),
    "NEOLITH_DELTA_INTERVAL": Case(60_000, deltas),
    "NEOLITH_CHECKPOINT_INTERVAL": Case(60_000, kept_early),
    "NEOLITH_MAX_ANSWER_LENGTH": Case(1_000, long_answer),
    "NEOLITH_TOOL_ROUNDS": Case(1, rounds),
    "NEOLITH_TOOL_TIMEOUT": Case(20, patience),
    "NEOLITH_BUILTIN_TOOLS": Case("none", tools),
    "NEOLITH_APPROVAL_TIMEOUT": Case(1_000, undecided),
    "NEOLITH_MAX_MESSAGE_LENGTH": Case(5, long_message),
    "NEOLITH_RATE_ORCHESTRATOR": Case("1/minute", posts),
    "NEOLITH_RATE_PERSON": Case("1/minute", posts),
    "NEOLITH_RATE_POSTS": Case("1/minute", posted_twice),
    "NEOLITH_KEEP_LEDGER": Case(1_000, calls_after_three_months),
    "NEOLITH_KEEP_AUDIT": Case(1_000, looked_up_later("Audit")),
    "NEOLITH_KEEP_HISTORY": Case(1_000, looked_up_later("History")),
    "NEOLITH_PRICES": Case({"stage": {"input": 1, "output": 2}}, written_down),
    "NEOLITH_PERSON_BUDGET": Case('{"tokens_per_day": 1}', is_paid_for),
}


@pytest.mark.parametrize("key", KEYS)
def test_every_setting_changes_something(
    make_world: MakeWorld, key: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Each key is in the table, and what is seen with its value is not what is seen without."""
    case, see = TABLE[key], Sight(make_world, tmp_path, caplog)
    without = case.observe(see, {} if case.other is None else {key: case.other})
    assert case.observe(see, {key: case.value}) != without


def test_the_environment_reaches_the_daemons(make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """A value from the environment, a value of the app and an orchestrator's own each arrive in the daemon."""
    monkeypatch.setenv("DAEMON_MAX_CONCURRENT_CONVERSATIONS", "3")
    monkeypatch.setenv("DAEMON_HEARTBEAT_INTERVAL", "4000")
    world = make_world(orchestrators=("ada", "leo"), DAEMON_HEARTBEAT_INTERVAL=9_000)
    with world.context():
        user: Any = world.db.session.get(world.user, int(world.ids["leo"]))
        user.orchestrator_config = {"daemon": {"max_concurrent_conversations": 7, "verbose": True}}
        world.db.session.commit()
    world.start()
    one, other = (world.house.manager.daemon_for(world.orchestrators[name]) for name in ("ada", "leo"))
    assert (one.limit, one.heartbeat_interval, one.verbose) == (3, 9.0, False)
    assert (other.limit, other.heartbeat_interval, other.verbose) == (7, 9.0, True)


def test_a_second_app_has_settings_of_its_own(make_world: MakeWorld) -> None:
    """Two apps in one process: settings, manager and daemons are each app's own."""
    one = make_world(DAEMON_MAX_CONCURRENT_CONVERSATIONS=1)
    other = make_world(DAEMON_MAX_CONCURRENT_CONVERSATIONS=2)
    one.start("ada")
    assert not ada(other).is_running()
    other.start("ada")
    assert (ada(one).limit, ada(other).limit) == (1, 2)
    assert one.house.manager is not other.house.manager
    ada(one).stop()
    assert ada(other).is_running()
