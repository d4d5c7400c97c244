"""Words that call an orchestrator without a mention: found in running text only, as whole words, folded. Pure.

What is running text the mentions say: no code, quotes, links or images. Bare URLs, e-mail addresses and mentions are no
words either. A word is what stands between blanks or punctuation: `deploy` is not in `redeploy`, `deploy-key` or
`@deploy`, but it is in `Deploy!` and `build/deploy`. A phrase is its words in order with nothing but blanks between
them. Scripts that write no spaces have no whole words: there a keyword is found inside a run of letters.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from ..core.handles import SEPARATORS, fold, is_word
from .scan import bare_urls, is_unspaced, running_text

MOST: Final = 5_000
"""Different words of one message that are looked up; nobody writes so many, only machines do."""

# what stands before an @ is taken with or without one: a long word is read once, not again from each of its letters
_ADDRESS: Final = re.compile("([A-Za-z0-9._+-]+)(?![A-Za-z0-9._+@\uff20-])|[A-Za-z0-9._+-]*[@\uff20][\\w.-]*")
_ASCII: Final = re.compile(r"[a-z0-9]+(?:[_.-][a-z0-9]+)*")
_GONE: Final = "\ufffc"

Run = tuple[str, ...]
"""Words with nothing but blanks between them."""


@dataclass(frozen=True, slots=True)
class Spoken:
    """What a message says in words. Lifetime: one decision."""

    runs: tuple[Run, ...] = ()

    @property
    def keys(self) -> frozenset[str]:
        """What to look up: every word, once."""
        found: dict[str, None] = {}
        for run in self.runs:
            found.update(dict.fromkeys(run))
            if len(found) > MOST:
                break
        return frozenset(list(found)[:MOST])

    def says(self, phrases: Iterable[str]) -> str | None:
        """The first of `phrases` that is said, as it was given; None if none is."""
        return next((phrase for phrase in phrases if self._has(_phrase(phrase))), None)

    def _has(self, phrase: Run) -> bool:
        if not phrase:
            return False
        size = len(phrase)
        return any(run[start : start + size] == phrase for run in self.runs for start in range(len(run) - size + 1))


def listen(content: str) -> Spoken:
    """The words of a Markdown text. Takes any str and never raises."""
    return Spoken(tuple(run for text in running_text(content) for run in _runs(_without_addresses(text)) if run))


def key_of(phrase: str) -> str | None:
    """The word by which a message finds a phrase: its first; None where it has none and can never be said."""
    words = _phrase(phrase)
    return words[0] if words else None


def _phrase(phrase: str) -> Run:
    return tuple(word for run in _runs(phrase) for word in run)


def _without_addresses(text: str) -> str:
    for begin, end in reversed(bare_urls(text)):
        text = text[:begin] + _GONE + text[end:]
    return _ADDRESS.sub(lambda found: found[1] or _GONE, text)


def _runs(text: str) -> Iterator[Run]:
    folded = fold(text)
    run: list[str] = []
    last = 0
    for begin, end in _spans(folded):
        if run and folded[last:begin].strip():
            yield tuple(run)
            run = []
        run.append(folded[begin:end])
        last = end
    yield tuple(run)


def _spans(text: str) -> Iterator[tuple[int, int]]:
    if text.isascii():
        for match in _ASCII.finditer(text):
            yield match.span()
        return
    begin, size = 0, len(text)
    while begin < size:
        if not is_word(text[begin]):
            begin += 1
            continue
        end = _end(text, begin)
        yield begin, end
        begin = end


def _end(text: str, begin: int) -> int:
    # Where the word ends that begins here: one character in a script without spaces.
    end = begin + 1
    if is_unspaced(text[begin]):
        return end
    while end < len(text):
        joined = text[end] in SEPARATORS and _goes_on(text, end + 1)
        if not joined and not _goes_on(text, end):
            break
        end += 1
    return end


def _goes_on(text: str, at: int) -> bool:
    return at < len(text) and is_word(text[at]) and not is_unspaced(text[at])
