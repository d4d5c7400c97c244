"""The judge: first of what people, the models' ledgers and browsers saw, then of the rows.

| kind                | what was seen                                                                         |
|---------------------|---------------------------------------------------------------------------------------|
| `refused`           | a server answered a person's post with 4xx                                            |
| `accepted-twice`    | one clientId was acknowledged with two ids                                            |
| `lost`              | an acknowledged question that no finished answer names                                 |
| `answered-twice`    | a question that several finished answers name                                          |
| `unfinished`        | an answer that people see as streaming, interrupted or failed                          |
| `order`             | in one conversation a later question was asked of a model, or answered, first (two     |
|                     | that were posted at one time have no order; the rows' own order is judged as well)     |
| `overlap`           | two calls for one conversation at one time                                             |
| `limit`             | more calls for one orchestrator at one time than it has slots, over all processes      |
| `second-call`       | a question asked of a model again, though nobody had died or been paused in between    |
| `done-twice`        | a browser heard twice, or in two versions, that an answer is done                      |
| `after-done`        | a browser heard text or a new beginning of an answer that was done                     |
| `old-epoch`         | a browser heard text of an older attempt after a newer one's                           |
| `done-differs`      | what was told as done is not what is there in the end                                  |
| `done-missing`      | a browser that listened all the time was not told of a finished answer                 |
| `parts`             | a browser heard a piece of text twice, out of order, or (undisturbed) not at all       |
| `not-answered`      | rows: an accepted message whose delivery is not answered, or not exactly one           |
| `reply-rows`        | rows: an answered turn without its one reply row, or an answer without a turn          |
| `streaming`         | rows: an answer, a turn or a delivery is still under way                               |
| `held`              | rows: a slot or a conversation is still taken                                          |
| `integrity`         | the database file is damaged                                                           |
| `died`              | a server process ended by itself                                                       |
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from .ears import Event
from .evidence import FOREVER, Call, Evidence, Reply
from .load import Post
from .questions import LIMIT
from .rows import judge_rows

TRANSPORT = 0.3
"""Seconds by which an event of a dead process may be heard late, over another way than its successor's."""

FINISH = 5.0
"""Seconds within which an answer is written after its model's call; as long as somebody may hold the database."""


@dataclass(frozen=True, slots=True)
class Violation:
    """Something that must not be."""

    kind: str
    detail: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.detail}"


def audit(evidence: Evidence) -> list[Violation]:
    """Everything that is wrong."""
    parts: Sequence[Callable[[Evidence], Iterator[tuple[str, str]]]] = (
        _posts,
        _answers,
        _order,
        _overlaps,
        _limits,
        _second_calls,
        _browsers,
        _parts,
        _dones,
        judge_rows,
        _deaths,
    )
    return [Violation(*found) for part in parts for found in part(evidence)]


def _posts(evidence: Evidence) -> Iterator[tuple[str, str]]:
    for post in evidence.posts:
        for refusal in post.refused:
            yield "refused", f"question {post.number}: {refusal}"
        if len(set(post.ids)) > 1:
            yield "accepted-twice", f"question {post.number}: {sorted(set(post.ids))}"


def _answers(evidence: Evidence) -> Iterator[tuple[str, str]]:
    naming: dict[int, list[Reply]] = defaultdict(list)
    for reply in evidence.replies:
        if reply.state != "final" or reply.answer is None:
            yield "unfinished", f"answer {reply.id} is {reply.state}: {reply.text[:60]!r}"
            continue
        for number in reply.answer.numbers:
            naming[number].append(reply)
    for post in evidence.posts:
        found = naming.get(post.number, [])
        if not found and post.acknowledged:
            yield "lost", f"question {post.number} (message {post.ids[0]})"
        own = [reply for reply in found if not _was_seen_early(evidence, post, _numbers(reply))]
        if len(found) > 1 and len(own) != 1:
            yield "answered-twice", f"question {post.number}: answers {[reply.id for reply in found]}"


def _id(post: Post) -> int:
    return int(post.ids[0])


def _numbers(reply: Reply) -> tuple[int, ...]:
    return () if reply.answer is None else reply.answer.numbers


def _overlap(one: Post, other: Post) -> bool:
    """Whether two people posted at one time, so that nobody can say who was first."""
    ends = [post.acknowledged if post.acknowledged is not None else FOREVER for post in (one, other)]
    return one.author != other.author and one.sent <= ends[1] and other.sent <= ends[0]


def _was_seen_early(evidence: Evidence, post: Post, asked: Sequence[int]) -> bool:
    """Whether a turn for another's question, posted at one time with this one, had this one in its history already."""
    posts = evidence.by_number()
    others = [posts[number] for number in asked if number != post.number and posts[number].ids]
    return any(other.conversation == post.conversation and _overlap(post, other) for other in others)


def _by_conversation(evidence: Evidence) -> dict[tuple[str, str, str], list[Call]]:
    posts = evidence.by_number()
    found: dict[tuple[str, str, str], list[Call]] = defaultdict(list)
    for call in evidence.calls:
        if call.asked and posts[call.asked[0]].ids:
            found[posts[call.asked[0]].conversation].append(call)
    return found


def _order(evidence: Evidence) -> Iterator[tuple[str, str]]:
    posts = evidence.by_number()
    for conversation, calls in _by_conversation(evidence).items():
        latest: Post | None = None
        for call in calls:
            first = min((posts[number] for number in call.asked if posts[number].ids), key=_id)
            if latest is not None and _id(first) < _id(latest) and not call.zombie and not _overlap(first, latest):
                yield "order", f"{conversation}: call {call.id} for {call.asked} came after message {latest.ids[0]}"
            latest = first if latest is None or _id(first) > _id(latest) else latest


def _overlaps(evidence: Evidence) -> Iterator[tuple[str, str]]:
    for conversation, calls in _by_conversation(evidence).items():
        before: Call | None = None
        for call in calls:
            if call.zombie:
                continue
            if before is not None and call.begin < before.end:
                yield "overlap", f"{conversation}: {before.id} of {before.who} and {call.id} of {call.who}"
            before = call if before is None or call.end > before.end else before


def _limits(evidence: Evidence) -> Iterator[tuple[str, str]]:
    changes = [(one.begin, 1, one.handle) for one in evidence.calls if not one.zombie]
    changes += [(one.end, -1, one.handle) for one in evidence.calls if not one.zombie]
    running: dict[str, int] = defaultdict(int)
    for at, change, handle in sorted(changes):
        running[handle] += change
        if running[handle] > LIMIT and change > 0:
            yield "limit", f"@{handle}: {running[handle]} at {at:.3f}"


def _second_calls(evidence: Evidence) -> Iterator[tuple[str, str]]:
    for number, calls in evidence.calls_of().items():
        for first, second in pairwise(calls):
            if not _explained(evidence, first, second):
                yield "second-call", f"question {number}: {first.id} of {first.who}, then {second.id} of {second.who}"


def _explained(evidence: Evidence, first: Call, second: Call) -> bool:
    """Whether the first call's process died before it can have finished, or somebody was paused between.

    It may be anybody: who is paused in the middle of a write holds the database, so that nobody can renew or finish.
    """
    posts = evidence.by_number()
    if any(_was_seen_early(evidence, posts[number], first.asked) for number in set(first.asked) & set(second.asked)):
        return True
    died = evidence.lives[first.who].died
    if died is not None and died <= min(first.end + FINISH, second.begin + 0.01):
        return True
    pauses = [pause for life in evidence.lives.values() for pause in life.pauses]
    return any(since < second.begin and back > first.begin for since, back in pauses)


def _browsers(evidence: Evidence) -> Iterator[tuple[str, str]]:
    heard: dict[tuple[str, str], list[Event]] = defaultdict(list)
    for event in evidence.events:
        heard[event.who, event.message_id].append(event)
    for events in heard.values():
        yield from _told_in_order(events)


def _parts(evidence: Evidence) -> Iterator[tuple[str, str]]:
    """Pieces of text: each once, in order; and where nothing was disturbed, all of them."""
    heard: dict[tuple[str, str, int], list[Event]] = defaultdict(list)
    for event in evidence.events:
        if event.name == "message:delta":
            heard[event.who, event.message_id, event.epoch].append(event)
    for (who, message, epoch), events in heard.items():
        seqs = [event.seq for event in events]
        if any(later <= earlier for earlier, later in pairwise(seqs)):
            yield "parts", f"{who} heard {seqs} of {message} (epoch {epoch})"
    spans = _undisturbed(evidence)
    for reply in evidence.replies:
        for who in spans.get(reply.id, ()):
            pieces = [one for epoch in _epochs(heard, who, reply.id) for one in heard[who, reply.id, epoch]]
            if "".join(one.text for one in pieces).strip() != reply.text.strip():
                yield "parts", f"{who} did not hear all of {reply.id}: {[one.seq for one in pieces]}"


def _epochs(heard: Mapping[tuple[str, str, int], object], who: str, message: str) -> list[int]:
    return sorted(epoch for one, other, epoch in heard if (one, other) == (who, message))


def _undisturbed(evidence: Evidence) -> dict[str, list[str]]:
    """By answer that was asked for once: the ears that listened from before its call until after its end."""
    replies = {reply.answer.call: reply for reply in evidence.replies if reply.answer is not None}
    twice = {call.id for calls in evidence.calls_of().values() if len(calls) > 1 for call in calls}
    found = {}
    for call in evidence.calls:
        reply = replies.get(call.id)
        if reply is not None and call.id not in twice and not _is_near_trouble(evidence, call.begin, call.end):
            found[reply.id] = _listeners(evidence, call.begin, call.end)
    return found


def _told_in_order(events: Sequence[Event]) -> Iterator[tuple[str, str]]:
    """What one browser heard of one answer: text of ever newer attempts, then that it is done, then nothing."""
    newest, since, done = -1, 0.0, False
    for event in events:
        told = f"{event.who} heard {event.name} of {event.message_id} (epoch {event.epoch})"
        older = event.epoch < newest and event.at - since > TRANSPORT
        if older and event.name == "message:delta":
            yield "old-epoch", f"{told} after epoch {newest}"
        if done and event.name in ("message:delta", "message:reset") and (older or event.epoch >= newest):
            yield "after-done", f"{told} after it was done"
        if event.epoch > newest:
            newest, since = event.epoch, event.at
        if event.name == "message:done" and event.state == "final":
            if done:
                yield "done-twice", f"{told} once more"
            done = True


def _dones(evidence: Evidence) -> Iterator[tuple[str, str]]:
    told: dict[str, set[tuple[int, str]]] = defaultdict(set)
    ears: set[tuple[str, str]] = set()
    for event in evidence.events:
        if event.name == "message:done" and event.state == "final":
            told[event.message_id].add((event.epoch, event.text))
            ears.add((event.who, event.message_id))
    finished = {
        str(row[0]): row[1] + evidence.offset
        for row in evidence.rows("SELECT reply_id, ended_at FROM neolith_turn WHERE state = 'done'")
    }
    for reply in evidence.replies:
        versions = told.get(reply.id, set())
        if len(versions) > 1:
            yield "done-twice", f"answer {reply.id} was told as done in {len(versions)} versions"
        if any(text != reply.text for _, text in versions):
            yield "done-differs", f"answer {reply.id} is not what was told as done"
        for who in _must_have_heard(evidence, reply, finished.get(reply.id)):
            if (who, reply.id) not in ears:
                yield "done-missing", f"answer {reply.id}: {who} was not told"


def _must_have_heard(evidence: Evidence, reply: Reply, at: float | None) -> list[str]:
    """The ears that listened when an answer ended, where whoever finished it lived on to tell."""
    if at is None or reply.state != "final" or _is_near_trouble(evidence, at, at):
        return []
    return _listeners(evidence, at, at)


def _is_near_trouble(evidence: Evidence, begin: float, end: float) -> bool:
    """Whether a process died or was paused about this time, or nothing carried events from one to another."""
    for life in evidence.lives.values():
        if life.died is not None and begin - 0.05 <= life.died <= end + 1.0:
            return True
        if any(since - 1.0 <= end and begin <= back + 1.0 for since, back in life.pauses):
            return True
    return any(since - 1.0 <= end and begin <= back + 1.0 for since, back in evidence.deaf)


def _listeners(evidence: Evidence, begin: float, end: float) -> list[str]:
    return [
        ear.who
        for ear in evidence.listening
        if ear.joined < begin - 0.05 and (ear.lost is None or ear.lost > end + 1.0)
    ]


def _deaths(evidence: Evidence) -> Iterator[tuple[str, str]]:
    for who in evidence.ended:
        yield "died", f"{who} ended by itself"
