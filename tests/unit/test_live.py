"""The text of an answer while it is written: what is sent, and what a checkpoint keeps, must fit together."""

from __future__ import annotations

from flask_neolith_orchestrator.core.types import Claim, Place
from flask_neolith_orchestrator.runtime.live import LiveText
from flask_neolith_orchestrator.testing import ManualClock, RecordingChannel

CLAIM = Claim(
    turn_id="1",
    orchestrator_id="1",
    conversation_id="1",
    slot=0,
    epoch=3,
    place=Place("5", "6"),
    deliveries=("1",),
    messages=("6",),
    requester_id="1",
    reply_id="7",
    attempt=1,
    failures=0,
    claimed_at=0.0,
)


def test_a_checkpoint_and_the_next_delta_are_the_whole_text() -> None:
    """Whoever reads the stored row and then hears what comes after its seq has every letter once."""
    clock, channel = ManualClock(), RecordingChannel()
    live = LiveText(CLAIM, channel, clock, interval=0.06, may_speak=lambda: True)
    live.add("one ")  # sent at once
    live.add("two ")  # waits for the interval
    kept = live.unkept()
    assert kept is not None
    clock.advance(1.0)
    live.add("three")
    text, seq = kept
    later = [delta["text"] for delta in channel.of("message:delta") if delta["seq"] > seq]
    assert text + "".join(later) == live.text == "one two three"


def test_a_checkpoint_is_made_for_new_text_only() -> None:
    """Nothing sent since the last one means nothing to store; what waited then is stored when it has been sent."""
    live = LiveText(CLAIM, RecordingChannel(), ManualClock(), interval=0.06, may_speak=lambda: True)
    assert live.unkept() is None
    live.add("one ")
    live.add("two ")
    assert live.unkept() == ("one ", 1)
    assert live.unkept() is None
    live.flush()
    assert live.unkept() == ("one two ", 2)
