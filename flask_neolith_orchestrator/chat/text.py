"""Text that people and models wrote, made safe to parse, to store and to send. Pure."""

from __future__ import annotations

import re
from typing import Final

_ODD: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
"""All that the three below look for."""

_LINE_ENDS: Final = re.compile("\r\n?|[\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")
_UNUSABLE: Final = re.compile("[\x00-\x08\x0e-\x1b\x1f\x7f-\x9f]")
_LONE_SURROGATES: Final = re.compile("[\ud800-\udfff]")


def clean(text: str) -> str:
    """The same text with `\\n` as its only line end, without control characters and lone surrogates.

    Databases refuse null bytes, encoders refuse lone surrogates (shown as U+FFFD here), and exotic line ends
    would let one line pass for two. Cleaning twice changes nothing.
    """
    if not _ODD.search(text):  # nearly every text: one look instead of three
        return text
    return _LONE_SURROGATES.sub("\ufffd", _UNUSABLE.sub("", _LINE_ENDS.sub("\n", text)))


def one_line(text: str) -> str:
    """Cleaned text with every run of blanks and line ends as one space: for names and labels."""
    return " ".join(clean(text).split())
