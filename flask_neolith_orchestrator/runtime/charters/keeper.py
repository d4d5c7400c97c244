"""Changes charters: what is saved has been checked, weakens nothing unseen, and keeps its tier.

All of one change is one transaction of the caller's: the version, its mirror, and what others keep of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from ...chat.charter import CharterDocument
from ...chat.charter_advice import warnings
from ...chat.charter_changes import Weakening, loosenings, weakenings
from ...chat.charter_parent import under
from ...chat.charter_reading import (
    EMPTY,
    MAX_CHARTER,
    Problem,
    UnusableCharter,
    in_force,
    read_document,
    read_parent,
    too_large,
)
from ...chat.charter_text import render
from ...core.deeds import Actor, Deed
from ...core.errors import BadCharter, NotFound, Unconfirmed
from ...core.types import OrchestratorSnapshot
from ...store.people.charter_versions import CharterVersion, expect
from ...store.people.roster import Roster
from ...store.stores import Stores
from .book import CharterBook

MOST = 100_000
"""Orchestrators of one organization at the most that hear of a change of its charter at once."""


MARGIN = 5_000
"""Characters by which names, titles and lists may make a rendered charter longer than its text."""


@dataclass(frozen=True, slots=True)
class Author:
    """Who changes a charter, and how. `expected` is the version that was read; None takes whichever there is."""

    id: str | None = None
    reason: str = ""
    expected: int | None = None
    confirm: bool = False
    actor: Actor | None = None
    """Who is written down for it, where that is not the user with this id."""

    again: int | None = None
    """The older version that is written once more."""


@dataclass(frozen=True, slots=True)
class Report:
    """What is to be said about a charter before it is saved.

    `prompt` is what it would be rendered as, `holds` what would hold of it within its organization's.
    """

    problems: tuple[Problem, ...] = ()
    warnings: tuple[str, ...] = ()
    weakenings: tuple[Weakening, ...] = ()
    prompt: str | None = None
    holds: CharterDocument | None = None


class CharterKeeper:
    """Lifetime: app, in one process; safe for all threads (each brings its transaction). Asks for no rights."""

    def __init__(self, book: CharterBook, stores: Stores) -> None:
        self._book = book
        self._people = stores.people
        self._escalations = stores.escalations
        self._audit = stores.records.audit
        self._roster = Roster(stores.models)

    def examine(self, tx: Any, one: OrchestratorSnapshot, charter: object) -> Report:
        """All that saving would say, without saving. `tx` may write, as `CharterBook.current` does."""
        present = self._book.current(tx, one.id)
        parent = self._parent(tx, one)
        try:
            document = self._checked(one, charter, present, parent)
        except UnusableCharter as error:
            return Report(problems=error.problems)
        holds = in_force(document, one, parent=parent)
        return Report(
            warnings=(*warnings(document, parent), *self._strangers(tx, one, document)),
            weakenings=tuple(_weaker(present, document, parent)),
            prompt=render(holds),
            holds=holds,
        )

    def examine_parent(self, tx: Any, organization_id: str, charter: object) -> Report:
        """The same of an organization's charter, which is no prompt by itself."""
        present = self._book.parents.current(tx, organization_id)
        try:
            document = read_parent(charter)
            _fit(document, self._of(tx, organization_id))
        except UnusableCharter as error:
            return Report(problems=error.problems)
        return Report(weakenings=tuple(_looser(present, document)), holds=document)

    def _strangers(self, tx: Any, one: OrchestratorSnapshot, document: CharterDocument) -> list[str]:
        """Those whom it would tell of something, and who are not there to be told."""
        names = [name for rule in document.availability.escalation for name in rule.to]
        _found, unknown = self._escalations.recipients(tx, one.organization_id, names) if names else ([], [])
        return [f"availability.escalation: nobody in the organization is called {name!r}" for name in unknown]

    def save(self, tx: Any, one: OrchestratorSnapshot, charter: object, by: Author) -> CharterVersion:
        """Write a new version of an orchestrator's charter and make it the active one.

        Raises BadCharter, Conflict where another version holds than the author has read, and Unconfirmed where it is
        less safe than the one before and the author has not said that this is meant.
        """
        present = self._book.current(tx, one.id)
        expect(present, by.expected)
        parent = self._parent(tx, one)
        try:
            document = self._checked(one, charter, present, parent)
        except UnusableCharter as error:
            raise bad(error.problems) from None
        _confirmed(_weaker(present, document, parent), by)
        written = self._book.own.activate(
            tx, one.id, _with_tier(charter, document), author_id=by.id, reason=by.reason, expected=present.version
        )
        if written.version != present.version:
            self._book.changed(tx, self._people.snapshots(tx, [one.id]))
            self._record(tx, written.version, by, orchestrator_id=one.id)
        return written

    def restore(self, tx: Any, one: OrchestratorSnapshot, version: int, by: Author) -> CharterVersion:
        """Write an older version once more, as a new version that says so. Raises as `save`, and NotFound."""
        old = self._book.own.versions.get(tx, one.id, version)
        return self.save(tx, one, _there(old, version).charter, _again(version, by))

    def restore_parent(self, tx: Any, organization_id: str, version: int, by: Author) -> CharterVersion:
        """The same of an organization's charter."""
        old = self._book.parents.versions.get(tx, organization_id, version)
        return self.save_parent(tx, organization_id, _there(old, version).charter, _again(version, by))

    def save_parent(self, tx: Any, organization_id: str, charter: object, by: Author) -> CharterVersion:
        """Write a new version of an organization's charter; it holds for its orchestrators from their next turn on.

        Raises as `save`; BadCharter also where an orchestrator's charter would be too large within it.
        """
        present = self._book.parents.current(tx, organization_id)
        expect(present, by.expected)
        ones = self._of(tx, organization_id)
        try:
            document = read_parent(charter)
            _fit(document, ones)
        except UnusableCharter as error:
            raise bad(error.problems) from None
        _confirmed(_looser(present, document), by)
        written = self._book.parents.activate(
            tx, organization_id, _given(charter), author_id=by.id, reason=by.reason, expected=present.version
        )
        if written.version != present.version:
            self._book.changed(tx, self._of(tx, organization_id))
            self._record(tx, written.version, by, organization_id=organization_id)
        return written

    def _record(self, tx: Any, version: int, by: Author, **whose: Any) -> None:
        actor = by.actor or Actor.who_wrote(by.id)
        details: dict[str, Any] = {"version": version} | ({"reason": by.reason} if by.reason else {})
        if by.again is None:
            self._audit.add(tx, Deed(actor, "charter.saved", details=details, **whose))
        else:
            self._audit.add(tx, Deed(actor, "charter.activated", details={**details, "again": by.again}, **whose))

    def _of(self, tx: Any, organization_id: str) -> list[OrchestratorSnapshot]:
        return self._people.snapshots(tx, self._roster.page(tx, [organization_id], after=None, limit=MOST))

    def _parent(self, tx: Any, one: OrchestratorSnapshot) -> CharterDocument:
        return self._book.parent(tx, one)

    @staticmethod
    def _checked(
        one: OrchestratorSnapshot, charter: object, present: CharterVersion, parent: CharterDocument
    ) -> CharterDocument:
        """The charter as it would hold. Raises UnusableCharter with every problem."""
        document = read_document(charter)
        problems = []
        if document.handle and document.handle.casefold() != one.handle.casefold():
            problems.append(Problem("handle", f"this is a charter of another one, and not of @{one.handle}"))
        before = _lenient(present)
        if "tier" in before.model_fields_set:
            if "tier" in document.model_fields_set and document.tier != before.tier:
                problems.append(Problem("tier", f"is {before.tier} and cannot be changed: it is fixed once it is set"))
            document = document.model_copy(update={"tier": before.tier})
        excess = too_large(in_force(document, one, parent=parent))
        if excess:
            problems.append(Problem("charter", excess))
        if problems:
            raise UnusableCharter(problems)
        return document


def bad(problems: Iterable[Problem]) -> BadCharter:
    """Problems as the error that callers see."""
    return BadCharter([(one.path, one.problem) for one in problems])


def _fit(parent: CharterDocument, ones: Sequence[OrchestratorSnapshot]) -> None:
    """Raise UnusableCharter if some charter is too large within `parent`; most are so short that a look will do."""
    room = MAX_CHARTER - max((len(render(in_force(parent, one))) for one in ones[:1]), default=0) - MARGIN
    for one in ones:
        if len(str(one.config.get("charter", ""))) < room:
            continue
        try:
            document = read_document(one.config.get("charter"))
        except UnusableCharter:  # it could not be used before
            continue
        excess = too_large(in_force(document, one, parent=parent))
        if excess:
            raise UnusableCharter([Problem("charter", excess)])


def _there(old: CharterVersion | None, version: int) -> CharterVersion:
    if old is None:
        raise NotFound(f"There is no version {version} of this charter.")
    return old


def _again(version: int, by: Author) -> Author:
    reason = f"version {version} again" + (f": {by.reason}" if by.reason else "")
    return replace(by, reason=reason[:500], again=version)


def _given(charter: object) -> Mapping[str, Any]:
    return charter if isinstance(charter, Mapping) else {}


def _with_tier(charter: object, document: CharterDocument) -> Mapping[str, Any]:
    """A charter that leaves the tier out keeps it."""
    given = _given(charter)
    return {**given, "tier": document.tier} if "tier" in document.model_fields_set else given


def _lenient(version: CharterVersion) -> CharterDocument:
    """What a version says; nothing where a host wrote what cannot be used."""
    try:
        return read_document(version.charter)
    except UnusableCharter:
        return EMPTY


def _weaker(present: CharterVersion, document: CharterDocument, parent: CharterDocument) -> list[Weakening]:
    """What is less safe as it is written, or as it then holds: what is left out may come from the organization.

    A first charter weakens nothing: nothing had been said.
    """
    if not present.version:
        return []
    before = _lenient(present)
    found = weakenings(before, document)
    named = {one.path for one in found}
    inherited = weakenings(under(parent, before), under(parent, document))
    return [*found, *(one for one in inherited if one.path not in named)]


def _looser(present: CharterVersion, document: CharterDocument) -> list[Weakening]:
    """The same of an organization's charter."""
    return loosenings(_lenient(present), document) if present.version else []


def _confirmed(found: Iterable[Weakening], by: Author) -> None:
    weaker = [asdict(one) for one in found]
    if weaker and not by.confirm:
        raise Unconfirmed(weaker)
