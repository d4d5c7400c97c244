"""Who is mentioned: rules of ACCEPTANCE D1, D2 and D7."""

from __future__ import annotations

import sys
import time
import unicodedata
from collections.abc import Sequence
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_neolith_orchestrator.chat.mentions import (
    Directory,
    find_mentions,
)
from flask_neolith_orchestrator.core.handles import MAX_HANDLE, fold, valid_handle
from flask_neolith_orchestrator.core.types import Member

ADA = Member("1", "Ada King", "ada", "o1")
LOVELACE = Member("2", "Ada Lovelace", "ada-lovelace", "o2")
BOB = Member("3", "Bob", "bob")
RENE = Member("4", "René", "rené", "o4")
DANA = Member("5", "דנה", "דנה", "o5")
MING = Member("6", "小明", "小明", "o6")
DOTTED = Member("7", "Dot", "dot.ted_one", "o7")
UUID = Member("0b2c1d9e-7d0f-4b37-9a3e-8a9f4c1f6d55", "Uma", "uma", "o8")
NAMELESS = Member("9", "No Handle", None)
EVERYBODY = [ADA, LOVELACE, BOB, RENE, DANA, MING, DOTTED, UUID, NAMELESS]


def who(content: str, members: Sequence[Member] = EVERYBODY) -> set[str]:
    """The names of those mentioned."""
    matched = Directory(members).match(find_mentions(content))
    return {member.name for member in members if member.user_id in matched}


@pytest.mark.parametrize(
    "content",
    [
        "@ada",
        "hi @ada",
        "@ADA",
        "@Ada how are you?",
        "@ada, please",
        "@ada.",
        "@ada...",
        "@ada: look",
        "@ada's idea",
        "@ada\u2019s idea",
        "@ada!?",
        "@ada-",
        "@ada_",
        "@ada--really",
        "@ada\u2014really",
        "(@ada)",
        "[@ada]",
        "**@ada**",
        "_@ada_",
        "***@ada***, now",
        "~~@ada~~",
        '"@ada"',
        "cc:@ada: thanks",
        "end.@ada",
        "/@ada",
        "@bob/@ada",
        "@@ada",
        "# @ada",
        "- @ada",
        "1. x\n2. @ada",
        "| a |\n|---|\n| @ada |",
        "a\n@ada\nb",
        "a  \n@ada",
        "@ada\tx",
        "@ada\u00a0x",
        "\u2764\ufe0f@ada",
        "@ada\U0001f44d",
        "`code`@ada",
        "`code` @ada `code`",
        "\uff20ada",
        "\uff20\uff41\uff44\uff41",
        "\u200f@ada\u200e",
        "@\u2068ada\u2069",
        "<b>@ada</b>",
        "> quoted\n@ada what do you say?",
        "> quoted\n\n@ada",
        "```\ncode\n```\n@ada",
        "https://x.example @ada",
        "see https://x.example/a, @ada",
        "\u898b\u3066https://x.example\u3002@ada",
        "@nobody @ada",
        "![@bob](https://x.example/i.png) @ada",
        "@a\u200dda",
        "@ada\x00",
        "@ada\r\nhello",
        "@ada\u8bf7\u770b",
        "\u8bf7@ada\u770b",
        "@ada\uc5d0\uac8c",
        "\u05dc@ada \u05ea\u05d5\u05d3\u05d4",
        "\u05d5\u05dc\u05b0@ada",
    ],
)
def test_a_handle_in_running_text_is_a_mention(content: str) -> None:
    """A handle behind an @ counts in any case, beside any punctuation, markup, script or invisible mark (D1)."""
    assert "Ada King" in who(content)


@pytest.mark.parametrize(
    "content",
    [
        "ada",
        "Ada King, could you",
        "adamant",
        "@adamant",
        "@ada2",
        "@adaé",
        "@ada\u0301",
        "@ada-lov",
        "@ada.lovelace",
        "@ada_x",
        "x@ada",
        "\u043f@ada",
        "mail ada@ada.example",
        "mail x@ada",
        "x.y@ada",
        "<x@ada.example>",
        "@ada@social.example",
        "`@ada`",
        "``a ` @ada``",
        "```\n@ada\n```",
        "~~~py\n@ada\n~~~",
        "```\n@ada",
        "    @ada",
        "> @ada",
        "> > @ada",
        "> a\n> @ada",
        "- > @ada",
        "[@ada](https://x.example)",
        "[x](https://x.example/@ada)",
        "[x @ada y][r]\n\n[r]: https://x.example",
        "![@ada](https://x.example/i.png)",
        "<https://x.example/@ada>",
        "https://x.example/@ada",
        "https://x.example/?q=@ada",
        "http://@ada/",
        "www.x.example/@ada",
        "medium.example/@ada",
        "https://x.example/_@ada_",
        "https://x.example/(@ada)",
        "ftp://x/@ada",
        ":@ada:",
        "x :@ada: y",
        "\\@ada",
        "&#64;ada",
        "@ ada",
        "@",
        "@-ada",
        '@""',
        '@"x @ada y"',
        '@" "',
        "@*ada*",
        "\u05e9\u05dc\u05d5\u05dd@ada",
        "@" + "ada" * 200,
        "",
    ],
)
def test_what_only_looks_like_a_mention_is_none(content: str) -> None:
    """Not in code, quotes, links, URLs, e-mail addresses, emoji shortcodes or inside a longer word (D1, D2)."""
    assert "Ada King" not in who(content)


def test_the_longest_handle_wins() -> None:
    """A handle that is the beginning of another one is not meant by it, whether the other is a member or not."""
    assert who("@ada-lovelace: hi") == {"Ada Lovelace"}
    assert who("@ada and @ada-lovelace.") == {"Ada King", "Ada Lovelace"}
    assert who("@ada-lovelace", [ADA]) == set()
    assert who("@dot.ted_one. Then") == {"Dot"}


def test_several_are_found_at_once_and_people_too() -> None:
    """Everybody mentioned is found, in whatever way, each once."""
    assert who("@ada, @bob; @ADA") == {"Ada King", "Bob"}
    assert len(find_mentions("@ada @ADA @Ada").items) == 1


@pytest.mark.parametrize("form", ["NFC", "NFD", "NFKC", "NFKD"])
def test_unicode_handles_match_in_every_form(form: Literal["NFC", "NFD", "NFKC", "NFKD"]) -> None:
    """Composed and decomposed spellings are one handle, in the text and in the row (D1)."""
    composed = unicodedata.normalize("NFC", "rené")
    for spelled in (unicodedata.normalize(form, "@rené!"), unicodedata.normalize(form, "@RENÉ")):
        assert who(spelled, [Member("1", "R", composed)]) == {"R"}
        assert who(spelled, [Member("1", "R", unicodedata.normalize("NFD", composed))]) == {"R"}
    assert who("@rene") == set()
    assert who("@straße", [Member("1", "S", "STRASSE")]) == {"S"}
    assert who("@नेहा जी", [Member("1", "N", "नेहा")]) == {"N"}


def test_right_to_left_names() -> None:
    """Right-to-left handles are found with their direction marks and behind a particle (D1)."""
    assert who("@דנה מה שלומך?") == {"דנה"}
    assert who("\u202b@\u200fדנה\u202c, שלום") == {"דנה"}
    assert who("תודה ל@דנה") == {"דנה"}
    assert who("@דנהלה") == set()
    assert who(
        "@\u0639\u0644\u06cc\u200c\u0631\u0636\u0627!", [Member("1", "A", "\u0639\u0644\u06cc\u0631\u0636\u0627")]
    ) == {"A"}


def test_scripts_without_spaces() -> None:
    """Where no spaces are written, a handle may end and an @ may stand inside a run, the longest handle first."""
    assert who("请@小明看一下") == {"小明"}
    assert who("@小明@bob") == {"小明", "Bob"}
    longer = Member("10", "小明明", "小明明")
    assert who("@小明明请看", [MING, longer]) == {"小明明"}
    assert who("@小明" + "看" * 1_000) == {"小明"}
    assert who("@小", [MING]) == set()
    assert who("@ก่อน", [Member("1", "K", "ก")]) == set()  # a tone mark is never parted from its letter
    assert len(find_mentions("@" + "看" * 10_000).handles) < 300


@pytest.mark.parametrize(
    "content",
    [
        '@"Ada King"',
        "@“ada  KING” hi",
        "(@„Ada King“)",
        "@«Ada King»",
        '@"ada"',
        'x @"Ada\u00a0King".',
        "<@1>",
        "hi <@1>!",
    ],
)
def test_names_with_spaces_and_ids(content: str) -> None:
    """A name with spaces is mentioned in quotes, straight or curly, or by the user's id (D1)."""
    assert who(content) == {"Ada King"}


def test_ids_and_quoted_names_are_exact() -> None:
    """An id is compared as it is; a quoted name is the whole name; neither counts in code or unfinished."""
    assert who(f"<@{UUID.user_id}>") == {"Uma"}
    for content in ("<@11>", "<@1", "@1>", "`<@1>`", '@"Ada King', 'x@"Ada King"', "<@ 1>", "> <@1>"):
        assert who(content, [Member("1", "Ada King", "ada-king"), Member("2", "Ada", None)]) == set(), content
    assert who('@"Ada K"') == set()
    assert who('@"No Handle"') == {"No Handle"}


def test_namesakes_are_all_meant() -> None:
    """Two members with the same handle (of two organizations) or name are both mentioned."""
    twins = [Member("1", "A", "sam"), Member("2", "B", "Sam"), Member("3", "Sam", "other")]
    assert who("@sam", twins) == {"A", "B"}
    assert who('@"sam"', twins) == {"A", "B", "Sam"}


def test_keys_say_what_to_look_up() -> None:
    """A store can ask for just the members that could be meant; a directory then decides."""
    found = find_mentions('@Ada-Lovelace, @"Ada King" and <@77>: @小明看')
    assert found.handles == {"ada-lovelace", "ada king", "小明看", "小明", "小"}
    assert found.names == {"ada king"}
    assert found.user_ids == {"77"}
    assert Directory([ADA, MING]).match(found) == {"1", "6"}
    assert not find_mentions("nothing")
    directory = Directory(EVERYBODY)
    assert directory.get("3") is BOB
    assert directory.get(None) is None
    assert directory.get("x") is None


@given(
    st.text(max_size=80)
    | st.lists(
        st.sampled_from([*'@<>"“”:._-/`*\\ \na1é小', "ada", "https://", "www.", "\ud800", "\x00", "\u0301"])
    ).map("".join)
)
def test_no_text_breaks_it(content: str) -> None:
    """Any str can be read, and whatever is folded again stays as it is (F6)."""
    assert Directory(EVERYBODY).match(find_mentions(content)) <= {member.user_id for member in EVERYBODY}


@pytest.mark.parametrize(
    "piece", ["@", "@ada ", "@a.", "<@", '@"', "x.", "a-", "@小", "https://", "://", "www.", ":@a:", "@ada@"]
)
def test_long_texts_take_linear_time(piece: str) -> None:
    """Twenty times the text takes no more than a fair multiple of the time: no pattern runs away."""

    def cost(count: int) -> float:
        content = piece * count + " @ada"
        best = sys.float_info.max
        for _ in range(3):
            began = time.perf_counter()
            find_mentions(content)
            best = min(best, time.perf_counter() - began)
        return best

    assert cost(8_000) < 20 * 5 * cost(400) + 0.05


@pytest.mark.parametrize(
    "handle", ["a", "ada", "Ada_L-2.x", "rené", "דנה", "小明", "नेहा", "7", "x" * MAX_HANDLE, "e\u0301" * MAX_HANDLE]
)
def test_good_handles(handle: str) -> None:
    """Letters, marks and digits of any script with single separators inside make a handle that can be mentioned."""
    assert valid_handle(handle)
    assert who(f"hey @{handle}, you", [Member("1", "X", handle)]) == {"X"}


@pytest.mark.parametrize(
    "handle",
    [
        "",
        " ",
        "a b",
        "@ada",
        "-a",
        "a-",
        ".a",
        "a..b",
        "a-_b",
        "a/b",
        "a\n",
        "a\x00",
        "a\ud800",
        "\u0301a",
        "a\u200db",
        "\u3164",
        "x" * 65,
        "ß" * 33,
        "½",
        "ﷺ",
        "a\ufe0f",
        "👍",
        "<b>",
    ],
)
def test_bad_handles(handle: str) -> None:
    """Blanks, loose separators, invisible characters, symbols and more than 64 characters are refused."""
    assert not valid_handle(handle)


@given(st.text(max_size=20))
def test_folding_is_stable(handle: str) -> None:
    """Folding twice is folding once, and no Unicode form or case changes what a handle folds to."""
    once = fold(handle)
    assert fold(once) == once
    assert fold(unicodedata.normalize("NFD", handle)) == once
    assert fold(unicodedata.normalize("NFC", handle)) == once
