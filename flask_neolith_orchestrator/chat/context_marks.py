"""Who said what, as a model reads it: marks that only the house writes, and texts that cannot pass for one. Pure.

    [Ann]: text                                          a person
    [Bo (@bo); attached: plan.pdf; reactions: 👍 2]: text   an orchestrator, a file and two thumbs
    [[A pause of 9 days]]                                a note of the house

A name has no square bracket and no @, a text no line that begins like a mark: what does gets a backslash.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

from ..core.types import Line
from .text import clean, one_line

LONGEST_NAME: Final = 80
"""Characters of a name or handle in a mark."""

LONGEST_LABEL: Final = 120
"""Characters of an attachment's name and type, or of a reaction."""

MOST_LABELS: Final = 10
"""Attachments, and different reactions, that one mark names."""

NO_TEXT: Final = "(no text)"

_OPEN: Final = "\\[\uff3b\u3010\u3014\u3016\u3018\u301a\u27e6\u27ec\u2045\u2772\u298b\u298d\u298f\ufe47"
_CLOSE: Final = "\\]\uff3d\u3011\u3015\u3017\u3019\u301b\u27e7\u27ed\u2046\u2773\u298c\u298e\u2990\ufe48"
_COLON: Final = ":\uff1a\ufe55\ufe13\u2236\ua789\u02d0\u0589\u05c3"
_FILLERS: Final = "\u115f\u1160\u3164\uffa0"
"""Letters that nobody sees."""

_PLAIN: Final = re.compile(r"[\w.-]+(?: [\w.-]+)*", re.ASCII)
"""Nearly every name: there is nothing in it to be changed."""

# What no reader takes for a word, then a bracket that closes before a colon, or two brackets.
_MARK_LIKE: Final = re.compile(
    f"(?m)^((?:[^\\w\n{_OPEN}]|[{_FILLERS}])*)([{_OPEN}])"
    f"(?=[^\\w\n]*[{_OPEN}]|[^\n]*[{_CLOSE}](?:[^\\w\n]|[{_FILLERS}])*[{_COLON}])"
)
_IN_NAMES: Final = str.maketrans(
    {
        **dict.fromkeys(_OPEN.replace("\\", ""), "("),
        **dict.fromkeys(_CLOSE.replace("\\", ""), ")"),
        **dict.fromkeys("@\uff20\ufe6b"),
        ";": ",",
    }
)
# Characters that carry text which people do not see: tags outside of a flag, and all but one of a run of variants.
_HIDDEN: Final = re.compile(
    "(\U0001f3f4[\U000e0030-\U000e007a]{1,6}\U000e007f)|[\U000e0000-\U000e007f]"
    "|(?<=[\ufe00-\ufe0f\U000e0100-\U000e01ef])[\ufe00-\ufe0f\U000e0100-\U000e01ef]+"
)


def visible(text: str) -> str:
    """Cleaned text without what only a model would read: characters in which instructions can be hidden."""
    text = clean(text)
    return text if text.isascii() else _HIDDEN.sub(lambda found: found[1] or "", text)


def unmarked(text: str) -> str:
    """A text that somebody wrote, in which no line can pass for a mark."""
    text = visible(text).strip()
    if text.isascii() and "[" not in text:  # nearly every text: the only bracket of ASCII that begins a mark
        return text
    return _MARK_LIKE.sub(r"\1\\\2", text)


def label(text: str, longest: int = LONGEST_LABEL) -> str:
    """A name, or the like, as it may stand in a mark."""
    if _PLAIN.fullmatch(text):
        return text[:longest]
    return one_line(visible(text)).translate(_IN_NAMES).strip()[:longest]


def mark(line: Line) -> str:
    """What stands before a line's text."""
    name = label(line.author_name, LONGEST_NAME) or "Somebody"
    handle = label(line.author_handle, LONGEST_NAME) if line.author_handle else ""
    if not (handle or line.attachments or line.reactions):
        return f"[{name}]: "
    parts = [f"{name} (@{handle})" if handle else name]
    noted = {"attached": _listed(line.attachments), "reactions": _listed(line.reactions)}
    parts += [f"{what}: {listed}" for what, listed in noted.items() if listed]
    return f"[{'; '.join(parts)}]: "


def note(text: str) -> str:
    """What the house says, in one line."""
    return f"[[{text}]]"


def reactions_note(line: Line) -> str:
    """How people took what the orchestrator itself wrote, or nothing."""
    listed = _listed(line.reactions)
    return note(f"Reactions to this: {listed}") if listed else ""


def transcript(lines: Sequence[Line]) -> str:
    """Lines, own ones too, each behind its mark: for whatever shows a stretch of chat in one text."""
    shown = [(line, unmarked(line.content)) for line in lines]
    return "\n\n".join(mark(line) + (text or NO_TEXT) for line, text in shown if text or line.attachments)


def _listed(values: Iterable[str]) -> str:
    labels = [shown for value in values if (shown := label(value))]
    more = len(labels) - MOST_LABELS
    return ", ".join([*labels[:MOST_LABELS], *([f"and {more} more"] if more > 0 else [])])
