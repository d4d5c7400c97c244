"""What of a conversation fits into a request, in estimated tokens. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

LEAST_SHARE: Final = 40
"""Tokens of one trigger, however many there are."""

_BYTES_PER_TOKEN: Final = 3.5


def estimate_tokens(text: str) -> int:
    """About how many tokens a text is: its UTF-8 bytes / 3.5, plus 4 for the message around it.

    English and code have 3.5 to 4 characters a token, so this is a little high there; scripts that need more tokens
    a character also need more bytes. A budget must leave a margin: it is an estimate, not a count.
    """
    size = len(text) if text.isascii() else len(text.encode("utf-8", "replace"))
    return int(size / _BYTES_PER_TOKEN) + 4


class Entry(NamedTuple):
    """One line, with what the house says before and after it: they are shown together or not at all.

    A tuple, as each turn makes one for every line of its history, and a frozen dataclass takes four times as long.
    """

    role: Literal["user", "assistant"]
    mark: str
    text: str
    trigger: bool = False
    before: str = ""
    after: str = ""

    @property
    def content(self) -> str:
        """The line behind its mark."""
        return self.mark + self.text

    @property
    def cost(self) -> int:
        """In estimated tokens."""
        cost = estimate_tokens(self.mark + self.text)
        if self.before:
            cost += estimate_tokens(self.before)
        if self.after:
            cost += estimate_tokens(self.after)
        return cost


def shared(entries: Sequence[Entry], room: int) -> list[Entry]:
    """The triggers cut to what they may have: who needs less than an equal part leaves the rest to the others."""
    triggers = sorted(
        (place for place, entry in enumerate(entries) if entry.trigger), key=lambda place: entries[place].cost
    )
    cut = list(entries)
    for done, place in enumerate(triggers):
        share = max(room // (len(triggers) - done), LEAST_SHARE)
        cut[place] = shortened(entries[place], share)
        room -= cut[place].cost
    return cut


def fitting(entries: Sequence[Entry], room: int) -> list[Entry]:
    """All triggers, and the newest of the others without a gap."""
    room -= sum(entry.cost for entry in entries if entry.trigger)
    kept: list[Entry] = []
    for entry in reversed(entries):
        if not entry.trigger:
            room -= entry.cost
        if entry.trigger or room >= 0:
            kept.append(entry)
    return kept[::-1]


def shortened(entry: Entry, tokens: int) -> Entry:
    """An entry with its text cut in the middle, so that it has `tokens` at the most."""
    keep = len(entry.text)
    short = entry
    while short.cost > tokens and keep:
        keep = min(int(keep * tokens / short.cost), keep - 1)
        short = entry._replace(text=_cut(entry.text, keep))
    return short


def _cut(text: str, keep: int) -> str:
    head = keep - keep // 2
    # No line may begin with the rest: what was inside a line could then pass for an author's mark.
    note = f"\n(... {len(text) - keep:,} characters are left out here ...) "
    return text[:head] + note + text[len(text) - keep // 2 :]
