"""flask neolith stop-answer, regenerate, retry-answer: one answer, for whoever may use the command line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click
from flask.cli import AppGroup

from ..core.errors import NeolithError
from ..runtime.chatting.chat import Chat
from ..runtime.state import State
from .finding import ready


def add_answers(group: AppGroup, state: State) -> None:
    """Add the commands. They act as the user that is given: with that user's rights, and in its name."""

    def act(work: Callable[[Chat], dict[str, Any]]) -> dict[str, Any]:
        house = ready(state)
        session = house.session()
        try:
            done = work(house.chat)
            session.commit()
        except NeolithError as error:
            session.rollback()
            raise click.ClickException(str(error)) from None
        return done

    acting = click.option("--as", "actor", required=True, help="The id of the user who asks for it.")

    @group.command("stop-answer")
    @click.argument("message")
    @acting
    def stop(message: str, actor: str) -> None:
        """Stop the answer with the id MESSAGE, or the answers to that message."""
        found = act(lambda chat: chat.stop(actor, message))["state"]
        said = {"stopping": "It ends within a second.", "stopped": "It was stopped before it began."}
        click.echo(said.get(found, "There was nothing to stop."))

    @group.command("regenerate")
    @click.argument("message")
    @acting
    def regenerate(message: str, actor: str) -> None:
        """Have the answer with the id MESSAGE, or the only one to that message, written anew."""
        work = act(lambda chat: chat.regenerate(actor, message))["work"]
        click.echo(f"A new version waits to be written (delivery {work['deliveryId']}, {work['position']} before it).")

    @group.command("retry-answer")
    @click.argument("message")
    @acting
    def retry(message: str, actor: str) -> None:
        """Try the failed answer with the id MESSAGE, or the failed ones to that message, again."""
        act(lambda chat: chat.retry(actor, message))
        click.echo("It waits to be answered.")
