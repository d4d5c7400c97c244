"""The text of answers while they are written: coalesced deltas for browsers, a fenced checkpoint each second."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

from ...core.events import channel_room
from ...core.ports import Channel, Clock
from ...core.types import Claim

log = logging.getLogger("flask_neolith_orchestrator")


LINGER = 2.0
"""Seconds after the last turn in which the pacer's thread waits for another."""

LAST_CHECKPOINT = 1.0
"""Seconds for which the end of a process waits for a checkpoint that is being kept."""


class LiveText:
    """The text of one attempt so far. Lifetime: that attempt. Written by its thread, flushed by the pacer too."""

    def __init__(
        self,
        claim: Claim,
        channel: Channel,
        clock: Clock,
        *,
        interval: float,
        may_speak: Callable[[], bool],
        announce: Callable[[], None] = lambda: None,
    ) -> None:
        self.claim = claim
        self.seq = 0
        self.first_text_at: float | None = None
        self._channel = channel
        self._clock = clock
        self._interval = interval
        self._may_speak = may_speak
        self._announce: Callable[[], None] | None = announce
        self._lock = threading.Lock()
        self._parts: list[str] = []
        self._unsent: list[str] = []
        self._sent_at = float("-inf")
        self._kept = 0
        self._muted = False

    @property
    def text(self) -> str:
        """Everything so far."""
        with self._lock:
            return "".join(self._parts)

    def add(self, text: str) -> None:
        """The model's next piece: sent at once if the last sending is long enough ago, else by the pacer."""
        if self.first_text_at is None:
            self.first_text_at = self._clock.wall()
        with self._lock:
            self._parts.append(text)
            self._unsent.append(text)
            if self._clock.monotonic() - self._sent_at >= self._interval:
                self._send()

    def mute(self) -> None:
        """Say nothing more: the turn is somebody else's."""
        self._muted = True

    def _speaks(self) -> bool:
        return not self._muted and self._may_speak()

    def flush(self) -> None:
        """Send what waits; at first, that there is an answer in the making at all."""
        with self._lock:
            self._begin()
            if self._unsent:
                self._send()

    def _begin(self) -> None:
        # told beside the model's call, not before it: a look at the row costs as much as the whole claim
        announce, self._announce = self._announce, None
        if announce is not None and self._speaks():
            announce()

    def _send(self) -> None:
        self._begin()
        text = "".join(self._unsent)
        self._unsent.clear()
        self._sent_at = self._clock.monotonic()
        self.seq += 1
        # a process that may have lost its lease says nothing: the next owner starts over with a newer epoch
        if self._speaks():
            payload = {"messageId": self.claim.reply_id, "epoch": self.claim.epoch, "seq": self.seq, "text": text}
            self._channel.emit("message:delta", payload, channel_room(self.claim.place.channel_id))

    def unkept(self) -> tuple[str, int] | None:
        """The text that has been sent and its seq, if there is something that the last checkpoint did not have.

        What waits to be sent is left out: who reads the row and then hears the next delta would see it twice.
        """
        with self._lock:
            sent = len(self._parts) - len(self._unsent)
            if sent == self._kept:
                return None
            self._kept = sent
            return "".join(self._parts[:sent]), self.seq


class Pacer:
    """One thread per process that flushes deltas, and one at a time that keeps checkpoints, only while turns run.

    Two, so that a checkpoint that waits for the database holds up no text. Lifetime: app, in one process.
    """

    def __init__(
        self, checkpoint: Callable[[Claim, str, int], Any], clock: Clock, *, interval: float, keep_interval: float
    ) -> None:
        self._checkpoint = checkpoint
        self._clock = clock
        self._interval = max(interval, 0.01)
        self._keep_interval = keep_interval
        self._lock = threading.Lock()
        self._lives: dict[str, LiveText] = {}
        self._thread: threading.Thread | None = None
        self._keeper: threading.Thread | None = None
        self._lingers = False
        self._moved = threading.Event()
        self._closed = False

    def add(self, live: LiveText) -> None:
        """Look after an attempt's text."""
        with self._lock:
            self._lives[live.claim.turn_id] = live
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="neolith-pacer", daemon=True)
                self._thread.start()
            elif self._lingers:  # else it looks within an interval: to wake it for each costs a third of a short turn
                self._moved.set()

    def remove(self, live: LiveText) -> None:
        """The attempt is over."""
        with self._lock:
            if self._lives.get(live.claim.turn_id) is live:
                del self._lives[live.claim.turn_id]

    def _run(self) -> None:
        kept_at = self._clock.monotonic()
        while True:
            self._moved.clear()  # also after a close: a text that goes on is looked at each interval, and no oftener
            with self._lock:
                lives = list(self._lives.values())
            if not lives:
                if not self._linger():
                    return
                if not self._lives:  # woken for a turn that is over already: not again for each of those that follow
                    self._moved.wait(self._interval)
                continue
            for live in lives:
                try:
                    live.flush()
                except Exception:
                    # the loop's border: one channel or store that raises must not silence all other answers
                    log.exception("A delta failed", extra={"action": "delta-failed", "turn": live.claim.turn_id})
            if self._clock.monotonic() - kept_at >= self._keep_interval and self._keeper is None:
                kept_at = self._clock.monotonic()
                self._begin_keeping(lives)
            self._moved.wait(self._interval)

    def _begin_keeping(self, lives: list[LiveText]) -> None:
        with self._lock:
            if not self._closed:
                self._keeper = threading.Thread(target=self._keep, args=(lives,), name="neolith-keeper", daemon=True)
                self._keeper.start()

    def _linger(self) -> bool:
        """Wait a little for the next turn: a thread for each would delay its request. False ends this one."""
        with self._lock:
            if self._closed or self._lives:
                return self._ends_unless(bool(self._lives))
            self._lingers = True
        woken = self._moved.wait(LINGER)
        with self._lock:
            self._lingers = False
            self._moved.clear()
            # it may have been woken for a turn that is over already
            return self._ends_unless(bool(self._lives) or (woken and not self._closed))

    def _ends_unless(self, needed: bool) -> bool:
        if not needed:
            self._thread = None
        return needed

    def close(self, seconds: float = LAST_CHECKPOINT) -> None:
        """Wait for no further turns, and at most `seconds` for a checkpoint that is being kept. Safe twice."""
        with self._lock:
            self._closed = True
            keeper = self._keeper
        self._moved.set()
        if keeper is not None:  # the host closes its connections next, and this one would stay open
            keeper.join(seconds)

    def _keep(self, lives: list[LiveText]) -> None:
        for live in lives:
            found = live.unkept()
            if found is None:
                continue
            try:
                self._checkpoint(live.claim, *found)
            except Exception:
                # a checkpoint is a convenience: the next one, or the finish, has the whole text
                log.exception("A checkpoint failed", extra={"action": "checkpoint-failed", "turn": live.claim.turn_id})
        self._keeper = None
