"""flask neolith charter ...: look at charters, check them, change them, and go back.

Exit codes: 0 it is done; 1 it cannot be done, and the output says why; 2 the command is used the wrong way; 3 the
charter is less safe than the one before, and was not saved: look at the list, and say --yes if it is meant.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import click
from flask.cli import AppGroup

from ..chat.charter_changes import as_text, changes
from ..chat.charter_text import render
from ..chat.charter_yaml import to_yaml
from ..core.deeds import CLI
from ..core.errors import NeolithError, NotFound, Unconfirmed
from ..core.types import OrchestratorSnapshot
from ..runtime.charters.file import read_charter_text
from ..runtime.charters.keeper import Author
from ..runtime.house import House
from ..runtime.state import State
from ..store.people.charter_versions import CharterVersion
from .finding import find, ready


class NotConfirmed(click.ClickException):
    """A charter is less safe than the one before it."""

    exit_code = 3


@dataclass(frozen=True, slots=True)
class Desk:
    """One orchestrator's charter, or one organization's, in one command."""

    house: House
    id: str
    name: str
    one: OrchestratorSnapshot | None = None

    def active(self, tx: Any) -> CharterVersion:
        """The version that holds."""
        book = self.house.charters
        return book.parents.current(tx, self.id) if self.one is None else book.current(tx, self.id)

    def version(self, tx: Any, number: int | None) -> CharterVersion:
        """One version; without a number the one that holds."""
        if number is None:
            return self.active(tx)
        book = self.house.charters
        found = (book.parents if self.one is None else book.own).versions.get(tx, self.id, number)
        if found is None:
            raise NotFound(f"There is no version {number} of this charter.")
        return found

    def save(self, tx: Any, charter: object, by: Author) -> CharterVersion:
        """Write a new version."""
        keeper = self.house.keeper
        if self.one is None:
            return keeper.save_parent(tx, self.id, charter, by)
        return keeper.save(tx, self.one, charter, by)


def desk(state: State, who: str, *, organization: bool) -> Desk:
    """What a command is about: an orchestrator by id or @handle, or an organization by id or slug."""
    house = ready(state)
    if not organization:
        one = find(house, who).orchestrator
        return Desk(house, one.id, f"@{one.handle}", one)
    with house.database.read() as tx:
        found = house.charters.parents.find(tx, who)
    if found is None:
        raise click.ClickException(f"There is no organization {who!r}.")
    return Desk(house, found, who)


def make_charter_group(state: State) -> AppGroup:
    """The commands of one app."""
    group = AppGroup("charter", help="Look at charters, check and change them, and go back.")
    _looks(group, state)
    _checks(group, state)
    _writes(group, state)
    return group


_organization = click.option("--organization", is_flag=True, help="WHO is an organization (id or slug).")
_yes = click.option("--yes", is_flag=True, help="Save it though it is less safe than the one before.")
_reason = click.option("--reason", default="", help="Why; it is kept with the version.")


def _looks(group: AppGroup, state: State) -> None:
    @group.command("show")
    @click.argument("who")
    @click.option("--version", "number", type=int, default=None, help="An older version.")
    @click.option("--prompt", is_flag=True, help="The system prompt that comes of it, with the organization's.")
    @_organization
    def show(who: str, number: int | None, prompt: bool, organization: bool) -> None:
        """Print WHO's charter (id or @handle) as YAML that `set` takes."""
        with _told():
            at = desk(state, who, organization=organization)
            with at.house.database.write() as tx:
                version = at.version(tx, number)
                if prompt and at.one is not None:
                    click.echo(render(at.house.charters.of(tx, at.house.people.snapshots(tx, [at.id])[0])))
                    return
            click.echo(f"# {at.name}, version {version.version}{f': {version.reason}' if version.reason else ''}")
            click.echo(to_yaml(version.charter) if version.charter else "{}", nl=not version.charter)

    @group.command("diff")
    @click.argument("who")
    @click.argument("before", type=int)
    @click.argument("after", type=int, required=False)
    @_organization
    def diff(who: str, before: int, after: int | None, organization: bool) -> None:
        """Print what differs between two versions of WHO's charter; without AFTER: the one that holds."""
        with _told():
            at = desk(state, who, organization=organization)
            with at.house.database.write() as tx:
                old, new = at.version(tx, before), at.version(tx, after)
            click.echo(as_text(changes(old.charter, new.charter)) or "They are the same.")


def _checks(group: AppGroup, state: State) -> None:
    @group.command("validate")
    @click.argument("file", type=click.File(encoding="utf-8"))
    @click.option("--for", "who", default=None, help="For whom it would be (id or @handle): says what saving would.")
    def validate(file: Any, who: str | None) -> None:
        """Check a charter in FILE (YAML or JSON; - is the standard input), without saving it."""
        with _told():
            charter = read_charter_text(_text(file))
            if who is not None:
                at = desk(state, who, organization=False)
                with at.house.database.write() as tx:
                    report = at.house.keeper.examine(tx, at.one, charter) if at.one is not None else None
                if report is not None:
                    _tell("Problem", map(str, report.problems))
                    _tell("Warning", report.warnings)
                    _tell("Less safe", (one.text for one in report.weakenings))
                    if report.problems:
                        raise click.ClickException("The charter cannot be used.")
            click.echo("The charter can be used.")


def _writes(group: AppGroup, state: State) -> None:
    @group.command("set")
    @click.argument("who")
    @click.argument("file", type=click.File(encoding="utf-8"))
    @_reason
    @_yes
    @_organization
    def set_charter(who: str, file: Any, reason: str, yes: bool, organization: bool) -> None:
        """Save the charter in FILE (YAML or JSON; - is the standard input) as a new version of WHO's."""
        with _told():
            charter = read_charter_text(_text(file))
            at = desk(state, who, organization=organization)
            with at.house.database.write() as tx:
                before = at.active(tx)
                written = at.save(tx, charter, Author(reason=reason or "set by a command", confirm=yes, actor=CLI))
            _saved(at, before, written)

    @group.command("rollback")
    @click.argument("who")
    @click.argument("version", type=int)
    @_reason
    @_yes
    def rollback(who: str, version: int, reason: str, yes: bool) -> None:
        """Let an older VERSION of WHO's charter hold again, as a new version that says so."""
        with _told():
            at = desk(state, who, organization=False)
            with at.house.database.write() as tx:
                before = at.active(tx)
                one = at.house.people.snapshots(tx, [at.id])[0]
                written = at.house.keeper.restore(tx, one, version, Author(reason=reason, confirm=yes, actor=CLI))
            _saved(at, before, written)


def _saved(at: Desk, before: CharterVersion, written: CharterVersion) -> None:
    if before.version == written.version:
        click.echo(f"{at.name} has this charter already: version {written.version}.")
    else:
        click.echo(f"{at.name} is at version {written.version} now, from the next turn on.")


def _text(file: Any) -> str:
    try:
        text: str = file.read()
    except UnicodeDecodeError:
        raise click.ClickException("The file is not UTF-8 text.") from None
    return text


def _tell(what: str, sentences: Iterable[str]) -> None:
    for sentence in sentences:
        click.echo(f"{what}: {sentence}")


class _told:  # noqa: N801 -- it reads as a word at `with`
    """Errors of ours as what a command says."""

    def __enter__(self) -> None:
        """Nothing to do before."""

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        """Say what went wrong, and which exit code it has."""
        if isinstance(error, Unconfirmed):
            listed = "\n".join(f"  {one['text']}" for one in error.weakenings)
            raise NotConfirmed(f"This is less safe than the charter before:\n{listed}\nSay --yes if it is meant.")
        if isinstance(error, NeolithError):
            raise click.ClickException(str(error)) from None
