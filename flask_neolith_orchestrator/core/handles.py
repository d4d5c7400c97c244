"""Handles: what may stand behind an @, and when two spellings are the same handle.

Folding follows Unicode's caseless matching of compatibility forms (Unicode Standard 3.13, D146; UAX 15): composed
and decomposed, full-width and half-width, upper and lower case are one handle, and invisible characters are none.
"""

from __future__ import annotations

import unicodedata
from typing import Final

MAX_HANDLE: Final = 64
"""The longest handle in characters, before and after folding."""

SEPARATORS: Final = "_-."
"""What may stand inside a handle, one at a time, between letters or digits."""

# Default-ignorable characters that Unicode counts as letters or marks: without them two handles could look alike.
_INVISIBLE: Final = frozenset(
    "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u3164\uffa0"
    + "".join(map(chr, range(0xFE00, 0xFE10)))
    + "".join(map(chr, range(0xE0100, 0xE01F0)))
)


def is_invisible(char: str) -> bool:
    """Whether a character shows nothing of its own: joiners, direction marks, variation selectors."""
    return not char.isascii() and (char in _INVISIBLE or unicodedata.category(char) == "Cf")


def is_word(char: str) -> bool:
    """Whether a character is part of a word in some script: a letter, a digit or a mark that joins one."""
    if char.isascii():
        return char.isalnum()
    if char in _INVISIBLE:
        return False
    return char.isalnum() or unicodedata.category(char) in ("Mn", "Mc")


def fold(handle: str) -> str:
    """The form in which handles and names are compared and stored for look-ups. Folding twice changes nothing."""
    if handle.isascii():
        return handle.lower()
    visible = "".join(char for char in unicodedata.normalize("NFKC", handle) if not is_invisible(char))
    return unicodedata.normalize("NFKC", visible.casefold())


def valid_handle(handle: str) -> bool:
    """Whether this can be a handle: letters, marks and digits of any script, single `_ - .` inside, 1-64 long."""
    composed = unicodedata.normalize("NFC", handle)
    return _well_formed(composed) and _well_formed(fold(composed))


def _well_formed(handle: str) -> bool:
    if not 1 <= len(handle) <= MAX_HANDLE or not handle[0].isalnum():
        return False
    after_word = False
    for char in handle:
        if not is_word(char) and not (after_word and char in SEPARATORS):
            return False
        after_word = is_word(char)
    return after_word
