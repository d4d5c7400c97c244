"""Whom a message wakes: rules of ACCEPTANCE D2-D6."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_neolith_orchestrator.chat.ears import Ears
from flask_neolith_orchestrator.chat.mentions import Directory, find_mentions
from flask_neolith_orchestrator.chat.reasons import SENTENCES, Reason
from flask_neolith_orchestrator.chat.wake import Heard, addressed, addressed_by_edit, concerned, explain
from flask_neolith_orchestrator.core.types import Member, Place, Wake

BOB = Member("1", "Bob", "bob")
EVE = Member("2", "Eve", "eve")
ADA = Member("3", "Ada", "ada", "o3")
MAX = Member("4", "Max", "max", "o4")
EVERYBODY = [BOB, EVE, ADA, MAX]
CHANNEL = Place("c1")
DM = Place("d1", is_dm=True)


def heard(content: str, **facts: object) -> Heard:
    """A message of Bob in the channel, unless the facts say otherwise."""
    return replace(Heard(content, BOB.user_id, CHANNEL), **facts)  # type: ignore[arg-type]  # facts are Heard's fields


def reasons(message: Heard, members: Sequence[Member] = EVERYBODY) -> dict[str, str]:
    """Every orchestrator's decision, checked to agree with what the hot path says."""
    everyone = explain(message, members)
    assert addressed(message, members) == sorted(
        (wake for wake in everyone if wake.wakes), key=lambda wake: wake.orchestrator_id
    )
    return {wake.orchestrator_id: wake.reason for wake in everyone}


def test_a_mention_wakes_and_its_absence_does_not() -> None:
    """In a channel only those mentioned wake, and the others are told why not (D1, D3)."""
    assert reasons(heard("hi @ada")) == {"o3": Reason.MENTIONED, "o4": Reason.NOT_MENTIONED}
    assert reasons(heard("hi ada and max")) == {"o3": Reason.NOT_MENTIONED, "o4": Reason.NOT_MENTIONED}
    assert explain(heard("@ada"), EVERYBODY)[0] == Wake("o3", True, "mentioned")


def test_several_mentioned_wake_once_each() -> None:
    """Everybody mentioned wakes, nobody twice (D4)."""
    message = heard("@ada @max @Ada <@3>")
    assert reasons(message) == {"o3": Reason.MENTIONED, "o4": Reason.MENTIONED}
    assert [wake.orchestrator_id for wake in addressed(message, EVERYBODY)] == ["o3", "o4"]


def test_nobody_wakes_itself() -> None:
    """An orchestrator's own message never wakes it, however it is addressed (D4)."""
    for message in (
        heard("@ada", author_id="3"),
        heard("@ada", author_id="3", author_is_orchestrator=True, place=DM),
        heard("x", author_id="3", reply_to_author_id="3"),
        heard("x", author_id="3", to=frozenset({"o3"})),
    ):
        assert reasons(message)["o3"] == Reason.OWN
        assert addressed(message, EVERYBODY) == []


def test_orchestrators_do_not_wake_each_other() -> None:
    """What an orchestrator writes wakes nobody, by flag or by membership, in a channel, a DM or by address (D4)."""
    for message in (
        heard("@ada @max", author_id="4"),
        heard("@ada", author_id="99", author_is_orchestrator=True),
        heard("hi", author_id="4", place=DM),
        heard("hi", author_id="4", to=frozenset({"o3"})),
        heard("hi", author_id="4", reply_to_author_id="3"),
        heard("@ada", author_id="4", author_is_bot=True, allow_bots=True),
    ):
        assert reasons(message)["o3"] == Reason.ORCHESTRATOR


def test_bots_wake_only_where_allowed() -> None:
    """System, webhook and bot messages are ignored in every place unless somebody allowed them (D5)."""
    for message in (
        heard("@ada", author_id="hook", author_is_bot=True),
        heard("hi", author_id="hook", author_is_bot=True, place=DM),
        heard("hi", author_id="hook", author_is_bot=True, to=frozenset({"o3"})),
    ):
        assert reasons(message)["o3"] == Reason.BOT
        assert addressed(replace(message, allow_bots=True), EVERYBODY)


def test_a_reply_counts_as_a_mention() -> None:
    """A reply to an orchestrator's message wakes it; a reply to a person wakes nobody (D3)."""
    assert reasons(heard("why?", reply_to_author_id="3")) == {"o3": Reason.REPLY, "o4": Reason.NOT_MENTIONED}
    assert reasons(heard("why?", reply_to_author_id="2"))["o3"] == Reason.NOT_MENTIONED
    assert reasons(heard("why?", reply_to_author_id="gone"))["o3"] == Reason.NOT_MENTIONED
    assert reasons(heard("@ada why?", reply_to_author_id="4")) == {"o3": Reason.MENTIONED, "o4": Reason.REPLY}


def test_a_direct_message_needs_no_mention() -> None:
    """In a DM every orchestrator in it is spoken to (D3)."""
    assert reasons(heard("hi", place=DM), [BOB, ADA]) == {"o3": Reason.DIRECT}
    assert reasons(heard("hi", place=DM)) == {"o3": Reason.DIRECT, "o4": Reason.DIRECT}
    assert reasons(heard("hi @bob, that is me", place=DM), [BOB, ADA]) == {"o3": Reason.DIRECT}
    assert reasons(heard("hi @nobody", place=DM), [BOB, ADA]) == {"o3": Reason.DIRECT}


def test_a_direct_message_for_somebody_else_is_left_to_them() -> None:
    """Where a DM has several people or orchestrators, a mention or reply singles out who is meant."""
    assert reasons(heard("@ada hi", place=DM)) == {"o3": Reason.MENTIONED, "o4": Reason.OTHERS_MEANT}
    assert reasons(heard("@eve hi", place=DM)) == {"o3": Reason.OTHERS_MEANT, "o4": Reason.OTHERS_MEANT}
    assert reasons(heard("hi", place=DM, reply_to_author_id="2"))["o3"] == Reason.OTHERS_MEANT
    assert reasons(heard("hi", place=DM, reply_to_author_id="1"))["o3"] == Reason.DIRECT


def test_named_addressees_are_final() -> None:
    """Where the sender names the addressees, only they wake, and only if they may be asked."""
    assert reasons(heard("@max", to=frozenset({"o3", "o9"}))) == {"o3": Reason.ADDRESSED, "o4": Reason.NOT_ADDRESSED}
    assert addressed(heard("@max", to=frozenset()), EVERYBODY) == []
    assert addressed(heard("hi", place=DM, to=frozenset({"o9"})), EVERYBODY) == []


def test_people_are_no_candidates() -> None:
    """Mentioning a person wakes nobody and explains nothing."""
    assert explain(heard("@bob @eve", author_id="9"), [BOB, EVE]) == []
    assert addressed(heard("@bob @eve", author_id="9"), [BOB, EVE]) == []


def test_a_rename_works_at_once() -> None:
    """The present handle counts and the old one does not (D6)."""
    renamed = replace(ADA, handle="grace", name="Grace")
    assert addressed(heard("@grace"), [BOB, renamed]) == [Wake("o3", True, Reason.MENTIONED)]
    assert addressed(heard("@ada"), [BOB, renamed]) == []


def test_an_edit_wakes_only_whom_it_adds() -> None:
    """An edit that adds a mention wakes that one; any other edit wakes nobody (D6)."""
    assert addressed_by_edit("hi", heard("hi @ada"), EVERYBODY) == [Wake("o3", True, Reason.MENTION_ADDED)]
    assert addressed_by_edit("@ada hi", heard("@ADA hello @max"), Directory(EVERYBODY)) == [
        Wake("o4", True, Reason.MENTION_ADDED)
    ]
    assert addressed_by_edit("@ada hi", heard("<@3> hello"), EVERYBODY) == []
    assert addressed_by_edit("hi", heard("hello", place=DM, reply_to_author_id="3"), EVERYBODY) == []
    assert addressed_by_edit("`@ada`", heard("@ada"), EVERYBODY) != []
    assert addressed_by_edit("hi", heard("hi @bob @eve"), EVERYBODY) == []
    assert addressed_by_edit("hi", heard("hi @ada @max", author_id="3"), EVERYBODY) == []
    assert addressed_by_edit("hi", heard("@ada", author_id="x", author_is_bot=True), EVERYBODY) == []


class Untouchable(Sequence[Member]):
    """Members that must not be looked at."""

    def __getitem__(self, index: object) -> Member:  # type: ignore[override]  # nobody may come this far
        raise AssertionError(index)

    def __len__(self) -> int:
        raise AssertionError

    def __iter__(self) -> Iterator[Member]:
        raise AssertionError


def test_chatter_costs_nothing_however_many_listen() -> None:
    """A message that is for nobody is decided without a look at the members."""
    assert addressed(heard("good morning, ada"), Untouchable()) == []
    assert addressed_by_edit("@ada", heard("good morning"), Untouchable()) == []


def test_a_given_parse_is_used() -> None:
    """A caller that has parsed the text already need not pay again, nor pass members that cannot be meant."""
    message = heard("@ada")
    assert addressed(message, [ADA], find_mentions(message.content)) == [Wake("o3", True, Reason.MENTIONED)]
    assert addressed(heard("irrelevant"), Directory([ADA]), find_mentions("@ada")) == [
        Wake("o3", True, Reason.MENTIONED)
    ]


IDS = st.sampled_from(["1", "2", "3", "4", "hook"])


@given(
    st.sampled_from(["hi", "@ada", "@max and @bob", "@eve", "`@ada`", "<@4>"]),
    IDS,
    st.none() | IDS,
    st.booleans(),
    st.booleans(),
    st.none() | st.frozensets(st.sampled_from(["o3", "o4"])),
)
def test_the_hot_path_never_disagrees(
    content: str, author: str, replied: str | None, dm: bool, bot: bool, to: frozenset[str] | None
) -> None:
    """Whatever the facts, `addressed` is exactly the waking part of `explain`, and each reason is a known one."""
    message = Heard(content, author, DM if dm else CHANNEL, author_is_bot=bot, reply_to_author_id=replied, to=to)
    assert {Reason(reason) for reason in reasons(message).values()} <= set(Reason)


@pytest.mark.parametrize("reason", list(Reason))
def test_reasons_are_plain_words(reason: Reason) -> None:
    """A reason is stored and shown as it is: lower case words with hyphens."""
    assert reason.value.replace("-", "").isalpha()
    assert reason.value == reason.value.lower()


def listening(message: Heard, **ears: object) -> str:
    """What becomes of ada who listens so, checked to agree on every way; max says nothing of it."""
    mine = {"o3": Ears(**ears)}  # type: ignore[arg-type]  # ears are Ears' fields
    (ada, _max) = explain(message, EVERYBODY, mine)
    waking = [wake.orchestrator_id for wake in addressed(message, EVERYBODY, None, mine)]
    assert ("o3" in waking) is ada.wakes
    return ada.reason


def test_a_keyword_wakes_whoever_else_is_meant() -> None:
    """It is asked for by its charter; a mention of its own comes first."""
    words: dict[str, object] = {"keywords": ("Deploy now",)}
    assert listening(heard("please deploy NOW"), **words) == Reason.KEYWORD
    assert listening(heard("@max deploy now"), **words) == Reason.KEYWORD
    assert listening(heard("@ada deploy now"), **words) == Reason.MENTIONED
    assert listening(heard("deploy later"), **words) == Reason.NOT_MENTIONED


def test_a_watched_channel_is_known_by_id_and_name() -> None:
    """Whatever is said there, unless somebody else is meant by name, known or not, or by reply."""
    for watched in ("c1", "ops"):
        here: dict[str, object] = {"watched": frozenset({watched})}
        assert listening(heard("hello", channel_name="Ops"), **here) == Reason.WATCHED
        assert listening(heard("hello @bob", channel_name="Ops"), **here) == Reason.WATCHED
        assert listening(heard("hello", channel_name="ops", reply_to_author_id="1"), **here) == Reason.WATCHED
        for other in ("@max hello", "@nobody hello", '@"Eve" hello', "<@2> hello"):
            assert listening(heard(other, channel_name="ops"), **here) == Reason.OTHERS_MEANT, other
        assert listening(heard("hello", channel_name="ops", reply_to_author_id="2"), **here) == Reason.OTHERS_MEANT
    assert listening(heard("hello", place=Place("c2")), watched=frozenset({"c1", "ops"})) == Reason.NOT_MENTIONED


def test_a_followed_thread_needs_both() -> None:
    """A charter that follows, and a person whom it has answered there."""
    talk = heard("and then?", following=frozenset({"o3"}), place=Place("c1", "t1"))
    assert listening(talk, follows=True) == Reason.THREAD
    assert listening(talk) == Reason.NOT_MENTIONED
    assert listening(replace(talk, following=frozenset()), follows=True) == Reason.NOT_MENTIONED
    assert listening(replace(talk, content="@eve and then?"), follows=True) == Reason.OTHERS_MEANT


def test_a_role_calls_where_it_is_asked_for() -> None:
    """As a word behind an @; what is somebody's handle or name is no role."""
    roles: dict[str, object] = {"roles": frozenset({"ops", "max", "release manager", "release-manager"})}
    assert listening(heard("@ops hello"), **roles) == Reason.ROLE
    assert listening(heard('@"Release Manager" hello'), **roles) == Reason.ROLE
    assert listening(heard("@release-manager hello"), **roles) == Reason.ROLE
    assert listening(heard("ops hello"), **roles) == Reason.NOT_MENTIONED
    assert listening(heard("@max hello"), **roles) == Reason.NOT_MENTIONED
    assert listening(heard("<@ops> hello"), **roles) == Reason.NOT_MENTIONED
    assert listening(heard("@ops hello")) == Reason.NOT_MENTIONED


def test_mention_only_says_what_it_has_let_pass() -> None:
    """A mention, a reply, a role and a DM still wake it."""
    quiet: dict[str, object] = {"mention_only": True, "keywords": ("deploy",), "roles": frozenset({"ops"})}
    assert listening(heard("deploy"), **quiet) == Reason.MENTION_ONLY
    assert listening(heard("hello"), **quiet) == Reason.NOT_MENTIONED
    assert listening(heard("@ada deploy"), **quiet) == Reason.MENTIONED
    assert listening(heard("@ops deploy"), **quiet) == Reason.ROLE
    assert listening(heard("deploy", reply_to_author_id="3"), **quiet) == Reason.REPLY
    assert listening(heard("deploy", place=DM), **quiet) == Reason.DIRECT


def test_who_answers_nobody_sleeps() -> None:
    """Whatever else there is."""
    for message in (heard("@ada"), heard("hi", place=DM), heard("x", to=frozenset({"o3"}))):
        assert listening(message, answers=False) == Reason.SILENT


def test_an_orchestrator_that_may_be_answered_has_to_call_by_name() -> None:
    """Neither DM nor reply nor keyword nor channel: two would never stop."""
    known: dict[str, object] = {"bots": frozenset({"max"}), "keywords": ("hi",), "watched": frozenset({"c1"})}
    by_max = heard("hi", author_id="4", author_is_orchestrator=True, author_names=("Max", "M. Planck"))
    assert listening(replace(by_max, content="@ada hi"), **known) == Reason.MENTIONED
    assert listening(replace(by_max, to=frozenset({"o3"})), **known) == Reason.ADDRESSED
    for message in (by_max, replace(by_max, place=DM), replace(by_max, reply_to_author_id="3")):
        assert listening(message, **known) == Reason.ORCHESTRATOR
    assert listening(replace(by_max, content="@ada hi", author_names=("lin",)), **known) == Reason.ORCHESTRATOR


def test_a_bot_that_may_be_answered_is_like_a_person() -> None:
    """A watched channel of alerts is what charters name them for."""
    alert = heard("disk full", author_id="hook", author_is_bot=True, author_names=("Pager  Bot",))
    known: dict[str, object] = {"bots": frozenset({"pager bot"}), "watched": frozenset({"c1"})}
    assert listening(alert, **known) == Reason.WATCHED
    assert listening(replace(alert, author_names=()), **known) == Reason.BOT
    assert alert.by_machine
    assert not heard("x").by_machine


def test_an_edit_that_says_a_keyword_or_a_role_wakes() -> None:
    """For the first time; and not by anything else that it brings."""
    mine = {"o3": Ears(keywords=("deploy",), roles=frozenset({"ops"}), watched=frozenset({"c1"}))}
    assert addressed_by_edit("ship it", heard("deploy it"), EVERYBODY, mine) == [Wake("o3", True, Reason.KEYWORD_ADDED)]
    assert addressed_by_edit("hi", heard("@ops hi"), EVERYBODY, mine) == [Wake("o3", True, Reason.MENTION_ADDED)]
    assert addressed_by_edit("deploy it", heard("deploy them"), EVERYBODY, mine) == []
    assert addressed_by_edit("@max ship", heard("ship"), EVERYBODY, mine) == [], "the channel was watched before, too"


def test_who_is_concerned_is_asked_for_its_charter() -> None:
    """Those who are meant and those who listen; in a DM everybody."""
    directory = Directory(EVERYBODY)
    assert concerned(heard("@ada"), directory, find_mentions("@ada"), set()) == ["o3"]
    assert concerned(heard("hi"), directory, find_mentions("hi"), {"o4"}) == ["o4"]
    assert concerned(heard("hi", reply_to_author_id="3"), directory, find_mentions("hi"), {"o4"}) == ["o3", "o4"]
    assert concerned(heard("hi", place=DM), directory, find_mentions("hi"), set()) == ["o3", "o4"]


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_has_a_sentence(reason: Reason) -> None:
    """For people who ask why."""
    assert SENTENCES[reason].endswith(".")
