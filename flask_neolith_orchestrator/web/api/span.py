"""Times in query strings: from when until when."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import AwareDatetime, Field

from ...core.errors import Invalid
from ..shapes import Query

Since = Annotated[AwareDatetime | None, Field(alias="from")]
Until = Annotated[AwareDatetime | None, Field(alias="to")]


class SpanQuery(Query):
    """A span of time: from `from` (in it) until `to` (not in it), both ISO 8601 with a zone."""

    from_: Since = None
    to: Until = None


def seconds(at: datetime | None) -> float | None:
    """As epoch seconds. Raises Invalid for a time that no database keeps."""
    if at is None:
        return None
    try:
        return at.timestamp()
    except (OverflowError, ValueError):
        raise Invalid("This time is too far away.") from None
