"""Everything the store offers, in one hand. Lifetime: app, in one process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..core.ports import ChatStore
from ..settings import Settings
from .chat.external import External, ExternalChat
from .chat.views import Views
from .inbox.exchanges import Exchanges
from .inbox.holds import Holds
from .inbox.inbox import Inbox
from .inbox.outbox import Outbox
from .inbox.triggers import Triggers
from .lives.backing import BackedDaemons
from .lives.logins import Logins
from .lives.nodes import Nodes
from .people.people import People
from .records.budgets import Budgets
from .records.escalations import Escalations
from .records.ledger import Ledger
from .records.records import Records, make_records
from .records.retention import Retention
from .sql.database import Database
from .tables.models import Models
from .turns.beginnings import Beginnings
from .turns.claims import Claims
from .turns.leases import Leases
from .turns.parking import Parking
from .turns.recover import Recovery
from .turns.replies import Split
from .turns.sessions import Sessions
from .turns.settle import Settle
from .turns.steps import Steps
from .turns.turns import Turns


@dataclass(frozen=True, slots=True)
class Texts:
    """What is made of messages: how Markdown is shown, and how a long answer is cut."""

    to_html: Callable[[str], str]
    split: Split


@dataclass(frozen=True, slots=True)
class Stores:
    """The parts of the store, wired to one database."""

    models: Models
    database: Database
    people: People
    views: Views
    chat: ChatStore
    inbox: Inbox
    claims: Claims
    leases: Leases
    settle: Settle
    recovery: Recovery
    retention: Retention
    turns: Turns
    steps: Steps
    parking: Parking
    sessions: Sessions
    daemons: BackedDaemons
    logins: Logins
    ledger: Ledger
    budgets: Budgets
    holds: Holds
    nodes: Nodes
    outbox: Outbox
    triggers: Triggers
    exchanges: Exchanges
    escalations: Escalations
    records: Records
    external: External | None
    reads_with_claims: bool
    """Whether a turn's history is read before another thread writes: where one connection does all the work, and no
    code of the host's would run meanwhile."""


def make_stores(
    models: Models,
    database: Database,
    settings: Settings,
    people: People,
    *,
    texts: Texts,
    state_dir: Path | None,
    chat: ChatStore | None = None,
) -> Stores:
    """Wire the store's parts; `chat` is the host's own ChatStore, or None for the bundled one."""
    views = Views(models, people, texts.to_html)
    external = External(models, database, people)
    own, chat = chat, chat or ExternalChat(models, database, people, views, external)
    lease, age, attempts = settings.lease / 1000, settings.max_age / 1000, settings.max_attempts
    nodes = Nodes(models, database, settings.engine, state_dir=state_dir, lease=lease)
    beginnings = Beginnings(models, database, chat, Sessions(models, database, settings.session_idle / 1000))
    leases = Leases(models, database, node_id=nodes.id, lease=lease, renew=settings.renew_interval / 1000)
    parking = Parking(models, database, chat, timeout=settings.approval_timeout / 1000)
    return Stores(
        models=models,
        database=database,
        people=people,
        views=views,
        chat=chat,
        inbox=Inbox(models, database, max_queue=settings.max_queue),
        claims=Claims(models, database, beginnings, node_id=nodes.id, lease=lease, max_age=age, max_attempts=attempts),
        leases=leases,
        settle=Settle(models, database, chat, parking, max_attempts=attempts, split=texts.split),
        recovery=Recovery(models, database, chat, leases, parking, max_attempts=attempts),
        retention=Retention(models, database),
        steps=Steps(models, database),
        turns=Turns(models, database, chat, parking),
        parking=parking,
        sessions=beginnings.sessions,
        daemons=BackedDaemons(models, database),
        logins=Logins(models, database),
        ledger=Ledger(models, database),
        budgets=Budgets(models, database),
        holds=Holds(models, database),
        nodes=nodes,
        outbox=Outbox(models, database),
        triggers=Triggers(models, database),
        exchanges=Exchanges(models, database),
        escalations=Escalations(models, database, people),
        records=make_records(models, database, people),
        external=external if own is None else None,
        reads_with_claims=own is None and people.reads_columns and database.one_writer,
    )
