"""What every command begins with: the app's parts, and the orchestrator that is meant."""

from __future__ import annotations

import click

from ..core.errors import NeolithError
from ..core.types import DaemonState
from ..runtime.house import House
from ..runtime.state import State


def ready(state: State) -> House:
    """The house, once the database is known to be usable; a command starts no runtime."""
    state.keep_quiet()
    return checked(state)


def checked(state: State) -> House:
    """The same, for a command that may start the runtime."""
    try:
        state.wiring.check_schema()
    except NeolithError as error:
        raise click.ClickException(str(error)) from None
    return state.house


def find(house: House, who: str) -> DaemonState:
    """An orchestrator by id or @handle."""
    handle = who.removeprefix("@").casefold()
    for found in house.manager.get_all_daemon_statuses():
        if found.orchestrator.id == who or found.orchestrator.handle == handle:
            return found
    msg = f"There is no orchestrator {who!r}. `flask neolith status` lists them."
    raise click.ClickException(msg)
