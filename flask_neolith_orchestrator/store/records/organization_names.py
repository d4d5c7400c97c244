"""How organizations are called."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Connection, select

from ..tables.models import Models


def organization_names(models: Models, tx: Connection, organization_ids: Collection[str]) -> dict[str, str]:
    """Names by id, of those that are there."""
    o = models.table("Organization")
    rows = tx.execute(select(o.c.id, o.c.name).where(o.c.id.in_([int(one) for one in organization_ids])))
    return {str(row[0]): row[1] for row in rows}
