"""Words that call without a mention: whole, folded, and only where somebody speaks for themselves."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_neolith_orchestrator.chat.keywords import MOST, key_of, listen

SAID = [
    ("deploy", "deploy"),
    ("Deploy", "please DEPLOY it."),
    ("deploy", "build/deploy"),
    ("deploy", "(deploy)"),
    ("deploy", "deploy's late"),
    ("deploy", "**deploy** now"),
    ("deploy", "> is it out?\n\nno, deploy it"),
    ("production down", "the production  down again"),
    ("production down", "production\ndown"),
    ("sign-off", "I need a Sign-Off"),
    ("v1.2", "with v1.2."),
    ("straße", "die STRASSE"),
    ("café", "cafe\u0301 time"),
    ("de\u00adploy", "deploy"),
    ("部署", "我们今天部署了"),
    ("deploy", "今天deploy了"),
    ("ถนน", "ที่ถนนนี้"),
    ("하다", "일을 하다"),
]
SILENT = [
    ("deploy", "redeploy deploys deployed"),
    ("deploy", "deploy-key and deploy_key and my.deploy"),
    ("deploy", "`deploy` it"),
    ("deploy", "```\ndeploy\n```"),
    ("deploy", "    deploy"),
    ("deploy", "> deploy"),
    ("deploy", "[deploy](https://x.example)"),
    ("deploy", "![deploy](https://x.example/a.png)"),
    ("deploy", "https://x.example/deploy and www.deploy.example"),
    ("deploy", "@deploy and deploy@x.example and x@deploy.example"),
    ("production down", "production, down"),
    ("production down", "production `is` down"),
    ("production down", "production\n\ndown"),
    ("part", "parté"),
    ("部署", "部分"),
    ("", "anything"),
    ("!?", "!?"),
]


@pytest.mark.parametrize(("phrase", "text"), SAID)
def test_a_phrase_is_said(phrase: str, text: str) -> None:
    """And a message finds it by the phrase's first word."""
    spoken = listen(text)
    assert spoken.says(["other", phrase]) == phrase
    assert key_of(phrase) in spoken.keys


@pytest.mark.parametrize(("phrase", "text"), SILENT)
def test_a_phrase_is_not_said(phrase: str, text: str) -> None:
    """Parts of other words, code, quotes, links and addresses say nothing."""
    assert listen(text).says([phrase]) is None


def test_the_first_phrase_that_is_said_counts() -> None:
    """In the charter's order, as it is written there."""
    assert listen("a b c").says(["C", "A b"]) == "C"


def test_what_has_no_word_is_never_found() -> None:
    """Such a phrase is not even written down."""
    assert key_of("...") is None
    assert key_of("Production down") == "production"
    assert key_of("部署") == "部"


def test_a_machine_that_writes_a_dictionary_is_bounded() -> None:
    """Only so many different words are looked up."""
    text = " ".join(f"w{n}" for n in range(MOST + 10)) + " end\n\n" + " ".join(f"x{n}" for n in range(10))
    assert len(listen(text).keys) == MOST


@pytest.mark.parametrize("letters", ["x", "x."])
def test_a_word_of_any_length_is_read_once(letters: str) -> None:
    """The longest message there is, in one word: each letter costs the same (ten seconds if it does not)."""
    began = time.process_time()
    listen((letters * 40_000)[:40_000])
    assert time.process_time() - began < 3


@given(st.text(max_size=200))
def test_any_text_can_be_listened_to(text: str) -> None:
    """It never raises, and whatever word it has is said in it."""
    spoken = listen(text)
    for key in spoken.keys:
        assert spoken.says([key]) == key or key_of(key) != key
