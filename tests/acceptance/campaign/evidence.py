"""What everybody else saw of a campaign, put together: posters, model servers, browsers; and the rows at last."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .app import LEDGER as SCRIPTED
from .ears import Event, Listening
from .fleet import Life
from .ledger import read_lines
from .load import Post
from .model import LEDGER as CLAUDE
from .questions import Answer, read_answer

FOREVER = float("inf")


@dataclass(slots=True)
class Call:
    """One call of a model. `end` is when it was over for the process that made it: its end, its death, its lease's."""

    id: str
    who: str
    handle: str
    asked: tuple[int, ...]
    begin: float
    end: float = FOREVER
    cut: bool = True
    zombie: bool = False


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer as the API shows it in the end."""

    id: str
    author: str
    state: str
    text: str
    thread: str | None
    channel: str

    @property
    def answer(self) -> Answer | None:
        """What it says that it answers."""
        return read_answer(self.text)


Rows = Callable[[str], list[tuple[Any, ...]]]
"""Gives the committed rows of a statement."""


@dataclass(slots=True)
class Evidence:
    """All of it. `offset` turns times of rows (epoch seconds) into those of the ledgers.

    `deaf` are the times in which nothing carried events between processes, `broken` says what is damaged.
    """

    posts: Sequence[Post]
    calls: Sequence[Call]
    replies: Sequence[Reply]
    events: Sequence[Event]
    listening: Sequence[Listening]
    lives: Mapping[str, Life]
    rows: Rows
    ended: Sequence[str] = ()
    deaf: Sequence[tuple[float, float]] = ()
    broken: Callable[[], Sequence[str]] = list
    offset: float = field(default_factory=lambda: time.monotonic() - time.time())

    def by_number(self) -> dict[int, Post]:
        """Posts by their question's number."""
        return {post.number: post for post in self.posts}

    def calls_of(self) -> dict[int, list[Call]]:
        """Calls by the number asked, in the order in which they began."""
        found: dict[int, list[Call]] = defaultdict(list)
        for call in self.calls:
            for number in call.asked:
                found[number].append(call)
        return found


def read_calls(folder: Path, lives: Mapping[str, Life], *, lease: float, renew: float) -> list[Call]:
    """All calls of both models in the order of their begin; what a death or a lost lease ended, ended there."""
    calls: dict[str, Call] = {}
    for name in (CLAUDE, SCRIPTED):
        for line in read_lines(folder / name):
            if "begin" in line:
                asked = tuple(line["asked"])
                calls[line["call"]] = Call(line["call"], line["who"], line["handle"], asked, line["begin"])
            else:
                calls[line["call"]].end, calls[line["call"]].cut = line["end"], line["cut"]
    for call in calls.values():
        _bound(call, lives[call.who], lease - 2 * renew, lease)
    return sorted(calls.values(), key=lambda call: call.begin)


def _bound(call: Call, life: Life, kept: float, lease: float) -> None:
    """A paused process keeps its turns for the rest of the lease only; what it still does after that is a zombie's."""
    if life.died is not None and call.end > life.died:
        call.zombie = call.begin > life.died  # the model's server read the last wish of a process that was dead
        call.end, call.cut = max(call.begin, life.died), True
    for since, until in life.pauses:
        over = since + kept
        if until > over and call.begin < until + lease and call.end > over:
            call.zombie = call.begin > since
            call.end = max(call.begin, min(call.end, over))


def read_replies(messages: Sequence[Mapping[str, Any]]) -> list[Reply]:
    """The answers among what the API shows."""
    return [
        Reply(one["id"], one["author"]["handle"], one["state"], one["content"], one["threadId"], one["channelId"])
        for one in messages
        if one["author"]["isOrchestrator"] and not one["deleted"]
    ]
