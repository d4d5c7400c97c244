"""From a conversation's lines to one model request. Pure.

The charter alone makes the system prompt; what anybody wrote is only ever a message. Lines of others become user
messages, each behind a mark that says who wrote it, and nothing in a text or a name can pass for such a mark. Own
lines become assistant messages. What does not fit is left out whole, the oldest first; what is to be answered now is
always there, if need be cut in its middle.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from ..core.model import ModelMessage, ModelRequest
from ..core.types import Line
from .charter import Charter
from .charter_text import render
from .text import clean, one_line

EARLIER: Final = "(Earlier messages are not shown.)"
"""Stands first where history was left out, or would begin with an own line (a request begins with a user's)."""

GO_ON: Final = "(Nobody has written since. Please go on.)"
"""Stands last where nobody else's line does: there is nothing else that could be answered."""

LEAST_ROOM: Final = 1_000
"""Tokens that the messages may take, even where the charter alone uses up the budget."""

_LEAST_SHARE: Final = 40  # tokens of one trigger, however many there are
_LONGEST_NAME: Final = 80  # characters
_BYTES_PER_TOKEN: Final = 3.5
# Blanks and invisible characters, then a bracket that closes before a colon: it would look like an author's mark.
_MARK_LIKE: Final = re.compile(
    "(?m)^((?:[^\\S\n]|[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff])*)([\\[\uff3b])"
    "(?=[^\n]*[\\]\uff3d][^\\S\n]*[:\uff1a])"
)
_IN_NAMES: Final = str.maketrans({"[": "(", "]": ")", "\uff3b": "(", "\uff3d": ")", "@": None, "\uff20": None})


@dataclass(frozen=True, slots=True)
class _Entry:
    role: Literal["user", "assistant"]
    mark: str
    text: str
    trigger: bool

    @property
    def content(self) -> str:
        return self.mark + self.text

    @property
    def cost(self) -> int:
        return estimate_tokens(self.content)


def estimate_tokens(text: str) -> int:
    """About how many tokens a text is: its UTF-8 bytes / 3.5, plus 4 for the message around it.

    English and code have 3.5 to 4 characters a token, so this is a little high there; scripts that need more tokens
    a character also need more bytes. A budget must leave a margin: it is an estimate, not a count.
    """
    return int(len(text.encode("utf-8", "replace")) / _BYTES_PER_TOKEN) + 4


def build_request(
    charter: Charter,
    lines: Sequence[Line],
    *,
    model: str,
    max_tokens: int,
    token_budget: int,
    trigger_ids: Collection[str],
) -> ModelRequest:
    """The request that answers the lines `trigger_ids`, with as much of `lines` (oldest first) as fits.

    `model` and `max_tokens` count where the charter names none. `token_budget` is for system prompt and messages
    together, in estimated tokens. Own lines that were written while a trigger waited are put before it, so that what
    is to be answered stands last. Takes any text and never raises.
    """
    system = render(charter)
    entries = [_entry(line, line.message_id in trigger_ids) for line in _arranged(lines, trigger_ids)]
    entries = [entry for entry in entries if entry.trigger or entry.text]
    kept = _fit(_shared(entries, room := max(token_budget - estimate_tokens(system), LEAST_ROOM)), room)
    return ModelRequest(
        model=charter.model.name or model,
        system=system,
        messages=_merge(kept, cut=len(kept) < len(entries)),
        max_tokens=charter.model.max_tokens or max_tokens,
        fallbacks=charter.model.fallbacks,
        effort=charter.model.effort,
    )


def _arranged(lines: Sequence[Line], trigger_ids: Collection[str]) -> list[Line]:
    places = (place for place, line in enumerate(lines) if line.message_id in trigger_ids)
    first = next(places, len(lines))
    later = lines[first:]
    return [
        *lines[:first],
        *(line for line in later if line.by_self),
        *(line for line in later if not line.by_self),
    ]


def _entry(line: Line, trigger: bool) -> _Entry:
    text = clean(line.content).strip()
    if line.by_self:
        return _Entry("assistant", "", text, False)
    text = _MARK_LIKE.sub(r"\1\\\2", text)
    return _Entry("user", _mark(line), text or ("(no text)" if trigger else ""), trigger)


def _mark(line: Line) -> str:
    name = one_line(line.author_name).translate(_IN_NAMES).strip()[:_LONGEST_NAME] or "Somebody"
    handle = one_line(line.author_handle or "").translate(_IN_NAMES)[:_LONGEST_NAME]
    return f"[{name} (@{handle})]: " if handle else f"[{name}]: "


def _shared(entries: list[_Entry], room: int) -> list[_Entry]:
    # The triggers share the room: whoever needs less than an equal part leaves the rest to the others.
    triggers = sorted(
        (place for place, entry in enumerate(entries) if entry.trigger), key=lambda place: entries[place].cost
    )
    shared = list(entries)
    for done, place in enumerate(triggers):
        share = max(room // (len(triggers) - done), _LEAST_SHARE)
        shared[place] = _shortened(entries[place], share)
        room -= shared[place].cost
    return shared


def _shortened(entry: _Entry, tokens: int) -> _Entry:
    keep = len(entry.text)
    short = entry
    while short.cost > tokens and keep:
        keep = min(int(keep * tokens / short.cost), keep - 1)
        short = replace(entry, text=_cut(entry.text, keep))
    return short


def _cut(text: str, keep: int) -> str:
    head = keep - keep // 2
    # No line may begin with the rest: what was inside a line could then pass for an author's mark.
    note = f"\n(... {len(text) - keep:,} characters are left out here ...) "
    return text[:head] + note + text[len(text) - keep // 2 :]


def _fit(entries: list[_Entry], room: int) -> list[_Entry]:
    # All triggers, and the newest of the others without a gap.
    room -= sum(entry.cost for entry in entries if entry.trigger)
    kept: list[_Entry] = []
    for entry in reversed(entries):
        if not entry.trigger:
            room -= entry.cost
        if entry.trigger or room >= 0:
            kept.append(entry)
    return kept[::-1]


def _merge(entries: list[_Entry], cut: bool) -> tuple[ModelMessage, ...]:
    messages: list[ModelMessage] = []
    if cut or (entries and entries[0].role == "assistant"):
        messages.append(ModelMessage("user", EARLIER))
    for entry in entries:
        _append(messages, ModelMessage(entry.role, entry.content))
    if not messages or messages[-1].role == "assistant":
        _append(messages, ModelMessage("user", GO_ON))
    return tuple(messages)


def _append(messages: list[ModelMessage], new: ModelMessage) -> None:
    if messages and messages[-1].role == new.role:
        messages[-1] = replace(new, content=f"{messages[-1].content}\n\n{new.content}")
    else:
        messages.append(new)
