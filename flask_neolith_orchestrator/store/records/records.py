"""What people look up later, in one hand."""

from __future__ import annotations

from dataclasses import dataclass

from ..people.people import People
from ..sql.database import Database
from ..tables.models import Models
from .audit import Audit
from .figures import Figures
from .history import History
from .spending import Spending
from .turn_list import TurnList


@dataclass(frozen=True, slots=True)
class Records:
    """Deeds, changes of daemons, figures, and turns as they are listed. Lifetime: app, in one process."""

    audit: Audit
    history: History
    figures: Figures
    turn_list: TurnList
    spending: Spending


def make_records(models: Models, database: Database, people: People) -> Records:
    """Wire them to one database."""
    return Records(
        audit=Audit(models, database, people),
        history=History(models, database),
        figures=Figures(models, database),
        turn_list=TurnList(models, people),
        spending=Spending(models, database),
    )
