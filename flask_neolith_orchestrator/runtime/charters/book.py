"""The charters that hold now, as the rest of the engine room reads them.

What a charter is made of (the configuration, its version, the organization's version) comes with the orchestrator's
snapshot, so that every process sees a change with the next turn and the next message, and asks nothing for it. Only
what is new is read and checked; the rest is remembered.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from ...chat.charter import Charter, CharterDocument
from ...chat.charter_reading import EMPTY, UnusableCharter, in_force, load_charter, read_parent
from ...core.deeds import SYSTEM, Deed
from ...core.errors import StartFailed
from ...core.types import OrchestratorSnapshot
from ...store.people.charters import Charters, OrganizationCharters, mirrored
from ...store.stores import Stores

log = logging.getLogger("flask_neolith_orchestrator")

UNWRITTEN: Final = -1
"""The version of a charter that the host has written into `vp_config` and that is no version yet: see `adopt`."""

KEPT: Final = 1_000
"""Charters that are remembered; the one that was not asked for longest goes first."""

NOBODYS: Final = Charter()
"""The charter of those who have none, but for who they are."""

Heard = Callable[[OrchestratorSnapshot, Charter], None]
Changed = Callable[[Any, OrchestratorSnapshot, Charter], None]


class CharterBook:
    """Gives the charter in force of an orchestrator. Lifetime: app, in one process; safe for all threads.

    `on_read` hears of each charter that this process has not seen before; `on_change` of each orchestrator whose
    charter a new version changes, with what holds from then on, in the transaction that writes it.
    """

    def __init__(self, stores: Stores) -> None:
        self.own = Charters(stores.models, stores.database)
        self.parents = OrganizationCharters(stores.models, stores.database)
        self.on_read: list[Heard] = []
        self.on_change: list[Changed] = []
        self._stores = stores
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, tuple[tuple[Any, ...], Charter]] = OrderedDict()
        self._documents: dict[str, tuple[float | None, CharterDocument]] = {}

    def of(self, tx: Any, snapshot: OrchestratorSnapshot) -> Charter:
        """What holds for a turn that begins now. Raises StartFailed, naming every bad field."""
        facts = _facts(snapshot)
        with self._lock:
            kept = self._kept.get(snapshot.id)
            if kept is not None and kept[0] == facts:
                self._kept.move_to_end(snapshot.id)
                return kept[1]
        charter = self._read(tx, snapshot)
        with self._lock:
            self._kept[snapshot.id] = (facts, charter)
            self._kept.move_to_end(snapshot.id)
            if len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        for heard in self.on_read:
            heard(snapshot, charter)
        return charter

    def terms(self, snapshot: OrchestratorSnapshot) -> Charter:
        """The same where there is no transaction, for whoever asks what it may do and not who it is.

        Most have nothing of their own: one charter stands for all of them, as ten thousand start at once.
        """
        if not (snapshot.parent_version or snapshot.charter_version or snapshot.config):
            return NOBODYS
        if not (snapshot.parent_version or snapshot.charter_version or mirrored(snapshot.config)):
            return load_charter(snapshot)
        with self._stores.database.read() as tx:
            return self.of(tx, snapshot)

    def behaviours(self, tx: Any, orchestrator_ids: Sequence[str]) -> Mapping[str, Charter]:
        """What holds for messages that arrive now, by orchestrator; one that cannot be used is as if it were empty."""
        return {one.id: self._usable(tx, one) for one in self._stores.people.snapshots(tx, orchestrator_ids)}

    def _usable(self, tx: Any, snapshot: OrchestratorSnapshot) -> Charter:
        try:
            return self.of(tx, snapshot)
        except StartFailed:  # its daemon cannot start, and its turns say so; a message is accepted all the same
            return in_force(EMPTY, snapshot)

    def refresh(self, *orchestrator_ids: str) -> None:
        """Look again, as after a commit of this process; what cannot be used is told by the next turn."""
        with self._stores.database.read() as tx:
            self.behaviours(tx, orchestrator_ids)

    def adopt(self, orchestrator_id: str) -> None:
        """Make what the host wrote a version, in a transaction of ours. Raises NotFound."""
        self._stores.database.run(lambda tx: self.current(tx, orchestrator_id))

    def current(self, tx: Any, orchestrator_id: str) -> Any:
        """The version that holds now; what the host wrote becomes one. `tx` may write. Raises NotFound."""
        before = self.own.versions.active(tx, orchestrator_id)
        found = self.own.current(tx, orchestrator_id)
        if found.version != before.version:
            self.changed(tx, self._stores.people.snapshots(tx, [orchestrator_id]))
            details = {"version": found.version}
            self._stores.records.audit.add(
                tx, Deed(SYSTEM, "charter.saved", orchestrator_id=orchestrator_id, details=details)
            )
        return found

    def changed(self, tx: Any, snapshots: Sequence[OrchestratorSnapshot]) -> None:
        """Tell those who keep something of these charters, in the transaction that changes them."""
        for one in snapshots:
            charter = self._usable(tx, one)
            for listener in self.on_change:
                listener(tx, one, charter)

    def parent(self, tx: Any, snapshot: OrchestratorSnapshot) -> CharterDocument:
        """The charter of its organization. Raises StartFailed where it cannot be used."""
        if not snapshot.parent_version:
            return EMPTY
        known = self._documents.get(snapshot.organization_id)
        if known is not None and known[0] == snapshot.parent_at:
            return known[1]
        found = self.parents.current(tx, snapshot.organization_id)
        try:
            document = read_parent(found.charter)
        except UnusableCharter as error:
            msg = f"The charter of the organization cannot be used. Correct these fields: {error}."
            raise StartFailed(msg) from None
        self._documents[snapshot.organization_id] = (found.created_at, document)
        return document

    def _read(self, tx: Any, snapshot: OrchestratorSnapshot) -> Charter:
        charter = load_charter(snapshot, parent=self.parent(tx, snapshot))
        return charter.model_copy(update={"version": self._version(tx, snapshot)})

    def _version(self, tx: Any, snapshot: OrchestratorSnapshot) -> int:
        mirror = mirrored(snapshot.config)
        if not snapshot.charter_version:
            return UNWRITTEN if mirror else 0
        active = self.own.versions.active(tx, snapshot.id)
        return active.version if active.charter == mirror else UNWRITTEN


def _facts(snapshot: OrchestratorSnapshot) -> tuple[Any, ...]:
    """Everything that a charter is made of."""
    who = (snapshot.user.name, snapshot.handle, snapshot.role, snapshot.discipline, snapshot.organization_id)
    return (*who, snapshot.charter_version, snapshot.parent_version, snapshot.parent_at, snapshot.config)
