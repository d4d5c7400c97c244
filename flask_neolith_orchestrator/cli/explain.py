"""flask neolith explain: why each orchestrator did, or did not, wake for a message."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click
from flask.cli import AppGroup

from ..runtime.arrival.explaining import Explained
from ..runtime.state import State
from .finding import ready


def add_explain(group: AppGroup, state: State) -> None:
    """Give a group the command."""

    @group.command("explain")
    @click.argument("message")
    def explain(message: str) -> None:
        """Say for every orchestrator in its channel why MESSAGE (an id) woke it or did not."""
        house = ready(state)
        if not message.isdecimal() or len(message) > 18:
            raise click.ClickException("A message's id is a number.")
        with house.database.read() as tx:
            shown = house.chat_store.view(tx, message)
            if shown is None:
                raise click.ClickException("There is no such message.")
            found = house.front.explaining.of(tx, shown)
        if not found:
            click.echo("There is no orchestrator in its channel.")
        for one in found:
            click.echo(_line(one))
            if one.delivery is not None:
                click.echo(f"        {_then(one.delivery)}")


def _line(one: Explained) -> str:
    verdict = "wakes" if one.wakes else "sleeps"
    return f"{one.orchestrator_id:>6}  @{one.handle:<20} {verdict:<7} {one.reason or '-'}: {one.sentence}"


def _then(delivery: Mapping[str, Any]) -> str:
    held = f", held ({delivery['held']}) until {delivery['readyAt']}" if delivery["held"] else ""
    outcome = f" ({delivery['outcome']})" if delivery["outcome"] else ""
    return f"delivery {delivery['id']}: {delivery['state']}{outcome}, woken by {delivery['reason']}{held}"
