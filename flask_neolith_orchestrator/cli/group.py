"""flask neolith ...: look at, start, stop and talk to orchestrators from the command line."""

from __future__ import annotations

import os
import signal
import socket
import threading
from typing import Any

import click
from flask.cli import AppGroup

from ..core.deeds import CLI, Deed
from ..core.errors import NeolithError
from ..core.types import Cause, Wanted
from ..runtime.state import State
from ..store.chat.views import iso
from .answers import add_answers
from .budget import add_budget
from .charter import make_charter_group
from .copying import add_copy
from .explain import add_explain
from .finding import checked, find, ready

LOOK = 10.0
"""Seconds between two looks of a process without web server at whether only a new one would help."""


def make_group(state: State) -> AppGroup:
    """The commands of one app."""
    group = AppGroup("neolith", help="AI colleagues: their daemons, their work, their health.")
    _looks(group, state)
    _wishes(group, state)
    _work(group, state)
    add_explain(group, state)
    add_budget(group, state)
    add_copy(group, state)
    group.add_command(make_charter_group(state))
    add_answers(group, state)
    return group


def _looks(group: AppGroup, state: State) -> None:
    @group.command("status")
    def status() -> None:
        """List every orchestrator with its daemon's state."""
        house = ready(state)
        states = house.manager.get_all_daemon_statuses()
        with house.database.read() as tx:
            alive = house.stores.nodes.backed(tx)
            pauses = house.front.pauses.of(tx, [found.orchestrator.id for found in states])
        for found in states:
            shown = str(found.status) if alive or found.status != "running" else "stopped (no process runs)"
            health = found.health
            click.echo(
                f"{found.orchestrator.id:>6}  @{found.orchestrator.handle:<20} {shown:<14} wanted={found.wanted}"
                f" ({found.cause})  active={health.active_conversations} queued={health.queued}"
                f" answered={health.total_messages_processed} failed={health.failed} restarts={health.restarts}"
            )
            pause = pauses.get(found.orchestrator.id)
            if pause is not None:
                click.echo(f"        paused ({pause.reason}) until {iso(pause.until)}")
            if found.last_error:
                click.echo(f"        {found.last_error}")

    @group.command("deliveries")
    @click.option("--state", "states", multiple=True, help="Only those in this state; may be repeated.")
    @click.option("--limit", default=20, show_default=True, help="How many at the most.")
    def deliveries(states: tuple[str, ...], limit: int) -> None:
        """List pieces of work, newest first."""
        house = ready(state)
        with house.database.read() as tx:
            rows = house.turns.deliveries(tx, states=states, limit=limit)
        for row in rows:
            click.echo(
                f"{row['id']:>8}  {row['state']:<10} orchestrator={row['orchestrator_id']} message={row['message_id']}"
                f" attempts={row['attempts']} {row['reason']} {row['outcome'] or ''}".rstrip()
            )

    _checks(group, state)


def _checks(group: AppGroup, state: State) -> None:
    @group.command("doctor")
    def doctor() -> None:
        """Check database, model, Socket.IO and scheduler, and say what to do."""
        from ..web.doctor import examine  # only here: it looks at the host's whole setup

        if not examine(state, click.echo):
            raise SystemExit(1)

    @group.command("create-tables")
    def create_tables() -> None:
        """Make the tables and columns that are missing (for apps without migrations)."""
        try:
            made = state.extension.create_tables()
        except NeolithError as error:
            raise click.ClickException(str(error)) from None
        click.echo("\n".join(made) if made else "Everything is there already.")


def _wishes(group: AppGroup, state: State) -> None:
    def wish(who: str, wanted: Wanted, deed: str | None) -> None:
        house = ready(state)
        if wanted is Wanted.RUNNING and not state.settings.mode:
            raise click.ClickException("Daemons are switched off: set ORCHESTRATOR_MODE=true.")
        found = find(house, who)
        with house.database.write() as tx:
            house.daemons.want(tx, found.orchestrator.id, wanted, Cause.PERSON)
            if wanted is Wanted.RUNNING:
                house.daemons.forget_error(tx, found.orchestrator.id)
            if deed is not None:
                house.stores.records.audit.add(
                    tx, Deed(CLI, f"orchestrator.{deed}", orchestrator_id=found.orchestrator.id)
                )
        embedded = state.settings.engine == "embedded"
        later = "when the app runs (or `flask neolith run`)" if embedded else "when a `flask neolith worker` runs"
        with house.database.read() as tx:
            alive = house.stores.nodes.backed(tx)
        when = "within a second" if alive else later
        verb = "starts" if wanted is Wanted.RUNNING else "stops"
        click.echo(f"@{found.orchestrator.handle} {verb} {when}.")

    @group.command("start")
    @click.argument("who")
    def start(who: str) -> None:
        """Start WHO (id or @handle), as a person's wish."""
        wish(who, Wanted.RUNNING, "started")

    @group.command("stop")
    @click.argument("who")
    def stop(who: str) -> None:
        """Stop WHO (id or @handle), as a person's wish."""
        wish(who, Wanted.STOPPED, "stopped")

    @group.command("restart")
    @click.argument("who")
    def restart(who: str) -> None:
        """Stop and start WHO (id or @handle)."""
        wish(who, Wanted.STOPPED, None)
        house = ready(state)
        found = find(house, who)
        _await(lambda: find(house, who).status != "running")
        wish(found.orchestrator.id, Wanted.RUNNING, "restarted")


def _await(condition: Any, seconds: float = 12.0) -> None:
    pause = threading.Event()
    waited = 0.0
    while not condition() and waited < seconds:
        pause.wait(0.1)
        waited += 0.1


def _work(group: AppGroup, state: State) -> None:
    @group.command("send")
    @click.argument("channel")
    @click.argument("text")
    @click.option("--as", "author", required=True, help="The id of the user who writes.")
    @click.option("--thread", default=None, help="The id of a message to answer in its thread.")
    def send(channel: str, text: str, author: str, thread: str | None) -> None:
        """Post TEXT in CHANNEL (its id) as a user; orchestrators that run answer it."""
        house = ready(state)
        session = house.session()
        try:
            posted = house.chat.post(author, channel, text, thread_id=thread)
            session.commit()
        except NeolithError as error:
            session.rollback()
            raise click.ClickException(str(error)) from None
        click.echo(f"Message {posted.message['id']} posted.")

    _run(group, state)
    _worker(group, state)
    _retry(group, state)


def _run(group: AppGroup, state: State) -> None:
    @group.command("run")
    @click.option("-c", "--concurrency", type=click.IntRange(1, 1000), help="Turns at one time [NEOLITH_MAX_THREADS].")
    def run(concurrency: int | None) -> None:
        """Run daemons in this process, without web server, until SIGTERM or Ctrl-C."""
        settings = state.settings
        if settings.engine != "embedded":
            raise click.ClickException(f"With NEOLITH_ENGINE={settings.engine} use `flask neolith worker`.")
        if not (concurrency or settings.max_threads):
            raise click.ClickException("NEOLITH_MAX_THREADS=0: say how many turns at one time, such as `-c 32`.")
        house = checked(state)
        house.dispatcher.serve(concurrency or settings.max_threads)
        try:
            house.manager.lives.check_allowed()
            house.ensure_started()
        except NeolithError as error:
            raise click.ClickException(str(error)) from None
        ended = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: ended.set())
        click.echo(f"Running as {house.stores.nodes.name}. Ctrl-C ends it.")
        while not ended.wait(LOOK) and house.manager.liveness()["ok"]:
            pass
        click.echo("Stopping.")
        state.close()
        if not ended.is_set():  # nobody asks this process whether it lives: its supervisor starts another
            raise SystemExit(1)


def _worker(group: AppGroup, state: State) -> None:
    @group.command("worker")
    @click.option("-c", "--concurrency", type=click.IntRange(1, 1000), help="Turns at one time [NEOLITH_MAX_THREADS].")
    @click.option("-l", "--loglevel", default="INFO", show_default=True, help="What Celery says.")
    def worker(concurrency: int | None, loglevel: str) -> None:
        """Run turns as a Celery worker (NEOLITH_ENGINE=celery), until SIGTERM or Ctrl-C."""
        house = checked(state)
        try:
            house.manager.lives.check_allowed()
            celery = state.extension.celery
        except NeolithError as error:
            raise click.ClickException(str(error)) from None
        most = concurrency or state.settings.max_threads or 64
        name = f"neolith-{os.getpid()}@{socket.gethostname()}"  # as the node's, in Celery's spelling
        options = {"without_gossip": True, "without_mingle": True, "quiet": True}
        one = celery.Worker(pool="threads", concurrency=most, loglevel=loglevel, hostname=name, **options)
        click.echo(f"Running as {house.stores.nodes.name}. Ctrl-C ends it.")
        one.start()
        raise SystemExit(one.exitcode)


def _retry(group: AppGroup, state: State) -> None:
    @group.command("retry")
    @click.argument("delivery")
    def retry(delivery: str) -> None:
        """Try a failed or expired delivery (its id) again."""
        house = ready(state)
        if not delivery.isdecimal():
            raise click.ClickException("A delivery's id is a number.")
        with house.database.write() as tx:
            known = house.turns.delivery(tx, delivery)
            done = known is not None and house.turns.retry(tx, delivery)
            if done and known is not None:
                whose = str(known["orchestrator_id"])
                deed = Deed(CLI, "delivery.retried", orchestrator_id=whose, subject=("delivery", delivery))
                house.stores.records.audit.add(tx, deed)
        if known is None:
            raise click.ClickException("There is no such delivery. `flask neolith deliveries` lists them.")
        if not done:
            raise click.ClickException("Only a failed or expired delivery can be tried again.")
        click.echo("It waits to be answered.")
