"""Working hours: whether somebody is there, and when they are again. Pure; the zone's rules come from `zoneinfo`.

Hours are spans of local time by the day on which they begin, like 09:00-17:00. One that ends at or before its begin
ends on the next day; 24:00 is that day's end. Where the clocks go back, a span lasts until its end is reached for the
second time; where they go forward, a time that is left out counts as the moment at which it would have been.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Final, Literal
from zoneinfo import ZoneInfo

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]

DAYS: Final[tuple[Day, ...]] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
"""The days of a week as charters name them."""

_DAY: Final = 1_440  # minutes
_AHEAD: Final = 8  # days: the same weekday of the next week, and one for spans that are under way


@dataclass(frozen=True, slots=True)
class Hours:
    """The hours of one week. Without any span they are always. Lifetime: a charter's version."""

    zone: ZoneInfo
    week: tuple[tuple[tuple[int, int], ...], ...]

    @property
    def always(self) -> bool:
        """Whether they are never over."""
        return not any(self.week)

    def opens_at(self, at: float) -> float | None:
        """When they begin next; None if they go on at `at` (epoch seconds). It names the closed period."""
        if self.always:
            return None
        spans = list(self._spans(at))
        if any(begin <= at < end for begin, end in spans):
            return None
        return min(begin for begin, _end in spans if begin > at)

    def _spans(self, at: float) -> Iterator[tuple[float, float]]:
        today = datetime.fromtimestamp(at, self.zone).date()
        for offset in range(-1, _AHEAD + 1):
            day = today + timedelta(days=offset)
            for begin, end in self.week[day.weekday()]:
                yield self._instant(day, begin, fold=0), self._instant(day, end, fold=1)

    def _instant(self, day: date, minutes: int, fold: int) -> float:
        days, rest = divmod(minutes, _DAY)
        wall = time(rest // 60, rest % 60, tzinfo=self.zone, fold=fold)
        return datetime.combine(day + timedelta(days=days), wall).timestamp()


def hours_of(timezone: str, hours: Mapping[Day, Sequence[str]] | None) -> Hours | None:
    """The hours of a charter, whose zone and spans have been checked; None where it has none."""
    if hours is None:
        return None
    return Hours(ZoneInfo(timezone), tuple(tuple(_span(text) for text in hours.get(day, ())) for day in DAYS))


def _span(text: str) -> tuple[int, int]:
    begin, end = (_minutes(part) for part in text.split("-"))
    return begin, end if end > begin else end + _DAY


def _minutes(text: str) -> int:
    hour, minute = text.strip().split(":")
    return int(hour) * 60 + int(minute)


def shown(at: float, timezone: str) -> str:
    """An instant as people say it: `Mon 2 March, 09:00 (Europe/Berlin)`."""
    local = datetime.fromtimestamp(at, ZoneInfo(timezone))
    return f"{local:%a} {local.day} {local:%B}, {local:%H:%M} ({timezone})"
