"""flask neolith copy: the app's whole database from where it was to where it is configured to be now."""

from __future__ import annotations

import click
from flask import current_app
from flask.cli import AppGroup
from sqlalchemy.exc import SQLAlchemyError

from ..core.errors import NeolithError
from ..runtime.state import State
from ..store.copying import copy_all, open_source
from .finding import ready


def add_copy(group: AppGroup, state: State) -> None:
    """Add the command to the group."""

    @group.command("copy")
    @click.option(
        "--from",
        "url",
        required=True,
        metavar="URL",
        help="The old database, as its configuration named it: sqlite:///app.db.",
    )
    def copy(url: str) -> None:
        """Copy all tables of the app from the database at URL into the configured one, which must be empty."""
        house = ready(state)
        try:
            source = open_source(url, current_app.instance_path)
        except (NeolithError, SQLAlchemyError, ImportError) as error:
            raise click.ClickException(str(error)) from None

        def tell(name: str, rows: int) -> None:
            click.echo(f"{rows:>9}  {name}")

        try:
            with house.database.write() as tx:
                total = copy_all(state.extension.models, source, tx, now=house.database.clock.wall(), tell=tell)
        except (NeolithError, SQLAlchemyError) as error:
            raise click.ClickException(str(error).splitlines()[0]) from None
        finally:
            source.dispose()
        click.echo(f"{total:>9}  rows copied and counted. `flask neolith doctor` looks at the rest.")
