"""The text of answers while they are written: deltas, checkpoints, and silence where the turn is somebody else's."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator

import pytest

from flask_neolith_orchestrator.core.types import Claim, Place
from flask_neolith_orchestrator.runtime.broadcast import live as live_module
from flask_neolith_orchestrator.runtime.broadcast.live import LiveText, Pacer
from flask_neolith_orchestrator.runtime.wiring import SystemClock
from flask_neolith_orchestrator.testing import ManualClock, RecordingChannel

PATIENCE = 5.0
INTERVAL = 0.0625  # exact in binary


def claim(turn: str = "1", epoch: int = 4) -> Claim:
    """A claim on a turn."""
    return Claim(
        turn_id=turn,
        orchestrator_id="1",
        conversation_id="1",
        slot=0,
        epoch=epoch,
        place=Place("7", "8"),
        deliveries=("1",),
        messages=("1",),
        requester_id="1",
        reply_id=f"reply-{turn}",
        attempt=1,
        failures=1,
    )


class Scene:
    """One answer in the making, and its audience."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.channel = RecordingChannel()
        self.may_speak = True
        self.announced = 0
        self.live = LiveText(
            claim(),
            self.channel,
            self.clock,
            interval=INTERVAL,
            may_speak=lambda: self.may_speak,
            announce=self._announce,
        )

    def _announce(self) -> None:
        self.announced += 1
        self.channel.emit("message", {}, "")

    def deltas(self) -> list[tuple[int, str]]:
        """(seq, text) of what was sent."""
        return [(one["seq"], one["text"]) for one in self.channel.of("message:delta")]


@pytest.fixture
def scene() -> Scene:
    """A scene."""
    return Scene()


def test_deltas_are_coalesced_and_carry_epoch_and_seq(scene: Scene) -> None:
    """Text within an interval goes out as one delta; seq increases by one; the room is the channel's."""
    for text in ("a", "b", "c"):
        scene.live.add(text)
    scene.clock.advance(INTERVAL)
    scene.live.add("d")
    scene.live.add("e")
    scene.live.flush()
    scene.live.flush()
    assert scene.deltas() == [(1, "a"), (2, "bcd"), (3, "e")]
    assert scene.live.text == "abcde"
    emitted = [one for one in scene.channel.emitted if one.event == "message:delta"]
    assert {(one.payload["epoch"], one.payload["messageId"], one.room) for one in emitted} == {
        (4, "reply-1", "channel:7")
    }


def test_the_answer_is_announced_once_and_first(scene: Scene) -> None:
    """Browsers hear of the message before its first text, however both come about, and once."""
    scene.live.add("a")
    scene.live.flush()
    assert scene.announced == 1
    assert [one.event for one in scene.channel.emitted] == ["message", "message:delta"]


def test_a_silent_answer_is_announced_by_the_flush(scene: Scene) -> None:
    """A provider that says nothing for a while: the row is on the screen all the same."""
    scene.live.flush()
    assert scene.announced == 1
    assert scene.deltas() == []


def test_who_may_have_lost_the_lease_says_nothing(scene: Scene) -> None:
    """Half a lease without renewal: text is kept and counted, but not told."""
    scene.live.add("a")
    scene.may_speak = False
    scene.clock.advance(INTERVAL)
    scene.live.add("b")
    scene.may_speak = True
    scene.clock.advance(INTERVAL)
    scene.live.add("c")
    assert scene.deltas() == [(1, "a"), (3, "c")]
    assert scene.live.text == "abc"


def test_whose_turn_was_revoked_says_nothing_more(scene: Scene) -> None:
    """Muted: neither a late piece nor a flush nor an announcement reaches a screen."""
    scene.live.mute()
    scene.live.add("late")
    scene.live.flush()
    assert scene.channel.emitted == []
    assert scene.announced == 0


def test_a_checkpoint_has_what_was_sent(scene: Scene) -> None:
    """What a checkpoint keeps and the deltas that follow it make up the text, without a gap or a double."""
    assert scene.live.unkept() is None
    scene.live.add("a")
    scene.live.add("b")
    assert scene.live.unkept() == ("a", 1)
    assert scene.live.unkept() is None
    scene.live.flush()
    assert scene.live.unkept() == ("ab", 2)


class Keeper:
    """A checkpoint store that a test can hold up or break."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.kept: list[tuple[str, str, int]] = []
        self.broken = False
        self.go = threading.Event()
        self.go.set()
        self.began = threading.Event()

    def __call__(self, claim: Claim, text: str, seq: int) -> bool:
        self.began.set()
        self.go.wait(PATIENCE)
        with self.changed:
            self.kept.append((claim.turn_id, text, seq))
            self.changed.notify_all()
        if self.broken:
            raise ValueError("no database")
        return True

    def wait_for(self, turn: str, text: str) -> None:
        """Until that was kept."""
        with self.changed:
            found = self.changed.wait_for(lambda: any(one[:2] == (turn, text) for one in self.kept), PATIENCE)
        assert found, self.kept


@pytest.fixture
def keeper() -> Keeper:
    """A checkpoint store."""
    return Keeper()


@pytest.fixture
def pacer(keeper: Keeper) -> Iterator[Pacer]:
    """A quick pacer; afterwards its threads are gone."""
    made = Pacer(keeper, SystemClock(), interval=0.01, keep_interval=0.02)
    yield made
    keeper.go.set()
    made.close()
    for thread in threading.enumerate():
        if thread.name in ("neolith-pacer", "neolith-keeper"):
            thread.join(PATIENCE)
            assert not thread.is_alive()


def live_on(channel: RecordingChannel, turn: str = "1") -> LiveText:
    """An answer that sends its first piece at once and everything else when it is flushed."""
    return LiveText(claim(turn), channel, SystemClock(), interval=3600.0, may_speak=lambda: True)


def test_the_pacer_flushes_when_the_provider_pauses(pacer: Pacer, keeper: Keeper) -> None:
    """Text that no later piece pushes out goes out by itself, and is kept."""
    channel = RecordingChannel()
    live = live_on(channel)
    pacer.add(live)
    live.add("first")
    live.add("second")
    channel.wait_for("message:delta", 2, PATIENCE)
    keeper.wait_for("1", "firstsecond")
    pacer.remove(live)


def test_an_idle_pacer_is_woken(pacer: Pacer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A turn that finds the pacer at rest is looked at at once, and need not wait until it would have ended."""
    monkeypatch.setattr(live_module, "LINGER", 3600.0)
    channel, rested, pause = RecordingChannel(), live_on(RecordingChannel(), "1"), threading.Event()
    pacer.add(rested)
    pacer.remove(rested)
    deadline = time.monotonic() + PATIENCE
    while not pacer._lingers and time.monotonic() < deadline:
        pause.wait(0.005)
    live = live_on(channel, "2")
    live.add("first")
    live.add("second")
    pacer.add(live)
    channel.wait_for("message:delta", 2, PATIENCE)
    pacer.remove(live)


def test_a_closed_pacer_keeps_its_pace(keeper: Keeper) -> None:
    """A turn that outlives the end of its process is looked at each interval, and not as fast as the machine can."""
    interval, looks, live = 0.05, threading.Semaphore(0), live_on(RecordingChannel())
    live.flush = looks.release  # type: ignore[method-assign]  # counts
    pacer = Pacer(keeper, SystemClock(), interval=interval, keep_interval=3600.0)
    pacer.add(live)
    assert looks.acquire(timeout=PATIENCE)
    pacer.close()
    began = time.monotonic()
    for _ in range(6):
        assert looks.acquire(timeout=PATIENCE)
    took = time.monotonic() - began
    pacer.remove(live)
    assert took >= 3 * interval


def test_the_end_of_a_process_waits_for_a_checkpoint(keeper: Keeper) -> None:
    """Else it would come to a connection that the host has closed; and none is begun after the end."""
    pacer, live = Pacer(keeper, SystemClock(), interval=0.01, keep_interval=0.02), live_on(RecordingChannel())
    keeper.go.clear()
    live.add("first")
    pacer.add(live)
    assert keeper.began.wait(PATIENCE)
    closing = threading.Thread(target=lambda: pacer.close(PATIENCE))
    closing.start()
    closing.join(0.1)
    assert closing.is_alive()
    keeper.go.set()
    closing.join(PATIENCE)
    assert [kept[1] for kept in keeper.kept] == ["first"]
    live.add(" second")
    live.flush()
    assert pacer._keeper is None
    pacer._begin_keeping([live])
    assert pacer._keeper is None
    pacer.remove(live)


def test_a_checkpoint_that_waits_holds_up_no_text(pacer: Pacer, keeper: Keeper) -> None:
    """While the database is somebody else's, other answers still reach the screen."""
    channel = RecordingChannel()
    stuck, flowing = live_on(channel, "1"), live_on(channel, "2")
    keeper.go.clear()
    for live in (stuck, flowing):
        pacer.add(live)
        live.add("first")
    for number in range(5):
        flowing.add(f" {number}")
        channel.wait_for("message:delta", 3 + number, PATIENCE)
    keeper.go.set()
    keeper.wait_for("2", "first 0 1 2 3 4")
    for live in (stuck, flowing):
        pacer.remove(live)


def test_what_fails_is_tried_again_with_the_next_text(
    pacer: Pacer, keeper: Keeper, caplog: pytest.LogCaptureFixture
) -> None:
    """A checkpoint that raises, or a channel that does, ends neither the pacer nor the others."""

    class Broken(RecordingChannel):
        def emit(self, event: str, payload: object, room: str) -> None:
            raise ValueError(event)

    keeper.broken = True
    channel = RecordingChannel()
    loud, mute = (
        live_on(channel, "1"),
        LiveText(claim("2"), Broken(), SystemClock(), interval=3600.0, may_speak=lambda: True, announce=lambda: [][0]),
    )
    with caplog.at_level(logging.ERROR):
        pacer.add(mute)
        pacer.add(loud)
        loud.add("one")
        keeper.wait_for("1", "one")
        loud.add("two")
        channel.wait_for("message:delta", 2, PATIENCE)
        keeper.wait_for("1", "onetwo")
        for live in (loud, mute):
            pacer.remove(live)
    assert {record.__dict__["action"] for record in caplog.records} == {"checkpoint-failed", "delta-failed"}


def test_a_checkpoint_and_the_deltas_after_it_are_the_whole_text(scene: Scene) -> None:
    """Whoever reads the stored row and then hears what comes after its seq has every letter once."""
    scene.live.add("one ")  # sent at once
    scene.live.add("two ")  # waits for the interval
    kept = scene.live.unkept()
    assert kept is not None
    scene.clock.advance(INTERVAL)
    scene.live.add("three")
    text, seq = kept
    later = [delta["text"] for delta in scene.channel.of("message:delta") if delta["seq"] > seq]
    assert text + "".join(later) == scene.live.text == "one two three"
