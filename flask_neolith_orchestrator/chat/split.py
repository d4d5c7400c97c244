"""A long answer as several messages: cut where a reader would turn the page. Pure.

A part ends, best first, at a blank line, before a list item or heading, at the end of a line, in a code block at the
end of a line, behind a word, and else between two characters as people count them (grapheme clusters: wcwidth knows
them). A code block that is cut is closed at the end of a part, and opened again in the next one as it was.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

SHORTEST: Final = 200
"""The smallest limit: below it, fences would leave no room for what is in them."""

_FENCE: Final = re.compile(r"((?:[ \t]|(?:[-*+]|\d{1,9}[.)])[ \t])*)(`{3,}|~{3,})([^\n]*)")
_BEGINNING: Final = re.compile(r"(?:[-*+]|\d{1,9}[.)]|#{1,6})[ \t]")
_BLANK: Final = re.compile(r"\s")
_NO_BLANK: Final = re.compile(r"[^ \t]")
_LINE_OF: Final = re.compile(r"[^\n]*\n|[^\n]+")

# what a line's end is worth as the end of a part
_PARAGRAPH, _ITEM, _LINE, _CODE, _LAST_RESORT = 4, 3, 2, 1, 0


@dataclass(frozen=True, slots=True)
class Fence:
    """An open code block. `indent` are the blanks before it, `run` its backticks or tildes, `info` what follows."""

    indent: str
    run: str
    info: str

    @property
    def opening(self) -> str:
        """The line that opens it again."""
        return self.run + self.info


@dataclass(frozen=True, slots=True)
class Piece:
    """A part before it is dressed: `body` is the text's own, `within` the code block in which it begins."""

    body: str
    within: Fence | None
    closing: str

    @property
    def text(self) -> str:
        """The part as a message. Code that is opened again stands at the margin: deeper, it would be no block."""
        if self.within is None:
            return self.body + self.closing
        return f"{self.within.opening}\n{_at_margin(self.body, self.within)}{self.closing}"


@dataclass(frozen=True, slots=True)
class _Mark:
    at: int  # the place behind a line's end
    worth: int
    fence: Fence | None  # the code block that is open there


def split(text: str, limit: int) -> tuple[str, ...]:
    """`text` in parts of at most `limit` characters (SHORTEST or more), in order; one part where it fits.

    Parts without a visible character are left out.
    """
    if len(text) <= limit:
        return (text,)
    return tuple(piece.text for piece in pieces(text, limit) if piece.body.strip())


def pieces(text: str, limit: int) -> Iterator[Piece]:
    """The parts with what was added to each told apart: their bodies, joined, are `text`."""
    marks = list(_marks(text, limit))
    places = [mark.at for mark in marks]
    reserve = max((len(mark.fence.indent + mark.fence.run) + 1 for mark in marks if mark.fence is not None), default=0)
    begin, fence = 0, None
    while True:
        room = limit - (0 if fence is None else len(fence.opening) + 1)
        if len(text) - begin <= room:
            yield Piece(text[begin:], fence, "")
            return
        end = _end(text, begin, begin + room - reserve, marks, places)
        line = bisect_right(places, end)
        after = marks[line - 1].fence if line else None
        yield Piece(text[begin:end], fence, _closing(text[end - 1], fence, after))
        begin, fence = end, after


def _closing(last: str, before: Fence | None, fence: Fence | None) -> str:
    if fence is None:
        return ""
    closed = fence.run if fence is before else fence.indent + fence.run  # what was opened again is at the margin
    return closed if last == "\n" else f"\n{closed}"


def _marks(text: str, limit: int) -> Iterator[_Mark]:
    fence: Fence | None = None
    at = 0
    lines = _LINE_OF.findall(text)
    for line, following in zip(lines, [*lines, ""][1:], strict=True):
        at += len(line)
        before, fence = fence, _after(line, fence, limit)
        yield _Mark(at, _worth(line, following, before, fence), fence)


def _after(line: str, fence: Fence | None, limit: int) -> Fence | None:
    found = _FENCE.match(line)
    if found is None:
        return fence
    run, info = found[2], found[3].rstrip()
    if fence is not None:
        closes = run.startswith(fence.run) and not info and not found[1].strip()
        return None if closes else fence
    if (run[0] == "`" and "`" in info) or max(len(found[1]), len(run)) > limit // 8:
        return None
    fits = len(run) + len(info) <= limit // 4
    return Fence(_NO_BLANK.sub(" ", found[1]), run, info if fits else "")  # an item may begin with a block


def _worth(line: str, following: str, before: Fence | None, fence: Fence | None) -> int:
    if fence is not None:
        # with nothing of the code before or behind it, an empty block would be shown
        closes = _after(following, fence, 0) is None
        return _LAST_RESORT if before is None or closes else _CODE
    if not following.strip():
        return _LINE
    if not line.strip():
        return _PARAGRAPH
    if following.startswith("|"):  # a row of a table
        return _CODE
    return _ITEM if _BEGINNING.match(following) or _FENCE.match(following) else _LINE


def _end(text: str, begin: int, end: int, marks: Sequence[_Mark], places: Sequence[int]) -> int:
    """Where the part that begins at `begin` ends: behind `begin`, and not behind `end`."""
    half = (begin + end) // 2
    first, middle, last = (bisect_right(places, place) for place in (begin, half, end))
    if middle < last:
        return max(marks[middle:last], key=lambda mark: (mark.worth, mark.at)).at
    word = next((place for place in range(end, half, -1) if _BLANK.match(text, place - 1)), None)
    if word is not None:
        return _whole(text, begin, word)
    if first < middle:
        return max(marks[first:middle], key=lambda mark: (mark.worth, mark.at)).at
    return _whole(text, begin, end)


def _whole(text: str, begin: int, end: int) -> int:
    """`end`, or where the character begins that would be cut there; a single one that is too long is cut."""
    from wcwidth import grapheme_boundary_before  # here, as its tables are only needed for long answers

    start = begin + grapheme_boundary_before(text[begin : end + 1], end + 1 - begin)
    return start if start > begin else end


def _at_margin(body: str, fence: Fence) -> str:
    """A body that begins in a code block, without the indentation of that block, as far as it goes."""
    if not fence.indent:
        return body
    shifted: list[str] = []
    lines = _LINE_OF.findall(body)
    for place, line in enumerate(lines):
        blanks = len(line) - len(line.lstrip(" \t"))
        shifted.append(line[min(blanks, len(fence.indent)) :])
        if _after(line, fence, 0) is None:
            return "".join([*shifted, *lines[place + 1 :]])
    return "".join(shifted)
