"""What is written becomes safe HTML: rules of ACCEPTANCE F4 and F6."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flask_neolith_orchestrator.chat.markdown import new_parser, to_html
from flask_neolith_orchestrator.chat.text import clean, one_line

ALLOWED = {"a": {"href", "title", "rel", "target"}, "code": {"class"}, "ol": {"start"}}
PLAIN = {
    *("p", "br", "hr", "h1", "h2", "h3", "h4", "h5", "h6", "blockquote", "pre", "ul", "li", "em", "strong", "s"),
    *("table", "thead", "tbody", "tr", "th", "td"),
}
REL = "nofollow noopener noreferrer"


class Auditor(HTMLParser):
    """Reads HTML as a browser would and notes every tag and attribute that has no business there."""

    def __init__(self) -> None:
        super().__init__()
        self.offences: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in ALLOWED and tag not in PLAIN:
            self.offences.append(tag)
        self.offences += [f"{tag}.{name}" for name, _ in attrs if name not in ALLOWED.get(tag, ())]
        given = dict(attrs)
        language = given.get("class") or "language-x"
        if not re.fullmatch(r"language-[\w+#.-]+", language, re.ASCII):
            self.offences.append(f"class={language}")
        href = given.get("href")
        if href is not None and not href.lower().startswith(("http://", "https://", "mailto:")):
            self.offences.append(f"href={href}")
        if tag == "a" and (given.get("rel") != REL or given.get("target") != "_blank"):
            self.offences.append(f"a without rel or target: {attrs}")

    def handle_comment(self, data: str) -> None:
        self.offences.append(f"comment {data}")


def audit(html: str) -> Auditor:
    auditor = Auditor()
    auditor.feed(html)
    auditor.close()
    return auditor


NASTY = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<svg/onload=alert(1)>",
    '<a href="javascript:alert(1)">x</a>',
    "<iframe srcdoc='<script>alert(1)</script>'></iframe>",
    "<style>*{background:url(http://evil)}</style>",
    "<!-- x --><p onclick=alert(1)>",
    "[x](javascript:alert(1))",
    "[x](JaVaScRiPt:alert(1))",
    "[x](\x01javascript:alert(1))",
    "[x](java\nscript:alert(1))",
    "[x](&#106;avascript:alert(1))",
    "[x](vbscript:msgbox(1))",
    "[x](data:text/html;base64,PHNjcmlwdD4=)",
    "[x](//evil.example)",
    "[x](/logout)",
    "[x](file:///etc/passwd)",
    "<javascript:alert(1)>",
    "![x](http://evil.example/track.png)",
    "![x](data:image/png;base64,AAAA)",
    "[![x](http://evil.example/track.png)](http://ok.example)",
    "![x][r]\n\n[r]: http://evil.example/track.png",
    '[x](http://e "onmouseover=alert(1)")',
    '[x](http://e"onmouseover="alert(1))',
    '```"><script>alert(1)</script>\ncode\n```',
    "```py onclick=alert(1)\ncode\n```",
    "`<script>alert(1)</script>`",
    "<math><mtext></p><style><img src onerror=alert(1)>",
    "|a|\n|-|\n|<img src=x onerror=alert(1)>|",
    "<form action=http://evil><input name=q><button>x",
    "<meta http-equiv=refresh content=0;url=http://evil>",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
]


@pytest.mark.parametrize("text", NASTY)
def test_hostile_markdown_makes_no_hostile_html(text: str) -> None:
    """No script, handler, style, image, frame or foreign scheme survives, whatever the text says (F4)."""
    assert audit(to_html(text)).offences == []
    assert audit(to_html(f"> - {text}\n\n{text}")).offences == []


ALPHABET = st.sampled_from(
    [*"<>&\"'`*_~[]()!#|-+=\\:/\n\t@. a1\x00\x7f", "\ud800", "\u202e", "\u2028", "javascript:", *NASTY]
)


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(ALPHABET, max_size=30).map("".join) | st.text(max_size=60))
def test_no_text_breaks_it_or_breaks_out(text: str) -> None:
    """Any str becomes HTML that can be encoded and holds allowed tags only; nothing raises (F4, F6)."""
    html = to_html(text)
    html.encode("utf-8")
    assert audit(html).offences == []


@pytest.mark.parametrize(
    "text",
    [">" * 5_000, "- " * 5_000, "[" * 3_000, "![" * 2_000, "*a_ " * 3_000, "`" * 5_000, "<" * 5_000, "(" * 9_000],
)
def test_huge_nesting_is_harmless(text: str) -> None:
    """Nesting is bounded, so depth costs neither the stack nor much time (F6)."""
    assert audit(to_html(text)).offences == []


def test_ordinary_markdown_is_kept() -> None:
    """Emphasis, lists, tables, strikethrough and fenced code with its language come through."""
    tags = audit(to_html("# T\n\n**b** *i* ~~s~~ `c`\n\n- x\n\n3. y\n\n|a|\n|-|\n|1|\n|2|\n\n---\n")).tags
    assert {"h1", "strong", "em", "s", "code", "ul", "ol", "li", "table", "tbody", "hr"} <= set(tags)
    assert tags.count("td") == 2
    assert '<code class="language-c++">' in to_html("```c++\nx\n```")
    assert '<ol start="3">' in to_html("3. y")


def test_links_say_that_they_are_foreign() -> None:
    """A link opens in a new tab, passes on no referrer and no weight; other schemes stay plain text."""
    assert f'<a href="https://x.example/" target="_blank" rel="{REL}">x</a>' in to_html("[x](https://x.example/)")
    assert 'href="mailto:a@b.example"' in to_html("<a@b.example>")
    assert to_html("[x](ftp://x)").strip() == "<p>[x](ftp://x)</p>"
    assert "<a" not in to_html("https://bare.example")


def test_an_image_is_only_linked() -> None:
    """An image becomes a link with its alternative text, or its address, and inside a link just that text."""
    assert ">a cat</a>" in to_html("![a *cat*](https://x.example/c.png)")
    assert ">https://x.example/c.png</a>" in to_html("![](https://x.example/c.png)")
    nested = to_html("[![cat](https://x.example/c.png)](https://y.example) after")
    assert 'href="https://y.example"' in nested
    assert "c.png" not in nested
    assert nested.count("<a ") == 1


def test_a_quote_ends_where_its_marks_end() -> None:
    """A line below a quoted line is the answer to it, not part of the quote; lists and tables are untouched."""
    html = to_html("> said\nanswer")
    assert html.index("</blockquote>") < html.index("answer")
    assert to_html("a\nb").count("<p>") == 1


def test_the_second_wall_stands_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even if the parser let raw HTML and any link through, the sanitiser would not."""
    careless = new_parser()
    careless.options["html"] = True
    careless.validateLink = lambda url: True  # type: ignore[method-assign]  # breaks the first wall on purpose
    monkeypatch.setattr("flask_neolith_orchestrator.chat.markdown._PARSER", careless)
    for text in NASTY:
        assert audit(to_html.__wrapped__(text)).offences == []
    assert "alert" not in to_html.__wrapped__("<script>alert(1)</script>")
    assert "href" not in to_html.__wrapped__("[x](/logout)")


def test_cleaning_is_complete_and_happens_once() -> None:
    """Null bytes and controls go, lone surrogates become U+FFFD, exotic line ends become plain ones (F6)."""
    assert clean("a\x00b\x1bc\x7f\ud800\r\nd\re\u2028f\x0bg\x85h\tz") == "abc\ufffd\nd\ne\nf\ng\nh\tz"
    assert clean("שלום 👩‍🚀 e\u0301") == "שלום 👩‍🚀 e\u0301"
    assert one_line("  A\n\tB\u2029C ") == "A B C"


@given(st.text())
def test_cleaning_twice_changes_nothing(text: str) -> None:
    """Clean text stays as it is, and can always be encoded (F6)."""
    once = clean(text)
    assert clean(once) == once
    once.encode("utf-8")
