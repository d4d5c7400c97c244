"""Long answers in parts: ACCEPTANCE E4."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from wcwidth import iter_graphemes

from flask_neolith_orchestrator.chat.split import SHORTEST, pieces, split

FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467"
BLOCKS = ("```\n", "```python\n", "~~~~\n", "    ```js\n", "    ```\n", "`tick`")
MARKS = ("\n", "\n\n", "- item\n", "1. one\n", "# head\n", "| a | b |\n", "\u2028")
WORDS = st.sampled_from(
    ["word ", "x", "  code\n", "e\u0301", FAMILY, "\U0001f1e9\U0001f1ea", "y" * 90, *BLOCKS, *MARKS]
)
TEXTS = st.lists(WORDS, max_size=120).map("".join)
LIMITS = st.integers(SHORTEST, 600)


def code_of(text: str) -> str:
    """What a reader sees as code, without the borders of its blocks."""
    return "".join(token.content for token in MarkdownIt().parse(text) if token.type == "fence")


def is_open(text: str) -> bool:
    """Whether a code block is open at the end."""
    return "the end" in code_of(text.rstrip("\n") + "\nthe end")


def assert_complete(text: str, limit: int) -> None:
    """Every part is under the limit, and their own texts, one after the other, are the answer."""
    found = list(pieces(text, limit))
    assert "".join(piece.body for piece in found) == text
    assert all(len(piece.text) <= limit for piece in found)
    assert all(piece.body for piece in found[:-1])
    shown = split(text, limit)
    assert shown == ((text,) if len(text) <= limit else tuple(one.text for one in found if one.body.strip()))


@given(TEXTS, LIMITS)
def test_no_part_is_too_long_and_nothing_is_lost(text: str, limit: int) -> None:
    """Whatever the answer is made of, its parts fit and are all of it (E4)."""
    assert_complete(text, limit)


@pytest.mark.parametrize("unit", ["y", "\n", "word ", FAMILY, "\u0301", "`", "    "])
@pytest.mark.parametrize("frame", ["{}", "```\n{}\n```", "- a\n  ~~~ text\n{}"])
def test_a_line_of_20000_characters(unit: str, frame: str) -> None:
    """Whatever one endless line is made of, splitting it comes to an end (E4)."""
    assert_complete(frame.format("a" + unit * (20_000 // len(unit))), 400)


@given(TEXTS, LIMITS)
@example(FAMILY * 400, 200)
@example("e\u0301" * 400, 201)
@example(" \u0301" * 400, 201)
def test_no_character_is_broken(text: str, limit: int) -> None:
    """A part ends between two characters as people count them (E4)."""
    borders, at = {0}, 0
    for one in iter_graphemes(text):
        at += len(one)
        borders.add(at)
    end = 0
    for piece in pieces(text, limit):
        end += len(piece.body)
        assert end in borders


@given(st.text(max_size=900), LIMITS)
def test_any_text_can_be_split(text: str, limit: int) -> None:
    """Whatever a model says, its parts have its text and fit."""
    assert "".join(piece.body for piece in pieces(text, limit)) == text
    assert all(len(part) <= limit for part in split(text, limit))


def test_what_fits_is_one_part() -> None:
    """The usual answer is left as it is."""
    assert split("Hello.", SHORTEST) == ("Hello.",)
    assert split("x" * SHORTEST, SHORTEST) == ("x" * SHORTEST,)
    assert len(split("x" * (SHORTEST + 1), SHORTEST)) == 2


@pytest.mark.parametrize("border", ["```python", "~~~ text", "````", "```"])
def test_code_is_closed_and_opened_again(border: str) -> None:
    """Each part of a cut code block is a code block of its own, of the same language (E4)."""
    run = re.match(r"[`~]+", border)
    assert run is not None
    code = "".join(f"line {n}\n" for n in range(100))
    parts = split(f"Look:\n\n{border}\n{code}{run[0]}\n\nDone.", 300)
    assert len(parts) >= 3
    assert not any(is_open(part) for part in parts)
    assert all(part.startswith(border + "\n") for part in parts[1:])
    assert "".join(map(code_of, parts)) == code
    assert parts[-1].endswith(f"{run[0]}\n\nDone.")


def test_code_in_a_list_stays_code() -> None:
    """An indented block is closed where it stands, and its rest is a block at the margin."""
    code = "".join(f"    line {n}\n" for n in range(60))
    parts = split(f"1. Do this:\n\n    ```js\n{code}    ```\n\n    and more\n", 300)
    assert not any(is_open(part) for part in parts)
    rest = "".join(code_of(part) for part in parts[1:])
    assert rest.endswith("line 58\nline 59\n")
    assert "    line" not in rest
    assert parts[0].endswith("\n    ```")
    assert parts[-1].endswith("```\n\n    and more\n")


@pytest.mark.parametrize("item", ["- ", "1. ", "  * 1) "])
def test_an_item_may_begin_with_code(item: str) -> None:
    indent = " " * len(item)
    short = f"{item}```py\n{indent}x = 1\n{indent}```\n" + "plain words here.\n\n" * 60
    assert "".join(map(code_of, split(short, 300))) == "x = 1\n"
    code = [f"line_{n}()" for n in range(40)]
    long = (
        f"{item}```py\n"
        + "".join(f"{indent}{line}\n" for line in [*code, f"- {'`' * 3}"])
        + f"{indent}```\nplain words"
    )
    parts = split(long, 300)
    assert "".join(map(code_of, parts)).split() == [*code, "-", "```"]
    assert all(is_open(part) is False for part in parts)


def test_an_open_block_stays_open_at_the_end() -> None:
    """What the answer itself did not close is not closed for it in the last part."""
    parts = split("    ```\n" + "    x = 1\n" * 60, 300)
    assert parts[-1].startswith("```\nx = 1\n")
    assert parts[-1].endswith("x = 1\n")


def test_no_part_has_an_empty_block() -> None:
    """A part does not end right behind an opening fence, nor begin right before a closing one."""
    text = "a" * 180 + "\n```\n" + "code\n" * 30 + "```\n" + "b" * 100
    for part in split(text, 200):
        assert not re.search(r"```\n```", part)
    for tail in range(1, 40):
        text = "```\n" + "x = 1\n" * 28 + "y" * tail + "\n```\nThat is it, and here it ends."
        assert not any(re.search(r"```\n+```", part) for part in split(text, 200))


def test_a_page_is_turned_where_a_reader_would() -> None:
    """A paragraph's end is better than an item's, that than a line's, that than a table's row, that than a word's."""
    filler = "word " * 22  # 110 characters
    paragraph, item = filler + "end.\n\n", filler + "end.\n"
    assert split(paragraph + "next\n- item\nline\n" + filler, 200)[0] == paragraph
    assert split(item + "- item\nline\n" + filler, 200)[0] == item
    assert split("word\n" * 30 + "| a |\n| b |\n" + "| c |\n" * 60, 200)[0] == "word\n" * 29
    assert split(filler * 3, 200)[0] == "word " * 40
    assert split("x" * 150 + "\n" + "y" * 300, 200)[0] == "x" * 150 + "\n"
    assert split("x\n" + "y" * 300, 200)[0] == "x\n"


def test_what_only_looks_like_a_fence_is_text() -> None:
    """Backticks in a line, and borders longer than any code, open nothing; a long language is left out."""
    assert not any("```" in part for part in split("word " * 30 + "\na ``` b\n" + "word " * 60, 200)[1:])
    assert all(len(part) <= 200 for part in split("`" * 1_000 + "\n" + "x\n" * 300, 200))
    assert split("```" + "`x`\n" + "word " * 100, 200)[1].startswith("word")
    second = split("```" + "long" * 30 + "\n" + "x = 1\n" * 100, 200)[1]
    assert second.startswith("```\nx = 1\n")
