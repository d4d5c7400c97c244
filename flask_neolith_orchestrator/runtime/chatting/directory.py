"""Organizations and orchestrators, for seeds, commands and the host's own code: no rights are asked here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from ...core.errors import Conflict, Invalid, NotFound
from ...store.chat.rooms import Rooms
from ...store.people.organizations import NewOrchestrator, Organizations
from ...store.people.people import People
from ...store.sql import host
from ...store.sql.database import Database
from ..charters.keeper import Author, CharterKeeper
from . import checks

ROLES: Final = ("owner", "admin", "member")
"""What somebody can be in an organization; owners and admins manage it."""


class Directory:
    """Makes organizations and orchestrators. Lifetime: app, in one process; safe for all threads.

    It works in the host's session without committing, raises NotFound, Conflict and Invalid, and is not for
    requests of people: whoever calls it decides who may.
    """

    def __init__(
        self,
        session: Callable[[], Any],
        database: Database,
        people: People,
        rooms: Rooms,
        organizations: Organizations,
        keeper: CharterKeeper,
    ) -> None:
        self._session = session
        self._database = database
        self._people = people
        self._rooms = rooms
        self._organizations = organizations
        self._keeper = keeper

    def create_organization(self, name: str, slug: str) -> str:
        """Make an organization; returns its id. `slug` is lower case letters, digits and hyphens, and unique."""
        name = checks.label("name", name, 200, least=1)
        slug = checks.slug(slug)
        made = self._organizations.create(host.writing(self._session(), self._database), name, slug)
        if made is None:
            raise Conflict(f"There is an organization with the slug {slug} already.")
        return made

    def add_to_organization(self, organization_id: str, user_id: str, role: str = "member") -> None:
        """Make a user a member as owner, admin or member; a member already gets this role."""
        if role not in ROLES:
            raise Invalid(f"role must be one of {', '.join(ROLES)}.")
        tx = host.reading(self._session())
        organization = self._organization(tx, organization_id)
        self._user(tx, user_id)
        self._organizations.put_member(host.writing(self._session(), self._database), organization, user_id, role)

    def create_orchestrator(
        self,
        user_id: str,
        organization_id: str,
        handle: str,
        *,
        role: str = "",
        discipline: str = "",
        capabilities: Sequence[str] = (),
        daemon_endpoint: str | None = None,
    ) -> str:
        """Make a user who has `is_orchestrator` set an orchestrator; returns the orchestrator's id.

        `handle` is what people mention, compared without case and unique in the organization. `daemon_endpoint`
        is only stored. Raises Invalid if the user is not flagged: that is the host's decision.
        """
        folded = checks.handle(handle)
        tx = host.reading(self._session())
        new = NewOrchestrator(
            user_id=user_id,
            organization_id=self._organization(tx, organization_id),
            handle=folded,
            role=checks.label("role", role, 200),
            discipline=checks.label("discipline", discipline, 200),
            capabilities=_capabilities(capabilities),
            daemon_endpoint=None if daemon_endpoint is None else checks.label("endpoint", daemon_endpoint, 500),
        )
        if not self._user(tx, user_id).is_orchestrator:
            raise Invalid("This user is not flagged as an orchestrator: set is_orchestrator first.")
        if self._people.orchestrator_id(tx, user_id) is not None:
            raise Conflict("This user is an orchestrator already.")
        made = self._organizations.create_orchestrator(host.writing(self._session(), self._database), new)
        if made is None:
            raise Conflict(f"The handle {new.handle} is taken in this organization.")
        return made

    def set_charter(
        self,
        orchestrator_id: str,
        charter: Mapping[str, Any],
        *,
        author_id: str | None = None,
        reason: str = "",
        confirm: bool = True,
    ) -> int:
        """Write a new version of an orchestrator's charter, and make it the active one; returns its number.

        `load_charter_file` reads one from a file. It holds from the next turn on, in every process. Raises BadCharter,
        and without `confirm` Unconfirmed where it is less safe than the one before.
        """
        one = self._people.snapshot(host.reading(self._session()), orchestrator_id)
        if one is None:
            raise NotFound("There is no such orchestrator.")
        tx = host.writing(self._session(), self._database)
        return self._keeper.save(tx, one, charter, Author(author_id, reason, confirm=confirm)).version

    def set_organization_charter(
        self,
        organization_id: str,
        charter: Mapping[str, Any],
        *,
        author_id: str | None = None,
        reason: str = "",
        confirm: bool = True,
    ) -> int:
        """The same for the charter that all orchestrators of an organization are within."""
        found = self._organization(host.reading(self._session()), organization_id)
        tx = host.writing(self._session(), self._database)
        return self._keeper.save_parent(tx, found, charter, Author(author_id, reason, confirm=confirm)).version

    def _organization(self, tx: Any, organization_id: str) -> str:
        found = checks.row_id(organization_id, "organization")
        if not self._organizations.exists(tx, found):
            raise NotFound("There is no such organization.")
        return found

    def _user(self, tx: Any, user_id: str) -> Any:
        user = self._people.users(tx, [self._rooms.key(user_id)]).values()
        if not user:
            raise NotFound("There is no such user.")
        return next(iter(user))


def _capabilities(value: object) -> list[str]:
    if not isinstance(value, (list, tuple)) or len(value) > 100:
        raise Invalid("capabilities must be a list of at most 100 words.")
    return [checks.label("capabilities", one, 100, least=1) for one in value]
